"""Many requests in a file, answered within a day (``/batches``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, Field, model_validator

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import CursorPage, Items, Model, State, Text, UnixTime
from lk_jupyter.api.states import UNKNOWN

if TYPE_CHECKING:
    from typing_extensions import Self

#: Final states of a batch.
FINAL_STATES = frozenset({"completed", "failed", "expired", "cancelled"})

_ACTIVE = frozenset({"validating", "in_progress", "finalizing", "cancelling", "pending", "queued", "running"})

_SYNONYMS = {
    **dict.fromkeys(("complete", "done", "ended", "finished", "succeeded", "success"), "completed"),
    **dict.fromkeys(("error", "errored", "failure"), "failed"),
    **dict.fromkeys(("canceled", "aborted", "stopped"), "cancelled"),
    **dict.fromkeys(("timeout", "timed_out"), "expired"),
}


class CreateBatchRequest(Model):
    """A file of requests to answer; ``endpoint`` and ``model`` override the lines of the file."""

    input_file_id: str
    completion_window: str = Field("24h", description="Only 24h is offered.")
    endpoint: str | None = Field(None, description="Such as /v1/chat/completions.")
    model: str | None = None
    metadata: dict[str, str] | None = None


class RequestCounts(Model):
    """The number of lines in a batch, and of completed lines."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class Batch(Model):
    """A batch: validating, in_progress, finalizing, then completed, failed, expired or cancelled.

    ``output_file_id`` is the id of the file with answers, in any order, joined by ``custom_id``; ``error_file_id``
    is the id of the file with failed lines. Some servers send several ids; see ``output_files``.
    """

    id: Annotated[str, Field(validation_alias=AliasChoices("id", "batch_id", "batchId"), coerce_numbers_to_str=True)]
    object: str | None = None
    endpoint: str | None = None
    model: str | None = None
    input_file_id: Text = ""
    completion_window: str | None = None
    status: State = UNKNOWN
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: UnixTime | None = None
    expires_at: UnixTime | None = None
    completed_at: UnixTime | None = None
    request_counts: RequestCounts | None = None
    metadata: dict[str, Any] | None = None
    errors: dict[str, Any] | list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _move_lists(cls, content: Any) -> Any:
        """Move a list of file ids out of the field of a single id."""
        if not isinstance(content, dict):
            return content
        fields = (f"{kind}_file_id" for kind in ("output", "error"))
        lists = {name: ids for name in fields if isinstance(ids := content.get(name), list)}
        return {**content, **dict.fromkeys(lists), **{f"{name}s": ids for name, ids in lists.items()}}

    @model_validator(mode="after")
    def _map_status(self) -> Self:
        """Map a synonym to the API's word; an unknown word counts as the end once there are answers."""
        self.status = _SYNONYMS.get(self.status, self.status)
        has_answers = self.output_files or self.error_files or self.completed_at
        if has_answers and self.status not in FINAL_STATES | _ACTIVE:
            self.status = "completed"
        return self

    @property
    def output_files(self) -> list[str]:
        """The ids of the files with answers."""
        return self._read_file_ids("output", self.output_file_id)

    @property
    def error_files(self) -> list[str]:
        """The ids of the files with failed lines."""
        return self._read_file_ids("error", self.error_file_id)

    def _read_file_ids(self, kind: str, first: str | None) -> list[str]:
        """Return the ids of a kind of file, with the ids of an undocumented list."""
        listed = (self.model_extra or {}).get(f"{kind}_file_ids")
        ids = [first, *(listed if isinstance(listed, list) else [])]
        return list(dict.fromkeys(each for each in ids if each and isinstance(each, str)))

    @property
    def is_over(self) -> bool:
        """Whether the batch has ended."""
        return self.status in FINAL_STATES


class BatchList(CursorPage[Batch]):
    """Batches, newest first."""

    object: str | None = None
    data: Items[Batch]
    first_id: str | None = None
    last_id: str | None = None


class Batches(Group):
    """Batches.

    Example:
        >>> import json
        >>> from lk_jupyter.api._files import Upload
        >>> from lk_jupyter.api.batches import CreateBatchRequest
        >>> from lk_jupyter.api.files import BatchFileUpload
        >>> body = {"model": "local/echo", "messages": [{"role": "user", "content": "hello"}]}
        >>> row = {"method": "POST", "url": "/v1/chat/completions", "body": body}
        >>> lines = "".join(json.dumps({"custom_id": str(number), **row}) + chr(10) for number in range(3000))
        >>> file = client.files.upload(BatchFileUpload(file=Upload(lines.encode(), name="in.jsonl")))
        >>> batch = client.batches.create(CreateBatchRequest(input_file_id=file.id))
        >>> client.batches.get(batch.id).input_file_id == file.id
        True
        >>> client.batches.list(limit=1)[0].id == batch.id
        True
        >>> _ = client.batches.cancel(batch.id)
    """

    @POST("/batches", effect="spends", creates=True, magic="%lk_batch")
    def create(self, request: CreateBatchRequest) -> Batch:
        """Start a batch over an uploaded file. Raises NotFound if the file doesn't exist."""
        ...

    @GET("/batches", magic="%lk_batch")
    def list(self, after: str | None = None, limit: Annotated[int, Field(ge=1)] = 20) -> BatchList:
        """List batches, newest first. ``next_page()`` of the result requests the next page."""
        ...

    @GET("/batches/{batch_id}", magic="%lk_batch")
    def get(self, batch_id: str) -> Batch:
        """Read a batch."""
        ...

    @POST("/batches/{batch_id}/cancel", effect="stops", repeatable=True, magic="%lk_batch")
    def cancel(self, batch_id: str) -> Batch | None:
        """Cancel a batch; existing answers stay."""
        ...
