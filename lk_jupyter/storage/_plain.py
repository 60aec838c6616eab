"""What `_s3` does, over plain connections: for a forked process, in which the library hangs for lack of its threads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._parts import FILES_AT_ONCE
from lk_jupyter.storage._s3 import Denied, NoBucket, in_our_words, persistent
from lk_jupyter.storage._s3_http import Wire, address_of, refuse
from lk_jupyter.storage._sign import Request, presigned, quoted
from lk_jupyter.storage._workers import CancelToken, each

__all__ = ["Denied", "NoBucket", "in_our_words", "persistent"]


def store_of(credentials: Credentials) -> Wire:
    """Return the bucket, opened with credentials that are renewed while it is used."""
    return Wire(credentials)


def fixed_store(given: StorageCredentials) -> StorageCredentials:
    """Return what links are signed with."""
    return given


def head(wire: Wire, key: str) -> dict[str, Any]:
    """Return what is known of an object."""
    answer = wire.ask(Request("HEAD", key))
    if answer.status == 404:
        raise NoSuchObject(f"No file {key!r} in the bucket.")
    if answer.code:
        refuse(key, answer)
    return {
        "size": int(answer.headers.get("content-length", "0")),
        "last_modified": parsedate_to_datetime(answer.headers["last-modified"]),
        "e_tag": answer.headers.get("etag"),
    }


def read_range(wire: Wire, key: str, etag: str, start: int, end: int) -> memoryview:
    """Return a range of an object, as long as it has the content of this name."""
    headers = {"range": f"bytes={start}-{end - 1}"}
    if etag:
        headers["if-match"] = f'"{etag}"'
    answer = wire.ask(Request("GET", key, headers=headers))
    if answer.status == 412:
        raise StorageError(f"{key!r} changed while it was read. Try again.")
    if answer.code:
        refuse(key, answer)
    return memoryview(answer.body)


def put(wire: Wire, key: str, content: bytes, **_: Any) -> None:
    """Store some bytes."""
    wire.need(Request("PUT", key, body=content))


def delete(wire: Wire, keys: str | Iterable[str]) -> None:
    """Remove objects."""
    each(
        [keys] if isinstance(keys, str) else keys,
        lambda key: wire.need(Request("DELETE", key)),
        FILES_AT_ONCE,
        halt=CancelToken(),
    )


def copy(wire: Wire, key: str, to: str) -> None:
    """Copy an object without it travelling here."""
    source = quoted(f"/{wire.bucket_name}/{key}", "/")
    wire.need(Request("PUT", to, headers={"x-amz-copy-source": source}))


def sign(given: StorageCredentials, method: str, keys: list[str], life: timedelta) -> list[str]:
    """Return a link for each key."""
    now, address = datetime.now(timezone.utc), address_of(given)
    host = urlsplit(address).netloc
    return [address + presigned(Request(method, key), host, given, now, life) for key in keys]
