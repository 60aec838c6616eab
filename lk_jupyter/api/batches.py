"""Many requests in one file, answered within a day (``/batches``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import CursorPage, Model, UnixTime

#: States in which a batch has come to its end.
FINAL_STATES = frozenset({"completed", "failed", "expired", "cancelled"})


class CreateBatchRequest(Model):
    """A file of requests to answer; ``endpoint`` and ``model`` override what its lines say."""

    input_file_id: str
    completion_window: str = Field("24h", description="Only 24h is offered.")
    endpoint: str | None = Field(None, description="Such as /v1/chat/completions.")
    model: str | None = None
    metadata: dict[str, str] | None = None


class RequestCounts(Model):
    """How many lines a batch has, and how many are done."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class Batch(Model):
    """A batch: validating, in_progress, finalizing, then completed, failed, expired or cancelled.

    ``output_file_id`` names the file of answers, in any order, joined by ``custom_id``;
    ``error_file_id`` that of the lines that failed.
    """

    id: str
    object: str | None = None
    endpoint: str | None = None
    model: str | None = None
    input_file_id: str
    completion_window: str | None = None
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: UnixTime
    expires_at: UnixTime | None = None
    completed_at: UnixTime | None = None
    request_counts: RequestCounts | None = None
    metadata: dict[str, Any] | None = None
    errors: dict[str, Any] | list[Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.status in FINAL_STATES


class BatchList(CursorPage[Batch]):
    """Batches, newest first."""

    object: str | None = None
    data: list[Batch]
    first_id: str | None = None
    last_id: str | None = None


class Batches(Group):
    """Batches."""

    @POST("/batches")
    def create(self, request: CreateBatchRequest) -> Batch:
        """Start a batch over an uploaded file. NotFound: no such file."""
        ...

    @GET("/batches")
    def list(self, after: str | None = None, limit: Annotated[int, Field(ge=1)] = 20) -> BatchList:
        """List batches, newest first; the page knows how to fetch on."""
        ...

    @GET("/batches/{batch_id}")
    def get(self, batch_id: str) -> Batch:
        """Read a batch."""
        ...

    @POST("/batches/{batch_id}/cancel", repeatable=True)
    def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch; lines that were answered stay answered."""
        ...
