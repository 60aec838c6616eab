"""Starting a run exactly once, even when the answer to the start is lost."""

from __future__ import annotations

import time
from collections.abc import Iterable

from lk_jupyter.api._client import Client
from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    StartRequest,
    StreamingStartResponse,
)
from lk_jupyter.api.workloads import Workload
from lk_jupyter.errors import OutcomeUnknown
from lk_jupyter.runs.bundle import REQUEST_KEY, Bundle

#: Looks for a run whose start was not answered: the request may still be on its way.
LOOKS = 3
LOOK_PAUSE = 1.0
_TRIES = 3


def start_once(client: Client, bundle: Bundle) -> StreamingStartResponse:
    """Start the run and return the answer; a start whose answer was lost is looked up before it is repeated.

    Raises OutcomeUnknown when neither the answer nor the lookup came through.
    """
    for _ in range(_TRIES):
        try:
            return _start(client, bundle.request)
        except OutcomeUnknown:
            if found := _look(client, bundle.token):
                return found
    raise OutcomeUnknown(
        "The server took the start of the run and did not answer, three times over, and lists no such run. "
        "Look before you start it again: %lk_runs"
    )


def _start(client: Client, request: StartRequest) -> StreamingStartResponse:
    if isinstance(request, DockerExecutionRequest):
        return StreamingStartResponse.model_validate(client.execution.start_image(request).model_dump())
    if isinstance(request, DockerComposeExecutionRequest):
        return StreamingStartResponse.model_validate(client.execution.start_compose(request).model_dump())
    return client.execution.start_streaming(request)


def _look(client: Client, token: str) -> StreamingStartResponse | None:
    for attempt in range(LOOKS):
        if attempt:
            time.sleep(LOOK_PAUSE)
        if found := find(client, token):
            return found
    return None


def find(client: Client, token: str) -> StreamingStartResponse | None:
    """Look for the request's own mark among the runs that go on, then among those that ended."""
    return _marked(client.workloads.list(), token) or _marked(client.billing.history(), token)


def _marked(runs: Iterable[Workload | ExecutionSummary], token: str) -> StreamingStartResponse | None:
    for run in runs:
        if (run.metadata or {}).get(REQUEST_KEY) == token:
            return StreamingStartResponse(execution_id=run.execution_id, status=run.status, streaming_url="")
    return None


def find_started(client: Client, token: str) -> str | None:
    """Return the id of the run that a start with this token has made; None when there is none."""
    found = find(client, token)
    return found.execution_id if found else None
