"""The bucket as an object: upload, download, list and delete files."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, TypeVar

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage import _folders, _upload
from lk_jupyter.storage._checksum import file_matches_object, hash_content
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._download import FetchedFile, FetchOptions, check_room, fetch_files, translate_disk_errors
from lk_jupyter.storage._files import ObjectFile, ObjectReader, ObjectWriter, TextWriter
from lk_jupyter.storage._library import Library
from lk_jupyter.storage._listing import Page, is_prefix, list_folder_markers, list_pages, request_page
from lk_jupyter.storage._parts import AT_ONCE, PART, part_ranges, regroup_pieces
from lk_jupyter.storage._plan import check_key, file_name
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request, presigned_urls
from lk_jupyter.storage._tree import Tree, draw_tree
from lk_jupyter.storage._workers import CancelToken, call_for_each, call_interruptibly
from lk_jupyter.storage.objects import FolderPage, Link, ObjectInfo, Objects, TransferResult
from lk_jupyter.storage.progress import Meter, Watcher
from lk_jupyter.storage.usage import FolderUsage, measure_folders

T = TypeVar("T")
Method = Literal["GET", "PUT"]
Bytes = bytes | bytearray | memoryview

__all__ = ["FolderPage", "Link", "ObjectInfo", "Storage", "TransferResult"]

#: Longest life of a link: S3 allows no more.
LONGEST = timedelta(days=7)

#: Prefix of keys, where a local path is possible too.
SCHEME = "lk://"

#: The maximum size of an object for a single copy request, in bytes.
_COPIED_AT_ONCE = 5 * 10**9


class Storage:
    r"""The bucket of an organization: ``session.storage``.

    It uses temporary credentials, which are renewed automatically. Keys are relative paths with forward slashes, such
    as ``data/train.csv``; ``lk://`` may precede them. A key that ends with a slash is a folder. May be used from
    several threads.

    ``progress`` is a function that gets a :class:`~lk_jupyter.storage.progress.Progress` about ten times a second, in
    the caller's thread.

    Raises:
        StorageError: From every method, when the bucket can't be used or a key isn't valid.
        NoSuchObject: From every method, for a key without an object.
        ReadOnlyMode: From every method that changes the bucket, if read-only mode is on. Nothing was sent.

    Source: ``POST /storage/credentials``

    Example:
        >>> storage = session.storage
        >>> storage.put(b"x,y\n1,2\n", "docs/train.csv").bytes
        8
        >>> storage.get_bytes("docs/train.csv")
        bytearray(b'x,y\n1,2\n')
        >>> storage.get("docs/train.csv", "copy.csv").read_text()
        'x,y\n1,2\n'
        >>> with storage.open("docs/notes.txt", "w") as file:
        ...     _ = file.write("hello")
        >>> [info.key for info in storage.ls("docs/")]
        ['docs/notes.txt', 'docs/train.csv']
        >>> storage.ls_page("docs", size=1).items[0].name
        'notes.txt'
        >>> storage.list_skipped_files("docs", "data")
        []
        >>> storage.info("docs/notes.txt").size
        5
        >>> storage.find("docs/missing.txt") is None
        True
        >>> storage.exists("docs/train.csv"), storage.is_folder("docs")
        (True, True)
        >>> storage.usage("docs")[0].files
        2
        >>> print(storage.tree("docs"))
        docs/
        ├── notes.txt  5 B
        └── train.csv  8 B
        >>> storage.sync("lk://docs/", "here").files
        2
        >>> storage.stage("lk://docs/", "staged").files
        2
        >>> storage.copy("docs/train.csv", "docs/old/"), storage.move("docs/notes.txt", "docs/old/notes.txt")
        (1, 1)
        >>> storage.presign("docs/train.csv").url
        'http...'
        >>> storage.abort_unfinished()
        0
        >>> storage.now().tzname()
        'UTC'
        >>> storage.remove_all(["docs/train.csv"]), storage.remove("docs/")
        (1, 2)
    """

    def __init__(self, issue: Callable[[], StorageCredentials], now: Callable[[], float] = time.time) -> None:
        self._credentials = Credentials(issue, now)
        self._has_bucket = False

    def put(
        self,
        source: str | Path | Bytes | Iterable[bytes],
        key: str,
        *,
        overwrite: bool = True,
        progress: Watcher | None = None,
    ) -> TransferResult:
        """Upload a file, a folder or bytes; an object appears only when complete.

        Large sources are sent in parallel parts. After a crash or a lost network, the same call resumes the upload.
        Files of a folder that are already in the bucket aren't sent again.

        Args:
            source: Path of a file or a folder, bytes, or an iterable of bytes.
            key: Key of the object. A key that ends with a slash is the folder for a file.
            overwrite: Whether an object with other content is replaced. Default: True.
            progress: Function that gets a Progress. Default: none.

        Returns:
            A TransferResult: files and bytes that were uploaded.

        Raises:
            ObjectExists: With ``overwrite=False``, if the object has other content. Nothing was changed.
            StorageError: The source can't be read, the key isn't valid, or the bucket can't be used.
        """
        refuse_if_read_only("writes")
        key = _strip_scheme(key)
        if not isinstance(source, (str, Path)):
            return self._put_bytes(source, key, progress, overwrite=overwrite)
        path = Path(source)
        if path.is_dir():
            return _folders.upload_folder(
                self, path, key.rstrip("/"), _folders.TransferOptions(progress, overwrite=overwrite)
            )
        key = check_key(key + path.name if key.endswith("/") or not key else key)
        with translate_disk_errors(path):
            meter = Meter(1, path.stat().st_size, progress)
        with translate_disk_errors(path):
            if not overwrite and (info := self.find(key)) and file_matches_object(path, info):
                return TransferResult(same=1)
            self._put_file(path, key, meter, overwrite=overwrite)
        return _report_result(meter)

    def replaced(self, source: str | Path, key: str) -> list[str]:
        """Return the keys whose objects a ``put`` of this file or folder would replace by other content."""
        key, path = _strip_scheme(key), Path(source)
        if path.is_dir():
            return _folders.list_replaced_keys(self, path, key.rstrip("/"))
        key = key + path.name if key.endswith("/") or not key else key
        with translate_disk_errors(path):
            return [key] if (info := self.find(key)) and not file_matches_object(path, info) else []

    def free_key(self, key: str) -> str:
        """Return the key, or the first of ``x (1).csv``, ``x (2).csv`` and so on that no object has."""
        folder, slash, name = _strip_scheme(key).rpartition("/")
        stem, dot, ending = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
        names = (f"{folder}{slash}{stem} ({number}){dot}{ending}" for number in count(1))
        return next(free for free in chain([_strip_scheme(key)], names) if not self.exists(free))

    def get(
        self,
        key: str,
        target: str | Path,
        *,
        progress: Watcher | None = None,
        checksum: bool = False,
        include_hidden: bool = False,
    ) -> Path:
        """Download an object or a folder; a file appears only when complete.

        After a crash or a lost network, the same call resumes the download. Files of a folder that exist locally aren't
        downloaded again. Of a folder, only data comes, and replaces only what a download has written.

        Args:
            key: Key of an object, or of a folder with a slash at its end.
            target: Path of the file, or of its folder.
            progress: Function that gets a Progress. Default: none.
            checksum: Whether the file is read again and compared with the object's checksum. Default: False.
            include_hidden: Whether hidden files, code and configuration, which programs may execute automatically, are
                downloaded too. Default: False.

        Returns:
            The path of the file or the folder.

        Raises:
            NoSuchObject: The bucket has no such object.
            StorageError: The file can't be written, the disk is full, or the bucket can't be used.
        """
        key, path = _strip_scheme(key), Path(target)
        if not key or key.endswith("/"):
            return _folders.fetch_folder(
                self,
                key.rstrip("/"),
                path,
                _folders.TransferOptions(progress, checksum=checksum, include_hidden=include_hidden),
            )
        info = self._read_object_info(key, "downloaded", "download the folder")
        path = path / file_name(key) if path.is_dir() or str(target).endswith(("/", "\\")) else path
        files = [FetchedFile(info, path)]
        check_room(path.parent, repr(key), info.size, files)
        with translate_disk_errors(path):
            fetch_files(self._read, files, Meter(1, info.size, progress), FetchOptions(checksum=checksum))
        return path

    def sync(  # noqa: PLR0913 (independent choices)
        self,
        source: str | Path,
        target: str | Path,
        *,
        delete: bool = False,
        checksum: bool = False,
        include_hidden: bool = False,
        progress: Watcher | None = None,
    ) -> TransferResult:
        """Make a folder equal to another folder; either folder is in the bucket.

        A file counts as equal if size and time match. If only the time differs, the checksum decides. A download brings
        only data, and replaces only what a download has written; the result lists the rest.

        Args:
            source: Folder to read: a path, or ``lk://`` and a key.
            target: Folder to change: a path, or ``lk://`` and a key.
            delete: Whether files that are only in ``target`` are deleted. Default: False.
            checksum: Whether every file is compared by checksum. Default: False.
            include_hidden: Whether hidden files, code and configuration, which programs may execute automatically, are
                downloaded too. Default: False.
            progress: Function that gets a Progress. Default: none.

        Returns:
            A TransferResult: files and bytes that were moved, ``same`` files, ``removed`` files.

        Raises:
            StorageError: Both folders are on the same side, or the bucket can't be used.
        """
        up, down = _is_bucket_key(target), _is_bucket_key(source)
        if up == down:
            raise StorageError(
                "Give one folder on this machine and one in the bucket. The name of the bucket's folder starts "
                f"with {SCHEME}. Nothing was changed."
            )
        how = _folders.TransferOptions(progress, delete=delete, checksum=checksum, include_hidden=include_hidden)
        if up:
            refuse_if_read_only("writes")
            return _folders.upload_folder(self, Path(source), _strip_scheme(str(target)).rstrip("/"), how)
        return _folders.download_folder(self, _strip_scheme(str(source)).rstrip("/"), Path(target), how)

    def stage(  # noqa: PLR0913 (independent choices)
        self,
        source: str,
        target: str | Path,
        *,
        overwrite: bool = False,
        checksum: bool = False,
        include_hidden: bool = False,
        progress: Watcher | None = None,
    ) -> TransferResult:
        """Copy a folder or a file of the bucket to a local folder, to read it many times.

        After an interrupt, a crash, a lost network or a full disk, the same call resumes: complete files, and complete
        parts of large files, aren't downloaded again.

        Args:
            source: Key of a folder or a file; ``lk://`` may precede the key.
            target: Folder for the file, or for the files of the folder.
            overwrite: Whether local files with other content are replaced. Default: False.
            checksum: Whether large files are compared with their checksums in the bucket too. Default: False.
            include_hidden: Whether hidden files, code and configuration, which programs may execute automatically, are
                downloaded too. Default: False.
            progress: Function that gets a Progress. Default: none.

        Returns:
            A TransferResult: files and bytes that were downloaded, ``same`` files, ``checked`` files.

        Raises:
            StorageError: Nothing has this key, a local file has other content, the disk has no room, or an object
                changed during the download.
        """
        how = _folders.TransferOptions(
            progress, checksum=checksum, overwrite=overwrite, is_staging=True, include_hidden=include_hidden
        )
        return _folders.download_folder(self, _strip_scheme(source).rstrip("/"), Path(target), how)

    def list_skipped_files(self, folder: str, target: str | Path) -> list[str]:
        """Return the names below a folder of the bucket that its download skips, because programs may load them.

        Args:
            folder: Key of the folder; ``lk://`` may precede the key.
            target: Folder on this machine.

        Returns:
            Sorted names. ``include_hidden`` downloads these files.
        """
        return _folders.list_skipped_files(self, _strip_scheme(folder).rstrip("/"), Path(target))

    def get_bytes(self, key: str) -> bytearray:
        """Download an object into memory.

        Args:
            key: Key of the object.

        Returns:
            A bytearray, which may be changed in place.
        """
        info = self.info(key)
        content = bytearray(info.size)
        self._fill_memory(info, memoryview(content))
        return content

    def get_into(self, key: str, target: memoryview, start: int = 0) -> None:
        """Fill ``target`` with the bytes of an object from ``start`` on."""
        self._fill_memory(self.info(key), target, start)

    def open(self, key: str, mode: str = "rb", *, encoding: str | None = None, newline: str | None = None) -> Any:
        """Open an object as a file.

        A written object appears when the file is closed, and not at all if the ``with`` block fails. Appending
        downloads the object and uploads a new version: S3 changes no object in place.

        Args:
            key: Key of the object.
            mode: ``rb`` or ``r`` reads by range, ``wb`` or ``w`` writes, ``ab`` or ``a`` appends. Default: ``rb``.
            encoding: Encoding of text. Default: utf-8.
            newline: Line ends of text, as for Python's ``open``. Default: None.

        Returns:
            A binary file, or a text file for a mode without ``b``.

        Raises:
            NoSuchObject: No such object exists to read.
            StorageError: The mode is unknown. Nothing was opened.
        """
        key, kind = _strip_scheme(key), mode.replace("b", "").replace("t", "")
        if kind not in {"r", "w", "a"}:
            raise StorageError(
                f"Unknown mode {mode!r}. Nothing was opened. Use rb or r to read, wb or w to write, ab or a to append."
            )
        text: Any = {"encoding": encoding or "utf-8", "newline": newline}
        if kind == "r":
            reader = ObjectFile(ObjectReader(self.info(key), self._read))
            return reader if "b" in mode else io.TextIOWrapper(reader, **text)
        writer = self._open_writer(key, append=kind == "a")
        return writer if "b" in mode else TextWriter(writer, **text)

    def _open_writer(
        self, key: str, kind: type[ObjectWriter] = ObjectWriter, *, append: bool = False, autocommit: bool = True
    ) -> ObjectWriter:
        refuse_if_read_only("writes")
        writer = kind(check_key(key), self.put, autocommit=autocommit)
        if append:
            try:
                with suppress(NoSuchObject), self.open(key) as before:
                    shutil.copyfileobj(before, writer, PART)
            except BaseException:
                writer.discard()
                raise
        return writer

    def info(self, key: str) -> ObjectInfo:
        """Return size, time and content hash of an object.

        Args:
            key: Key of the object.

        Returns:
            An ObjectInfo.

        Raises:
            NoSuchObject: No such object exists, or the key is a folder.
        """
        key = _strip_scheme(key)
        if not key or key.endswith("/"):
            raise NoSuchObject(f"{key or SCHEME!r} is a folder, not a file.")
        return call_interruptibly(lambda: self._wire.head(key))

    def find(self, key: str) -> ObjectInfo | None:
        """Return size, time and content hash of an object; None for a missing object.

        Args:
            key: Key of the object.
        """
        with suppress(NoSuchObject):
            return self.info(key)
        return None

    def exists(self, key: str) -> bool:
        """Return whether an object with this key exists.

        Args:
            key: Key of the object.
        """
        return self.find(key) is not None

    def is_folder(self, key: str) -> bool:
        """Return whether the bucket has objects below this key, or an empty folder of another program.

        Args:
            key: Key of the folder, with or without a slash at its end.
        """
        folder = _strip_scheme(key).strip("/")
        return not folder or is_prefix(self._wire, f"{folder}/")

    def ls(self, folder: str = "", *, recursive: bool = True) -> Objects:
        """Iterate over the objects of a folder.

        Pages of 1,000 objects are requested when needed.

        Args:
            folder: Key of the folder. Default: the entire bucket.
            recursive: Whether objects in deeper folders are listed. If not, each deeper folder is an item. Default:
                True.

        Returns:
            An iterator over ObjectInfo, in the order of the keys.
        """
        return Objects(info for items in self.pages(folder, recursive=recursive) for info in items)

    def pages(self, folder: str = "", *, recursive: bool = True, size: int = 1000) -> Iterator[Page]:
        """Iterate over the objects of ``ls``, in lists of at most ``size``."""
        folder = _strip_scheme(folder).strip("/")
        return list_pages(self._wire, f"{folder}/" if folder else "", recursive=recursive, size=size)

    def ls_page(self, folder: str = "", *, token: str | None = None, size: int = 1000, begins: str = "") -> FolderPage:
        """Return a page of a folder with one request, for a folder of any size.

        Args:
            folder: Key of the folder. Default: the top of the bucket.
            token: Token of the previous page. Default: the first page.
            size: Items of the page, 1,000 at most. Default: 1,000.
            begins: Only names that start with this text. Default: all names.

        Returns:
            A FolderPage. Each deeper folder is an item. The ``token`` is None after the last page.
        """
        folder = _strip_scheme(folder).strip("/")
        prefix = f"{folder}/{begins}" if folder else begins
        return request_page(self._wire, prefix, recursive=False, size=size, token=token)

    def tree(self, folder: str = "", *, depth: int = 3, most: int = 100) -> Tree:
        """Return a folder as a drawing.

        Args:
            folder: Key of the folder. Default: the entire bucket.
            depth: Levels of folders. Default: 3.
            most: Items of each folder. Default: 100.

        Returns:
            A Tree, for ``print``.
        """
        folder = _strip_scheme(folder).strip("/")
        return draw_tree(f"{folder}/" if folder else SCHEME, lambda at: self.ls(at, recursive=False), depth, most)

    def usage(self, folder: str = "") -> list[FolderUsage]:
        """Return files and bytes of each folder directly below a folder, largest first.

        Args:
            folder: Key of the folder. Default: the entire bucket.

        Returns:
            A list of FolderUsage. Folders of runs, such as the folder of checkpoints, are separate rows.
        """
        folder = _strip_scheme(folder).strip("/")
        return measure_folders(self.ls(folder), f"{folder}/" if folder else "")

    def remove(self, key: str) -> int:
        """Delete an object or a folder permanently; a missing object is no error.

        Args:
            key: Key of an object, or of a folder with a slash at its end.

        Returns:
            The number of deleted objects.

        Raises:
            StorageError: The key is empty. Nothing was deleted.
        """
        refuse_if_read_only("deletes")
        key = _strip_scheme(key)
        if not key.strip("/"):
            raise StorageError("Name the file or folder to delete. Nothing was deleted.")
        if key.endswith("/"):
            count = self.remove_all(info.key for info in self.ls(key))
            for marker in list_folder_markers(self._wire, key):
                self._wire.need(Request("DELETE", marker))
            return count
        with suppress(NoSuchObject):
            call_interruptibly(lambda: self._wire.remove(key))
            return 1
        return 0

    def remove_all(self, keys: Iterable[str]) -> int:
        """Delete several objects permanently, 1,000 with each request.

        Args:
            keys: Keys of the objects.

        Returns:
            The number of keys.
        """
        all_keys = list(keys)
        for start, end in part_ranges(len(all_keys), 1000) if all_keys else ():
            call_interruptibly(lambda: self._wire.delete(all_keys[start:end]))  # noqa: B023 (called now)
        return len(all_keys)

    def move(self, key: str, to: str) -> int:
        """Rename an object or a folder; an object with the new key is replaced.

        Args:
            key: Key of an object, or of a folder with a slash at its end.
            to: The new key, or the folder for the object, with a slash at its end.

        Returns:
            The number of moved objects.
        """
        count = self.copy(key, to)
        self.remove(key)
        return count

    def copy(self, key: str, to: str) -> int:
        """Copy an object or a folder within the bucket; nothing is downloaded.

        Args:
            key: Key of an object, or of a folder with a slash at its end.
            to: Key of the copy, or the folder of the copy, with a slash at its end.

        Returns:
            The number of copied objects.
        """
        refuse_if_read_only("writes")
        key, to = _strip_scheme(key), _strip_scheme(to)
        if not key.endswith("/"):
            self._copy_object(self.info(key), to + key.rpartition("/")[2] if to.endswith("/") else to)
            return 1
        to = to.rstrip("/") + "/"
        if to.startswith(key):
            raise StorageError(f"{to!r} is inside {key!r}.")
        objects = list(self.ls(key))
        call_for_each(
            objects, lambda info: self._copy_object(info, to + info.key[len(key) :]), AT_ONCE, halt=CancelToken()
        )
        return len(objects)

    def presign(self, key: str, method: Method = "GET", *, life: timedelta = timedelta(hours=1)) -> Link:
        """Return a link that reads or writes an object without credentials: a secret.

        Args:
            key: Key of the object.
            method: ``GET`` to read, ``PUT`` to write. Default: ``GET``.
            life: Time until the link ends, 7 days at most. The link never outlives the credentials. Default: 1 hour.

        Returns:
            A Link.
        """
        return self.presign_all([_strip_scheme(key)], method, life=life)[0]

    def presign_all(self, keys: list[str], method: Method = "GET", *, life: timedelta) -> list[Link]:
        """Return a link for each key, with a common time limit."""
        if not keys:
            return []
        refuse_if_read_only("reads" if method == "GET" else "writes")
        if method == "PUT" and not self._has_bucket:
            self._wire.ensure_bucket()
            self._has_bucket = True
        credentials = self._credentials.credentials_for(min(life, LONGEST))
        now = self.now()
        validity = credentials.expires_at - now if credentials.expires_at else LONGEST
        life = max(timedelta(seconds=1), min(life, LONGEST, validity))
        urls = presigned_urls(credentials, method, keys, now, life)
        return [Link(url, now + life) for url in urls]

    def abort_unfinished(self) -> int:
        """Delete the parts that interrupted uploads of this machine left in the bucket.

        Returns:
            The number of uploads that were deleted.
        """
        refuse_if_read_only("deletes")
        return _upload.abort_abandoned_uploads(self._wire, keep=0)

    def now(self) -> datetime:
        """Return this moment by the server's clock (datetime, UTC), which dates the objects and ends the links."""
        return self._credentials.now()

    @cached_property
    def _library(self) -> Library:
        return Library(self._credentials, self._wire.make_bucket)

    @cached_property
    def _wire(self) -> Wire:
        return Wire(self._credentials)

    def _read_object_info(self, key: str, undone: str, action: str) -> ObjectInfo:
        """Return size, time and ETag of an object. Raises NoSuchObject, with advice if the key is a folder.

        The advice states what wasn't ``undone`` to the folder, and the ``action`` that the key with a slash starts.
        """
        try:
            return self.info(key)
        except NoSuchObject:
            if self.is_folder(key):
                raise NoSuchObject(
                    f"{key!r} is a folder. Nothing was {undone}. To {action}, add a slash: {key + '/'!r}"
                ) from None
            raise

    def _put_bytes(
        self, source: Bytes | Iterable[bytes], key: str, progress: Watcher | None, *, overwrite: bool
    ) -> TransferResult:
        check_key(key)
        meter = Meter(1, len(source) if isinstance(source, (bytes, bytearray, memoryview)) else 0, progress)
        if isinstance(source, (bytes, bytearray, memoryview)):
            content = memoryview(source).cast("B")
            source = (bytes(content[start:end]) for start, end in part_ranges(len(content), PART))
        self._put_pieces(source, key, meter, overwrite=overwrite)
        return _report_result(meter)

    def _put_pieces(self, pieces: Iterable[bytes], key: str, meter: Meter, *, overwrite: bool) -> None:
        parts = regroup_pieces(pieces, PART)
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
            call_interruptibly(lambda: self._wire.put(key, content))
        else:
            call_interruptibly(lambda: self._wire.create(Request("PUT", key, body=content), hash_content(content)))
        meter.add(len(content))

    def _copy_object(self, info: ObjectInfo, to: str) -> None:
        check_key(to)
        if info.size > _COPIED_AT_ONCE:
            _upload.copy_in_parts(self._wire, info.key, info.size, to)
        else:
            call_interruptibly(lambda: self._wire.copy(info.key, to))

    def _fill_memory(self, info: ObjectInfo, target: memoryview, first: int = 0) -> None:
        """Fill ``target`` with the bytes of an object from ``first`` on, in parallel parts."""

        def take(where: tuple[int, int]) -> None:
            start, end = where
            target[start:end] = self._read(info, first + start, first + end)

        call_for_each(part_ranges(len(target), PART), take, AT_ONCE, halt=CancelToken())

    def _read(self, info: ObjectInfo, start: int, end: int) -> memoryview:
        """Return a range of an object. Raises StorageError if the object has changed since ``info``."""
        return self._library.read(info, start, end)


def _strip_scheme(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")


def _is_bucket_key(place: str | Path) -> bool:
    return isinstance(place, str) and place.startswith(SCHEME)


def _report_result(meter: Meter) -> TransferResult:
    """Report the final progress, and return the result."""
    state = meter.finish()
    return TransferResult(1, state.bytes_done, seconds=state.seconds)
