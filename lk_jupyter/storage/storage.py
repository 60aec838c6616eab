"""The bucket as an object: what a session can keep in it, and get back."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage import _folders, _upload
from lk_jupyter.storage._checksum import digest, holds
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._download import check_room, fetch_file
from lk_jupyter.storage._files import ObjectFile, ObjectReader, ObjectWriter, TextWriter
from lk_jupyter.storage._listing import Page, is_prefix, markers, page, pages
from lk_jupyter.storage._parts import AT_ONCE, PART, ranges, regrouped
from lk_jupyter.storage._plan import file_name, is_key
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request
from lk_jupyter.storage._tree import Tree, grow
from lk_jupyter.storage._workers import CancelToken, each, interruptible
from lk_jupyter.storage.objects import FolderPage, Link, ObjectInfo, Objects, TransferResult
from lk_jupyter.storage.progress import Meter, Watcher

T = TypeVar("T")
Method = Literal["GET", "PUT"]
Bytes = bytes | bytearray | memoryview

__all__ = ["FolderPage", "Link", "ObjectInfo", "Storage", "TransferResult"]

#: Longest life of a link: S3 allows no more.
LONGEST = timedelta(days=7)

#: What stands before a key where a path of this machine could stand too.
SCHEME = "lk://"

#: The largest object that is copied by one request.
_COPIED_AT_ONCE = 5 * 10**9


class Storage:
    """The bucket of an organization, on temporary credentials that are renewed while it is used.

    ``issue`` asks for credentials, as ``client.storage.credentials`` does. Keys are relative paths
    with forward slashes; ``lk://`` may stand before them. Every method raises StorageError;
    NoSuchObject for a key without an object. May be used from several threads.

    ``progress`` is a function that is told about ten times a second, in the caller's thread, how far
    a transfer is: see lk_jupyter.storage.progress.Progress.
    """

    def __init__(self, issue: Callable[[], StorageCredentials]) -> None:
        self._credentials = Credentials(issue)
        self._stores: dict[Any, Any] = {}
        self._has_bucket = False

    def put(
        self,
        source: str | Path | Bytes | Iterable[bytes],
        key: str,
        *,
        overwrite: bool = True,
        progress: Watcher | None = None,
    ) -> TransferResult:
        """Store a file, bytes, or pieces of bytes that are made meanwhile; all of it is there then, or nothing.

        An object of that key is replaced; without ``overwrite`` ObjectExists is raised, unless a file is
        what it holds already. A key that ends with a slash is the folder for a file.
        What is large travels in parts, several at once. After a crash, or when the network was lost,
        the same call goes on where it was.

        A folder is stored with all files below it. Those that are there already are not sent again.
        """
        key = _key(key)
        if not isinstance(source, (str, Path)):
            return self._put_bytes(source, key, progress, overwrite=overwrite)
        path = Path(source)
        if path.is_dir():
            return _folders.up(self, path, key.rstrip("/"), _folders.TransferOptions(progress, overwrite=overwrite))
        key = _checked(key + path.name if key.endswith("/") or not key else key)
        meter = Meter(1, _size(path), progress)
        with _local_words(path):
            if not overwrite and (info := self.find(key)) and holds(path, info):
                return TransferResult(same=1)
            self._put_file(path, key, meter, overwrite=overwrite)
        return _told(meter)

    def replaced(self, source: str | Path, key: str) -> list[str]:
        """Return the keys whose objects a ``put`` of this file or folder would replace by other content."""
        key, path = _key(key), Path(source)
        if path.is_dir():
            return _folders.replaced(self, path, key.rstrip("/"))
        key = key + path.name if key.endswith("/") or not key else key
        with _local_words(path):
            return [key] if (info := self.find(key)) and not holds(path, info) else []

    def free_key(self, key: str) -> str:
        """Return the key, or the first of ``x (1).csv``, ``x (2).csv`` and so on that no object has."""
        folder, slash, name = _key(key).rpartition("/")
        stem, dot, ending = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
        names = (f"{folder}{slash}{stem} ({number}){dot}{ending}" for number in count(1))
        return next(free for free in chain([_key(key)], names) if not self.exists(free))

    def get(self, key: str, target: str | Path, *, progress: Watcher | None = None, checksum: bool = False) -> Path:
        """Write an object to a file and return its path; the file is there whole or not at all.

        ``target`` may be a folder. After a crash, or when the network was lost, the same call goes on
        where it was. ``checksum`` reads the file again and compares it with the object's checksum.
        The files of a folder (a key with a slash at its end) that are there already are not fetched again.
        """
        key, path = _key(key), Path(target)
        if not key or key.endswith("/"):
            _folders.down(self, key.rstrip("/"), path, _folders.TransferOptions(progress, checksum=checksum))
            return path
        info = self._object(key)
        path = path / file_name(key) if path.is_dir() or str(target).endswith(("/", "\\")) else path
        check_room(path.parent, repr(key), info.size)
        meter = Meter(1, info.size, progress)
        with _local_words(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch_file(self._read, info, path, meter, checksum=checksum)
        _told(meter)
        return path

    def sync(
        self,
        source: str | Path,
        target: str | Path,
        *,
        delete: bool = False,
        checksum: bool = False,
        progress: Watcher | None = None,
    ) -> TransferResult:
        """Make a folder like another one; one of the two is in the bucket and begins with ``lk://``.

        A file is there already when its size is that of the other and it is not older; one that is
        older is compared by its checksum, as is any with ``checksum``. ``delete`` removes what is
        only in ``target``.
        """
        up, down = _is_ours(target), _is_ours(source)
        if up == down:
            raise StorageError(
                f"Give one folder here and one in the bucket, which starts with {SCHEME}. Nothing was changed."
            )
        how = _folders.TransferOptions(progress, delete=delete, checksum=checksum)
        if up:
            return _folders.up(self, Path(source), _key(str(target)).rstrip("/"), how)
        return _folders.down(self, _key(str(source)).rstrip("/"), Path(target), how)

    def get_bytes(self, key: str) -> bytearray:
        """Return an object as bytes that may be changed in place."""
        info = self.info(key)
        content = bytearray(info.size)
        self._fill(info, memoryview(content))
        return content

    def get_into(self, key: str, target: memoryview, start: int = 0) -> None:
        """Fill ``target`` with the bytes of an object from ``start`` on."""
        self._fill(self.info(key), target, start)

    def open(self, key: str, mode: str = "rb", *, encoding: str | None = None, newline: str | None = None) -> Any:
        """Open an object as a file: ``rb`` or ``r`` reads by range, ``wb`` or ``w`` writes, ``ab`` or ``a`` appends.

        What is written is there when the file is closed, and not at all when its ``with`` block fails.
        Appending reads the object and stores it again, since S3 changes no object in place.
        """
        key, kind = _key(key), mode.replace("b", "").replace("t", "")
        if kind not in {"r", "w", "a"}:
            raise StorageError(
                f"Unknown mode {mode!r}. Nothing was opened. Use rb or r to read, wb or w to write, ab or a to append."
            )
        text: Any = {"encoding": encoding or "utf-8", "newline": newline}
        if kind == "r":
            reader = ObjectFile(ObjectReader(self.info(key), self._read))
            return reader if "b" in mode else io.TextIOWrapper(reader, **text)
        writer = self._writer(key, append=kind == "a")
        return writer if "b" in mode else TextWriter(writer, **text)

    def _writer(
        self, key: str, kind: type[ObjectWriter] = ObjectWriter, *, append: bool = False, autocommit: bool = True
    ) -> ObjectWriter:
        writer = kind(_checked(key), self.put, autocommit=autocommit)
        if append:
            try:
                with suppress(NoSuchObject), self.open(key) as before:
                    shutil.copyfileobj(before, writer, PART)
            except BaseException:
                writer.discard()
                raise
        return writer

    def info(self, key: str) -> ObjectInfo:
        """Return what is known of an object."""
        key = _key(key)
        if not key or key.endswith("/"):
            raise NoSuchObject(f"{key or SCHEME!r} is a folder, not a file.")
        return _info(self._do(key, lambda s3: s3.head(self._store, key)), key)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object; None when there is none."""
        with suppress(NoSuchObject):
            return self.info(key)
        return None

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""
        return self.find(key) is not None

    def is_folder(self, key: str) -> bool:
        """Whether there is an object below this key, or an empty folder that another program made."""
        folder = _key(key).strip("/")
        return not folder or is_prefix(self._wire, f"{folder}/")

    def ls(self, folder: str = "", *, recursive: bool = True) -> Objects:
        """Iterate over the objects in a folder and below it; over all of them without one.

        They are asked for a thousand at a time, when they are wanted. Without ``recursive`` a folder
        below is one item, with a slash at its end.
        """
        return Objects(info for items in self.pages(folder, recursive=recursive) for info in items)

    def pages(self, folder: str = "", *, recursive: bool = True, size: int = 1000) -> Iterator[Page]:
        """Iterate over what ``ls`` gives, in lists of at most ``size``."""
        folder = _key(folder).strip("/")
        return pages(self._wire, f"{folder}/" if folder else "", recursive=recursive, size=size)

    def ls_page(self, folder: str = "", *, token: str | None = None, size: int = 1000, begins: str = "") -> FolderPage:
        """Return one page of a folder: ``items`` in the order of their keys, and the ``token`` of the page after it.

        One request however large the folder is: at most ``size`` items (1,000 is the most), folders below
        as one item each, with a slash at its end. ``token`` is None after the last page; it is text that
        may be kept and used by another Storage of this bucket. ``begins`` leaves only names that begin so.
        """
        folder = _key(folder).strip("/")
        prefix = f"{folder}/{begins}" if folder else begins
        return page(self._wire, prefix, recursive=False, size=size, token=token)

    def tree(self, folder: str = "", *, depth: int = 3, most: int = 100) -> Tree:
        """Return a folder as a drawing, so many levels deep, with at most so many items of each."""
        folder = _key(folder).strip("/")
        return grow(f"{folder}/" if folder else SCHEME, lambda at: self.ls(at, recursive=False), depth, most)

    def remove(self, key: str) -> int:
        """Remove an object; one that is not there is no error. A key with a slash at its end is a folder and all in it.

        Return how many objects there were.
        """
        key = _key(key)
        if not key.strip("/"):
            raise StorageError("Name what to delete. Nothing was deleted.")
        if key.endswith("/"):
            count = self.remove_all(found.key for found in self.ls(key))
            for marker in markers(self._wire, key):
                self._wire.need(Request("DELETE", marker))
            return count
        with suppress(NoSuchObject):
            self._do(key, lambda s3: s3.delete(self._store, key))
            return 1
        return 0

    def remove_all(self, keys: Iterable[str]) -> int:
        """Remove the objects of these keys, a thousand at a time; return how many."""
        wanted = list(keys)
        for start, end in ranges(len(wanted), 1000) if wanted else ():
            self._do(wanted[start], lambda s3: s3.delete(self._store, wanted[start:end]))  # noqa: B023 (called now)
        return len(wanted)

    def move(self, key: str, to: str) -> int:
        """Give an object another key, or the objects of a folder (a key with a slash at its end) another folder.

        Return how many were moved. What had the new key is replaced.
        """
        count = self.copy(key, to)
        self.remove(key)
        return count

    def copy(self, key: str, to: str) -> int:
        """Copy an object, or those of a folder (a key with a slash at its end), without them travelling here."""
        key, to = _key(key), _key(to)
        if not key.endswith("/"):
            self._copy(self.info(key), to + key.rpartition("/")[2] if to.endswith("/") else to)
            return 1
        to = to.rstrip("/") + "/"
        if to.startswith(key):
            raise StorageError(f"{to!r} is inside {key!r}.")
        found = list(self.ls(key))
        each(found, lambda info: self._copy(info, to + info.key[len(key) :]), AT_ONCE, halt=CancelToken())
        return len(found)

    def presign(self, key: str, method: Method = "GET", *, life: timedelta = timedelta(hours=1)) -> Link:
        """Return a link to read or to write one object without credentials.

        It ends after ``life``, or with the credentials that the server gives, whichever is sooner.
        """
        return self.presign_all([_key(key)], method, life=life)[0]

    def presign_all(self, keys: list[str], method: Method = "GET", *, life: timedelta) -> list[Link]:
        """Return a link for each key, all of one life."""
        if not keys:
            return []
        if method == "PUT" and not self._has_bucket:
            self._wire.ensure_bucket()
            self._has_bucket = True
        given = self._credentials.lasting(min(life, LONGEST))
        now = datetime.now(timezone.utc)
        left = given.expires_at - now if given.expires_at else LONGEST
        life = max(timedelta(seconds=1), min(life, LONGEST, left))
        urls = self._do(keys[0], lambda s3: s3.sign(s3.fixed_store(given), method, keys, life))
        return [Link(url, now + life) for url in urls]

    def abort_unfinished(self) -> int:
        """Take back what uploads of this machine that were cut off have left in the bucket; return how many."""
        return _upload.sweep(self._wire, keep=0)

    @property
    def _store(self) -> Any:
        s3 = _library()
        if s3 not in self._stores:
            with s3.in_our_words(""):
                self._stores[s3] = s3.store_of(self._credentials)
        return self._stores[s3]

    @cached_property
    def _wire(self) -> Wire:
        return Wire(self._credentials)

    def _object(self, key: str) -> ObjectInfo:
        """Return what is known of an object; say so when it is a folder that was named."""
        try:
            return self.info(key)
        except NoSuchObject:
            if self.is_folder(key):
                raise NoSuchObject(
                    f"{key!r} is a folder. Nothing was deleted. To delete everything in it: {key + '/'!r}"
                ) from None
            raise

    def _put_bytes(
        self, source: Bytes | Iterable[bytes], key: str, progress: Watcher | None, *, overwrite: bool
    ) -> TransferResult:
        _checked(key)
        meter = Meter(1, len(source) if isinstance(source, (bytes, bytearray, memoryview)) else 0, progress)
        if isinstance(source, (bytes, bytearray, memoryview)):
            content = memoryview(source).cast("B")
            source = (bytes(content[start:end]) for start, end in ranges(len(content), PART))
        self._put_pieces(source, key, meter, overwrite=overwrite)
        return _told(meter)

    def _put_pieces(self, pieces: Iterable[bytes], key: str, meter: Meter, *, overwrite: bool) -> None:
        parts = regrouped(pieces, PART)
        first = next(parts)
        if len(first) < PART or (second := next(parts, None)) is None:
            self._put_small(first, key, meter, overwrite=overwrite)
        else:
            _upload.send_pieces(self._wire, chain([first, second], parts), key, meter, overwrite=overwrite)

    def _put_file(self, path: Path, key: str, meter: Meter, *, overwrite: bool = True) -> None:
        if path.stat().st_size <= PART:
            self._put_small(path.read_bytes(), key, meter, overwrite=overwrite)
        else:
            _upload.send_file(self._wire, path, key, meter, overwrite=overwrite)

    def _put_small(self, content: bytes, key: str, meter: Meter, *, overwrite: bool = True) -> None:
        if overwrite:
            self._do(key, lambda s3: s3.put(self._store, key, content, use_multipart=False))
        else:
            interruptible(lambda: self._wire.create(Request("PUT", key, body=content), digest(content)))
        meter.add(len(content))

    def _copy(self, info: ObjectInfo, to: str) -> None:
        _checked(to)
        if info.size > _COPIED_AT_ONCE:
            _upload.copy_in_parts(self._wire, info.key, info.size, to)
        else:
            self._do(info.key, lambda s3: s3.copy(self._store, info.key, to))

    def _fill(self, info: ObjectInfo, target: memoryview, first: int = 0) -> None:
        """Fill ``target`` with the bytes of an object from ``first`` on, several parts at once."""

        def take(where: tuple[int, int]) -> None:
            start, end = where
            target[start:end] = self._read(info, first + start, first + end)

        each(ranges(len(target), PART), take, AT_ONCE, halt=CancelToken())

    def _read(self, info: ObjectInfo, start: int, end: int) -> memoryview:
        """Return a range of an object that is still the one of which we know."""
        if start >= end:
            return memoryview(b"")
        part = self._do(info.key, lambda s3: s3.read_range(self._store, info.key, info.etag, start, end))
        if len(part) != end - start:
            raise StorageError(f"{info.key!r} changed while it was read. Try again.")
        return memoryview(part)

    def _do(self, key: str, act: Callable[[Any], T]) -> T:
        """Return what ``act`` makes of the library; credentials that are refused are replaced once."""
        s3 = _library()

        def once() -> T:
            with s3.in_our_words(key):
                return interruptible(lambda: act(s3))

        given = self._credentials.present()
        try:
            return cast("T", s3.persistent(once))
        except s3.NoBucket:
            if not self._wire.make_bucket():
                raise
        except s3.Denied:
            self._credentials.forget(given)
            self._stores.clear()
        return cast("T", s3.persistent(once))


def _library() -> Any:
    """Return what speaks S3; it is loaded when it is used."""
    from lk_jupyter.storage import _s3  # noqa: PLC0415

    if not _s3.is_copied:
        return _s3
    from lk_jupyter.storage import _plain  # noqa: PLC0415

    return _plain


def _key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")


def _checked(key: str) -> str:
    """Return a key by which something can be stored. Raises StorageError."""
    if not is_key(key):
        raise StorageError(f"{key!r} isn't a key. Give a relative path such as data/train.csv.")
    return key


def _is_ours(place: str | Path) -> bool:
    return isinstance(place, str) and place.startswith(SCHEME)


def _size(path: Path) -> int:
    with _local_words(path):
        return path.stat().st_size


@contextmanager
def _local_words(path: Path) -> Iterator[None]:
    """Say in one line what this machine's disk has against it."""
    try:
        yield
    except FileNotFoundError:
        raise StorageError(f"Can't read or write {path} (no such file or folder).") from None
    except OSError as error:
        raise StorageError(f"Can't read or write {path} ({error.strerror or error}).") from None


def _told(meter: Meter) -> TransferResult:
    """Tell that all is done, and what it was."""
    meter.end_file()
    meter.tell()
    state = meter.state()
    return TransferResult(1, state.bytes_done, seconds=state.seconds)


def _info(meta: Any, key: str) -> ObjectInfo:
    return ObjectInfo(key, meta["size"], meta["last_modified"], (meta["e_tag"] or "").strip('"'))
