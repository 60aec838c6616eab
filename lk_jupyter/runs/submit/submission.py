"""Submit a run in a separate thread, with its entry in the journal.

An interrupt can't lose the answer to its start.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._retry import unwanted
from lk_jupyter.api.execution import StreamingStartResponse
from lk_jupyter.api.states import is_run_id
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.settings import one_reading
from lk_jupyter.connection.gate import reserved
from lk_jupyter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    LkError,
    OutcomeUnknown,
    StorageError,
    UsageError,
)
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.journal.journal import REFUSED, JournalEntry, journal
from lk_jupyter.journal.prune import prune_once
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.abort import Abort, abort_soon, keep_until_arrived, let_go_at
from lk_jupyter.runs.clock import now
from lk_jupyter.runs.follow import PAUSES
from lk_jupyter.runs.interrupts import SafeEvent, in_background, true_interrupts
from lk_jupyter.runs.log import log_path, set_log_aside
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.budget import enforce_budgets
from lk_jupyter.runs.submit.start import REPEATED, find_marked, start_once
from lk_jupyter.runs.submit.upload import upload_inputs, with_links
from lk_jupyter.runs.variables.state import remember
from lk_jupyter.text.secrets import MARK, redact_values

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def code_hash(code: str) -> str:
    """Return the name of a code by its content; blank lines at its ends do not count."""
    return hashlib.sha256(code.strip().encode(errors="replace")).hexdigest()


def entry_of(session: Connection, package: Bundle, group: str | None = None) -> JournalEntry:
    """Return the entry of a run that is about to be sent from here."""
    place, request = current_cell(), package.request
    return JournalEntry(
        token=package.token,
        base_url=session.base_url,
        org=session.target.org,
        notebook=place.notebook,
        cell_id=place.cell_id,
        session=place.session,
        code=package.source.code,
        code_hash=code_hash(package.source.code),
        request=_kept(package),
        machine=package.machine.hardware_profile,
        price_per_hour=package.machine.price_per_hour,
        options=package.options.model_dump(mode="json", exclude_defaults=True),
        labels=request.labels or [],
        metadata={
            key: value
            for key, value in (request.metadata or {}).items()
            if key not in {REQUEST_KEY, FRAMES_KEY, PORTS_KEY}
        },
        run_name=request.run_name,
        created_at=time.time(),
        group=group,
    )


def _kept(package: Bundle) -> dict[str, Any]:
    """Return the request for the journal: without its files if there is a secret, which may be packed in any of them.

    A mark replaces each word that must be stored nowhere.
    """
    request: dict[str, Any] = package.request.model_dump(mode="json", exclude_none=True)
    if package.hidden:
        words = re.compile("|".join(map(re.escape, sorted(package.hidden, key=len, reverse=True))))
        request = redact_values(request, partial(words.sub, MARK))
    return {**request, "import_files": MARK} if package.secrets and "import_files" in request else request


#: Seconds in which an interrupt is noticed where the system does not wake a thread that waits.
_TICK = 0.2

#: Seconds in which a run that nobody wants is looked for after the answer to its start was lost.
_SEARCH = 120.0

_NEVER_STARTED = (ApiError, ConnectionFailed, StorageError, UsageError)


class NotSent(UsageError):
    """The run became unwanted before it was sent."""


class Submission:
    """Send a run once, when its response is first requested. The journal has the run before that.

    ``sent_at`` is the moment of the request, on the clock of ``clock.now``. Raises ReadOnlyMode, and UsageError for
    secrets in the run that the user hasn't allowed.
    """

    def __init__(self, session: Connection, package: Bundle, group: str | None = None) -> None:
        refuse_if_read_only("spends")
        secret_scan.require_consent([package])
        self.package = package
        self.sent_at = now()
        self._is_on_its_way = False
        self._session = session
        self._client = session.client
        self._entry = entry_of(session, package, group)
        self._answer: StreamingStartResponse | None = None
        self._aborting: Abort | None = None
        self._error: BaseException | None = None
        self._doing = ""
        self._unwanted = SafeEvent()
        self._done = SafeEvent()
        self._over = threading.Event()
        self._begun = threading.Lock()

    def answer(self, watch: Callable[[str], object] | None = None) -> StreamingStartResponse:
        """Send, wait for the answer to the start and return it. Raises the errors of the API.

        ``watch`` gets the name of each step that takes its time.
        """
        if not self._begun.locked():
            in_background(self._work, "lk-send")
        while not self._done.wait(_TICK):
            if watch and self._doing:
                watch(self._doing)
        if self._answer is None:
            assert self._error is not None  # noqa: S101 (one of both is there)
            raise self._error
        return self._answer

    @property
    def is_unwanted(self) -> bool:
        """Whether to abort the run, or not to start it at all."""
        return self._unwanted.is_set()

    @property
    def has_arrived(self) -> bool:
        """Whether nothing is on its way to the server any more."""
        return self._over.is_set() or not self._begun.locked()

    def abort_soon(self) -> None:
        """See to it that the run is aborted as soon as its id is known, and return at once; nothing takes that back."""
        self._unwanted.set()
        keep_until_arrived(self)
        if self._answer:
            self._abort_started(self._answer)

    def aborted(self, seconds: float | None = None) -> Abort | None:
        """Wait for the answer to the start, at most this number of seconds, and return the abort of the run.

        Returns None when nothing was started. Raises OutcomeUnknown if that isn't known yet.
        """
        self.abort_soon()
        if not self._begun.locked():
            return None
        end = let_go_at(seconds)
        while not self._done.wait(_TICK):
            if time.monotonic() > end:
                raise OutcomeUnknown("The server has not answered the start yet.")
        if self._answer:
            return self._abort_started(self._answer)
        if self._is_certainly_not_started:
            return None
        raise self._error or OutcomeUnknown("The answer to the start was lost.")

    @property
    def _is_certainly_not_started(self) -> bool:
        """Whether the error came before the start was sent, or is the server's refusal of it."""
        return isinstance(self._error, _NEVER_STARTED) or (self._error is not None and not self._is_on_its_way)

    def outcome(self) -> str:
        """Abort the run, wait for its end, and describe the state of both. An interrupt ends the waiting only."""
        try:
            with true_interrupts():
                abort = self.aborted()
                if abort is None:
                    return "Nothing was started."
                return f"Aborted run {abort.execution_id}." if abort.wait() else abort.words
        except LkError as error:
            return f"{error} If the run was started, it is aborted. Check: %lk_runs"
        except KeyboardInterrupt:
            return f"Stopped waiting. {self.remainder}"

    @property
    def remainder(self) -> str:
        """Describe what may be active of a run that is being aborted, without waiting; empty if nothing is."""
        if self._aborting:
            return "" if self._aborting.ended.is_set() else self._aborting.words
        if not self._begun.locked() or self._is_certainly_not_started:
            return ""
        return "A run may have started. It is aborted as soon as its id is known. Check: %lk_runs"

    @property
    def is_stuck(self) -> bool:
        """Whether waiting for the end of a run that is being aborted may take long."""
        return self._aborting.is_stuck if self._aborting else self._answer is None and self._done.is_set()

    def _abort_started(self, answer: StreamingStartResponse) -> Abort:
        """Abort a run that was started; return the abort, the same each time."""
        self._aborting = self._aborting or abort_soon(self._client, answer.execution_id)
        return self._aborting

    def _work(self) -> None:
        if not self._begun.acquire(blocking=False):  # an interrupt between two steps has begun it twice
            return
        unwanted.set(self._unwanted)
        try:
            self._answer = self._send()
        except BaseException as error:  # noqa: BLE001 (it is raised again where the answer is waited for)
            self._error = error
            if self._is_on_its_way and not isinstance(error, LkError):
                self._error = OutcomeUnknown(
                    f"The answer to the start was lost: {type(error).__name__}: {error}\nThe run may be active and "
                    "billed. It was not sent again.\nCheck before you start it again: %lk_runs"
                )
                self._error.__cause__ = error
            if self._is_certainly_not_started:
                reason = str(error) or type(error).__name__
                journal().update(self._entry.token, state=REFUSED, reason=reason)
        finally:
            self._done.set()
        if self._unwanted.is_set():
            self._abort()
        self._over.set()
        prune_once()

    def _abort(self) -> None:
        """Abort what was started; look for it, where the answer to its start was lost."""
        if self._answer:
            self._abort_started(self._answer)
            return
        end = time.monotonic() + _SEARCH
        for pause in chain(PAUSES, repeat(PAUSES[-1])):
            if not isinstance(self._error, OutcomeUnknown) or time.monotonic() > end:
                return
            time.sleep(pause)
            with suppress(LkError):
                runs = find_marked(self._client, self.package.token, self.package.request.model_dump(include=REPEATED))
                ids = [runs.own.execution_id] if runs.own else runs.unclear
                for execution_id in ids:  # nothing but this start and its copies has the mark
                    self._aborting = abort_soon(self._client, execution_id)
                if ids:
                    return

    def _go_on(self, doing: str = "") -> None:
        self._doing = doing
        if self._unwanted.is_set():
            raise NotSent("Interrupted. Nothing was sent.")

    @one_reading()
    def _send(self) -> StreamingStartResponse:
        begun = time.monotonic()
        self._go_on()
        kept = journal()
        kept.add(self._entry)
        enforce_budgets(self._session, self.package, kept=kept)
        # Complete with links, which are secrets: it is sent and kept nowhere.
        if origin := self.package.parcel.origin:
            remember(self.package.token, origin)
        complete = replace(self.package, request=upload_inputs(self._session, self.package, self._go_on))
        complete = with_links(self._session, complete)
        self._go_on()
        self.package.phases.update(upload=time.monotonic() - begun, sent=time.monotonic())
        self.sent_at = now()  # what was uploaded before is not billed
        self._is_on_its_way = True
        kept.update(self._entry.token, created_at=time.time())
        with reserved():  # by its entry in the journal
            answer = start_once(self._client, complete)
        run_id = answer.execution_id
        if not is_run_id(run_id):
            is_over = abort_soon(self._client, run_id).wait()
            state = "The run was aborted." if is_over else "It may still be active. List runs: %lk_runs"
            raise InvalidResponse(f"The server started a run and named it {run_id!r}, which isn't an id. {state}")
        if (aside := set_log_aside(run_id)) and (earlier := kept.get(run_id)):  # its id was given again
            kept.update(earlier.token, log_path=str(aside))
        known = {"execution_id": run_id, "state": answer.status.lower(), "log_path": str(log_path(run_id))}
        kept.update(self._entry.token, **known)
        return answer
