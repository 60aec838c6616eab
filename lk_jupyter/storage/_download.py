"""Objects on their way down into files: under another name until they are complete, and resumed after a crash."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lk_jupyter.config.files import take_lock
from lk_jupyter.errors import StorageError
from lk_jupyter.storage._checksum import file_matches_etag, is_digest, read_range
from lk_jupyter.storage._multipart import multipart_etag
from lk_jupyter.storage._parts import AT_ONCE, FILES_AT_ONCE, PART
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage._written import record_written_files
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.progress import Meter
from lk_jupyter.text.units import size_label

Read = Callable[[ObjectInfo, int, int], memoryview]

#: Number of a downloaded part, and the digest of the part: its MD5 hash, or its CRC-32 after a prefix.
_MARK = struct.Struct("<I16s")
_PREFIX = ".lk-"

#: The digest of a part without a digest, and the prefix of a CRC-32, which is eight times faster than MD5.
_NO_DIGEST, _CRC = bytes(16), b"crc-32 part "

#: Errors of a disk that has no room: all other files would fail too.
_FULL = {errno.ENOSPC, errno.EDQUOT}

#: Bytes of a block that ``os.stat`` counts.
_BLOCK = 512

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Unfinished:
    """A file with the downloaded bytes, and for a large object a second file that lists its downloaded parts."""

    def __init__(self, target: Path, info: ObjectInfo) -> None:
        self.path = unfinished_path(target, info)
        self.marks = self.path.with_suffix(".done")
        if info.size > PART:
            _remove_unfinished(target.parent, f"{_PREFIX}{_hash_words(target.name)}-*", self)
        for path in (self.path, self.marks):
            if path.is_symlink():  # planted by a user who shares the folder and guesses the name
                path.unlink()
        self._descriptor = os.open(self.path, _FLAGS, 0o666)
        if not take_lock(self._descriptor):
            self._use_another(target.parent)
        self._size = info.size

    def _use_another(self, folder: Path) -> None:
        """Use a random name: another process downloads the same object to the same path."""
        os.close(self._descriptor)
        self._descriptor, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=".part")
        self.path, self.marks = Path(name), Path(name).with_suffix(".done")

    def read_marks(self) -> dict[int, bytes]:
        """Return number → digest of the parts that an earlier attempt downloaded, and make room for all parts."""
        digests = dict[int, bytes]()
        if os.fstat(self._descriptor).st_size == self._size:
            with suppress(FileNotFoundError):
                content = self.marks.read_bytes()
                complete = len(content) // _MARK.size * _MARK.size
                os.truncate(self.marks, complete)  # a torn mark would shift all marks after it
                digests = dict(_MARK.iter_unpack(content[:complete]))
        if not digests:
            os.ftruncate(self._descriptor, 0)
            os.ftruncate(self._descriptor, self._size)
            self.marks.unlink(missing_ok=True)
        return digests

    def record_part(self, number: int, digest: bytes = _NO_DIGEST) -> None:
        """Record that a part was downloaded."""
        with self.marks.open("ab", buffering=0) as file:
            file.write(_MARK.pack(number, digest))

    def move_to_target(self, target: Path, info: ObjectInfo) -> None:
        """Rename the file to its target, with the modification time of the object."""
        if info.modified:
            os.utime(self.path, (info.modified.timestamp(),) * 2)
        if os.name == "nt":
            self.close()
        self.path.replace(target)
        self.marks.unlink(missing_ok=True)
        self.close()

    def drop(self) -> None:
        """Remove the downloaded bytes."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.marks.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and keep the downloaded bytes for the next try."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True)
class FetchOptions:
    """Options of a download: compare checksums, keep the parts of large objects after an interrupt.

    ``on_failure`` is called with the name and the error of a file that the disk refuses; without ``on_failure``, the
    error is raised.
    """

    checksum: bool = False
    keep: bool = False
    on_failure: Callable[[str, OSError], None] | None = None


class FetchedFile:
    """The download of an object into a file, of which several threads may fetch parts.

    ``is_checked`` is whether the content matches the checksum of the object, ``is_complete`` whether the file is at its
    target. A million files must fit in memory.
    """

    __slots__ = ("_digests", "_lock", "_stored", "_unfinished", "info", "is_checked", "is_complete", "name", "target")

    def __init__(self, info: ObjectInfo, target: Path, name: str = "") -> None:
        self.info = info
        self.name = name
        self.is_checked = self.is_complete = False
        self.target = target
        self._unfinished: Unfinished | None = None

    @property
    def is_open(self) -> bool:
        """Whether parts can be fetched."""
        return self._unfinished is not None

    @property
    def parts(self) -> int:
        """Number of parts, at least 1."""
        return max(1, -(-self.info.size // PART))

    @property
    def stored_bytes(self) -> int:
        """Bytes that an earlier attempt stored on the disk."""
        try:
            return getattr(unfinished_path(self.target, self.info).stat(), "st_blocks", 0) * _BLOCK
        except OSError:
            return 0

    def open(self) -> None:
        """Create the file, or open the unfinished file of an earlier attempt. Raises OSError."""
        self._lock, self._digests = threading.Lock(), dict[int, bytes]()
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = Unfinished(self.target, self.info)
        self._stored = self._unfinished.read_marks()

    def fetch_part(self, number: int, read: Read, meter: Meter, halt: CancelToken, options: FetchOptions) -> None:
        """Fetch a part, unless an earlier attempt stored the part; move the file to its target after the last part.

        Raises StorageError, OSError.
        """
        unfinished, start, end = self._unfinished, number * PART, min(number * PART + PART, self.info.size)
        if unfinished is None:
            return
        digest = self._check_stored_part(unfinished.path, number, start, end, checksum=options.checksum)
        if digest is not None:
            meter.add_earlier(end - start)
        else:
            content = read(self.info, start, end) if end > start else memoryview(b"")
            is_hashed = options.checksum or (self.parts == 1 and is_digest(self.info.etag))
            digest = _compute_part_hash(content) if is_hashed else _compute_part_crc(content)
            halt.check()
            write_at(unfinished.path, start, content)
            if self.parts > 1:
                unfinished.record_part(number, digest)
            meter.add(end - start)
        with self._lock:
            self._digests[number] = digest
            is_complete = len(self._digests) == self.parts
        if is_complete:
            halt.check()
            self._verify_and_move(unfinished, checksum=options.checksum)
            meter.end_file()

    def _verify_and_move(self, unfinished: Unfinished, *, checksum: bool) -> None:
        """Compare the checksum, and move the file to its target. Raises StorageError for damaged content."""
        matches = self._matches_etag(unfinished.path, checksum=checksum)
        if matches is False:
            self._unfinished = None
            unfinished.drop()
            raise StorageError(f"{self.info.key!r} was damaged in transit and wasn't kept. Try again.")
        unfinished.move_to_target(self.target, self.info)
        self.is_checked, self.is_complete, self._unfinished = bool(matches), True, None
        self._digests = self._stored = {}

    def _check_stored_part(self, path: Path, number: int, start: int, end: int, *, checksum: bool) -> bytes | None:
        """Return the digest of a stored part; None for a part that isn't stored or whose file is torn."""
        digest = self._stored.get(number)
        if digest is None or digest == _NO_DIGEST:
            return digest
        content = memoryview(read_range(path, start, end))
        if digest != (_compute_part_crc(content) if digest.startswith(_CRC) else _compute_part_hash(content)):
            return None
        return _compute_part_hash(content) if checksum else digest

    def _matches_etag(self, path: Path, *, checksum: bool) -> bool | None:
        """Return whether the content matches the ETag; None if the content wasn't compared."""
        digests = [self._digests[number] for number in range(self.parts)]
        if not self.info.size:
            return None
        if len(digests) == 1 and is_digest(self.info.etag):
            return digests[0].hex() == self.info.etag
        if not checksum:
            return None
        if multipart_etag([digest.hex() for digest in digests]) == self.info.etag:
            return True
        return file_matches_etag(path, self.info.etag)  # the parts of the upload may have another size

    def leave(self, error: BaseException, *, keep: bool) -> bool:
        """End the download early; return False if the download has ended before.

        An error of the network keeps the parts of a large object for the next attempt.
        """
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is None:
            return False
        can_resume = self.parts > 1 and (keep or isinstance(error, StorageError))
        unfinished.close() if can_resume else unfinished.drop()
        return True


def fetch_files(read: Read, files: Sequence[FetchedFile], meter: Meter, options: FetchOptions) -> None:
    """Write objects to files: first small objects in parallel, then the parts of all large objects.

    Each file appears only when complete. A network error keeps the parts of large objects for the next attempt; an
    interrupt removes them, unless the options keep them.
    """
    small = [file for file in files if file.parts == 1]
    large = [file for file in files if file.parts > 1]
    try:
        for group, at_once in ((small, FILES_AT_ONCE), (large, AT_ONCE)):
            if group:
                _Fetching(read, meter, options).run(group, min(at_once, sum(file.parts for file in group)))
    finally:
        record_written_files(file.target for file in files if file.is_complete)
    meter.tell()


class _Fetching:
    """The work of several threads that fetch the parts of files."""

    def __init__(self, read: Read, meter: Meter, options: FetchOptions) -> None:
        self._read = read
        self._meter = meter
        self._options = options
        self._halt = CancelToken()
        self._opened: list[FetchedFile] = []

    def run(self, files: Sequence[FetchedFile], at_once: int) -> None:
        """Fetch all parts. Raises StorageError, and OSError unless the options handle the error."""
        try:
            call_for_each(self._open_parts(files), self._fetch_part, at_once, halt=self._halt, tick=self._meter.tell)
        except BaseException as error:
            for file in self._opened:
                file.leave(error, keep=self._options.keep)
            raise

    def _open_parts(self, files: Sequence[FetchedFile]) -> Iterator[tuple[FetchedFile, int]]:
        """Iterate over the parts of files; each file is opened shortly before its first part is fetched."""
        for file in files:
            self._opened = [*(each for each in self._opened if each.is_open), file]
            try:
                file.open()
            except OSError as error:
                if error.errno in _FULL or self._options.on_failure is None:
                    raise
                self._options.on_failure(file.name, error)
            else:
                yield from ((file, number) for number in range(file.parts))

    def _fetch_part(self, part: tuple[FetchedFile, int]) -> None:
        file, number = part
        try:
            file.fetch_part(number, self._read, self._meter, self._halt, self._options)
        except OSError as error:
            if error.errno in _FULL or self._options.on_failure is None:
                raise
            if file.leave(error, keep=False):
                self._options.on_failure(file.name, error)


def check_room(folder: Path, what: str, size: int, files: Iterable[FetchedFile]) -> None:
    """Raise StorageError if a folder has no room for the files of these bytes in total.

    Parts of earlier attempts are already on the disk.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"Can't write to {folder} ({error.strerror}).") from None
    if size > free and (needed := size - sum(file.stored_bytes for file in files)) > free:
        raise StorageError(
            f"{what} has {size:,} bytes. The {needed:,} missing bytes don't fit in {folder}, which has only {free:,} "
            f"bytes free. Nothing was downloaded. Free {size_label(needed - free)}, or choose a folder on another disk."
        )


def write_at(path: Path, start: int, part: memoryview) -> None:
    """Write bytes into an existing file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        while part:
            part = part[file.write(part) :]


@contextmanager
def translate_disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the local disk into a StorageError with one line."""
    try:
        yield
    except FileNotFoundError:
        raise StorageError(f"Can't read or write {path}: the file or folder doesn't exist.") from None
    except OSError as error:
        raise StorageError(f"Can't read or write {path} ({error.strerror or error}).") from None


def unfinished_path(target: Path, info: ObjectInfo) -> Path:
    """Return the path of the unfinished download of an object into a file."""
    words = _hash_words(info.key, info.etag, str(info.size))
    return target.with_name(f"{_PREFIX}{_hash_words(target.name)}-{words}.part")


def is_unfinished(name: str) -> bool:
    """Return whether this is the name of an unfinished download."""
    return name.startswith(_PREFIX) and name.endswith((".part", ".done"))


def remove_interrupted_downloads(folder: Path) -> None:
    """Remove the files of interrupted downloads into a folder; files of active downloads stay."""
    for path in folder.rglob(f"{_PREFIX}*.part"):
        with suppress(OSError), path.open("rb") as file:
            if take_lock(file.fileno()):
                path.with_suffix(".done").unlink(missing_ok=True)
                path.unlink()


def _remove_unfinished(folder: Path, pattern: str, current: Unfinished) -> None:
    """Remove unfinished downloads of older versions of an object."""
    for path in folder.glob(pattern):
        if path not in {current.path, current.marks}:
            with suppress(OSError):
                path.unlink()


def _hash_words(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _compute_part_crc(content: memoryview) -> bytes:
    return _CRC + zlib.crc32(content).to_bytes(4, "big")


def _compute_part_hash(content: memoryview) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
