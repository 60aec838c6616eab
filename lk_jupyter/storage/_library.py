"""Call the S3 library, or its replacement where the library doesn't work, and renew refused credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._workers import call_interruptibly
from lk_jupyter.storage.objects import ObjectInfo

T = TypeVar("T")


class Library:
    """The library with the open bucket. The library is imported on first use, and may be used from several threads."""

    def __init__(self, credentials: Credentials, make_bucket: Callable[[], bool]) -> None:
        self._credentials = credentials
        self._make_bucket = make_bucket
        self._stores: dict[Any, Any] = {}

    @property
    def store(self) -> Any:
        """The open bucket, with the present credentials."""
        s3, credentials = self._import_library(), self._credentials.current_credentials()
        if self._stores.get(s3, (None,))[0] != credentials:
            with s3.translate_errors(""):
                self._stores[s3] = credentials, s3.open_store(self._credentials)
        return self._stores[s3][1]

    def read(self, info: ObjectInfo, start: int, end: int) -> memoryview:
        """Return a range of an object. Raises StorageError if the object has changed since ``info``."""
        if start >= end:
            return memoryview(b"")
        part = self._call_library(info.key, lambda s3: s3.read_range(self.store, info.key, info.etag, start, end))
        if len(part) != end - start:
            raise StorageError(f"{info.key!r} changed while it was read. Try again.")
        return memoryview(part)

    def _call_library(self, key: str, act: Callable[[Any], T]) -> T:
        """Return the result of ``act`` with the library; refused credentials are replaced once."""
        s3 = self._import_library()

        def once() -> T:
            with s3.translate_errors(key):
                return call_interruptibly(lambda: act(s3))

        credentials = self._credentials.current_credentials()
        try:
            return cast("T", s3.persistent(once))
        except s3.NoBucket:
            if not self._make_bucket():
                raise
        except s3.Denied:
            self._credentials.forget(credentials)
            self._stores.clear()
        return cast("T", s3.persistent(once))

    def _import_library(self) -> Any:
        """Return the module that reads and deletes; the library is imported on first use."""
        from lk_jupyter.storage import _plain, _s3  # noqa: PLC0415

        # Without a session token, the library would send the AWS token of the environment.
        has_token = self._credentials.current_credentials().session_token
        return _plain if _s3.is_copied or self._credentials.is_skewed or not has_token else _s3
