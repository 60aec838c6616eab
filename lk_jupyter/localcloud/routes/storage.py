"""Files by REST: the same bucket that S3 shows, piece by piece in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from fastapi import HTTPException
from fastapi.responses import StreamingResponse

from lk_jupyter.api._files import Upload
from lk_jupyter.api.storage import BulkUploadBody, StorageGroup, UploadFileBody
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.buckets.s3 import Bucket
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid

_PIECE_BYTES = 1024 * 1024


@implements(StorageGroup.list_files)
def list_files(ctx: Context, prefix: str, max_files: int) -> list[dict[str, Any]]:
    """List the bucket, folders left out."""
    rows = islice(_open_bucket(ctx).list(prefix), max(0, min(max_files, 10**9)))
    return [_build_object_facts(row) for row in rows]


@implements(StorageGroup.upload)
def upload(ctx: Context, body: UploadFileBody, key: str | None) -> dict[str, Any]:
    """Store a file; the file is on disk when this function answers."""
    return {
        **_store_upload(_open_bucket(ctx), key or body.file.name, body.file),
        "message": "File uploaded successfully",
    }


@implements(StorageGroup.upload_bulk)
def upload_bulk(ctx: Context, body: BulkUploadBody) -> dict[str, Any]:
    """Store files one after another. Each succeeds or fails separately."""
    bucket, folder = _open_bucket(ctx), (body.folder_prefix or "").rstrip("/")
    results = [
        _store_upload_and_report(bucket, f"{folder}/{file.name}" if folder else file.name, file) for file in body.files
    ]
    good = sum(row["status"] == "success" for row in results)
    return {
        "total_files": len(results),
        "successful_uploads": good,
        "failed_uploads": len(results) - good,
        "results": results,
        "message": f"Uploaded {good} of {len(results)} files",
    }


@implements(StorageGroup.download)
def download(ctx: Context, file_key: str) -> StreamingResponse:
    """Send an object."""
    with _refuse_missing_key(file_key):
        object_ = _open_bucket(ctx).open(file_key)
    headers = {"Content-Length": str(object_.meta["size"]), "ETag": f'"{_format_etag(object_.meta)}"'}
    pieces = (bytes(piece) for piece in object_.stream(min_chunk_size=_PIECE_BYTES))
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)


@implements(StorageGroup.delete)
def delete(ctx: Context, file_key: str) -> dict[str, str]:
    """Remove an object."""
    with _refuse_missing_key(file_key):
        _open_bucket(ctx).delete(file_key)
    return {"message": f"File {file_key} deleted"}


@implements(StorageGroup.delete_folder)
def delete_folder(ctx: Context, folder_prefix: str) -> dict[str, str]:
    """Remove the objects under a prefix, which must not be empty."""
    if not folder_prefix:
        raise invalid("path", "folder_prefix", "Name the folder, such as datasets/")
    count = _open_bucket(ctx).delete_folder(folder_prefix)
    if not count:
        raise HTTPException(404, f"No file starts with {folder_prefix[:100]!r}")
    return {"message": f"Deleted {count} files"}


@implements(StorageGroup.credentials)
def credentials(ctx: Context) -> dict[str, Any]:
    """Issue credentials for S3."""
    return ctx.cloud.storage.issue_credentials(ctx.caller.org_id)


def _open_bucket(ctx: Context) -> Bucket:
    return ctx.cloud.storage.get_or_create_bucket(ctx.caller.org_id)


def _store_upload(bucket: Bucket, key: str, file: Upload) -> dict[str, Any]:
    with file.open() as source:
        meta = bucket.put(key, source)
    return {"key": key, "size": meta["size"], "etag": _format_etag(meta)}


def _store_upload_and_report(bucket: Bucket, key: str, file: Upload) -> dict[str, Any]:
    try:
        return {**_store_upload(bucket, key, file), "status": "success", "error_message": None}
    except HTTPException as refused:
        return {"key": key, "size": 0, "etag": "", "status": "failed", "error_message": refused.detail}


@contextmanager
def _refuse_missing_key(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise HTTPException(404, f"No file {key[:100]!r}") from None


def _build_object_facts(meta: Any) -> dict[str, Any]:
    modified = meta["last_modified"].isoformat()
    return {"key": meta["path"], "size": meta["size"], "last_modified": modified, "etag": _format_etag(meta)}


def _format_etag(meta: Any) -> str:
    return str(meta["e_tag"] or "").strip('"')
