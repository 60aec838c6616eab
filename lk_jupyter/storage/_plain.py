"""Replace `_s3` by plain connections, in processes where the library of `_s3` doesn't work.

In a forked process the library hangs, because its threads are missing. On a machine with a wrong clock, the library
signs requests with the wrong time.
"""

from __future__ import annotations

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._s3 import Denied, NoBucket, persistent, translate_errors
from lk_jupyter.storage._s3_http import Wire, raise_error_answer
from lk_jupyter.storage._sign import Request

__all__ = ["Denied", "NoBucket", "persistent", "translate_errors"]


def open_store(credentials: Credentials) -> Wire:
    """Return the bucket, opened with credentials that are renewed during use."""
    return Wire(credentials)


def read_range(wire: Wire, key: str, etag: str, start: int, end: int) -> memoryview:
    """Return a range of an object. Raises StorageError if the object's content no longer has this ETag."""
    headers = {"range": f"bytes={start}-{end - 1}"}
    if etag:
        headers["if-match"] = f'"{etag}"'
    answer = wire.ask(Request("GET", key, headers=headers))
    if answer.status == 412:
        raise StorageError(f"{key!r} changed while it was read. Try again.")
    if answer.code:
        raise_error_answer(key, answer)
    return memoryview(answer.body)
