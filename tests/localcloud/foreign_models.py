"""Models, deployments, files and batches, as somebody of another organization tries them."""

from __future__ import annotations

from localcloud.foreign import MARK, own, refused, until

from lk_jupyter.api._files import Upload
from lk_jupyter.api.batches import Batches
from lk_jupyter.api.files import BatchFileUpload, Files
from lk_jupyter.api.inference import Inference
from lk_jupyter.api.iris import DedicatedChatCompletionRequest, Iris
from lk_jupyter.api.openai import OpenAI
from lk_jupyter.api.serverless import Serverless

HELLO = [{"role": "user", "content": "hello"}]


def chat(_):
    return {"request": {"model": "local/echo", "messages": HELLO}}


def texts(_):
    return {"request": {"model": "local/hash-embedding", "input": "hello"}}


def dedicated(mira):
    return {"request": {"messages": HELLO}, "deployment_id": mira.deployment}


ROWS = {
    Batches.cancel: refused(lambda mira: {"batch_id": mira.batch}),
    Batches.create: refused(lambda mira: {"request": {"input_file_id": mira.file}}),
    Batches.get: refused(lambda mira: {"batch_id": mira.batch}),
    Batches.list: own(),
    Files.content: refused(lambda mira: {"file_id": mira.file}),
    Files.delete: refused(lambda mira: {"file_id": mira.file}),
    Files.get: refused(lambda mira: {"file_id": mira.file}),
    Files.list: own(),
    Files.upload: own(lambda _: {"upload": BatchFileUpload(file=Upload(b"{}\n", name="jons.jsonl"))}),
    Inference.create: own(lambda _: {"request": {"hf_model_id": "local/echo"}}),
    Inference.follow: refused(lambda mira: {"inference_id": mira.later}),
    Inference.get: refused(lambda mira: {"deployment_id": mira.deployment}, is_steady=False),
    Inference.list: own(is_steady=False),
    Inference.models: own(),
    Inference.replica_logs: refused(lambda mira: {"replica_id": mira.replica}),
    Inference.stop: refused(lambda mira: {"request": {"deployment_id": mira.deployment}}),
    Iris.anthropic_models: own(),
    Iris.chat_completions: refused(dedicated),
    Iris.chat_result: refused(lambda mira: {"request_id": mira.later}),
    Iris.models: own(is_steady=False),
    Iris.stream_chat_completions: refused(dedicated),
    OpenAI.chat_completions: own(chat),
    OpenAI.embeddings: own(texts),
    OpenAI.models: own(),
    OpenAI.stream_chat_completions: own(chat),
    Serverless.chat_completions: own(chat),
    Serverless.embeddings: own(texts),
    Serverless.models: own(),
    Serverless.route: own(lambda _: {"request": {"input": "hello"}}),
    Serverless.stream_chat_completions: own(chat),
}


def made(mira):
    file = mira.files.upload(
        BatchFileUpload(file=Upload(f'{{"custom_id": "{MARK}"}}\n'.encode(), name=f"{MARK}.jsonl"))
    )
    batch = mira.batches.create({"input_file_id": file.id, "metadata": {"whose": MARK}})
    until(lambda: mira.batches.get(batch.id).is_over)
    deployment = mira.inference.create({"hf_model_id": "local/echo"}).deployment_id
    healthy = until(lambda: (seen := mira.inference.get(deployment)).status == "created" and seen)
    request = DedicatedChatCompletionRequest(messages=[{"role": "user", "content": MARK}])
    later = mira.iris.chat_completions(request, deployment_id=deployment, x_async="true").request_id
    list(mira.inference.follow(later))
    replica = healthy.replicas[0].replica_id
    return {"file": file.id, "batch": batch.id, "deployment": deployment, "replica": replica, "later": later}
