"""Submit a run in a separate thread, and record the run in the journal.

The thread keeps the answer to the start when the user interrupts the cell.
"""

from __future__ import annotations

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
from lk_jupyter.code.git_commit import read_commit
from lk_jupyter.code.source import code_hash
from lk_jupyter.config.files import working_folder
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.settings import one_reading, resolve
from lk_jupyter.connection.gate import allow_reserved_requests
from lk_jupyter.errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    Invalid,
    InvalidResponse,
    LkError,
    OutcomeUnknown,
    StorageError,
    UsageError,
)
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.journal.journal import REFUSED, JournalEntry, journal
from lk_jupyter.journal.prune import prune_once
from lk_jupyter.machines.default import next_machine, refuses_machine
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import INPUTS_KEY, PORTS_KEY, REQUEST_KEY, SOURCE_KEY
from lk_jupyter.runs.abort import Abort, abort_soon, keep_until_arrived, let_go_at
from lk_jupyter.runs.clock import now
from lk_jupyter.runs.connection import connection_for
from lk_jupyter.runs.follow import PAUSES
from lk_jupyter.runs.interrupts import SafeEvent, call_in_background, true_interrupts
from lk_jupyter.runs.log import log_path, set_log_aside
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.machine import is_default, move_bundle
from lk_jupyter.runs.submit.budget import enforce_budgets
from lk_jupyter.runs.submit.preconditions import require_vm_run
from lk_jupyter.runs.submit.start import REPEATED, find_marked, limit_before_lease_end, shorter_limit, start_once
from lk_jupyter.runs.submit.upload import add_links, require_link_consent, upload_inputs
from lk_jupyter.runs.variables.state import remember
from lk_jupyter.text.secrets import MARK, redact_values

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def build_entry(session: Connection, bundle: Bundle, group: str | None = None) -> JournalEntry:
    """Return the journal entry of a run that is about to be submitted."""
    place, request = current_cell(), bundle.request
    return JournalEntry(
        token=bundle.token,
        base_url=session.base_url,
        org=session.target.org,
        notebook=place.notebook,
        cell_id=place.cell_id,
        session=place.session,
        code=bundle.source.code,
        code_hash=code_hash(bundle.source.code),
        request=_build_journal_request(bundle),
        machine=bundle.machine.hardware_profile,
        price_per_hour=bundle.machine.price_per_hour,
        options=bundle.options.model_dump(mode="json", exclude_defaults=True),
        labels=request.labels or [],
        metadata={
            **{
                key: value
                for key, value in (request.metadata or {}).items()
                if key not in {REQUEST_KEY, FRAMES_KEY, PORTS_KEY, SOURCE_KEY}
            },
            **({INPUTS_KEY: str(size)} if (size := bundle.input_bytes) else {}),
        },
        run_name=request.run_name,
        created_at=time.time(),
        group=group,
        git_commit=_read_current_commit(),
    )


def _read_current_commit() -> str:
    """Return the commit of the working folder; empty without a commit, or without the folder."""
    with suppress(UsageError):
        return read_commit(working_folder())
    return ""


def _build_journal_request(bundle: Bundle) -> dict[str, Any]:
    """Return the request for the journal: without files if the run contains a secret, which any file may contain.

    A mark replaces each word that must not be stored.
    """
    request: dict[str, Any] = bundle.request.model_dump(mode="json", exclude_none=True)
    if bundle.hidden:
        words = re.compile("|".join(map(re.escape, sorted(bundle.hidden, key=len, reverse=True))))
        request = redact_values(request, partial(words.sub, MARK))
    return {**request, "import_files": MARK} if bundle.secrets and "import_files" in request else request


#: Seconds until an interrupt is noticed on systems that don't wake a waiting thread.
_TICK = 0.2

#: Seconds of the search for an unwanted run after the answer to its start was lost.
_SEARCH = 120.0

_NEVER_STARTED = (ApiError, ConnectionFailed, StorageError, UsageError)


class SubmissionCancelled(UsageError):
    """Report that a run became unwanted before the request was sent."""


class Submission:
    """Submit a run once, when ``answer`` is first called, after the run is recorded in the journal.

    ``submitted_at`` is the moment of the request, on the clock of ``clock.now``. Raises ReadOnlyMode, and UsageError
    for secrets in the run that the user hasn't allowed.
    """

    def __init__(self, session: Connection, bundle: Bundle, group: str | None = None) -> None:
        refuse_if_read_only("spends")
        secret_scan.require_consent([bundle])
        if bundle.vm_offer:
            from lk_jupyter.runs.submit.on_vm import require_consent  # noqa: PLC0415 (few runs are on VMs)

            require_vm_run(session, bundle)
            require_consent(bundle)
        if getattr(bundle.options, "relay", False):
            from lk_jupyter.runs.submit import on_relay  # noqa: PLC0415 (few runs are relays)

            on_relay.require_consent(bundle)
        self.bundle = bundle
        self.submitted_at = now()
        self._is_in_transit = False
        self._session = session
        self._client = session.client
        self._entry = build_entry(session, bundle, group)
        self._answer: StreamingStartResponse | None = None
        self._aborting: Abort | None = None
        self._error: BaseException | None = None
        self._step = ""
        self._unwanted = SafeEvent()
        self._done = SafeEvent()
        self._over = threading.Event()
        self._start_lock = threading.Lock()

    def answer(self, watch: Callable[[str], object] | None = None) -> StreamingStartResponse:
        """Submit the run, and return the answer to the start. Raises the errors of the API.

        ``watch`` is called with the name of each step that takes long.
        """
        if not self._start_lock.locked():
            call_in_background(self._send_start, "lk-send")
        while not self._done.wait(_TICK):
            if watch and self._step:
                watch(self._step)
        if self._answer is None:
            assert self._error is not None  # noqa: S101 (the thread sets either)
            raise self._error
        return self._answer

    @property
    def has_arrived(self) -> bool:
        """Return whether no request is in transit to the server."""
        return self._over.is_set() or not self._start_lock.locked()

    def abort_soon(self) -> None:
        """Abort the run as soon as its id is known, without waiting. The abort can't be cancelled."""
        self._unwanted.set()
        keep_until_arrived(self)
        if self._answer:
            self._abort_started(self._answer)

    def aborted(self, seconds: float | None = None) -> Abort | None:
        """Wait for the answer to the start, at most this number of seconds, and return the abort of the run.

        Returns None if nothing was started. Raises OutcomeUnknown if the answer is still unknown.
        """
        self.abort_soon()
        if not self._start_lock.locked():
            return None
        end = let_go_at(seconds)
        while not self._done.wait(_TICK):
            if time.monotonic() > end:
                raise OutcomeUnknown("The server hasn't responded yet to the request that starts the run.")
        if self._answer:
            return self._abort_started(self._answer)
        if self._never_started:
            return None
        raise self._error or OutcomeUnknown("The answer to the request that starts the run was lost.")

    @property
    def _never_started(self) -> bool:
        """Return whether the error is older than the request, or is the server's refusal of the request."""
        return isinstance(self._error, _NEVER_STARTED) or (self._error is not None and not self._is_in_transit)

    def outcome(self) -> str:
        """Abort the run, wait for its end, and describe the result. An interrupt ends the waiting, not the abort."""
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
        """Describe the run that may still be active during an abort, without waiting; empty without such a run."""
        if self._aborting:
            return "" if self._aborting.ended.is_set() else self._aborting.words
        if not self._start_lock.locked() or self._never_started:
            return ""
        return "A run may have started. It is aborted as soon as its id is known. Check: %lk_runs"

    @property
    def is_stuck(self) -> bool:
        """Return whether the end of a run during an abort may take long."""
        return self._aborting.is_stuck if self._aborting else self._answer is None and self._done.is_set()

    def _abort_started(self, answer: StreamingStartResponse) -> Abort:
        """Abort a started run, and return the abort; later calls return the same abort."""
        client = connection_for(self._session, answer.execution_id).client
        self._aborting = self._aborting or abort_soon(client, answer.execution_id)
        return self._aborting

    def _send_start(self) -> None:
        if not self._start_lock.acquire(blocking=False):  # an interrupt between two steps can start the thread twice
            return
        unwanted.set(self._unwanted)
        try:
            self._answer = self._prepare_and_start()
        except BaseException as error:  # noqa: BLE001 (answer() raises the error again)
            self._error = error
            if self._is_in_transit and not isinstance(error, LkError):
                self._error = OutcomeUnknown(
                    f"The response to the request that starts the run was lost: {type(error).__name__}: {error}\nThe "
                    "run may be active and billed. It was not sent again.\nCheck before you start it again: %lk_runs"
                )
                self._error.__cause__ = error
            if self._never_started:
                reason = str(error) or type(error).__name__
                journal().update(self._entry.token, state=REFUSED, reason=reason)
        finally:
            self._done.set()
        if self._unwanted.is_set():
            self._find_and_abort_run()
        self._over.set()
        prune_once()

    def _find_and_abort_run(self) -> None:
        """Abort the run; search for the run if the answer to its start was lost."""
        if self._answer:
            self._abort_started(self._answer)
            return
        end = time.monotonic() + _SEARCH
        for pause in chain(PAUSES, repeat(PAUSES[-1])):
            if not isinstance(self._error, OutcomeUnknown) or time.monotonic() > end:
                return
            time.sleep(pause)
            with suppress(Exception):  # whatever an answer contains, the search is repeated
                runs = find_marked(self._client, self.bundle.token, self.bundle.request.model_dump(include=REPEATED))
                ids = [runs.user_run.execution_id] if runs.user_run else runs.unclear
                for execution_id in ids:  # only this start and its copies have the mark
                    self._aborting = abort_soon(self._client, execution_id)
                if ids:
                    return

    def _enter_step(self, step: str = "") -> None:
        self._step = step
        if self._unwanted.is_set():
            raise SubmissionCancelled("Interrupted. Nothing was sent.")

    @one_reading()
    def _prepare_and_start(self) -> StreamingStartResponse:
        started = time.monotonic()
        self._enter_step()
        require_link_consent(self._session, self.bundle)
        run_journal = journal()
        run_journal.add(self._entry)
        enforce_budgets(self._session, self.bundle, run_journal=run_journal)
        # The complete bundle contains links, which are secrets: it is sent and stored nowhere.
        if origin := self.bundle.payload.origin:
            remember(self.bundle.token, origin)
        complete = replace(self.bundle, request=upload_inputs(self._session, self.bundle, self._enter_step))
        complete = add_links(self._session, complete)
        self._enter_step()
        self.bundle.phases.update(upload=time.monotonic() - started, sent=time.monotonic())
        self.submitted_at = now()  # the upload before isn't billed
        self._is_in_transit = True
        run_journal.update(self._entry.token, created_at=time.time())
        with allow_reserved_requests():  # the entry in the journal reserves the cost
            answer = self._start_run(complete)
        run_id = answer.execution_id
        if not is_run_id(run_id):
            is_over = abort_soon(self._client, run_id).wait()
            state = "The run was aborted." if is_over else "It may still be active. List runs: %lk_runs"
            raise InvalidResponse(f"The server started a run, but returned {run_id!r}, which isn't a run id. {state}")
        if (aside := set_log_aside(run_id)) and (earlier := run_journal.get(run_id)):  # an earlier run had the same id
            run_journal.update(earlier.token, log_path=str(aside))
        columns = {"execution_id": run_id, "state": answer.status.lower(), "log_path": str(log_path(run_id))}
        run_journal.update(self._entry.token, **columns)
        return answer

    def _renew_links(self) -> Bundle:
        """Return the bundle with links that are valid from now, to variables that the bucket has."""
        request = upload_inputs(self._session, self.bundle, lambda _: None)
        return add_links(self._session, replace(self.bundle, request=request))

    def _start_run(self, complete: Bundle) -> StreamingStartResponse:
        """Start the run. Use another default machine or limit if the server refuses the first one."""
        if complete.vm_offer:
            from lk_jupyter.runs.submit.on_vm import start_on_vm  # noqa: PLC0415 (few runs are on VMs)

            return start_on_vm(self._session, complete, self.bundle, self._renew_links)
        if getattr(complete.options, "relay", False):
            from lk_jupyter.runs.submit.on_relay import start_relay  # noqa: PLC0415 (few runs are relays)

            return start_relay(self._session, self.bundle)
        while True:
            try:
                return self._start_within_limit(complete)
            except ApiError as refusal:  # nothing was started
                complete = self._replace_refused_machine(refusal)

    def _replace_refused_machine(self, refusal: ApiError) -> Bundle:
        """Return the bundle on the next cheapest GPU, if the server refused a machine that the user didn't name.

        Raises the refusal for any other reason, and UsageError if the GPU exceeds a budget.
        """
        machine = self.bundle.machine
        if not is_default(self.bundle) or not refuses_machine(refusal, machine.hardware_profile):
            raise refusal
        self._session.refused_machines.add(machine.hardware_profile)
        replacement = next_machine(self._session.machines(), self._session.refused_machines)
        if replacement is None:
            raise refusal
        self.bundle = move_bundle(self.bundle, replacement)
        columns = {"machine": replacement.hardware_profile, "price_per_hour": replacement.price_per_hour}
        journal().update(self._entry.token, **columns, request=_build_journal_request(self.bundle))
        enforce_budgets(self._session, self.bundle)
        return self._renew_links()

    def _start_within_limit(self, complete: Bundle) -> StreamingStartResponse:
        """Start the run. Use a shorter limit from the answer if the server refuses the default time limit."""
        try:
            return start_once(self._client, complete)
        except (Invalid, BadRequest) as refusal:
            longest = shorter_limit(refusal, complete.timeout)
            if longest is not None and self._client.lease_end is None:
                self._client.assumptions.store_finding("longest_run", str(longest))
            if longest is None or complete.options.timeout is not None or not resolve("timeout").is_default:
                raise
        limit = limit_before_lease_end(self._client, longest)
        self.bundle = replace(self.bundle, request=self.bundle.request.model_copy(update={"timeout": limit}))
        return start_once(self._client, self._renew_links())  # the code reads its time limit with the links
