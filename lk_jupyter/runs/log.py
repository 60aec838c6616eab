"""The complete log of a run, in a file on this machine that outlives the kernel."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.logs import sort_by_time
from lk_jupyter.api.states import is_run_id
from lk_jupyter.config.files import take_lock
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.protocol.frames import UNSIGNED, Frame, split

_log = logging.getLogger("lk_jupyter")

_PIECE = 1 << 16

#: Maximum number of stored lines that are searched for frames, and their maximum age in hours: the API's limits.
_MOST_LINES, _MOST_HOURS = 10_000, 168


def log_path(execution_id: str) -> Path:
    """Return the file that holds the complete log of a run. Raises UsageError for text that can't be an id."""
    if not is_run_id(execution_id):
        raise UsageError(f"{execution_id!r} isn't a run id. List runs: %lk_runs")
    return _choose_log_folder(setting("log_dir")) / f"{execution_id}.log"


def _choose_log_folder(chosen: Path) -> Path:
    """Return the folder of the logs, or a temporary folder if the chosen folder isn't writable."""
    with suppress(OSError):
        chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
    return chosen if os.access(chosen, os.W_OK | os.X_OK) else _create_temporary_folder(chosen)


@cache
def _create_temporary_folder(chosen: Path) -> Path:
    """Return a folder that is deleted when this process ends."""
    try:
        folder = tempfile.mkdtemp(prefix="lk-jupyter-")
    except OSError:
        return chosen  # writing a log there reports the error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _log.warning(
        f"Can't write logs to {chosen}. They are in {folder} until this process ends. "
        "To keep them, set LK_LOG_DIR to a folder that you can write to."
    )
    return Path(folder)


def set_log_aside(execution_id: str) -> Path | None:
    """Rename the log of an earlier run with this id, and return the new path; None if there is no such log."""
    path = log_path(execution_id)
    with suppress(OSError):
        moment = path.stat().st_mtime_ns
        return path.rename(path.with_name(f"{execution_id}.{moment}.log"))
    return None


def frames_in_log(execution_id: str, nonce: str | None, kind: str, key: bytes | None) -> list[Frame]:
    """Return the frames of a kind that the local log of the run has so far.

    With a ``key``, a frame without a valid signature is left out. If there are only such frames, they are returned
    with the kind ``unsigned``.
    """
    path = log_path(execution_id)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return _select_frames(text, nonce, kind, key)


def _select_frames(text: str, nonce: str | None, kind: str, key: bytes | None) -> list[Frame]:
    frames = split(text, nonce, key=key)[1]
    unsigned = [frame for frame in frames if frame.kind == UNSIGNED and frame.payload == {"kind": kind}]
    return [frame for frame in frames if frame.kind == kind] or unsigned


def frames_on_cloud(
    client: Client, record: ExecutionRecord, nonce: str | None, kind: str, key: bytes | None
) -> list[Frame]:
    """Return the frames of a kind from the cloud: from the record, or from the stored lines."""
    text = record.stdout
    if not text:
        stored = client.logs.execution(record.execution_id, limit=_MOST_LINES, hours=_MOST_HOURS)
        text = "".join(f"{entry.message}\n" for entry in sort_by_time(stored.items))
    return _select_frames(text, nonce, kind, key)


class RunLog:
    """Store text that only grows, or is replaced by a corrected text; on disk, never completely in memory.

    The log continues the text of the file, without a part that a crash has torn at the end. While another process
    writes the file, the log is a copy, which replaces the file's content if the other writer didn't finish.
    Positions count characters of the text as UTF-8 bytes on disk. ``is_stored`` is whether the log writes the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = self._open_file()
        self.is_stored = take_lock(self._file.fileno())
        if not self.is_stored:
            self._file = _copy_file(self._file)
        self.size = _compute_sound_size(self._file)
        self._file.truncate(self.size)
        self._at_end = False

    def _open_file(self) -> IO[bytes]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            return self.path.open("r+b")
        except OSError as error:
            raise self._write_error(error) from None

    def _write_error(self, error: OSError) -> LkError:
        return LkError(
            f"Can't write the log to {self.path} ({error.strerror}). The run is still active and billed. "
            f"Stop it: %lk_abort {self.path.stem}\nFollow it: free some space, or choose another folder "
            f"(%lk_config log_dir FOLDER), then: %lk_attach {self.path.stem}"
        )

    def append(self, data: bytes) -> None:
        """Add text at the end. Raises LkError if the disk is full."""
        try:
            if not self._at_end:
                self._file.seek(self.size)
                self._at_end = True
            self._file.write(data)
        except OSError as error:
            raise self._write_error(error) from None
        self.size += len(data)

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the text."""
        self._at_end = False
        self._file.seek(start)
        return self._file.read(length)

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the current text in pieces that fit memory."""
        end = self.size
        for start in range(0, end, _PIECE):
            yield self.read(start, min(_PIECE, end - start))

    def lines(self) -> Iterator[bytes]:
        """Iterate over the lines, without their ends, from the first; no other read may happen meanwhile."""
        self._at_end = False
        self._file.seek(0)
        for line in self._file:
            yield line.rstrip(b"\r\n")

    def replace(self, data: bytes) -> None:
        """Replace the text with a corrected text."""
        self._file.seek(0)
        self._file.truncate()
        self._at_end = True
        self.size = 0
        self.append(data)
        self.flush()

    def cut(self, size: int) -> None:
        """Remove the text after ``size`` bytes."""
        self._at_end = False
        self.size = size
        self._file.truncate(size)

    def forget_unfinished_line(self) -> None:
        """Remove an incomplete line at the end, which carries no information; keep a line of many pages."""
        start = max(0, self.size - _PIECE)
        ended = self.read(start, self.size - start).rfind(b"\n")
        if ended >= 0 or start == 0:
            self.size = start + ended + 1
            self._file.truncate(self.size)

    def flush(self) -> None:
        """Write all text to the file, for further readers. Raises LkError if the disk is full."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._write_error(error) from None

    def close(self) -> None:
        """Close the file and keep it. Raises LkError if the disk has no room for the rest."""
        if not self.is_stored and not self._file.closed:
            self._give_back()
        try:
            self._file.close()
        except OSError as error:
            raise self._write_error(error) from None

    def _give_back(self) -> None:
        """Copy the text into the file if no process writes the file any more and the file has less text."""
        with self.path.open("r+b") as file:
            if take_lock(file.fileno()) and _compute_sound_size(file) < self.size:
                self._file.seek(0)
                file.seek(0)
                shutil.copyfileobj(self._file, file)
                file.truncate()


def _copy_file(file: IO[bytes]) -> IO[bytes]:
    """Return a copy of the file in an unnamed temporary file, and close the original."""
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the log closes it)
    with file:
        shutil.copyfileobj(file, copy)
    return copy


def _compute_sound_size(file: IO[bytes]) -> int:
    """Return the size of a file without the rests of a crash at its end: zeros, and part of a character."""
    size = file.seek(0, 2)
    while size:
        start = max(0, size - _PIECE)
        file.seek(start)
        text = file.read(size - start).rstrip(b"\0")
        size = start + len(text)
        if text:
            return size - _count_incomplete_bytes(text)
    return 0


def _count_incomplete_bytes(text: bytes) -> int:
    """Return how many bytes at the end are the start of an incomplete UTF-8 character."""
    for length in range(1, min(4, len(text) + 1)):
        byte = text[-length]
        if byte >= 0xC0:
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return length if length < needed else 0
        if byte < 0x80:
            return 0
    return 0
