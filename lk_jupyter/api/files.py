"""Files of requests and answers for batches (``/files``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import CursorPage, Items, Model, Text, UnixTime, unless_null


class BatchFileUpload(Model):
    """A file of requests, with one JSON object per line."""

    file: Upload
    purpose: str = "batch"


class BatchFile(Model):
    """A stored file; ``purpose`` is batch, batch_output or batch_errors."""

    id: Annotated[str, Field(validation_alias=AliasChoices("id", "file_id", "fileId"), coerce_numbers_to_str=True)]
    object: Annotated[str, unless_null("file")] = "file"
    bytes: int | None = None
    created_at: UnixTime | None = None
    filename: Text = ""
    purpose: Text = ""


class BatchFileList(CursorPage[BatchFile]):
    """Stored files, newest first."""

    object: str | None = None
    data: Items[BatchFile]


class BatchFileDeleted(Model):
    """The deleted file."""

    id: str | None = None
    object: str | None = None
    deleted: bool | None = None


class Files(Group):
    """Files of requests and answers.

    Example:
        >>> from lk_jupyter.api._files import Upload
        >>> from lk_jupyter.api.files import BatchFileUpload
        >>> file = client.files.upload(BatchFileUpload(file=Upload(b"{}", name="in.jsonl")))
        >>> client.files.get(file.id).filename
        'in.jsonl'
        >>> client.files.list(limit=1)[0].id == file.id
        True
        >>> client.files.content(file.id).read()
        b'{}'
        >>> client.files.delete(file.id).deleted
        True
    """

    @POST("/files", effect="writes", timeout=60, magic="%lk_batch")
    def upload(self, upload: BatchFileUpload, purpose: str = "batch") -> BatchFile:
        """Store a file of requests."""
        ...

    @GET("/files", magic="%lk_files list")
    def list(
        self, purpose: str | None = None, limit: Annotated[int | None, Field(ge=1)] = None, after: str | None = None
    ) -> BatchFileList:
        """List files, newest first. ``next_page()`` of the result requests the next page."""
        ...

    @GET("/files/{file_id}", magic="%lk_files show, %lk_files get")
    def get(self, file_id: str) -> BatchFile:
        """Read the metadata of a file."""
        ...

    @DELETE("/files/{file_id}", magic="%lk_files delete, %lk_batch")
    def delete(self, file_id: str) -> BatchFileDeleted | None:
        """Delete a file."""
        ...

    @GET("/files/{file_id}/content", timeout=60, magic="%lk_files get, %lk_batch")
    def content(self, file_id: str) -> Download:
        """Read a file, with one JSON object per line."""
        ...
