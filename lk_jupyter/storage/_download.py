"""Objects on their way down into files: under another name until they are complete, and resumed after a crash."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lk_jupyter.config.files import take_lock
from lk_jupyter.errors import StorageError
from lk_jupyter.storage._checksum import differs_from_etag, file_matches_etag
from lk_jupyter.storage._parts import AT_ONCE, PART, part_ranges
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.progress import Meter

Read = Callable[[ObjectInfo, int, int], memoryview]

_MARK = struct.Struct("<I")
_PREFIX = ".lk-"

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Unfinished:
    """A file with the downloaded bytes, and for a large object a second file that lists its downloaded parts."""

    def __init__(self, target: Path, info: ObjectInfo) -> None:
        name = _hash_words(target.name)
        self.path = target.with_name(f"{_PREFIX}{name}-{_hash_words(info.key, info.etag, str(info.size))}.part")
        self.marks = self.path.with_suffix(".done")
        if info.size > PART:
            _remove_unfinished(target.parent, f"{_PREFIX}{name}-*", self)
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

    def read_marks(self) -> set[int]:
        """Return the numbers of the parts that an earlier try has brought, and make room for all."""
        numbers = set[int]()
        if os.fstat(self._descriptor).st_size == self._size:
            with suppress(FileNotFoundError):
                content = self.marks.read_bytes()
                numbers = {
                    number for (number,) in _MARK.iter_unpack(content[: len(content) // _MARK.size * _MARK.size])
                }
        if not numbers:
            os.ftruncate(self._descriptor, 0)
            os.ftruncate(self._descriptor, self._size)
        return numbers

    def record_part(self, number: int) -> None:
        """Record that a part was downloaded."""
        with self.marks.open("ab", buffering=0) as file:
            file.write(_MARK.pack(number))

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


def fetch_file(read: Read, info: ObjectInfo, target: Path, meter: Meter, *, checksum: bool = False) -> None:
    """Write an object to a file; the file appears only when complete.

    A network error keeps the downloaded bytes for the next try; an interrupt removes them.
    """
    unfinished = Unfinished(target, info)
    try:
        if info.size <= PART:
            _fetch_at_once(read, info, unfinished, meter)
        else:
            _fetch_parts(read, info, unfinished, meter)
            _check_content(unfinished.path, info, checksum=checksum)
    except StorageError as error:
        unfinished.drop() if info.size <= PART or isinstance(error, _Damaged) else unfinished.close()
        raise
    except BaseException:
        unfinished.drop()
        raise
    unfinished.move_to_target(target, info)


def _fetch_at_once(read: Read, info: ObjectInfo, unfinished: Unfinished, meter: Meter) -> None:
    unfinished.read_marks()
    if info.size:
        content = read(info, 0, info.size)
        if differs_from_etag(content, info.etag):
            raise _Damaged(info)
        write_at(unfinished.path, 0, content)
        meter.add(info.size)


def _fetch_parts(read: Read, info: ObjectInfo, unfinished: Unfinished, meter: Meter) -> None:
    stored, halt = unfinished.read_marks(), CancelToken()

    def take_part(numbered: tuple[int, tuple[int, int]]) -> None:
        number, (start, end) = numbered
        if number in stored:
            meter.add_earlier(end - start)
            return
        content = read(info, start, end)
        halt.check()
        write_at(unfinished.path, start, content)
        unfinished.record_part(number)
        meter.add(end - start)

    call_for_each(enumerate(part_ranges(info.size, PART)), take_part, AT_ONCE, halt=halt, tick=meter.tell)


def _check_content(path: Path, info: ObjectInfo, *, checksum: bool) -> None:
    if checksum and file_matches_etag(path, info.etag) is False:
        raise _Damaged(info)


class _Damaged(StorageError):
    def __init__(self, info: ObjectInfo) -> None:
        super().__init__(f"{info.key!r} was damaged in transit and wasn't kept. Try again.")


def check_room(folder: Path, what: str, size: int) -> None:
    """Raise StorageError when a folder has no room for this number of bytes."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"Can't write to {folder} ({error.strerror}).") from None
    if size > free:
        raise StorageError(
            f"{what} has {size:,} bytes, and {folder} has only {free:,} bytes free. Nothing was downloaded."
        )


def write_at(path: Path, start: int, part: memoryview) -> None:
    """Write bytes into an existing file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(start)
        while part:
            part = part[file.write(part) :]


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
