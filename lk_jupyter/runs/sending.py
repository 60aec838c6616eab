"""A run on its way to the cloud, in a thread of its own: an interrupt cannot lose the answer to its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import StreamingStartResponse
from lk_jupyter.errors import ApiError, ConnectionFailed, LkError, StorageError, UsageError
from lk_jupyter.runs import guard
from lk_jupyter.runs.budget import keep_budgets
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.call_links import with_call_links
from lk_jupyter.runs.checkpoint import with_links
from lk_jupyter.runs.entries import entry_of
from lk_jupyter.runs.follow import BROKEN, PATIENCE, PAUSES
from lk_jupyter.runs.journal import REFUSED, journal
from lk_jupyter.runs.log import log_path
from lk_jupyter.runs.meter import now
from lk_jupyter.runs.start import start_once
from lk_jupyter.runs.variables.sending import sealed

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.runs.session import Session

#: Seconds in which an interrupt is noticed where the system does not wake a thread that waits.
_TICK = 0.2

_NEVER_STARTED = (ApiError, ConnectionFailed, StorageError, UsageError)


class Sending:
    """Sends a run once, when its answer is first asked for, and keeps it in the journal from before that on.

    ``sent_at`` is the moment, on the clock of ``meter.now``. Raises UsageError for secrets in the run that
    nobody has allowed.
    """

    def __init__(self, session: Session, package: Bundle, group: str | None = None) -> None:
        guard.permitted([package])
        self.package = package
        self.sent_at = now()
        self._session = session
        self._client = session.client
        self._entry = entry_of(session, package, group)
        self._answer: StreamingStartResponse | None = None
        self._error: BaseException | None = None
        self._doing = ""
        self._unwanted = threading.Event()
        self._done = threading.Event()
        self._begun = threading.Lock()

    def answer(self, watch: Callable[[str], object] | None = None) -> StreamingStartResponse:
        """Send, wait for the answer to the start and return it. Raises the errors of the API.

        ``watch`` is told what is being done, where that takes its time.
        """
        if not self._begun.locked():
            self.sent_at = now()
            threading.Thread(target=self._work, name="lk-send", daemon=True).start()
        while not self._done.wait(_TICK):
            if watch and self._doing:
                watch(self._doing)
        if self._answer is None:
            assert self._error is not None  # noqa: S101 (one of both is there)
            raise self._error
        return self._answer

    def abort(self) -> StreamingStartResponse | None:
        """See to it that the run is stopped as soon as its id is known, and wait for that.

        Returns None when nothing was started. An interrupt ends the waiting, not the work. Raises the
        error that leaves it open whether the run goes on.
        """
        self._unwanted.set()
        try:
            answer = self.answer()
        except _NEVER_STARTED:
            return None
        wait_for(abort_soon(self._client, answer.execution_id))
        return answer

    def _work(self) -> None:
        if not self._begun.acquire(blocking=False):  # an interrupt between two steps has begun it twice
            return
        try:
            self._answer = self._send()
        except BaseException as error:  # noqa: BLE001 (it is raised again where the answer is waited for)
            self._error = error
            if isinstance(error, _NEVER_STARTED):
                journal().update(self._entry.token, state=REFUSED, reason=str(error))
        finally:
            self._done.set()
        if self._unwanted.is_set() and self._answer:
            abort_soon(self._client, self._answer.execution_id)

    def _go_on(self, doing: str = "") -> None:
        self._doing = doing
        if self._unwanted.is_set():
            raise UsageError("Interrupted before it was sent.")

    def _send(self) -> StreamingStartResponse:
        self._go_on()
        journal().add(self._entry)
        keep_budgets(self._session, self.package)
        # Complete with links, which are secrets: it is sent and kept nowhere.
        complete = replace(self.package, request=sealed(self._session, self.package, self._go_on))
        complete = with_call_links(self._session, with_links(self._session, complete))
        self._go_on()
        answer = start_once(self._client, complete)
        run_id = answer.execution_id
        known = {"execution_id": run_id, "state": answer.status.lower(), "log_path": str(log_path(run_id))}
        journal().update(self._entry.token, **known)
        return answer


def abort_soon(client: Client, execution_id: str) -> threading.Thread:
    """Kill a run in the background, as often as it takes while the server is out of reach."""
    thread = threading.Thread(target=_abort, args=(client, execution_id), name="lk-abort", daemon=True)
    thread.start()
    return thread


def wait_for(thread: threading.Thread) -> None:
    """Wait for a thread, so that an interrupt is noticed on every system."""
    while thread.is_alive():
        thread.join(_TICK)


def _abort(client: Client, execution_id: str) -> None:
    end = time.monotonic() + PATIENCE
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        time.sleep(pause)
        try:
            client.workloads.abort(execution_id)
        except BROKEN:
            if time.monotonic() < end:
                continue
        except LkError:
            pass
        return
