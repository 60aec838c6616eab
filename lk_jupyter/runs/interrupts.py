"""Keep interrupts reliable, run their actions, and free cells that wait for a run."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from lk_jupyter._threads import start

if TYPE_CHECKING:
    from typing_extensions import Self

Act = Callable[[threading.Event], object]


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether this error is an interrupt, or was caused by an interrupt within a lock.

    Python's Condition, the base of every Event, Queue and Future, waits with an open lock. An interrupt at the moment
    of locking again leaves the lock open, and the end of the ``with`` block raises "release unlocked lock" in place of
    the interrupt.
    """
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and isinstance(error.__context__, KeyboardInterrupt)
    )


@contextmanager
def true_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for every interrupt in the block, also if another error replaced the interrupt."""
    try:
        yield
    except RuntimeError as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        raise


class SafeEvent(threading.Event):
    """Implement an event that a thread can set after an interrupt has broken any wait.

    The lock in ``threading.Event`` stays locked if an interrupt comes between two steps at the end of a wait. A thread
    that sets such an event then waits forever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._news: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._is_set

    def set(self) -> None:
        """Wake the threads that wait."""
        self._is_set = True
        self._news.put(None)

    def clear(self) -> None:
        """Reset the event, so that further threads wait."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, at most this number of seconds; return whether the event is set."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            remaining = _LONGEST if end is None else min(end - time.monotonic(), _LONGEST)
            if remaining <= 0:
                break
            with suppress(Empty):
                self._news.get(timeout=remaining)
                if self._is_set:
                    self._news.put(None)  # for the next waiting thread
        return self._is_set


#: Seconds after which a wait checks the event again: an interrupted wait may have consumed the news.
_LONGEST = 1.0


class AtInterrupt:
    """Call ``act`` at the first interrupt within a ``with`` block, in a thread that no interrupt reaches.

    ``act`` receives an event that a further interrupt sets. The signal handler starts ``act`` before any other step, so
    a second interrupt can't prevent the call. Every interrupt leaves the block as KeyboardInterrupt. If the program
    handles the signal without an exception, nothing is called.
    """

    def __init__(self, act: Act) -> None:
        self._act = act
        self._again = threading.Event()
        self._has_started = self._is_signaled = False
        self._interrupts: list[float] = []
        self._before: Callable[[int, FrameType | None], object] | None = None
        self.is_marked = self.is_done = False

    def __enter__(self) -> Self:
        _start_serving_thread()
        self._is_signaled = False
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            while isinstance(owner := getattr(before, "__self__", None), AtInterrupt) and owner.is_marked:
                before = owner._before  # an interrupt came before the previous block could restore its handler
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_interrupt(error) and not self._is_signaled:  # one interrupt is one mark
            self.mark()
        if self._before and signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, self._before)
            if self.is_marked and not isinstance(getattr(self._before, "__self__", None), AtInterrupt):
                ignore_late_interrupts()
        if is_interrupt(error) and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._before is None:
            return
        self._interrupts.append(time.monotonic())
        if len(self._interrupts) > _WAITS_END and self._interrupts[-1] - self._interrupts[1] < _DISPLAY_SECONDS:
            return  # the second interrupt has ended the wait, and the error is being created
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            self._is_signaled = True
            self.mark()
            raise

    def mark(self) -> None:
        """Record that there was an interrupt, and start its action."""
        self.is_marked = True
        _open.add(self)
        _work.put(self._start_or_signal_action)

    def _start_or_signal_action(self) -> None:
        """Start the action of the interrupt, or signal a further interrupt to the started action."""
        if self._has_started:
            self._again.set()
            if self.is_done:
                _open.discard(self)
            return
        self._has_started = True
        _start_thread(self._run_action, "lk-interrupt")

    def _run_action(self) -> None:
        try:
            self._act(self._again)
        finally:
            self.is_done = True
            _open.discard(self)


class LateInterrupts:
    """A signal handler that ignores interrupts for a moment, while an error is shown that reports an active run.

    IPython shows nothing of an error if an interrupt comes meanwhile. ``cell`` is the cell that failed: a cell that
    handles errors and keeps running can be interrupted soon.
    """

    def __init__(self, cell: int, before: Callable[[int, FrameType | None], object], shell: Any) -> None:
        self.cell = cell
        self.before = before
        self._shell = shell
        self._end = time.monotonic() + _DISPLAY_SECONDS
        self._ignored = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Ignore an interrupt, or call the previous handler."""
        self._ignored += 1
        if self._ignored > _MOST_IGNORED or time.monotonic() > self._end:
            self.before(number, frame)

    def stop(self, _: object) -> None:
        """Restore the previous handler: the failed cell has shown its error, and the next cell can be interrupted."""
        self._shell.events.unregister("post_run_cell", self.stop)
        handler: object = signal.getsignal(signal.SIGINT)
        if handler is self:
            signal.signal(signal.SIGINT, self.before)


#: Number of interrupts that end every wait.
_WAITS_END = 2

#: Seconds in which an error is shown, and interrupts that are ignored meanwhile.
_DISPLAY_SECONDS, _MOST_IGNORED = 1.0, 3


def ignore_late_interrupts() -> None:
    """Let no interrupt of the next moment hide the error of a cell of IPython."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or threading.current_thread() is not threading.main_thread():
        return
    cell: int = shell.execution_count
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, LateInterrupts):
        if before.cell == cell:
            return
        before = before.before
    if callable(before):
        late = LateInterrupts(cell, before, shell)
        signal.signal(signal.SIGINT, late)
        shell.events.register("post_run_cell", late.stop)


#: Work for the thread that no interrupt reaches. An interrupt can't break a put into this queue; starting a thread
#: takes locks that all threads need.
_work: SimpleQueue[Callable[[], object]] = SimpleQueue()
_servant: threading.Thread | None = None

#: Interrupts whose act may not be done yet.
_open: set[AtInterrupt] = set()


def call_in_background(work: Callable[[], object], name: str) -> None:
    """Call a function in a new thread; no interrupt of this thread can prevent the start."""
    if threading.current_thread() is threading.main_thread() and _start_serving_thread():
        _work.put(partial(_start_thread, work, name))
    else:  # interrupts reach only the main thread
        _start_thread(work, name)


def serve_all() -> bool:
    """Start the work that no thread has started yet; return whether all actions of interrupts have finished."""
    with suppress(Empty):
        while True:
            _work.get_nowait()()
    return not _open


def _start_thread(work: Callable[[], object], name: str) -> None:
    start(threading.Thread(target=work, name=name, daemon=True))


def _start_serving_thread() -> bool:
    """Start the thread that no interrupt reaches; return whether the thread is active.

    An exiting Python refuses new threads.
    """
    global _servant  # noqa: PLW0603 (one for the process, and a new one after a fork)
    if _servant is None or not _servant.is_alive():
        _servant = threading.Thread(target=_run_queued_work, name="lk-interrupts", daemon=True)
        with suppress(RuntimeError):  # serve_all does the work then
            _servant.start()
    return _servant.is_alive()


def _run_queued_work() -> None:
    while True:
        _work.get()()


#: Run id → the waiting cells. Changed only by single steps of the interpreter, which need no lock.
_waiting: defaultdict[str, list[threading.Event]] = defaultdict(list)


@contextmanager
def waiting_on(execution_id: str) -> Iterator[threading.Event]:
    """Register that the cell waits for this run; the event is set when the cell must stop waiting.

    Only the main thread runs cells, so waits of further threads block no cell.
    """
    released = SafeEvent()
    if threading.current_thread() is not threading.main_thread():
        yield released
        return
    waiting = _waiting[execution_id]
    waiting.append(released)
    try:
        yield released
    finally:
        waiting.remove(released)


def is_blocking(execution_id: str) -> bool:
    """Whether a cell waits for this run."""
    return bool(_waiting.get(execution_id))


def release(execution_id: str) -> None:
    """Free the cell that waits for this run. The run stays active."""
    for released in list(_waiting.get(execution_id, [])):
        released.set()
