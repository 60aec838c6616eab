"""Make previews in a child process: a foreign file may crash or fill the child, and never this process.

The child has no keys and reads no file: for each range, the child sends a request, and this process answers with the
bytes. The child has limits on memory and time, serves later previews too, and is replaced after a crash or a limit.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

from lk_jupyter._fork import renew_in_child
from lk_jupyter._python import child_environment, module_command
from lk_jupyter.errors import StorageError
from lk_jupyter.storage._preview_child import MOST_RANGE, SECONDS, read_message, write_message
from lk_jupyter.storage.objects import ObjectInfo

#: Seconds for the start of Python and the import of a library, which read no foreign bytes.
_START_SECONDS = 60

#: The most bytes of a file that a preview reads, and of an answer of the child.
MOST_READ, MOST_ANSWER = 256_000_000, 4_000_000

#: Environment variables that Python needs to start, none of which contains a key of the user.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL")

#: Exit code of a process that the system ended at its CPU time limit.
_TIMEOUT_SIGNAL = -24

_TOO_LONG = f"it takes more than {SECONDS} s"


class PreviewFailed(Exception):
    """A preview ended without a result; the text is the reason."""


class _Child:
    """A process that makes previews, sequentially."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lk-preview-", ignore_cleanup_errors=True)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        self.process = subprocess.Popen(
            module_command("lk_jupyter.storage._preview_child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env={**child_environment(environment), **single},
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._receiver = threading.Thread(target=self._receive_answers, name="lk-preview", daemon=True)
        self._receiver.start()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def preview(self, info: ObjectInfo, file: Any) -> dict[str, Any]:
        """Return the result for an open file. Raises PreviewFailed, and errors of reading the file."""
        modified = info.modified.isoformat() if info.modified else None
        self._send_message(b"p", json.dumps([info.key, info.size, modified]).encode())
        try:
            started = self._wait_for_answer(_START_SECONDS)
        except PreviewFailed:
            started = (b"", b"")
        if started[0] != b"s":
            raise PreviewFailed("the process for previews doesn't start")
        remaining, total = float(SECONDS), 0
        while True:
            began = time.monotonic()
            kind, content = self._wait_for_answer(remaining)
            remaining -= time.monotonic() - began
            if kind != b"r":
                break
            start, size = struct.unpack("!QI", content)
            total += size
            if size > MOST_RANGE or total > MOST_READ:
                raise PreviewFailed("it needs a larger part of the file than a preview reads")
            file.seek(start)
            self._send_message(b"b", bytes(file.read(size)))
        if kind != b"v":
            raise PreviewFailed("the process sent no result")
        result = json.loads(content)
        if not isinstance(result, dict):
            raise PreviewFailed("the process sent no result")
        return result

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._receiver.join()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._folder.cleanup()

    def _receive_answers(self) -> None:
        stream = self.process.stdout
        with suppress(OSError, ValueError):
            while stream and (message := read_message(stream, MOST_ANSWER)):
                self._answers.put(message)
        self._answers.put(None)

    def _wait_for_answer(self, seconds: float) -> tuple[bytes, bytes]:
        try:
            message = self._answers.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise PreviewFailed(_TOO_LONG) from None
        if message is None:
            raise PreviewFailed(self._explain_end())
        return message

    def _explain_end(self) -> str:
        code = self.process.wait(10)
        return _TOO_LONG if code == _TIMEOUT_SIGNAL else "it crashes the library that reads it"

    def _send_message(self, kind: bytes, content: bytes) -> None:
        stream = self.process.stdin
        try:
            write_message(stream, kind, content)  # type: ignore[arg-type]
        except OSError:
            raise PreviewFailed(self._explain_end()) from None


class PreviewProcess:
    """A maker of previews in a child process, which starts with the first preview and is replaced after its end."""

    def __init__(self) -> None:
        self.after_fork()
        renew_in_child(self)
        atexit.register(self.close)

    def after_fork(self) -> None:
        """Forget the child of the parent process, and replace the lock, which another thread may have locked."""
        self._lock = threading.Lock()
        self.child: _Child | None = None

    def preview(self, info: ObjectInfo, file: Any) -> dict[str, Any]:
        """Return the result of a preview of an open file.

        Raises PreviewFailed, StorageError, and errors of reading the file.
        """
        with self._lock:
            if self.child is None or not self.child.is_running:
                self.close()
                self.child = _Child()
            try:
                result = self.child.preview(info, file)
            except BaseException:
                self.close()
                raise
        if problem := result.get("problem"):
            raise StorageError(str(problem)[:500])
        if failure := result.get("failure"):
            raise PreviewFailed(str(failure)[:500])
        return result

    def close(self) -> None:
        """End the child process."""
        child, self.child = self.child, None
        if child is not None:
            child.close()


PROCESS = PreviewProcess()
