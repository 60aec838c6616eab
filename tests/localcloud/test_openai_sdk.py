"""OpenAI's own client against a running local cloud, as its users point it there."""

from __future__ import annotations

import json
from importlib import import_module

import httpx
import pytest

HELLO = [{"role": "user", "content": "hello"}]
ANSWER = "I am local/echo, a stand-in that repeats. You said: hello"


@pytest.fixture(scope="module")
def openai():
    """The package itself: it takes a second to import, and each process collects all tests."""
    return import_module("openai")


@pytest.fixture(scope="module")
def sdk(cloud, openai):
    """The client at the address for chat and embeddings."""
    with openai.OpenAI(base_url=f"{cloud.base_url}/openai/v1", api_key=cloud.api_key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def gateway(cloud, openai):
    """The client at the address that has files and batches too."""
    with openai.OpenAI(base_url=f"{cloud.base_url}/api/v2/external", api_key=cloud.api_key, max_retries=0) as client:
        yield client


def test_models_are_listed(sdk):
    assert {"local/echo", "local/hash-embedding"} <= {model.id for model in sdk.models.list()}


def test_a_chat_is_answered(sdk, gateway):
    for client in (sdk, gateway):
        answer = client.chat.completions.create(model="local/echo", messages=HELLO, max_tokens=50, temperature=0.5)
        assert answer.choices[0].message.content == ANSWER
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_is_streamed(sdk, gateway):
    for client in (sdk, gateway):
        options = {"include_usage": True}
        coming = client.chat.completions.create(model="local/echo", messages=HELLO, stream=True, stream_options=options)
        *pieces, counts = coming
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == ANSWER
        assert counts.usage.completion_tokens > 0


def test_texts_become_vectors(sdk):
    answer = sdk.embeddings.create(model="local/hash-embedding", input=["one", "two"])
    numbers = sdk.embeddings.create(model="local/hash-embedding", input=["one", "two"], encoding_format="float")
    for packed, plain in zip(answer.data, numbers.data, strict=True):
        assert packed.embedding == pytest.approx(plain.embedding, abs=1e-6)
    short = sdk.embeddings.create(model="local/hash-embedding", input="one", dimensions=8)
    assert len(short.data[0].embedding) == 8


def test_errors_are_those_that_its_users_catch(sdk, cloud, openai):
    with pytest.raises(openai.NotFoundError, match="model not found"):
        sdk.chat.completions.create(model="none", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        sdk.chat.completions.create(model="local/echo", messages=HELLO, max_tokens=65_537)
    with pytest.raises(openai.BadRequestError, match="role"):
        sdk.chat.completions.create(model="local/echo", messages=[{"role": "developer", "content": "x"}])
    with (
        openai.OpenAI(base_url=f"{cloud.base_url}/openai/v1", api_key="lk_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_files_are_kept_and_deleted(gateway, openai):
    kept = gateway.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
    assert (kept.filename, kept.bytes, kept.purpose) == ("in.jsonl", 3, "batch")
    assert kept.id in {file.id for file in gateway.files.list(limit=1)}
    assert gateway.files.retrieve(kept.id) == kept
    assert gateway.files.content(kept.id).read() == b"{}\n"
    assert gateway.files.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        gateway.files.retrieve(kept.id)


def test_a_batch_is_worked_off(gateway, until, openai):
    body = {"model": "local/echo", "messages": HELLO}
    rows = [{"custom_id": f"r{i}", "method": "POST", "url": "/v1/chat/completions", "body": body} for i in range(5)]
    content = "\n".join(map(json.dumps, rows)).encode()
    file = gateway.files.create(file=("in.jsonl", content), purpose="batch")
    batch = gateway.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    done = until(lambda: (b := gateway.batches.retrieve(batch.id)).status == "completed" and b)
    assert (done.request_counts.completed, done.metadata) == (5, {"a": "b"})
    answers = map(json.loads, gateway.files.content(done.output_file_id).text.splitlines())
    assert {row["response"]["body"]["choices"][0]["message"]["content"] for row in answers} == {ANSWER}
    assert batch.id in {row.id for row in gateway.batches.list(limit=1)}
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.batches.cancel(batch.id)
    assert "completed" in refused.value.response.json()["detail"]


def test_a_deployment_is_asked_through_the_proxy(sdk, cloud, gateway, until, openai):
    answer = gateway.post("/inference/create", body={"hf_model_id": "local/echo"}, cast_to=httpx.Response)
    made = answer.json()["deployment_id"]
    with openai.OpenAI(base_url=f"{cloud.base_url}/iris/openai/v1", api_key=cloud.api_key, max_retries=0) as proxy:
        until(lambda: made in {model.id for model in proxy.models.list()})
        answer = proxy.chat.completions.create(model=made, messages=HELLO)
        assert answer.choices[0].message.content == ANSWER
    gateway.delete("/inference/stop", body={"deployment_id": made}, cast_to=httpx.Response)
