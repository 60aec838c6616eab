"""Models, deployments, files and batches, called by the client on a local cloud."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import pytest
from api.calls import calls
from patience import PATIENCE

from lk_jupyter.api._files import Upload
from lk_jupyter.api.batches import Batches, CreateBatchRequest
from lk_jupyter.api.files import BatchFileUpload, Files
from lk_jupyter.api.inference import CreateDeploymentRequest, Inference, StopDeploymentRequest
from lk_jupyter.api.iris import AsyncInferenceAccepted, DedicatedChatCompletionRequest, Iris
from lk_jupyter.api.openai import OpenAI
from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest, RoutePromptRequest, Serverless
from lk_jupyter.errors import BadRequest, NotFound, OutcomeUnknown, UsageError

ECHO, EMBEDDING = "local/echo", "local/hash-embedding"
HELLO = [{"role": "user", "content": "hello"}]
ANSWER = "I am local/echo, a stand-in that repeats. You said: hello"


def until(look, seconds=PATIENCE):
    """Look until what is seen is what is waited for, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def chat(**fields):
    return ChatCompletionRequest(model=ECHO, messages=HELLO, **fields)


@calls(Serverless.models)
@calls(OpenAI.models)
def models(client, _):
    assert {ECHO, EMBEDDING, "lyceum/router"} <= {model.id for model in client.serverless.models()}
    assert client.openai.models() == client.serverless.models()


def refuse(ask):
    """See that refusals are errors with the words of the server."""
    with pytest.raises(NotFound, match="model not found"):
        ask.chat_completions(ChatCompletionRequest(model="none", messages=HELLO))
    with pytest.raises(NotFound, match="model not found"):
        next(ask.stream_chat_completions(ChatCompletionRequest(model="none", messages=HELLO)))
    with pytest.raises(BadRequest, match="n: give a whole number"):
        ask.chat_completions(chat(n=0))
    with pytest.raises(UsageError, match="stream"):
        ask.chat_completions(chat(stream=True))


@calls(Serverless.chat_completions)
@calls(OpenAI.chat_completions)
def whole_answer(client, _):
    for group in (client.serverless, client.openai):
        refuse(group)
        answer = group.chat_completions(chat())
        assert (answer.text, answer.model, answer.choices[0].finish_reason) == (ANSWER, ECHO, "stop")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@calls(Serverless.stream_chat_completions)
@calls(OpenAI.stream_chat_completions)
def answer_in_pieces(client, _):
    for ask in (client.serverless.stream_chat_completions, client.openai.stream_chat_completions):
        *pieces, counts = ask(chat(stream_options={"include_usage": True}))
        assert "".join(piece.text for piece in pieces) == ANSWER
        assert counts.usage.completion_tokens > 0


@calls(Serverless.embeddings)
@calls(OpenAI.embeddings)
def vectors(client, _):
    request = EmbeddingRequest(model=EMBEDDING, input=["one", "two"])
    for ask in (client.serverless.embeddings, client.openai.embeddings):
        assert [len(row.embedding) for row in ask(request)] == [512, 512]


@calls(Serverless.route)
def routing(client, _):
    answer = client.serverless.route(RoutePromptRequest(input="hi"))
    assert (answer.complexity, answer.model) == ("simple", ECHO)
    assert 0 <= answer.score < 0.35


@contextmanager
def deployed(client, model):
    """Have a deployment, and stop it afterwards."""
    made = client.inference.create(CreateDeploymentRequest(hf_model_id=model)).deployment_id
    yield made
    client.inference.stop(StopDeploymentRequest(deployment_id=made))


@contextmanager
def serving(client):
    """Have a deployment with a healthy replica."""
    with deployed(client, ECHO) as made:
        until(lambda: client.inference.get(made).status == "created")
        yield made


@calls(Inference.models)
@calls(Inference.create)
@calls(Inference.list)
@calls(Inference.get)
@calls(Inference.stop)
def life_of_a_deployment(client, _):
    assert {ECHO, "local/broken"} <= {model.serving_name for model in client.inference.models()}
    made = client.inference.create(CreateDeploymentRequest(hf_model_id=ECHO, gpu_type="h100"))
    found = client.inference.get(made.deployment_id)
    assert (made.status, found.hardware_profile, len(found.replicas)) == ("pending", "gpu.h100", 1)
    assert made.deployment_id in {row.deployment_id for row in client.inference.list()}
    assert client.inference.stop(StopDeploymentRequest(deployment_id=made.deployment_id)).status == "stopped"
    assert made.deployment_id not in {row.deployment_id for row in client.inference.list()}
    assert client.inference.get(made.deployment_id, include_terminated=True).replicas[0].status == "stopped"
    with pytest.raises(NotFound):
        client.inference.get(made.deployment_id)


@calls(Inference.replica_logs)
def logs_of_a_replica(client, _):
    with deployed(client, "local/broken") as made:
        failed = until(lambda: (d := client.inference.get(made)).status == "failed" and d)
        assert "ERROR" in client.inference.replica_logs(failed.replicas[0].replica_id).error_logs


@calls(Iris.models)
@calls(Iris.anthropic_models)
def lists_of_the_proxy(client, _):
    with serving(client) as deployment:
        (row,) = [row for row in client.iris.models() if row.id == deployment]
    assert (row.meta.hf_model_id, row.meta.healthy_replicas) == (ECHO, 1)
    assert {ECHO, "claude-lyceum-echo"} <= {row.id for row in client.iris.anthropic_models()}


@calls(Iris.chat_completions)
@calls(Iris.stream_chat_completions)
def dedicated_chat(client, _):
    request = DedicatedChatCompletionRequest(messages=HELLO)
    with serving(client) as deployment:
        assert client.iris.chat_completions(request, deployment_id=deployment).text == ANSWER
        named = request.model_copy(update={"model": deployment})
        assert "".join(piece.text for piece in client.iris.stream_chat_completions(named, timeout_s=600)) == ANSWER
    with pytest.raises(NotFound, match="deployment not found"):
        client.iris.chat_completions(request, deployment_id="none")
    with deployed(client, "local/broken") as deployment, pytest.raises(OutcomeUnknown, match="HTTP 504"):
        client.iris.chat_completions(request, deployment_id=deployment, timeout_s=1)


@calls(Iris.chat_result)
@calls(Inference.follow)
def later_answer(client, _):
    with serving(client) as deployment:
        request = DedicatedChatCompletionRequest(model=deployment, messages=HELLO)
        accepted = client.iris.chat_completions(request, x_async="true")
        assert isinstance(accepted, AsyncInferenceAccepted)
        queued, finished = client.inference.follow(accepted.request_id)
    assert (queued.event, finished.event) == ("queued", "finished")
    answer = client.iris.chat_result(accepted.request_id)
    assert (answer.status, answer.result.text) == ("completed", ANSWER)
    with pytest.raises(NotFound):
        client.iris.chat_result("none")
    with pytest.raises(NotFound):
        next(client.inference.follow("none"))


def lines(count):
    rows = (
        {"custom_id": f"r{i}", "method": "POST", "url": "/v1/chat/completions", "body": body(i)} for i in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def body(number):
    return {"model": ECHO, "messages": [{"role": "user", "content": str(number)}]}


def upload(client, content):
    return client.files.upload(BatchFileUpload(file=Upload(content, name="in.jsonl")))


@calls(Files.upload)
@calls(Files.list)
@calls(Files.get)
@calls(Files.content)
@calls(Files.delete)
def life_of_a_file(client, _):
    kept = [upload(client, b"%d\n" % number) for number in range(3)]
    assert (kept[0].filename, kept[0].bytes, kept[0].purpose) == ("in.jsonl", 2, "batch")
    assert client.files.get(kept[0].id) == kept[0]
    first = client.files.list(limit=2)
    assert [file.id for file in first] == [kept[2].id, kept[1].id]
    assert kept[0].id in {file.id for file in first.all()}
    assert client.files.content(kept[1].id).read() == b"1\n"
    assert client.files.delete(kept[1].id).deleted
    with pytest.raises(NotFound):
        client.files.get(kept[1].id)


@calls(Batches.create)
@calls(Batches.get)
@calls(Batches.list)
def life_of_a_batch(client, _):
    batch = client.batches.create(CreateBatchRequest(input_file_id=upload(client, lines(20)).id))
    assert (batch.status, batch.is_over) == ("validating", False)
    done = until(lambda: (b := client.batches.get(batch.id)).is_over and b)
    assert (done.status, done.request_counts.completed, done.error_file_id) == ("completed", 20, None)
    assert done.created_at <= done.completed_at <= done.expires_at
    rows = [json.loads(line) for line in client.files.content(done.output_file_id).read().splitlines()]
    assert {row["custom_id"] for row in rows} == {f"r{number}" for number in range(20)}
    assert batch.id in {row.id for row in client.batches.list(limit=1).all()}


@calls(Batches.cancel)
def cancelling(client, _):
    batch = client.batches.create(CreateBatchRequest(input_file_id=upload(client, lines(3000)).id))
    assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
    over = until(lambda: (b := client.batches.get(batch.id)).is_over and b)
    assert over.status == "cancelled"
    assert over.request_counts.completed < 3000
