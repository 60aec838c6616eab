"""Define the interrupt contract: the effect of the stop button on a cell that runs on the cloud.

==========================  =========================================================================
While the run               an interrupt
==========================  =========================================================================
is being sent               aborts the run once its id is known; if the answer is lost, the token in the
                            journal finds the run; nothing is billed unseen
waits, starts or runs       requests the run to return its variables and to end, aborts the run after 10 s at
                            most, waits for the end and shows the cost
is out of reach             aborts the run as soon as the server answers again, and reports the wait
(reconnecting)
has ended, and its record   ends the cell; no run remains to abort
is being read
==========================  =========================================================================

A thread that no interrupt reaches sends the request and the abort. A second interrupt sends the abort immediately, and
ends the waiting. The cell ends 10 seconds after the abort, or immediately if the server fails, with a message that
contains the run's id; the abort is repeated in the background, and the cell's output shows the end of the run.

Jupyter interrupts a kernel before a restart or shutdown. The user requested no stop in this case: the run keeps
running, and the next kernel can follow the run. The request to end the kernel arrives a moment after the interrupt. A
second interrupt rules it out: the end of a kernel interrupts once.

With ``--on-interrupt detach``, or the setting ``on_interrupt``, the first interrupt lets the run keep running: its
output continues in the background, in the cell.

Every interrupt ends the cell with KeyboardInterrupt, so that "Run All" stops there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from IPython.core.getipython import get_ipython

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError
from lk_jupyter.magics._output.background import follow_detached
from lk_jupyter.magics._output.run import RunDisplay
from lk_jupyter.magics._output.run_status import cost_label, receipt
from lk_jupyter.options.history import RerunOptions
from lk_jupyter.options.runs import AttachOptions, StartOptions
from lk_jupyter.runs.abort import Abort
from lk_jupyter.runs.interrupts import SafeEvent, true_interrupts
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.outcome import STOPPED_STATES, classify_end
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.session import Session

DETACH = "detach"

#: Seconds after an interrupt in which a request to end the kernel explains the interrupt.
_LAST_CALL = 0.4

#: Seconds after which a thread counts as not started.
_LATE_START = 5.0

#: Seconds that an aborted run has to send the rest of its log.
_LAST_WORDS = 3.0

_TICK = 0.1


def detaches(options: StartOptions | AttachOptions | RerunOptions) -> bool:
    """Whether an interrupt lets the run keep running."""
    chosen: str = options.on_interrupt or setting("on_interrupt")
    return chosen == DETACH


def build_interrupt(line: str) -> KeyboardInterrupt:
    """Return an interrupt that shows as these lines."""
    error = KeyboardInterrupt(line)
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {line}"]  # type: ignore[attr-defined]
    return error


@contextmanager
def advise_on_interrupt(line: str) -> Iterator[None]:
    """Make an interrupt show the runs or machines that may be active, and the command that ends them."""
    try:
        with true_interrupts():
            yield
    except KeyboardInterrupt as error:
        if is_handled(error):
            raise
        raise build_interrupt(line) from None


def is_handled(error: KeyboardInterrupt) -> bool:
    """Whether this is an interrupt that was dealt with."""
    return hasattr(error, "_render_traceback_")


class Stop:
    """The effect of an interrupt of a cell: call ``act`` in the background, unless the kernel is ending."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.kernel_ends = False
        self._once = threading.Lock()
        self._decided = SafeEvent()

    def __call__(self, again: threading.Event) -> None:
        """Act, once; ``again`` is set by a second interrupt, which is the user's for certain."""
        if not self._once.acquire(blocking=False):
            return
        try:
            self.kernel_ends = _wait_for_kernel_end(again)
            if not self.kernel_ends:
                self.act()
        finally:
            self._decided.set()

    def wait(self) -> None:
        """Wait for the decision whether the kernel ends; if not, ``act`` was called by then.

        On a busy machine, the thread that decides may start late.
        """
        self._decided.wait(_LAST_CALL + _LATE_START)


class NoInterrupt(Stop):
    """Lets the run keep running."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __call__(self, again: threading.Event) -> None:
        """Do nothing."""


def _wait_for_kernel_end(again: threading.Event) -> bool:
    """Whether this interrupt came because the kernel is restarted or shut down; waits a moment for word of that."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    deadline = time.monotonic() + _LAST_CALL
    while not shell.exit_now and not again.wait(0.02) and time.monotonic() < deadline:
        pass
    return bool(shell.exit_now)


def handle_send_interrupt(session: Session, sending: Submission, view: RunDisplay, stop: Stop) -> NoReturn:
    """Deal with an interrupt before the run is followed."""
    detach = isinstance(stop, NoInterrupt)
    try:
        with true_interrupts():
            line = (
                _detach_while_sending(session, sending, view) if detach else _stop_sending(session, sending, view, stop)
            )
    except KeyboardInterrupt:
        state = "The run stays active. Check: %lk_runs" if detach else sending.remainder or "No run is active."
        line = f"Stopped waiting for the start of the run. {state}"
    except LkError as error:
        line = f"The run may have started: {error} If the run started, lk_jupyter aborts the run. Check: %lk_runs"
    raise build_interrupt(line) from None


def _detach_while_sending(session: Session, sending: Submission, view: RunDisplay) -> str:
    run = Run.from_submission(session, sending)
    follow_detached(run, view)
    return _describe_background_run(run)


def _stop_sending(session: Session, sending: Submission, view: RunDisplay, stop: Stop) -> str:
    view.show_stopping()
    stop.wait()
    if stop.kernel_ends:
        return _SHUTDOWN_NOTE
    abort = sending.aborted()
    if abort is None:
        view.show_refusal()
        return _NOTHING
    run = Run(session, abort.execution_id, bundle=sending.bundle)
    if not abort.wait():
        view.aborting = abort
        follow_detached(run, view)
        return abort.words
    _ = run.record
    view.begin(run)
    return _describe_end(run, view)


def handle_follow_interrupt(run: Run, view: RunDisplay, monitor: RunMonitor, stop: Stop) -> NoReturn:
    """Deal with an interrupt of a run that is followed."""
    if monitor.finished or run.is_finished:
        monitor.close()
        line = _describe_earlier_end(run)
    elif isinstance(stop, NoInterrupt):
        follow_detached(run, view, monitor)
        line = _describe_background_run(run)
    else:
        line = _await_abort(run, view, monitor, stop)
    raise build_interrupt(line) from None


_NOTHING = "nothing was started."
_SHUTDOWN_NOTE = "the kernel is shutting down; the run stays active. Follow it: %lk_attach"


def _await_abort(run: Run, view: RunDisplay, monitor: RunMonitor, stop: Stop) -> str:
    """Wait for the end of a run that is being aborted, and return its cost; a second interrupt ends the waiting."""
    abort: Abort | None = None
    try:
        with true_interrupts():
            view.show_stopping()
            stop.wait()
            if stop.kernel_ends:
                monitor.close()
                return f"{_SHUTDOWN_NOTE} {run.execution_id}"
            abort = run.abort_soon()
            end = abort.let_go_at
            while not monitor.finished and not abort.wait(_TICK) and not abort.is_stuck and time.monotonic() < end:
                pass
            if not monitor.finished and not abort.ended.is_set():
                view.aborting = abort
                follow_detached(run, view, monitor)
                return abort.words
            run.wait_aside(_LAST_WORDS)
            monitor.done.wait(_LAST_WORDS)
            view.catch_up(monitor)
            return _describe_end(run, view)
    except KeyboardInterrupt:
        abort = abort or run.abort_soon()
        abort.hurry()
        line = f"Stopped waiting. {abort.words}"
    except (LkError, TimeoutError) as error:
        if abort and abort.ended.is_set():
            line = f"The run has ended, but its record can't be read: {error} Check: %lk_status {run.execution_id}"
        else:
            abort = abort or run.abort_soon()
            line = abort.words
    view.aborting = abort
    with suppress(KeyboardInterrupt):
        follow_detached(run, view, monitor)
    return line


def _describe_end(run: Run, view: RunDisplay) -> str:
    record = run.record
    view.end(record, "", raises=True)
    is_stopped = classify_end(record) in STOPPED_STATES
    if view.status.appends:  # some servers save the error below the receipt
        end = "was stopped" if is_stopped else "had already finished"
        return f"Run {run.short_id} {end}. Cost: {cost_label(run)}."
    return "You stopped this run." if is_stopped else "The run had already finished."


def _describe_earlier_end(run: Run) -> str:
    if run.is_finished:
        with suppress(LkError):
            return f"The run had already finished: {', '.join(filter(None, receipt(run.record, run).facts))}"
    return f"The run has finished; its cost isn't known yet. See it: %lk_attach {run.execution_id}"


def _describe_background_run(run: Run) -> str:
    return f"the run is still active in the background. Abort it: %lk_abort {run.execution_id}"
