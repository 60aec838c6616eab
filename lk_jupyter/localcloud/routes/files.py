"""Files of batches: upload, list, read, delete, download."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException
from fastapi.responses import FileResponse

from lk_jupyter.api.files import BatchFileUpload, Files
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.models.batch_files import MOST_ROWS

Json = dict[str, Any]


@implements(Files.upload)
def upload(ctx: Context, upload: BatchFileUpload, purpose: str) -> Json:
    """Store a file of requests; its purpose is in the form or in the query."""
    for name in (purpose, upload.purpose):
        if name != "batch":
            raise HTTPException(400, f"The purpose of an uploaded file must be batch, not {name[:50]!r}")
    with upload.file.open() as source:
        return ctx.cloud.files.upload(ctx.caller.org_id, upload.file.name, source)


@implements(Files.list)
def list_(ctx: Context, purpose: str | None, limit: int | None, after: str | None) -> Json:
    """List files, newest first."""
    size = min(limit or MOST_ROWS, MOST_ROWS)
    page = ctx.cloud.files.page(ctx.caller.org_id, size, after, purpose)
    return {"object": "list", "data": page[:size], "has_more": len(page) > size}


@implements(Files.get)
def get(ctx: Context, file_id: str) -> Json:
    """Read the facts of a file."""
    return ctx.cloud.files.get(ctx.caller.org_id, file_id)


@implements(Files.delete)
def delete(ctx: Context, file_id: str) -> Json:
    """Delete a file. A batch that has read the file continues."""
    ctx.cloud.files.delete(ctx.caller.org_id, file_id)
    return {"id": file_id, "object": "file", "deleted": True}


@implements(Files.content)
def content(ctx: Context, file_id: str) -> FileResponse:
    """Send the bytes of a file."""
    return FileResponse(ctx.cloud.files.path(ctx.caller.org_id, file_id), media_type="application/jsonl")
