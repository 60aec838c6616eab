"""Which runs hold up a cell of this kernel, so that somebody else can let the cell go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_held: dict[str, list[threading.Event]] = {}
_lock = threading.Lock()


@contextmanager
def waiting_on(execution_id: str) -> Iterator[threading.Event]:
    """Say that the cell waits for this run; the event is set when it should not any more.

    Only the main thread runs cells: what other threads wait for holds up nobody.
    """
    left = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield left
        return
    with _lock:
        _held.setdefault(execution_id, []).append(left)
    try:
        yield left
    finally:
        with _lock:
            _held[execution_id].remove(left)


def is_blocking(execution_id: str) -> bool:
    """Whether a cell waits for this run."""
    with _lock:
        return bool(_held.get(execution_id))


def release(execution_id: str) -> None:
    """Let the cell go that waits for this run; the run goes on."""
    with _lock:
        for left in _held.get(execution_id, []):
            left.set()
