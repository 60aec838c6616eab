"""Turn a function that writes bytes into an iterator of pieces, which are made only as fast as they are read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lk_jupyter.runs.variables.fingerprint import Write

#: Bytes of a piece; larger writes are cut without a copy, smaller writes are joined.
PIECE = 16 * 1024 * 1024

_JOINED = 1024 * 1024
_AHEAD = 2


class _ReaderClosed(Exception):
    """Stop the writing thread after the reader closed the iterator."""


def iterate_pieces(write: Write) -> Iterator[Any]:
    """Yield the bytes of ``write`` in pieces. Raises the errors of ``write``."""
    queued: queue.Queue[Any] = queue.Queue(_AHEAD)
    closed = threading.Event()
    cutter = _Cutter(lambda piece: _enqueue_piece(queued, piece, closed))

    def work() -> None:
        last: Any = None
        try:
            write(cutter.write)
            cutter.flush()
        except _ReaderClosed:
            return
        except BaseException as error:  # noqa: BLE001 (raised again where the pieces are read)
            last = error
        with suppress(_ReaderClosed):
            _enqueue_piece(queued, last, closed)

    threading.Thread(target=work, name="lk-pieces", daemon=True).start()
    try:
        while (piece := queued.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        closed.set()


def _enqueue_piece(queued: queue.Queue[Any], piece: Any, closed: threading.Event) -> None:
    while not closed.is_set():
        with suppress(queue.Full):
            queued.put(piece, timeout=0.1)
            return
    raise _ReaderClosed


class _Cutter:
    """Cut large writes into pieces, and join small writes."""

    def __init__(self, emit: Any) -> None:
        self._emit = emit
        self._small = bytearray()

    def write(self, data: Any) -> None:
        view = memoryview(data)
        if view.nbytes < _JOINED:
            self._small += view.tobytes()
            if len(self._small) >= PIECE:
                self.flush()
            return
        self.flush()
        flat = view.cast("B")
        for start in range(0, len(flat), PIECE):
            self._emit(flat[start : start + PIECE])

    def flush(self) -> None:
        if self._small:
            self._emit(bytes(self._small))
            self._small.clear()
