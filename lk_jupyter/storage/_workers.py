"""Run functions in parallel threads, without waiting for the threads after an interrupt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, cast

from lk_jupyter._threads import start

T = TypeVar("T")

TICK = 0.1  # seconds between checks for an interrupt, and between reports of progress

#: Seconds that threads have to end after an interrupt; threads that hang on the network are abandoned.
_FAREWELL = 2.0


class Stopped(Exception):
    """Raised in a thread whose work is not wanted any more."""


class CancelToken:
    """A signal to all workers that the work is over."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def call(self) -> None:
        """Stop the workers."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped when the work is over."""
        if self._event.is_set():
            raise Stopped

    def pause(self, seconds: float | None) -> None:
        """Wait; raise Stopped when the work is over meanwhile."""
        if self._event.wait(seconds or 0):
            raise Stopped


def call_for_each(
    items: Iterable[T],
    act: Callable[[T], object],
    at_once: int,
    *,
    halt: CancelToken,
    tick: Callable[[], object] | None = None,
) -> None:
    """Call ``act`` with each item, in ``at_once`` threads; a single thread at a time takes the next item.

    ``tick`` is called in the caller's thread meanwhile. Raises the first error of a worker; an error or an interrupt
    stops the remaining workers.
    """
    crew = _Crew(items, act, halt, at_once)
    threads = [threading.Thread(target=crew.process_items, name="lk-storage", daemon=True) for _ in range(at_once)]
    try:
        for thread in threads:
            start(thread)
        while not crew.ended.wait(TICK):
            if tick:
                tick()
    except BaseException:
        halt.call()
        raise
    finally:
        _wait_for_threads(threads)
    if crew.error:
        raise crew.error


def call_interruptibly(act: Callable[[], T]) -> T:
    """Return the result of ``act``; in the main thread, an interrupt doesn't wait for ``act``."""
    if threading.current_thread() is not threading.main_thread():
        return act()
    results: list[T] = []
    call_for_each([act], lambda act: results.append(act()), 1, halt=CancelToken())
    return results[0]


class _Crew(Generic[T]):
    """The shared work of several threads; ``ended`` is set when all have ended or one has failed."""

    def __init__(self, items: Iterable[T], act: Callable[[T], object], halt: CancelToken, at_once: int) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._items = iter(items)
        self._act = act
        self._halt = halt
        self._active = at_once
        self._lock = threading.Lock()

    def process_items(self) -> None:
        """Process items until none remain."""
        try:
            for item in iter(self._take_next_item, _END):
                self._act(cast("T", item))
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 (it is raised again where the work was ordered)
            self.error = self.error or error
            self._halt.call()
        with self._lock:
            self._active -= 1
            if self.error or not self._active:
                self.ended.set()

    def _take_next_item(self) -> T | object:
        with self._lock:
            self._halt.check()
            return next(self._items, _END)


_END = object()


def _wait_for_threads(threads: list[threading.Thread]) -> None:
    """Wait a moment for the threads to end."""
    until = time.monotonic() + _FAREWELL
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, until - time.monotonic()))
