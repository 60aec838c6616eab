"""What writes bytes, turned into what gives them: pieces of one size, made no faster than they are taken."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lk_jupyter.runs.variables.fingerprint import Write

#: Bytes of a piece; larger ones are cut without a copy, smaller ones joined.
PIECE = 16 * 1024 * 1024

_JOINED = 1024 * 1024
_AHEAD = 2


class _Ended(Exception):
    """Whoever took the pieces takes no more."""


def pieces(write: Write) -> Iterator[Any]:
    """Yield what ``write`` writes. Raises what it raises."""
    made: queue.Queue[Any] = queue.Queue(_AHEAD)
    ended = threading.Event()
    cutter = _Cutter(lambda piece: _hand_over(made, piece, ended))

    def work() -> None:
        last: Any = None
        try:
            write(cutter.write)
            cutter.flush()
        except _Ended:
            return
        except BaseException as error:  # noqa: BLE001 (raised again where the pieces are taken)
            last = error
        with suppress(_Ended):
            _hand_over(made, last, ended)

    threading.Thread(target=work, name="lk-pieces", daemon=True).start()
    try:
        while (piece := made.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        ended.set()


def _hand_over(made: queue.Queue[Any], piece: Any, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(queue.Full):
            made.put(piece, timeout=0.1)
            return
    raise _Ended


class _Cutter:
    """Cuts what is large, joins what is small."""

    def __init__(self, take: Any) -> None:
        self._take = take
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
            self._take(flat[start : start + PIECE])

    def flush(self) -> None:
        if self._small:
            self._take(bytes(self._small))
            self._small.clear()
