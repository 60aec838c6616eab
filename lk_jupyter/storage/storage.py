"""The bucket as an object: what a session can keep in it, and get back."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage import _folders, _up
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._down import check_room, fetch_file
from lk_jupyter.storage._files import ObjectFile, ObjectReader, ObjectWriter
from lk_jupyter.storage._listing import Page, page, pages
from lk_jupyter.storage._parts import AT_ONCE, PART, ranges, regrouped
from lk_jupyter.storage._plan import is_key
from lk_jupyter.storage._tree import Tree, grow
from lk_jupyter.storage._wire import Wire
from lk_jupyter.storage._work import Halt, each, interruptible
from lk_jupyter.storage.objects import FolderPage, Link, ObjectInfo, Objects, Outcome
from lk_jupyter.storage.progress import Meter, Watcher

T = TypeVar("T")
Method = Literal["GET", "PUT"]
Bytes = bytes | bytearray | memoryview

__all__ = ["FolderPage", "Link", "ObjectInfo", "Outcome", "Storage"]

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

    def put(
        self, source: str | Path | Bytes | Iterable[bytes], key: str, *, progress: Watcher | None = None
    ) -> Outcome:
        """Store a file, bytes, or pieces of bytes that are made meanwhile; all of it is there then, or nothing.

        An object of that key is replaced; a key that ends with a slash is the folder for a file.
        What is large travels in parts, several at once. After a crash, or when the network was lost,
        the same call goes on where it was.

        A folder is stored with all files below it. Those that are there already are not sent again.
        """
        key = _key(key)
        if not isinstance(source, (str, Path)):
            return self._put_bytes(source, key, progress)
        path = Path(source)
        if path.is_dir():
            return _folders.up(self, path, key.rstrip("/"), _folders.How(progress))
        key = _checked(key + path.name if key.endswith("/") or not key else key)
        meter = Meter(1, _size(path), progress)
        with _local_words(path):
            self._put_file(path, key, meter)
        return _told(meter)

    def get(self, key: str, target: str | Path, *, progress: Watcher | None = None, checksum: bool = False) -> Path:
        """Write an object to a file and return its path; the file is there whole or not at all.

        ``target`` may be a folder. After a crash, or when the network was lost, the same call goes on
        where it was. ``checksum`` reads the file again and compares it with the object's checksum.
        The files of a folder (a key with a slash at its end) that are there already are not fetched again.
        """
        key, path = _key(key), Path(target)
        if not key or key.endswith("/"):
            _folders.down(self, key.rstrip("/"), path, _folders.How(progress, checksum=checksum))
            return path
        info = self._object(key)
        path = path / info.name if path.is_dir() or str(target).endswith(("/", "\\")) else path
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
    ) -> Outcome:
        """Make a folder like another one; one of the two is in the bucket and begins with ``lk://``.

        A file is there already when its size is that of the other and it is not older; one that is
        older is compared by its checksum, as is any with ``checksum``. ``delete`` removes what is
        only in ``target``.
        """
        up, down = _is_ours(target), _is_ours(source)
        if up == down:
            raise StorageError(f"One of the two is in the bucket and begins with {SCHEME}, the other is a folder here.")
        how = _folders.How(progress, delete=delete, checksum=checksum)
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
        """Open an object as a file: ``rb`` or ``r`` reads by range, ``wb`` or ``w`` writes.

        What is written is there when the file is closed, and not at all when its ``with`` block fails.
        """
        key, kind = _key(key), mode.replace("b", "").replace("t", "")
        if kind not in {"r", "w"}:
            raise StorageError(f"Mode {mode!r}: an object can be read (r, rb) or written anew (w, wb).")
        if kind == "w":
            _checked(key)
        reader = ObjectReader(self.info(key), self._read) if kind == "r" else None
        file = ObjectFile(reader) if reader else cast("Any", ObjectWriter(key, self.put))
        return file if "b" in mode else io.TextIOWrapper(file, encoding=encoding or "utf-8", newline=newline)

    def info(self, key: str) -> ObjectInfo:
        """Return what is known of an object."""
        key = _key(key)
        if not key or key.endswith("/"):
            raise NoSuchObject(f"{key or SCHEME!r} is a folder, and no object.")
        return _info(self._do(key, lambda s3: s3.head(self._store, key)), key)

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""
        with suppress(NoSuchObject):
            return bool(self.info(key))
        return False

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
            raise StorageError("Name what is to be removed; nothing was.")
        if key.endswith("/"):
            return self.remove_all(found.key for found in self.ls(key))
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
        each(found, lambda info: self._copy(info, to + info.key[len(key) :]), AT_ONCE, halt=Halt())
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
        given = self._credentials.lasting(min(life, LONGEST))
        now = datetime.now(timezone.utc)
        life = max(timedelta(seconds=1), min(life, LONGEST, given.expires_at - now))
        urls = self._do(keys[0], lambda s3: s3.sign(s3.fixed_store(given), method, keys, life))
        return [Link(url, now + life) for url in urls]

    def abort_unfinished(self) -> int:
        """Take back what uploads of this machine that were cut off have left in the bucket; return how many."""
        return _up.sweep(self._wire, keep=0)

    @cached_property
    def _store(self) -> Any:
        return self._do("", lambda s3: s3.store_of(self._credentials))

    @cached_property
    def _wire(self) -> Wire:
        return Wire(self._credentials)

    def _object(self, key: str) -> ObjectInfo:
        """Return what is known of an object; say so when it is a folder that was named."""
        try:
            return self.info(key)
        except NoSuchObject:
            if next(self.pages(key, size=1)):
                raise NoSuchObject(f"{key!r} is a folder. Name it {key + '/'!r} for all that is in it.") from None
            raise

    def _put_bytes(self, source: Bytes | Iterable[bytes], key: str, progress: Watcher | None) -> Outcome:
        _checked(key)
        meter = Meter(1, len(source) if isinstance(source, (bytes, bytearray, memoryview)) else 0, progress)
        if isinstance(source, (bytes, bytearray, memoryview)):
            source = _pieces(memoryview(source).cast("B"))
        self._put_pieces(source, key, meter)
        return _told(meter)

    def _put_pieces(self, pieces: Iterable[bytes], key: str, meter: Meter) -> None:
        parts = regrouped(pieces, PART)
        first = next(parts)
        if len(first) < PART or (second := next(parts, None)) is None:
            self._put_small(first, key, meter)
        else:
            _up.send_pieces(self._wire, first, _chained(second, parts), key, meter)

    def _put_file(self, path: Path, key: str, meter: Meter) -> None:
        if path.stat().st_size <= PART:
            self._put_small(path.read_bytes(), key, meter)
        else:
            _up.send_file(self._wire, path, key, meter)

    def _put_small(self, content: bytes, key: str, meter: Meter) -> None:
        self._do(key, lambda s3: s3.put(self._store, key, content, use_multipart=False))
        meter.add(len(content))

    def _copy(self, info: ObjectInfo, to: str) -> None:
        _checked(to)
        if info.size > _COPIED_AT_ONCE:
            _up.copy_in_parts(self._wire, info.key, info.size, to)
        else:
            self._do(info.key, lambda s3: s3.copy(self._store, info.key, to))

    def _fill(self, info: ObjectInfo, target: memoryview, first: int = 0) -> None:
        """Fill ``target`` with the bytes of an object from ``first`` on, several parts at once."""

        def take(where: tuple[int, int]) -> None:
            start, end = where
            target[start:end] = self._read(info, first + start, first + end)

        each(ranges(len(target), PART), take, AT_ONCE, halt=Halt())

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
        from lk_jupyter.storage import _s3  # noqa: PLC0415 (the library is loaded when it is used)

        def once() -> T:
            with _s3.in_our_words(key):
                return interruptible(lambda: act(_s3))

        given = self._credentials.present()
        try:
            return _s3.persistent(once)
        except _s3.Denied:
            self._credentials.forget(given)
            self.__dict__.pop("_store", None)
        return _s3.persistent(once)


def _key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")


def _checked(key: str) -> str:
    """Return a key by which something can be stored. Raises StorageError."""
    if not is_key(key):
        raise StorageError(f"{key!r} is no key: give a relative path such as data/train.csv.")
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
        raise StorageError(f"{path} cannot be read or written (there is no such file or folder).") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read or written ({error.strerror or error}).") from None


def _told(meter: Meter) -> Outcome:
    """Tell that all is done, and what it was."""
    meter.end_file()
    meter.tell()
    state = meter.state()
    return Outcome(1, state.bytes_done, seconds=state.seconds)


def _pieces(content: memoryview) -> Iterator[bytes]:
    return (bytes(content[start:end]) for start, end in ranges(len(content), PART))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _info(meta: Any, key: str) -> ObjectInfo:
    return ObjectInfo(key, meta["size"], meta["last_modified"], (meta["e_tag"] or "").strip('"'))
