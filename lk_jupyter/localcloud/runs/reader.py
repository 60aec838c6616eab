"""Read and store the output of runs, then notify the followers.

A single thread reads all pipes, in the order in which data arrives, so that a run's two streams are joined in the order
of the writes. A chunk is on disk before any follower is notified. While the disk is full, runs wait at their pipes.
"""

from __future__ import annotations

import codecs
import logging
import os
import selectors
import socket
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lk_jupyter.localcloud.runs.output import RunOutput

_READ_BYTES = 1 << 16
_CHUNK_CHARACTERS = 1 << 16
_PENDING_CHARACTERS = 1 << 20
_LINE_SECONDS = 0.005
_FLUSH_SECONDS = 0.01
_FLOOD_READS = 16
_REST_SECONDS = 0.001
_FULL_SECONDS = 0.2


@dataclass
class _Pipe:
    """The read end of a run's stream."""

    run_id: str
    stream: str
    closed: Callable[[], Any]
    decode: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )


class OutputReader(threading.Thread):
    """A reader of the pipes of all runs; ``written(run ids)`` is called from its thread."""

    def __init__(self, output: RunOutput, written: Callable[[set[str]], None]) -> None:
        super().__init__(name="output-reader", daemon=True)
        self._output = output
        self._written = written
        self._selector = selectors.DefaultSelector()
        self._requests: deque[Callable[[], Any]] = deque()
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._pending: list[list[Any]] = []
        self._pending_size = 0
        self._closed: list[Callable[[], Any]] = []
        self._flushed = self._due = 0.0
        self._running = True
        self._closing = threading.Event()
        self._latest: set[int] = set()
        self._streak = 0

    def add(self, run_id: str, stream: str, fd: int, closed: Callable[[], Any]) -> None:
        """Read a pipe until its end, then close the pipe; ``closed()`` is called when all data is stored."""
        pipe = _Pipe(run_id, stream, closed)
        if os.name == "nt":
            threading.Thread(target=self._read_blocking, args=(fd, pipe), daemon=True).start()
        else:
            self._queue_request(lambda: self._selector.register(fd, selectors.EVENT_READ, pipe))

    def close(self) -> None:
        """Store the read data, if the disk has room, then end the thread."""
        self._closing.set()
        self._queue_request(self._stop_reading)
        self.join()
        self._waker.close()
        self._woken.close()
        self._selector.close()

    def run(self) -> None:
        """Read, store and notify, until closed."""
        while self._running or self._pending:
            events = self._selector.select(self._compute_wait_seconds())
            for key, _ in events:
                if key.data is None:
                    self._woken.recv(4096)
                else:
                    self._read_pipe(key.fd, key.data)
            while self._requests:
                self._requests.popleft()()
            if self._is_due():
                self._flush_output()
            self._pause_in_flood({key.fd for key, _ in events})

    def _queue_request(self, request: Callable[[], Any]) -> None:
        self._requests.append(request)
        self._waker.send(b"!")

    def _stop_reading(self) -> None:
        self._running = False

    def _read_pipe(self, fd: int, pipe: _Pipe) -> None:
        data = os.read(fd, _READ_BYTES)
        self._append_data(pipe, data)
        if not data:
            self._selector.unregister(fd)
            os.close(fd)

    def _read_blocking(self, fd: int, pipe: _Pipe) -> None:
        data = b"?"
        while data:
            data = os.read(fd, _READ_BYTES)
            self._queue_request(lambda data=data: self._append_data(pipe, data))  # type: ignore[misc]
        os.close(fd)

    def _append_data(self, pipe: _Pipe, data: bytes) -> None:
        """Append new output to the last chunk of the same stream, or to a new chunk.

        After a silence, a line is stored immediately and half a line soon, so that lines aren't split; a flood is
        stored in batches.
        """
        if not self._pending and not self._closed:
            self._due = max(time.monotonic() + _LINE_SECONDS, self._flushed + _FLUSH_SECONDS)
        if data.endswith(b"\n"):
            self._due = self._flushed + _FLUSH_SECONDS
        if text := pipe.decode.decode(data, final=not data):
            last = self._pending[-1] if self._pending else None
            if last and last[:2] == [pipe.run_id, pipe.stream] and len(last[3]) < _CHUNK_CHARACTERS:
                last[3] += text
            else:
                self._pending.append([pipe.run_id, pipe.stream, time.time(), text])
            self._pending_size += len(text)
        if not data:
            self._closed.append(pipe.closed)

    def _pause_in_flood(self, fds: set[int]) -> None:
        """Let a flood gather for a moment, unless the script alternates between its streams and waits for reads."""
        self._streak = self._streak + 1 if fds and fds == self._latest else 0
        self._latest = fds
        if self._streak > _FLOOD_READS:
            time.sleep(_REST_SECONDS)

    def _compute_wait_seconds(self) -> float | None:
        if not self._pending and not self._closed:
            return None
        return max(0.0, self._due - time.monotonic())

    def _is_due(self) -> bool:
        return bool(self._pending or self._closed) and (
            time.monotonic() >= self._due or self._pending_size >= _PENDING_CHARACTERS
        )

    def _flush_output(self) -> None:
        if self._pending:
            self._write_pending()
            self._written({run_id for run_id, *_ in self._pending})
        for closed in self._closed:
            closed()
        self._pending, self._pending_size, self._closed = [], 0, []
        self._flushed = time.monotonic()

    def _write_pending(self) -> None:
        while True:
            try:
                return self._output.append(self._pending)
            except sqlite3.OperationalError:
                if self._closing.wait(_FULL_SECONDS):
                    logging.getLogger("uvicorn.error").exception("The last output of runs is lost.")
                    return None
