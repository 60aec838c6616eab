"""Send and repeat aborts in the background until the run has ended, whatever the server answers.

An abort is a hard stop: the cloud ends the process. A run that returns variables is requested to stop first, and has
GRACE seconds to return them.

Nothing takes an abort back: no second interrupt and no closed session. The process waits at its exit until the server
has received the abort, for 30 seconds at most.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Protocol

from lk_jupyter.api._client import Client
from lk_jupyter.api._polling import PATIENCE
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.states import is_known
from lk_jupyter.errors import ApiError, LkError, NotFound, OperationNotAvailable
from lk_jupyter.protocol.bucket import GRACE
from lk_jupyter.protocol.vm_run import parse_run_key
from lk_jupyter.runs.follow import PAUSES, Ending
from lk_jupyter.runs.interrupts import SafeEvent, call_in_background, serve_all

#: Seconds after which a waiting caller gets a message; the abort continues.
LET_GO = 10.0

#: Seconds between two looks whether an aborted run has ended, and before the abort is repeated.
_LOOK, _LONGEST_LOOK, _REPEAT = 0.1, 2.0, 30.0

#: Seconds between two looks whether a run has followed a request to stop.
_STOP_LOOK = 0.25

#: Seconds that an exiting process may wait until the server has received an abort.
_AT_EXIT = 30.0


def let_go_at(seconds: float | None = None) -> float:
    """Return when whoever waits for an abort is let go, by the monotonic clock."""
    return time.monotonic() + (LET_GO if seconds is None else seconds)


class Pending(Protocol):
    """Something that has to reach the server before the process ends."""

    @property
    def has_arrived(self) -> bool:
        """Whether the server has received the request, or never will."""


class Abort:
    """Repeat an abort in the background, as ``Run.abort_soon`` returns it.

    The abort is repeated until the server accepts it: for 15 minutes while the server is out of reach.

    Example:
        >>> run = session.run("import time; time.sleep(600)")
        >>> abort = run.abort_soon()
        >>> abort.let_go_at > 0
        True
        >>> abort.hurry()
        >>> abort.wait(seconds=60), abort.words
        (True, '...')
        >>> run.status
        'aborted'
    """

    def __init__(
        self, client: Client, execution_id: str, request_stop: Callable[[], object] | None = None, grace: float = GRACE
    ) -> None:
        self.execution_id = execution_id
        self._request_stop = request_stop
        self._grace_end = time.monotonic() + (grace if request_stop else 0.0)
        self._hurries = SafeEvent()
        self.accepted = False
        self.state = ""
        self.error: Exception | None = None
        self.ended = SafeEvent()
        self._work_lock = threading.Lock()
        self._client = client
        self._ending = Ending(client, execution_id)
        self._is_unknown = False  # to the server, when its state was last read
        self._over = False  # nothing more is tried

    @property
    def has_arrived(self) -> bool:
        """Whether the server has received the abort, or never will."""
        return self.accepted or self.ended.is_set() or self._over

    @property
    def is_stuck(self) -> bool:
        """Whether the last try failed, so that waiting for the end may take long."""
        return self.error is not None and not self.ended.is_set()

    @property
    def let_go_at(self) -> float:
        """Return the moment at which whoever waits for the abort is let go, by the monotonic clock."""
        return max(time.monotonic(), self._grace_end) + LET_GO

    def hurry(self) -> None:
        """Send the abort immediately, also if the run hasn't returned its variables yet."""
        self._grace_end = min(self._grace_end, time.monotonic())
        self._hurries.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the run has ended; don't wait for a server that fails.

        Args:
            seconds: Seconds to wait. Default: 10 s, after the seconds in which the run returns its variables.

        Returns:
            Whether the run has ended.
        """
        end = self.let_go_at if seconds is None else let_go_at(seconds)
        while not self.ended.is_set() and not self.is_stuck and time.monotonic() < end:
            self.ended.wait(_LOOK)
        return self.ended.is_set()

    def wait_for_answer(self, seconds: float | None = None) -> None:
        """Wait until the server has answered the abort, at most this number of seconds."""
        end = self.let_go_at if seconds is None else let_go_at(seconds)
        while not self.has_arrived and not self.is_stuck and time.monotonic() < end:
            self.ended.wait(_LOOK)

    @property
    def words(self) -> str:
        """Describe the state of the abort for a caller that stops waiting."""
        fix = f"Stop it: %lk_abort {self.execution_id}"
        if isinstance(self.error, NotFound) and not isinstance(self.error, OperationNotAvailable):
            repeats = "" if self._over else " The abort is repeated in the background."
            return f"Run {self.execution_id} is unknown to the cloud and may be billed.{repeats} {fix}"
        if self.error and self._over:
            return f"The abort failed: {_read_first_line(self.error)} {self._doubt}. {fix}"
        if self.error:
            why = _read_first_line(self.error)
            return f"{self._doubt}: {why} The abort is repeated in the background. {fix}"
        if self.accepted:
            check = f"Check: %lk_status {self.execution_id} Abort it again: %lk_abort {self.execution_id}"
            if self._is_unknown:
                return f"The server accepted the abort, but no longer knows the run. It may be billed. {check}"
            return f"The server accepted the abort, but the run is still {self.state or 'active'}. {check}"
        if self._is_grace:
            state = f"The run is still returning its variables, and is aborted within {GRACE:.0f} s."
        else:
            state = f"The server hasn't confirmed the abort yet. {self._doubt}."
        return f"{state} {fix}"

    @property
    def _doubt(self) -> str:
        """What may still be active, as the start of a sentence."""
        is_on_vm = parse_run_key(self.execution_id) is not None
        return "The run and its VM may still be active and billed" if is_on_vm else "The run may still be active"

    def work(self) -> None:
        """Send the abort until the server accepts it, then poll the state of the run; a second call does nothing."""
        if not self._work_lock.acquire(blocking=False):
            return
        try:
            if self._request_stop and self._request_stop_and_wait(self._request_stop):
                return
            end = time.monotonic() + PATIENCE
            for pause in chain(PAUSES, repeat(PAUSES[-1])):
                time.sleep(pause)
                try:
                    self._send_abort()
                    if self.accepted:
                        self._poll_state()
                except Exception as error:  # noqa: BLE001 (whatever it is, the abort is repeated)
                    self.error = error
                if self.ended.is_set() or self._over or time.monotonic() > end:
                    return
        finally:
            self._over = True
            _discard_abort(self)

    def _request_stop_and_wait(self, request_stop: Callable[[], object]) -> bool:
        """Request the run to return its variables and to end; return whether the run ended in time."""

        def request() -> None:
            try:
                request_stop()
            except Exception:  # noqa: BLE001 (such as no bucket: the abort doesn't need the bucket)
                self.hurry()

        call_in_background(request, "lk-stop")
        is_over = False
        try:
            while not (is_over := self._has_ended()) and not self._hurries.is_set() and self._is_grace:
                self._hurries.wait(min(_STOP_LOOK, max(0.0, self._grace_end - time.monotonic())))
        except Exception as error:  # noqa: BLE001 (whatever it is, the run is aborted)
            self.error = error
        self._grace_end = min(self._grace_end, time.monotonic())
        return is_over

    @property
    def _is_grace(self) -> bool:
        """Whether the run may still return its variables."""
        return time.monotonic() < self._grace_end

    def _send_abort(self) -> None:
        try:
            self._client.workloads.abort(self.execution_id)
        except LkError as error:
            is_absent = isinstance(error, OperationNotAvailable)
            if self._has_ended():
                return
            if isinstance(error, NotFound) and self._send_older():
                self.accepted, self.error = True, None
            else:
                self._over = is_absent or (isinstance(error, ApiError) and error.status in _FINAL)
                self.error = error
        else:
            self.accepted, self.error = True, None

    def _send_older(self) -> bool:
        """Abort with the operations of older servers, and return whether the server accepted an abort."""
        execution = self._client.execution
        for send in (execution.abort_streaming, execution.abort_image):
            with suppress(LkError):
                send(self.execution_id)
                return True
        return False

    def _poll_state(self) -> None:
        """Poll the state until the run has ended, or the abort must be repeated."""
        end, pause = time.monotonic() + _REPEAT, _LOOK
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK)

    def _has_ended(self) -> bool:
        """Return whether the run has ended: its state is final, or the billing history lists the run.

        A run that the server doesn't know may still be active: a server can answer 404 before it knows a new run.
        """
        self._is_unknown = False
        try:
            self.state = self._ending.state()
            is_over = is_final(self.state)
        except NotFound as error:
            self._is_unknown = not isinstance(error, OperationNotAvailable)
            is_over = self._is_unknown and self._is_billed()
        except LkError:
            is_over = False  # unknown until the next look
        if is_over:
            self.error = None
            self.ended.set()
        return is_over

    def _is_billed(self) -> bool:
        """Return whether the billing history has the run with a final state."""
        with suppress(LkError):
            rows = [row for row in self._client.billing.history() if row.execution_id == self.execution_id]
            return any(is_final(row.status) or not is_known(row.status) for row in rows)
        return False


#: Statuses of refusals that another try doesn't change. A refused key (401) may be valid again soon.
_FINAL = {400, 403, 422}


def _read_first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return text if text.endswith(".") else f"{text}."


#: Changed only by single steps of the interpreter, without a lock that an interrupt could leave locked.
_pending: set[Pending] = set()
_aborts: dict[tuple[Client, str], Abort] = {}
_closing: dict[Client, Callable[[], object]] = {}


def abort_soon(
    client: Client, execution_id: str, request_stop: Callable[[], object] | None = None, grace: float = GRACE
) -> Abort:
    """Abort a run in the background, and return the abort; a pending abort of this run is returned again.

    ``request_stop`` requests the run to return its variables and to end, within ``grace`` seconds until the abort.
    """
    abort = _aborts.setdefault((client, execution_id), Abort(client, execution_id, request_stop, grace))
    if request_stop is None:
        abort.hurry()
    _pending.add(abort)
    call_in_background(abort.work, "lk-abort")
    return abort


def keep_until_arrived(pending: Pending) -> None:
    """Delay the end of the process until the server has received this request."""
    _pending.difference_update([each for each in list(_pending) if each.has_arrived])
    _pending.add(pending)


def close_when_idle(client: Client, close: Callable[[], object]) -> None:
    """Close a client after all aborts that use the client have ended."""
    _closing[client] = close
    _close_if_idle(client)


def _discard_abort(abort: Abort) -> None:
    _aborts.pop((abort._client, abort.execution_id), None)
    _pending.discard(abort)
    _close_if_idle(abort._client)


def _close_if_idle(client: Client) -> None:
    if not any(user is client for user, _ in list(_aborts)) and (close := _closing.pop(client, None)):
        close()


@atexit.register
def wait_for_aborts() -> None:
    """Wait until the server has received all aborts, 30 s at most, when Python exits; ignore interrupts meanwhile."""
    if _have_all_arrived():
        return
    start, is_announced = time.monotonic(), False
    with _ignore_interrupts():
        while not _have_all_arrived():
            waited = time.monotonic() - start
            if waited > _AT_EXIT:
                print("The run may still be active. Check: %lk_runs", file=sys.stderr)  # noqa: T201
                return
            if waited > 1 and not is_announced:
                print("Waiting for the server to accept the abort of your run (30 s at most) …", file=sys.stderr)  # noqa: T201
                is_announced = True
            time.sleep(0.05)


def _have_all_arrived() -> bool:
    return serve_all() and all(each.has_arrived for each in list(_pending))


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore interrupts in the block, unless another thread ends Python: interrupts don't reach that thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
