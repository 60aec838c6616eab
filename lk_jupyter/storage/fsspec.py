# ruff: noqa: FBT001, FBT002, ARG002 (the arguments are those of fsspec)
"""The bucket as a file system of fsspec, by which pandas, Polars, DuckDB, Dask and others read and write ``lk://``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from lk_jupyter.errors import NoSuchObject
from lk_jupyter.storage._parts import FILES_AT_ONCE
from lk_jupyter.storage._work import Halt, each
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.storage import Storage


class NoSuchFile(NoSuchObject, FileNotFoundError):
    """There is no such object; also the error that others expect of a file system."""


class StorageFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Paths are keys. Folders need not be made: they are there while an object is in them."""

    protocol = "lk"
    root_marker = ""
    cachable = False

    def __init__(self, storage: Storage | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._given = storage

    @property
    def storage(self) -> Storage:
        """The bucket."""
        assert self._given  # noqa: S101 (who subclasses this finds it elsewhere)
        return self._given

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path).strip("/") if isinstance(path, str) else super()._strip_protocol(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List one level of a folder, or the object of this key."""
        path = self._strip_protocol(path)
        found = [_facts(info) for info in self.storage.ls(path, recursive=False)]
        if not found and path:
            found = [self._object(path)]
        return found if detail else [row["name"] for row in found]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        """List all objects below a folder."""
        if maxdepth or withdirs or options.get("prefix"):
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options)
        path = self._strip_protocol(path)
        found = {row["name"]: row for row in map(_facts, self.storage.ls(path))}
        if not found and path and self.exists(path):
            found = {path: self._object(path)}
        return found if detail else sorted(found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Tell size, time and type of an object or a folder. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        if not path:
            return _folder("")
        try:
            return self._object(path)
        except NoSuchFile:
            if next(self.storage.pages(path, size=1), ()):
                return _folder(path)
            raise

    def _object(self, path: str) -> dict[str, Any]:
        with _missing():
            return _facts(self.storage.info(path))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode == "xb" and self.exists(path):
            raise FileExistsError(f"There is a {path!r} already.")
        with _missing():
            return self.storage.open(path, mode.replace("x", "w"))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return an object, or a range of it; a negative number counts from its end."""
        with _missing():
            if start is None and end is None:
                return bytes(self.storage.get_bytes(self._strip_protocol(path)))
            with self.storage.open(self._strip_protocol(path)) as file:
                size = file.size
                begin = start or 0 if (start or 0) >= 0 else size + (start or 0)
                stop = size if end is None else (end if end >= 0 else size + end)
                file.seek(begin)
                return bytes(file.read(max(0, stop - begin)))

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return many ranges, several at once."""
        count = len(paths)
        starts = starts if isinstance(starts, list) else [starts] * count
        ends = ends if isinstance(ends, list) else [ends] * count
        found: dict[int, Any] = {}

        def take(number: int) -> None:
            try:
                found[number] = self.cat_file(paths[number], starts[number], ends[number])
            except Exception as error:  # the caller says what becomes of it
                if on_error != "return":
                    raise
                found[number] = error

        each(range(count), take, FILES_AT_ONCE, halt=Halt())
        return [found[number] for number in range(count)]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Store some bytes."""
        if mode == "create" and self.exists(path):
            raise FileExistsError(f"There is a {path!r} already.")
        self.storage.put(value, self._strip_protocol(path))

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        """Store a file."""
        if not Path(lpath).is_dir():
            self.storage.put(lpath, self._strip_protocol(rpath))

    def get_file(self, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        """Fetch a file; of a folder its folder here."""
        target, path = Path(lpath), self._strip_protocol(rpath)
        if self.isdir(path):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _missing():
            self.storage.get(path, target)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object without it travelling here."""
        with _missing():
            if not self.isdir(path1):
                self.storage.copy(self._strip_protocol(path1), self._strip_protocol(path2))

    def rm_file(self, path: str) -> None:
        """Remove an object. Raises FileNotFoundError."""
        self._object(self._strip_protocol(path))
        self.storage.remove(self._strip_protocol(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove objects, with ``recursive`` folders too."""
        self.storage.remove_all(
            each for each in self.expand_path(path, recursive=recursive, maxdepth=maxdepth) if not self.isdir(each)
        )

    def modified(self, path: str) -> datetime:
        """When an object was last written."""
        found: datetime = self.info(path)["LastModified"]
        return found

    created = modified

    def ukey(self, path: str) -> str:
        """A name for the present content of an object."""
        return str(self.info(path)["ETag"])

    checksum = ukey

    def sign(self, path: str, expiration: int = 3600, **_: Any) -> str:
        """Return an address that reads an object without credentials for so many seconds: a secret."""
        return self.storage.presign(self._strip_protocol(path), life=timedelta(seconds=expiration)).url

    def invalidate_cache(self, path: str | None = None) -> None:
        """Nothing is cached."""


def _facts(info: ObjectInfo) -> dict[str, Any]:
    if info.is_folder:
        return _folder(info.key.rstrip("/"))
    return {
        "name": info.key,
        "size": info.size,
        "type": "file",
        "LastModified": info.modified,
        "ETag": info.etag,
    }


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


@contextmanager
def _missing() -> Iterator[None]:
    """Say that an object is not there as file systems do."""
    try:
        yield
    except NoSuchFile:
        raise
    except NoSuchObject as error:
        raise NoSuchFile(*error.args) from None
