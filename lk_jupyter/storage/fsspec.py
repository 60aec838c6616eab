# ruff: noqa: FBT001, FBT002, ARG002, PLR0913, PLR0917 (fsspec defines the arguments)
"""The bucket as an fsspec file system, through which pandas, Polars, DuckDB and Dask read and write ``lk://``."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from fsspec.compression import compr
from fsspec.core import get_compression, has_magic
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from lk_jupyter.errors import NoSuchObject
from lk_jupyter.storage._executed import explain_skip
from lk_jupyter.storage._files import CompressedWriter, ObjectFile, ObjectWriter, TextWriter
from lk_jupyter.storage._parts import FILES_AT_ONCE
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage._written import is_written_by_download
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.storage import Storage
from lk_jupyter.text.terminal import one_line


class NoSuchFile(NoSuchObject, FileNotFoundError):
    """No such object; also a FileNotFoundError, which callers expect of a file system."""


#: The local folder of a download of several files, to which the rule of downloads of folders applies.
_folder_target: ContextVar[Path | None] = ContextVar("lk_folder_target", default=None)


class StorageFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A file system whose paths are keys. A folder exists while the folder contains an object."""

    protocol = "lk"
    root_marker = ""
    cachable = False

    def __init__(self, storage: Storage | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._storage = storage

    @property
    def storage(self) -> Storage:
        """The bucket."""
        assert self._storage  # noqa: S101 (who subclasses this finds it elsewhere)
        return self._storage

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path).strip("/") if isinstance(path, str) else super()._strip_protocol(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder without deeper folders, or the object of this key."""
        path = self._strip_protocol(path)
        rows = [_build_object_info(info) for info in self.storage.ls(path, recursive=False)]
        if not rows and path:
            rows = [self._read_object_info(path)]
        return rows if detail else [row["name"] for row in rows]

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
        rows = {row["name"]: row for row in map(_build_object_info, self.storage.ls(path))}
        if not rows and path and self.exists(path):
            rows = {path: self._read_object_info(path)}
        return rows if detail else sorted(rows)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return size, time and type of an object or a folder. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        if not path:
            return _build_folder_info("")
        try:
            return self._read_object_info(path)
        except NoSuchFile:
            if self.storage.is_folder(path):
                return _build_folder_info(path)
            raise

    def _read_object_info(self, path: str) -> dict[str, Any]:
        with _translate_missing():
            return _build_object_info(self.storage.info(path))

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Do nothing: a folder exists while it contains an object. Raises FileExistsError for an existing path."""
        if self.exists(path):
            raise FileExistsError(f"{self._strip_protocol(path)!r} exists.")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing; without ``exist_ok``, raise FileExistsError for an existing path."""
        if not exist_ok:
            self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder, which another program made. Raises OSError for a folder that is not empty."""
        path = self._strip_protocol(path)
        if self.info(path)["type"] != "directory":
            raise NotADirectoryError(errno.ENOTDIR, "Not a folder", path)
        if self.ls(path):
            raise OSError(errno.ENOTEMPTY, "Folder not empty", path)
        self.storage.remove(f"{path}/")

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """Open an object. A written object appears when the file is closed, unless the ``with`` block fails."""
        how = {"block_size": block_size, "cache_options": cache_options}
        if "r" in mode:
            return super().open(path, mode, compression=compression, **how, **options)
        codec = get_compression(path, compression)
        text = {name: options.pop(name) for name in ("encoding", "errors", "newline") if name in options}
        writer = super().open(path, mode.replace("t", "").replace("b", "") + "b", **how, **options)
        if codec:
            writer = CompressedWriter(compr[codec](writer, mode="w"), writer)
        return writer if "b" in mode else TextWriter(writer, **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = None,
        **_: Any,
    ) -> Any:
        if mode == "xb" and self.exists(path):
            raise FileExistsError(f"{path!r} already exists. Nothing was written.")
        with _translate_missing():
            if mode in {"wb", "xb", "ab"}:
                return self.storage._open_writer(path, _Written, append=mode == "ab", autocommit=autocommit)
            file = self.storage.open(path, mode)
        if block_size is None and cache_type is None:
            return file
        return _BlockFile(self, file, block_size or "default", cache_type or "readahead", cache_options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return an object, or a range of bytes; a negative number counts from the end."""
        with _translate_missing():
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
        """Return many ranges, requested in parallel."""
        count = len(paths)
        starts = starts if isinstance(starts, list) else [starts] * count
        ends = ends if isinstance(ends, list) else [ends] * count
        contents: dict[int, Any] = {}

        def take(number: int) -> None:
            try:
                contents[number] = self.cat_file(paths[number], starts[number], ends[number])
            except Exception as error:  # ``on_error`` decides
                if on_error != "return":
                    raise
                contents[number] = error

        call_for_each(range(count), take, FILES_AT_ONCE, halt=CancelToken())
        return [contents[number] for number in range(count)]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Store some bytes."""
        if self._intrans:
            super().pipe_file(path, value, mode)
            return
        if mode == "create" and self.exists(path):
            raise FileExistsError(f"{path!r} already exists. Nothing was written.")
        self.storage.put(value, self._strip_protocol(path))

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        """Store a file."""
        if Path(lpath).is_dir():
            return
        if self._intrans:
            super().put_file(lpath, rpath)
        else:
            self.storage.put(lpath, self._strip_protocol(rpath))

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **options: Any) -> None:
        """Download files. Of folders and patterns, skip with a warning what a program would execute unasked."""
        is_choice = isinstance(rpath, str) and not recursive and not has_magic(rpath)
        top = _folder_target.set(None if is_choice or not isinstance(lpath, (str, Path)) else Path(lpath))
        try:
            super().get(rpath, lpath, recursive=recursive, **options)
        finally:
            _folder_target.reset(top)

    def get_file(self, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        """Download a file, or create the local folder for a folder."""
        target, path = Path(lpath), self._strip_protocol(rpath)
        if (top := _folder_target.get()) and (reason := self._explain_skip(path, target, top)):
            words = f"Skipped: {path!r} {reason}. Check it, then download it by its name."
            warnings.warn(one_line(words), stacklevel=4)
            return
        if self.isdir(path):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _translate_missing():
            self.storage.get(path, target)

    def _explain_skip(self, path: str, target: Path, top: Path) -> str:
        """Return why a file below ``top`` isn't downloaded with others; empty if not."""
        absolute, top = target.absolute(), top.absolute()
        if absolute == top:
            return ""
        name = absolute.relative_to(top).as_posix() if top in absolute.parents else absolute.name
        if not self.isdir(path):
            if target.exists() and not is_written_by_download(target):
                return "exists here, and its content here isn't from a download"
            return explain_skip(absolute, name)
        return explain_skip(absolute / "data.csv", f"{name}/data.csv")

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object on the server."""
        with _translate_missing():
            if not self.isdir(path1):
                self.storage.copy(self._strip_protocol(path1), self._strip_protocol(path2))

    def rm_file(self, path: str) -> None:
        """Remove an object. Raises FileNotFoundError."""
        self._read_object_info(self._strip_protocol(path))
        self.storage.remove(self._strip_protocol(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove objects, with ``recursive`` folders too. Raises FileNotFoundError, IsADirectoryError."""
        names = self.expand_path(path, recursive=recursive and maxdepth is not None, maxdepth=maxdepth)
        files: set[str] = set()

        def look(name: str) -> None:
            if self.info(name)["type"] == "file":
                files.add(name)

        call_for_each(names, look, min(len(names), FILES_AT_ONCE), halt=CancelToken())
        if not recursive and not files:
            raise IsADirectoryError(f"{names[0]!r} is a folder. Nothing was deleted. Use recursive=True.")
        self.storage.remove_all(sorted(files))
        for name in names if recursive and maxdepth is None else ():
            self.storage.remove(f"{name}/")

    def expand_path(self, path: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> list[str]:
        """Return the paths that a path or a pattern names; an object of that very name goes first."""
        if isinstance(path, str) and has_magic(path) and self.isfile(path):
            return [self._strip_protocol(path)]
        paths: list[str] = super().expand_path(path, recursive=recursive, maxdepth=maxdepth, **options)
        return paths

    def modified(self, path: str) -> datetime:
        """When an object was last written."""
        moment: datetime = self.info(path)["LastModified"]
        return moment

    created = modified

    def ukey(self, path: str) -> str:
        """Return a name for the present content of an object."""
        return str(self.info(path)["ETag"])

    checksum = ukey

    def sign(self, path: str, expiration: int = 3600, **_: Any) -> str:
        """Return an address that reads an object without credentials for this number of seconds: a secret."""
        return self.storage.presign(self._strip_protocol(path), life=timedelta(seconds=expiration)).url

    def invalidate_cache(self, path: str | None = None) -> None:
        """Nothing is cached."""


class _Written(ObjectWriter):
    """A file that isn't stored when the block of ``with fsspec.open(…)`` fails, which fsspec doesn't report."""

    def close(self) -> None:
        """Store the object, unless the block failed."""
        if not self.closed and _has_block_failed(sys._getframe().f_back):
            self.discard()
        else:
            super().close()


def _has_block_failed(frame: FrameType | None) -> bool:
    """Whether who closes a file is fsspec, at the end of a block that raised."""
    while frame and frame.f_globals.get("__name__") == "fsspec.core":
        if frame.f_code.co_name == "__exit__":
            return any(frame.f_locals.get("args", ()))
        frame = frame.f_back
    return False


class _BlockFile(AbstractBufferedFile):  # type: ignore[misc]
    """An object that is read in blocks, through a cache of fsspec."""

    def __init__(self, fs: StorageFileSystem, file: ObjectFile, block_size: Any, cache_type: str, options: Any) -> None:
        self._file = file
        super().__init__(
            fs, file.path, block_size=block_size, cache_type=cache_type, cache_options=options, size=file.size
        )

    def _fetch_range(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)


def _build_object_info(info: ObjectInfo) -> dict[str, Any]:
    if info.is_folder:
        return _build_folder_info(info.key.rstrip("/"))
    return {
        "name": info.key,
        "size": info.size,
        "type": "file",
        "LastModified": info.modified,
        "ETag": info.etag,
    }


def _build_folder_info(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


@contextmanager
def _translate_missing() -> Iterator[None]:
    """Turn NoSuchObject into NoSuchFile, the error of file systems."""
    try:
        yield
    except NoSuchFile:
        raise
    except NoSuchObject as error:
        raise NoSuchFile(*error.args) from None
