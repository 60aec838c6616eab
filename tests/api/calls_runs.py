"""Runs of other kinds: images, stacks, selections. What they do in containers is tested with the local cloud."""

from __future__ import annotations

from api.calls import calls

from lk_jupyter.api._events import Finished
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    Execution,
    GpuSelectionRequest,
    StreamingExecutionRequest,
)

NOWHERE = "localhost:1/nosuchimage:1"


@calls(Execution.start_image)
def start_image(client, _):
    request = DockerExecutionRequest(docker_image_ref=NOWHERE, docker_run_cmd=["true"], enable_s3_mount=False)
    run = client.execution.start_image(request)
    assert list(client.follow(run.execution_id, run.streaming_url))[-1].error
    record = client.execution.get(run.execution_id)
    assert (record.status, record.docker_image_ref, record.docker_run_cmd) == ("system_failure", NOWHERE, ["true"])


@calls(Execution.abort_image)
def abort_image(client, _):
    run = client.execution.start_streaming(StreamingExecutionRequest(code="import time\ntime.sleep(600)"))
    assert client.execution.abort_image(run.execution_id).execution_id == run.execution_id
    assert isinstance(list(client.follow(run.execution_id))[-1], Finished)
    assert client.execution.status(run.execution_id).status == "aborted"


@calls(Execution.start_compose)
def start_compose(client, _):
    stack = f"services:\n  app:\n    image: {NOWHERE}\n"
    run = client.execution.start_compose(DockerComposeExecutionRequest(compose_file_code=stack))
    assert list(client.follow(run.execution_id, run.streaming_url))[-1].error
    assert client.execution.get(run.execution_id).status in {"failed", "system_failure"}


@calls(Execution.start_gpu_selection)
def start_gpu_selection(client, _):
    run = client.execution.start_gpu_selection(GpuSelectionRequest(code="print(1)"))
    assert "gpu.a100" in run.message
    assert isinstance(list(client.follow(run.execution_id))[-1], Finished)
    assert client.execution.get(run.execution_id).status == "completed"


@calls(Execution.gpu_selection_status)
def gpu_selection_status(client, _):
    run = client.execution.start_gpu_selection(GpuSelectionRequest(code="print(1)"))
    list(client.follow(run.execution_id))
    found = client.execution.gpu_selection_status(run.execution_id).metadata
    assert found.extraction_result.status == "completed"
    assert {row.profile for row in found.profiling_results} == set(found.selection_results.metrics)
    assert found.selection_results.metrics[found.selection_results.cheapest].cost >= 0
