"""Runs of any kind that have not ended: list, abort, stop (``/workloads``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Model, Page, Timestamp
from lk_jupyter.api.execution import AbortResponse, Metadata


class Workload(Model):
    """A run that has not ended."""

    execution_id: str
    status: str
    created_at: Timestamp
    execution_type: str | None = None
    job_type: str | None = None
    hardware_profile: str | None = None
    file_name: str | None = None
    execution_owner: str | None = None
    run_name: str | None = None
    labels: list[str] | None = None
    metadata: Metadata | None = None


class Workloads(Group):
    """Unfinished runs of any kind."""

    @GET("/workloads/list")
    def list(self) -> Page[Workload]:
        """List the runs that have not ended."""
        ...

    @POST("/workloads/abort/{execution_id}", repeatable=True)
    def abort(self, execution_id: str) -> AbortResponse:
        """Kill a run of any kind; it takes effect some time after the answer."""
        ...

    @POST("/workloads/stop/{execution_id}", repeatable=True)
    def stop(self, execution_id: str) -> AbortResponse:
        """End a run gracefully; made for notebook servers. 404 means that it is gone already."""
        ...
