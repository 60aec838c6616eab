"""Interrupts that stay interrupts, what they stop, and how a cell is let go that waits for a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

Act = Callable[[threading.Event], object]


def is_interrupt(error: BaseException | None) -> bool:
    """Whether this is an interrupt, or what has become of one.

    Python's Condition, which is in every Event, Queue and Future, waits with its lock open. An
    interrupt in the moment at which it takes the lock back leaves it open, and the end of its ``with``
    block complains of that in place of the interrupt: "release unlocked lock".
    """
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and isinstance(error.__context__, KeyboardInterrupt)
    )


@contextmanager
def true_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for every interrupt within, whatever has become of it."""
    try:
        yield
    except RuntimeError as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        raise


class AtInterrupt:
    """A ``with`` block in which the first interrupt calls ``act``, in a thread that no interrupt reaches.

    ``act`` is given an event that a further interrupt sets. It is called as soon as the signal comes, before
    anything else is done about it, so that a second interrupt cannot prevent it. Every interrupt leaves the
    block as KeyboardInterrupt. Where the program handles the signal itself and raises nothing, there is no
    interrupt, and nothing is called.
    """

    def __init__(self, act: Act) -> None:
        self._act = act
        self._again = threading.Event()
        self._begun = False
        self._before: Callable[[int, FrameType | None], object] | None = None
        self.is_marked = self.is_done = False

    def __enter__(self) -> Self:
        _begin_to_serve()
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            while isinstance(owner := getattr(before, "__self__", None), AtInterrupt) and owner.is_marked:
                before = owner._before  # an interrupt came before this one's end could put it back
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_interrupt(error):
            self.mark()
        if self._before and signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, self._before)
        if is_interrupt(error) and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._before is None:
            return
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            self.mark()
            raise

    def mark(self) -> None:
        """Say that there was an interrupt."""
        self.is_marked = True
        _open.add(self)
        _marks.put(self)  # the one way to another thread that an interrupt in its middle cannot break

    def serve(self) -> None:
        """Call what the interrupt is to call, or say to it that there was another one."""
        if self._begun:
            self._again.set()
            return
        self._begun = True
        in_background(self._work, "lk-interrupt")

    def _work(self) -> None:
        try:
            self._act(self._again)
        finally:
            self.is_done = True


#: Interrupts that came, for the thread that serves them.
_marks: SimpleQueue[AtInterrupt] = SimpleQueue()
_servant: threading.Thread | None = None

#: Those whose act may not be done yet.
_open: set[AtInterrupt] = set()


def in_background(work: Callable[[], object], name: str) -> None:
    """Do something in a new thread; at once if Python is exiting and takes no new threads any more."""
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:
        work()


def all_served() -> bool:
    """Serve the interrupts that no thread has served yet; return whether all that they call is done."""
    with suppress(Empty):
        while True:
            _marks.get_nowait().serve()
    return all(each.is_done for each in list(_open))


def _begin_to_serve() -> None:
    global _servant  # noqa: PLW0603 (one for the process, and a new one after a fork)
    if _servant is None or not _servant.is_alive():
        _servant = threading.Thread(target=_serve, name="lk-interrupts", daemon=True)
        _servant.start()


def _serve() -> None:
    while True:
        _marks.get().serve()
        _open.difference_update([each for each in list(_open) if each.is_done])


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
    """Free the cell that waits for this run. The run stays active."""
    with _lock:
        for left in _held.get(execution_id, []):
            left.set()
