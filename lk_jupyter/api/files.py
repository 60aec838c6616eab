"""Files of requests and answers for batches (``/files``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import CursorPage, Model, UnixTime


class BatchFileUpload(Model):
    """A file of requests, one JSON object a line."""

    file: Upload
    purpose: str = "batch"


class BatchFile(Model):
    """A stored file; ``purpose`` is batch, batch_output or batch_errors."""

    id: str
    object: str = "file"
    bytes: int
    created_at: UnixTime
    filename: str
    purpose: str


class BatchFileList(CursorPage[BatchFile]):
    """Stored files, newest first."""

    object: str | None = None
    data: list[BatchFile]


class BatchFileDeleted(Model):
    """What was deleted."""

    id: str
    object: str | None = None
    deleted: bool


class Files(Group):
    """Files of requests and answers."""

    @POST("/files", timeout=60)
    def upload(self, upload: BatchFileUpload, purpose: str = "batch") -> BatchFile:
        """Store a file of requests."""
        ...

    @GET("/files")
    def list(
        self, purpose: str | None = None, limit: Annotated[int | None, Field(ge=1)] = None, after: str | None = None
    ) -> BatchFileList:
        """List files, newest first; the page knows how to fetch on."""
        ...

    @GET("/files/{file_id}")
    def get(self, file_id: str) -> BatchFile:
        """Read what is known of a file."""
        ...

    @DELETE("/files/{file_id}")
    def delete(self, file_id: str) -> BatchFileDeleted:
        """Delete a file."""
        ...

    @GET("/files/{file_id}/content", timeout=60)
    def content(self, file_id: str) -> Download:
        """Read a file, one JSON object a line."""
        ...
