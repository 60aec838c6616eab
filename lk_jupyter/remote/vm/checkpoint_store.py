"""The log of the code, and its checkpoints, which are stored in the bucket while the code runs."""

from __future__ import annotations

import json
import os
import select
import time

from .cloud import REFUSALS, ObjectMissing
from .files import (
    CHECKPOINTS,
    FOLDER,
    FULL_SECONDS,
    LOG,
    LOG_RESERVE,
    LONGEST_PAUSE,
    LOOK,
    MOMENT,
    QUIET,
    RESTLESS,
    SAVE_TRIES,
    SIGNED,
    STAGED,
    TERM,
    TIMES,
    free_reserve,
    hash_part,
    write_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .cloud import VmCloud

    #: Size in bytes, and time of the last change in nanoseconds.
    FileState = tuple[int, int]

#: Times of the log in memory; of more, every second one of the older half is dropped.
MOST_TIMES = 10_000


class LogWriter:
    """Copy the output of the code to the log; bytes that aren't UTF-8 are replaced, so that offsets stay exact."""

    def __init__(self) -> None:
        import threading

        self._lock = threading.Lock()
        self._pipe: Any = None
        self._sizes: list[tuple[float, int]] = []
        self._written_at = 0.0
        self.is_full = False  # the disk has had no space for the log for a while, and the rest of the output is lost

    def run(self, pipe: Any) -> None:
        """Copy until the end of the output."""
        import codecs

        self._pipe = pipe
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with open(LOG, "ab", buffering=0) as log:
            data = b"-"
            while data:
                select.select([pipe], [], [])
                with self._lock:
                    data = os.read(pipe.fileno(), 65536)
                    self._append_to_log(log, decoder.decode(data, not data).encode("utf-8", "replace"))
                    self._sizes.append((time.time(), log.tell()))
                    if len(self._sizes) > MOST_TIMES:
                        del self._sizes[: MOST_TIMES // 2 : 2]
                    self._record_log_time()

    def _append_to_log(self, log: Any, data: bytes) -> None:
        """Append all bytes to the log; on a full disk, wait for space, while the code waits with its output."""
        end = time.monotonic() + FULL_SECONDS
        while data and not self.is_full:
            try:
                data = data[log.write(data) :]
            except OSError:
                if not free_reserve(LOG_RESERVE):
                    self.is_full = time.monotonic() > end
                    time.sleep(LOOK)

    def _record_log_time(self) -> None:
        """Append a time and a size of the log to a file, at most once in a second."""
        moment, size = self._sizes[-1]
        if moment - self._written_at >= 1:
            self._written_at = moment
            try:
                with open(TIMES, "a", encoding="ascii") as file:
                    file.write("{:.1f} {}\n".format(moment, size))
            except OSError:  # a full disk: only the times of these lines are unknown
                pass

    def size_now(self) -> int:
        """Return the size of the log with all output that the code has written until now."""
        end = time.monotonic() + TERM
        while time.monotonic() < end:
            with self._lock:
                if not (self._pipe and select.select([self._pipe], [], [], 0)[0]):
                    break
            time.sleep(0.002)
        return os.path.getsize(LOG)

    def size_at(self, moment: float) -> int:
        """Return the size of the log at a moment, in Unix seconds."""
        with self._lock:
            sizes = [size for written, size in self._sizes if written <= moment]
            return sizes[-1] if sizes else min([size for _, size in self._sizes] + [os.path.getsize(LOG)])


class CheckpointStore:
    """Store the checkpoint folder in the bucket while the code runs: changed files first, then a signed list.

    The list replaces the list before, so that the bucket always has a complete checkpoint. Files that the code reported
    as complete are linked, so that the code can replace them meanwhile.
    """

    def __init__(
        self,
        cloud: VmCloud,
        settings: Mapping[str, Any],
        writer: LogWriter,
        report: Callable[[Mapping[str, Any]], None],
    ) -> None:
        import threading

        self._cloud, self._writer, self._report = cloud, writer, report
        self._prefix, self._key = settings["prefix"], bytes.fromhex(settings["key"])
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch_folder, daemon=True)
        self._pending: FolderSnapshot | None = None
        self._last_state: dict[str, FileState] = {}
        self._changed_at = self._waits_since = time.monotonic()
        self._stored_state: dict[str, FileState] = {}
        self._digests: dict[tuple[str, FileState], str] = {}
        self._uploaded: set[str] = set()
        self._log: list[list[Any]] = []
        self._count = self._failures = 0
        self._next_try = 0.0

    def restore(self, listing: Mapping[str, Any]) -> None:
        """Write the files of a checkpoint, and the log until the checkpoint.

        Raises OSError, and ValueError for content that another program has changed.
        """
        prefix = listing["prefix"]
        for name, (digest, _size) in listing["files"].items():
            path = _build_checkpoint_path(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._download_file(prefix + digest, path, digest)
        for digest, size in listing.get("log", ()):
            self._download_file(prefix + digest, LOG, digest)
            self._log.append([digest, size])
        if prefix == self._prefix:
            self._uploaded = {digest for digest, _ in list(listing["files"].values()) + self._log}
        self._stored_state = self._last_state = _read_folder_state()

    def _download_file(self, key: str, path: str, digest: str) -> None:
        start, problem = os.path.getsize(path) if os.path.exists(path) else 0, ""
        for attempt in range(SAVE_TRIES):
            try:
                if self._cloud.download(key, path) == digest:
                    return
            except ObjectMissing:
                raise ValueError("A file is missing in the bucket, so the checkpoint was not restored")
            except OSError as error:
                problem = str(error)
            else:
                raise ValueError("A file was changed in the bucket, so the checkpoint was not restored")
            if os.path.exists(path):
                os.truncate(path, start)
            time.sleep(2.0**attempt)
        raise OSError("a file of the checkpoint can't be restored: " + problem)

    def start(self) -> None:
        """Start to look at the folder."""
        self._thread.start()

    def stop(self) -> None:
        """Store a checkpoint that was reported, and end."""
        self._stopped.set()
        self._thread.join()

    def add_complete(self) -> None:
        """Store the current files of the folder: the code has reported that the files are complete."""
        size = self._writer.size_now()
        folder = os.path.join(STAGED, os.urandom(8).hex())
        os.makedirs(folder)
        state, paths = _read_folder_state(), {}
        for number, name in enumerate(sorted(state)):
            paths[name] = os.path.join(folder, str(number))
            os.link(_build_checkpoint_path(name), paths[name])
        with self._lock:
            replaced, self._pending = self._pending, FolderSnapshot(state, paths, size, folder)
        if replaced:
            replaced.remove_links()

    def _watch_folder(self) -> None:
        while True:
            is_stopped = self._stopped.is_set()
            with self._lock:
                checkpoint, self._pending = self._pending, None
            checkpoint = checkpoint or self._find_unchanged_folder()
            if checkpoint:
                try:
                    self._store_checkpoint(checkpoint)
                    self._failures = 0
                except Exception as error:
                    self._failures += 1
                    self._next_try = time.monotonic() + min(2.0 ** (self._failures - 1), LONGEST_PAUSE)
                    self._report({"checkpoint": {"problem": str(error)[:300] or type(error).__name__}})
                checkpoint.remove_links()
            if is_stopped:
                return
            self._stopped.wait(5 * LOOK)

    def _find_unchanged_folder(self) -> FolderSnapshot | None:
        """Return the folder if its files are new and have been unchanged for a while."""
        state = _read_folder_state()
        if state != self._last_state:
            self._last_state, self._changed_at = state, time.monotonic()
        now = time.monotonic()
        if not state or state == self._stored_state:
            self._waits_since = now
            return None
        if now < self._next_try or now - self._changed_at < (MOMENT if now - self._waits_since > RESTLESS else QUIET):
            return None
        paths = {name: _build_checkpoint_path(name) for name in state}
        return FolderSnapshot(state, paths, self._writer.size_at(max(changed for _, changed in state.values()) / 1e9))

    def _store_checkpoint(self, checkpoint: FolderSnapshot) -> None:
        files: dict[str, Any] = {}
        for name, path in sorted(checkpoint.paths.items()):
            size, _ = state = checkpoint.state[name]
            digest = self._digests.get((name, state)) or hash_part(path, 0, size)
            self._digests[name, state] = digest
            self._upload_part(digest, path, 0, size)
            if _read_file_state(path) != state:
                return  # the code writes the file: the next checkpoint has the file
            files[name] = [digest, size]
        start = sum(size for _, size in self._log)
        if checkpoint.log_size > start:
            digest = hash_part(LOG, start, checkpoint.log_size - start)
            self._upload_part(digest, LOG, start, checkpoint.log_size - start)
            self._log.append([digest, checkpoint.log_size - start])
        self._write_list(files)
        self._stored_state, self._waits_since = checkpoint.state, time.monotonic()
        self._digests = {(name, checkpoint.state[name]): digest for name, (digest, _) in files.items()}
        self._count += 1
        self._report(
            {
                "checkpoint": {
                    "time": time.time(),
                    "count": self._count,
                    "bytes": sum(size for _, size in files.values()),
                }
            }
        )

    def _upload_part(self, digest: str, path: str, start: int, size: int) -> None:
        if digest not in self._uploaded:
            status = self._cloud.upload(self._prefix + digest, path, start, size)
            _check_upload("a file of {} bytes".format(size), status)
            self._uploaded.add(digest)

    def _write_list(self, files: dict[str, Any]) -> None:
        """Store the signed list of the files, then delete files that are in no list any more."""
        import hashlib
        import hmac

        text = json.dumps({"files": files, "log": self._log, "time": time.time()}, sort_keys=True)
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (SIGNED, text.encode()):
            digest.update(b"%d:" % len(part) + part)
        path = os.path.join(FOLDER, "list.json")
        write_text(path, json.dumps({"list": text, "signature": digest.hexdigest()}))
        status = self._cloud.upload(self._prefix + "list", path, 0, os.path.getsize(path))
        _check_upload("the list of the checkpoint", status)
        listed = {digest for digest, _ in list(files.values()) + self._log}
        for old in self._uploaded - listed:
            self._cloud.remove(self._prefix + old)
        self._uploaded &= listed


def _check_upload(subject: str, status: int) -> None:
    """Raise OSError, with the reason, if the bucket refused an upload."""
    if status >= 300:
        reason = ": " + REFUSALS[status] if status in REFUSALS else ""
        raise OSError("the bucket refused {}{} (HTTP {})".format(subject, reason, status))


class FolderSnapshot:
    """Files of the checkpoint folder: name → size and time of the change, name → path, and the size of the log."""

    def __init__(self, state: dict[str, FileState], paths: dict[str, str], log_size: int, links: str = "") -> None:
        self.state, self.paths, self.log_size, self._links = state, paths, log_size, links

    def remove_links(self) -> None:
        """Remove the links to files that the code reported as complete."""
        import shutil

        if self._links:
            shutil.rmtree(self._links, ignore_errors=True)


def _read_folder_state() -> dict[str, FileState]:
    """Return the files of the checkpoint folder, without drafts and links: name → size and time of the change."""
    state = {}
    for folder, _, names in os.walk(CHECKPOINTS):
        for name in names:
            path = os.path.join(folder, name)
            if not name.endswith(".tmp") and os.path.isfile(path) and not os.path.islink(path):
                state[os.path.relpath(path, CHECKPOINTS).replace(os.sep, "/")] = _read_file_state(path)
    return state


def _build_checkpoint_path(name: str) -> str:
    return os.path.join(CHECKPOINTS, *name.split("/"))


def _read_file_state(path: str) -> FileState:
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns
