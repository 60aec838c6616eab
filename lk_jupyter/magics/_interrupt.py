"""The interrupt contract: what the stop button does to a cell that runs on the cloud.

==========================  =========================================================================
While the run               one interrupt
==========================  =========================================================================
is being sent               stops it as soon as its id is known; if its answer is lost, it is found by
                            the token in the journal; nothing is billed unseen
waits, starts or runs       stops it, waits for its end and shows what it cost
is out of reach             stops it as soon as the server is back, and says so
(reconnecting)
has ended, and its record   ends the cell; there is nothing to stop
is being read
==========================  =========================================================================

A kernel that is restarted or shut down is interrupted first. Nobody asked for a stop then: the run goes
on, and the next kernel can follow it.

A second interrupt ends the cell at once. The stop that was asked for is not taken back, but it may
not have arrived: the line that brings you back to the run is shown.

With ``--on-interrupt detach``, or the setting ``on_interrupt``, the first interrupt lets the run go
on: its output goes on in the background, in the cell.

Every interrupt ends the cell with KeyboardInterrupt, so that "Run All" stops there.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NoReturn

from IPython.core.getipython import get_ipython

from lk_jupyter.config import setting
from lk_jupyter.errors import LkError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._detached import follow_detached
from lk_jupyter.magics._pump import Pump
from lk_jupyter.magics._run_view import RunView, receipt
from lk_jupyter.options import AttachOptions, RerunOptions, StartOptions
from lk_jupyter.runs.outcome import STOPPED_STATES
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.sending import Sending, wait_for
from lk_jupyter.runs.session import Session

DETACH = "detach"

#: Seconds in which the request to end the kernel follows an interrupt that belongs to it.
_LAST_CALL = 0.4

#: Seconds that an aborted run gets to send the rest of its log.
_LAST_WORDS = 3.0


def detaches(options: StartOptions | AttachOptions | RerunOptions) -> bool:
    """Whether an interrupt lets the run go on."""
    chosen: str = options.on_interrupt or setting("on_interrupt")
    return chosen == DETACH


def interrupt(line: str) -> KeyboardInterrupt:
    """Return an interrupt that shows as these lines."""
    error = KeyboardInterrupt(line)
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {line}"]  # type: ignore[attr-defined]
    return error


def is_told(error: KeyboardInterrupt) -> bool:
    """Whether this is an interrupt that was dealt with."""
    return hasattr(error, "_render_traceback_")


def kernel_ends() -> bool:
    """Whether this interrupt came because the kernel is restarted or shut down; waits a moment for word of that."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    deadline = time.monotonic() + _LAST_CALL
    while not shell.exit_now and time.monotonic() < deadline:
        time.sleep(0.02)
    return shell.exit_now


def while_sending(session: Session, sending: Sending, view: RunView, *, detach: bool) -> NoReturn:
    """Deal with an interrupt before the run is followed."""
    try:
        with true_interrupts():
            line = _detached_while_sending(session, sending, view) if detach else _stop_sending(session, sending, view)
    except KeyboardInterrupt:
        what = "it goes on" if detach else "it is stopped as soon as the server answers"
        line = f"left the run while it was being sent; {what}. Look with: %lk_runs"
    except LkError as error:
        line = f"whether the run was started is not known: {error}"
    raise interrupt(line) from None


def _detached_while_sending(session: Session, sending: Sending, view: RunView) -> str:
    run = Run.sent(session, sending)
    follow_detached(run, view)
    return _detached(run)


def _stop_sending(session: Session, sending: Sending, view: RunView) -> str:
    if kernel_ends():
        return _LEFT
    view.stopping()
    answer = sending.abort()
    return _stopped(Run(session, answer.execution_id, bundle=sending.package), view) if answer else _NOTHING


def while_following(run: Run, view: RunView, pump: Pump, *, detach: bool) -> NoReturn:
    """Deal with an interrupt of a run that is followed."""
    if pump.finished or run.has_ended:
        pump.close()
        line = _had_ended(run)
    elif detach:
        follow_detached(run, view, pump)
        line = _detached(run)
    else:
        line = _stop(run, view, pump)
    raise interrupt(line) from None


_NOTHING = "nothing was started."
_LEFT = "the kernel ends; what was started goes on. Follow it with: %lk_attach"


def _stop(run: Run, view: RunView, pump: Pump) -> str:
    """Abort the run, wait for its end and say what it cost; a second interrupt leaves at once."""
    try:
        with true_interrupts():
            view.stopping()
            if kernel_ends():
                return f"{_LEFT} {run.execution_id}"
            wait_for(run.abort_soon())
            run.wait()
            pump.done.wait(_LAST_WORDS)
            view.catch_up(pump)
            return _ended(run, view)
    except KeyboardInterrupt:
        return f"left the run; it may go on. Follow it with: %lk_attach {run.execution_id}"
    except LkError as error:
        return f"the run could not be stopped and may go on: {error}\nTry again: %lk_abort {run.execution_id}"
    finally:
        pump.close()


def _stopped(run: Run, view: RunView) -> str:
    run.wait()
    view.begin(run)
    return _ended(run, view)


def _ended(run: Run, view: RunView) -> str:
    record = run.record
    view.end(record, "")
    how = "the run was stopped" if record.status.lower() in STOPPED_STATES else "the run had ended by itself"
    return f"{how}: {', '.join(filter(None, receipt(record, run.machine).facts))}"


def _had_ended(run: Run) -> str:
    if run.has_ended:
        with suppress(LkError):
            return f"the run had ended: {', '.join(filter(None, receipt(run.record, run.machine).facts))}"
    return f"the run has ended, and what it cost was not read yet. See it again with: %lk_attach {run.execution_id}"


def _detached(run: Run) -> str:
    return f"the run goes on in the background. Stop it with: %lk_abort {run.execution_id}"
