"""Runs of any kind that have not ended: list, abort, stop (``/workloads``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Page, RunId, Timestamp
from lk_jupyter.api.execution import AbortResponse, Metadata, RunState


class Workload(RunState):
    """A run that has not ended."""

    execution_id: RunId
    created_at: Timestamp | None = None
    execution_type: str | None = None
    job_type: str | None = None
    hardware_profile: str | None = None
    file_name: str | None = None
    execution_owner: str | None = None
    run_name: str | None = None
    labels: list[str] | None = None
    metadata: Metadata | None = None


class Workloads(Group):
    """Unfinished runs of any kind.

    Example:
        >>> from lk_jupyter.api.execution import StreamingExecutionRequest
        >>> run = client.execution.start_streaming(StreamingExecutionRequest(code="import time; time.sleep(60)"))
        >>> run.execution_id in {row.execution_id for row in client.workloads.list()}
        True
        >>> _ = client.workloads.abort(run.execution_id)
        >>> _ = client.workloads.stop(run.execution_id)
    """

    @GET("/workloads/list", magic="%lk_notebook list, %lk_runs")
    def list(self) -> Page[Workload]:
        """List the runs that have not ended."""
        ...

    @POST("/workloads/abort/{execution_id}", effect="stops", repeatable=True, magic="%lk_abort")
    def abort(self, execution_id: str) -> AbortResponse | None:
        """Kill a run of any kind. The run ends some time after the answer. The answer's form isn't documented."""
        ...

    @POST(
        "/workloads/stop/{execution_id}", effect="stops", repeatable=True, magic="%lk_notebook stop, %lk_sessions stop"
    )
    def stop(self, execution_id: str) -> AbortResponse | None:
        """End a run gracefully; used for notebook servers. 404 means that the run has ended already."""
        ...
