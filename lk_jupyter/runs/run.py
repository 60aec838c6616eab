"""Control a run: start, follow, wait, abort, and read its results."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from lk_jupyter._lazy import old_name
from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api._events import StreamEvent
from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import ExecutionMetrics, ExecutionRecord, is_final
from lk_jupyter.api.logs import LogEntry, sort_by_time
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import is_run_id
from lk_jupyter.config.assumptions import IGNORED
from lk_jupyter.config.settings import setting
from lk_jupyter.config.signing import stop_content
from lk_jupyter.errors import NotFound, OutcomeUnknown, RunDetached, UsageError
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.machines.catalogue import cost_at_limit, hourly_price
from lk_jupyter.protocol.bucket import GRACE, stop_key
from lk_jupyter.protocol.metadata import REQUEST_KEY, read_ports, returns_variables
from lk_jupyter.runs.abort import Abort, abort_soon
from lk_jupyter.runs.clock import Bill, calculate_bill, now
from lk_jupyter.runs.connection import connection_for, follower_class, vm_run_in
from lk_jupyter.runs.eta import RunEta, read_eta
from lk_jupyter.runs.follow import Ending, Follower
from lk_jupyter.runs.ids import drop_earlier_lines, resolve
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts, waiting_on
from lk_jupyter.runs.log import RunLog, log_path
from lk_jupyter.runs.messages import RunMessages
from lk_jupyter.runs.outcome import (
    SHORT_ID,
    STOPPED_STATES,
    Result,
    classify_end,
    has_no_files,
    incomplete_label,
    is_other_machine,
    journal_columns,
    read_result,
    recognize_early_end,
    repaired_label,
)
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.returned import read_outputs
from lk_jupyter.runs.scalars import scalar_table
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.runs.timing import RunTiming, read_phases, read_timing
from lk_jupyter.runs.variables.download import Outputs
from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

POLL_SECONDS = 1.0


class Run:
    """A run on the cloud, active or finished.

    ``execution_id`` is the id of the run, ``machine`` the machine type it started on, and ``note`` the scheduler's
    notice about it; both are None if unknown. ``stopped_because`` is the reason of an abort by this process.

    Example:
        >>> run = session.run("print(6 * 7)", gpu="A100")
        >>> sorted({type(event).__name__ for event in run.follow()})
        ['Finished', 'Output']
        >>> run.wait(timeout=60).return_code, run.is_finished
        (0, True)
        >>> run.result().stdout.strip(), run.status, run.machine.hardware_profile
        ('42', 'completed', 'gpu.a100')
        >>> run.cost == run.bill().cost == run.record.billed, run.cost <= run.quote
        (True, True)
        >>> run.requested_machine == run.machine
        True
        >>> len(run.short_id), run.ports, run.session.base_url == session.base_url, len(run.scalars()), run.eta()
        (8, (), True, 0, None)
        >>> run.log_path.read_text().strip(), run.log_problem
        ('42', '')
        >>> [line.message.strip() for line in run.logs(limit=10, hours=1)]
        ['42']
        >>> run.metrics(step="5s").hostname
        '...'
        >>> run.delete()
        >>> run = session.run("total = 6 * 7", outputs=["total"])
        >>> run.outputs()
        {'total': 42}
        >>> run.abort()
        >>> run = session.run("import time; time.sleep(60)")
        >>> run.describe_abort().startswith("Aborted run")
        True
        >>> abort = run.abort_soon()
        >>> run.stop()
        >>> run.result()
        Traceback (most recent call last):
        lk_jupyter.errors.RunAborted: ...
    """

    def __init__(
        self,
        session: Connection,
        execution_id: str,
        *,
        bundle: Bundle | None = None,
        streaming_url: str | None = None,
        note: str | None = None,
    ) -> None:
        if not is_run_id(execution_id):
            raise UsageError(f"{execution_id!r} isn't a run id. List runs: %lk_runs")
        self.execution_id = execution_id
        self.bundle = bundle
        self.note = note
        self._session = connection_for(session, execution_id)
        self._streaming_url = SecretStr(streaming_url or "")
        self._submitted_at: float | None = None
        self.stopped_because: str | None = None
        self.messages = RunMessages(self)
        self._record: ExecutionRecord | None = None
        self._ending = Ending(self._session.client, execution_id, lambda: self.request_metadata)
        self._state = ""
        self._profile: str | None = None  # the machine in the last record
        self._journal = journal()

    @classmethod
    def submit(cls, session: Connection, bundle: Bundle, *, group: str | None = None, warn: bool = True) -> Run:
        """Start a prepared run, exactly once, and add the run to the journal.

        ``group`` is the common id of runs that are started together; ``warn`` is whether a low balance causes a Python
        warning. An interrupt meanwhile aborts the run. Raises UsageError for secrets in the run that the user hasn't
        allowed, and the errors of the API.
        """
        sending = Submission(session, bundle, group)
        with AtInterrupt(lambda _: sending.abort_soon()):
            try:
                with true_interrupts():
                    for notice in low_balance_notices(session, bundle.worst_case) if warn else ():
                        warnings.warn(plain(notice.text), UserWarning, stacklevel=3)
                    return cls.from_submission(session, sending)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(sending.outcome()) from None

    @classmethod
    def from_submission(
        cls, session: Connection, sending: Submission, watch: Callable[[str], object] | None = None
    ) -> Run:
        """Wait until a submission has started its run, and return the run. Raises the errors of the API.

        ``watch`` is called with a description of each step that takes time.
        """
        answer = sending.answer(watch)
        run = cls(
            session,
            answer.execution_id,
            bundle=sending.bundle.remove_values(),
            streaming_url=answer.streaming_url or None,
            note=answer.pythia_decision,
        )
        run._submitted_at = sending.submitted_at
        return run

    @classmethod
    def attach(cls, session: Connection, execution_id: str) -> Run:
        """Return a run that was started before, by its id or the first characters of its id.

        A run that was started on this machine needs no request. Raises UsageError if no id or several ids start with
        this text.
        """
        return cls(session, resolve(session, execution_id))

    def __repr__(self) -> str:
        return f"<Run {self.execution_id} on {self._session.base_url}>"

    @property
    def session(self) -> Connection:
        """The session that started or attached to the run."""
        return self._session

    @property
    def short_id(self) -> str:
        """The first 8 characters of the id, enough for every magic."""
        return self.execution_id[:SHORT_ID]

    @property
    def machine(self) -> MachineType | None:
        """The machine type in the last record that was read, otherwise the requested type; None if the type is unknown.

        Source: ``GET /machine-types``
        """
        requested, profile = self.requested_machine, self._profile
        if requested and (not profile or not is_other_machine(profile, requested)):
            return requested
        profile = profile or self.record.hardware_profile
        machines = list(self._session.machines()) if profile else []
        unlisted = MachineType(hardware_profile=profile) if requested and profile else None
        return next((machine for machine in machines if machine.hardware_profile == profile), unlisted)

    @property
    def requested_machine(self) -> MachineType | None:
        """The machine type in the request; None for a run that was started elsewhere."""
        if self.bundle:
            return self.bundle.machine
        entry = self._journal.get(self.execution_id)
        if entry is None or entry.machine is None:
            return None
        return MachineType(hardware_profile=entry.machine, price_per_hour=entry.price_per_hour)

    @property
    def quote(self) -> Decimal | None:
        """The maximum cost that was shown before the start, in credits; None if unknown."""
        if self.bundle:
            return self.bundle.quote
        if vm_run := vm_run_in(self._session):
            return vm_run.facts.cap
        machine, limit = self.requested_machine, self.time_limit
        return cost_at_limit(machine.price_per_hour, limit) if machine and limit else None

    @property
    def log_path(self) -> Path:
        """The local file of the complete log, which exists once the run is followed."""
        return log_path(self.execution_id)

    @property
    def status(self) -> str:
        """The current state, such as ``pending``, ``running``, ``completed``, ``failed``, ``timeout`` or ``aborted``.

        Source: ``GET /execution/streaming/{execution_id}/status``
        """
        if self._record:
            return self._record.status
        status = self._ending.state()
        self.learn(status)
        return status

    def learn(self, state: str) -> None:
        """Store a reported state in the journal; ignore a state after the end."""
        if self._record is None and state.lower() != self._state:
            self._state = state.lower()
            self._journal.update(self.execution_id, state=self._state)

    @property
    def record(self) -> ExecutionRecord:
        """The complete record of the cloud, as of now: times, output, result, bill.

        Source: ``GET /execution/{execution_id}``
        """
        if self._record:
            return self._record
        record = self._ending.last_record()
        self._profile = record.hardware_profile
        if self._returns_variables:
            record = recognize_early_end(record)
        if is_final(record.status):
            self._record = record
            self._journal.update(self.execution_id, **journal_columns(record))
            if has_no_files(record) and self.import_files:
                self._session.client.assumptions.store_finding("import_files", IGNORED)
        return record

    @property
    def submitted_at(self) -> float | None:
        """The moment of the start request, on the clock of ``clock.now``; None for a run of another machine."""
        if self._submitted_at is None and (entry := self._journal.get(self.execution_id)):
            self._submitted_at = now() - max(0.0, time.time() - entry.created_at)
        return self._submitted_at

    @property
    def cost(self) -> Decimal | None:
        """The cost in credits: as billed after the end, an estimate before; None if unknown.

        ``bill().cost_is`` is the kind of the figure.
        """
        return self.bill().cost

    def bill(self, record: ExecutionRecord | None = None) -> Bill:
        """Return time and cost of the run.

        Args:
            record: The record, if already read. Default: the record is read, unless the run ended and was billed.

        Returns:
            A Bill: ``seconds`` (float), ``cost`` (Decimal, credits) and ``cost_is`` (``billed`` or an estimate).

        Source: ``GET /execution/{execution_id}``
        """
        record = record or self.record
        if self._record and self._record.billed is None:  # some servers bill a moment after the end
            self._record = None
            record = self.record
        submitted_at = self.submitted_at
        at = self._session.client.now() if submitted_at is None else now()
        return calculate_bill(record, hourly_price(self.machine), at=at, submitted_at=submitted_at, quote=self.quote)

    def timing(self) -> RunTiming:
        """Return the time and the cost of the run by phase: transfer, queue, image, installation, start and code.

        Returns:
            A RunTiming: seconds of each phase (float, None if unknown); ``costs``: credits of billed phases (Decimal).

        Source: ``GET /execution/{execution_id}``, ``GET /execution/{execution_id}/timing``

        Example:
            >>> run = session.run("print(6 * 7)", gpu="A100")
            >>> _ = run.result()
            >>> run.timing().code > 0
            True
        """
        request = self.bundle.request.model_dump() if self.bundle else self._entry.request if self._entry else None
        phases = {**(self.bundle.phases if self.bundle else {}), **read_phases(self.messages)}
        return read_timing(self._session.client, self.record, hourly_price(self.machine), phases, request)

    @property
    def lacks_output(self) -> bool:
        """Whether lines may be missing: the stream was cut and not replayed, and the cloud hasn't stored that part.

        Example:
            >>> run = session.run("print(6 * 7)", gpu="A100")
            >>> run.result().return_code, run.lacks_output
            (0, False)
        """
        return self._ending.lacks_output

    @property
    def log_problem(self) -> str:
        """The warning about missing, late or torn lines in the log; empty if the log is complete and in order."""
        if self._ending.lacks_output:
            return incomplete_label(self.short_id)
        lines = self._ending.repaired_lines
        return repaired_label(lines, self.short_id) if lines else ""

    @property
    def _entry(self) -> JournalEntry | None:
        """The journal entry of the run; None for a run that was started elsewhere."""
        entry = self._journal.get(self.execution_id)
        return entry if entry and self._session.speaks_to(entry.base_url) else None

    @property
    def import_files(self) -> str | None:
        """The files that this machine sent with the run, as JSON; None for a run that was started elsewhere."""
        files = self.bundle.request.import_files if self.bundle else None
        return files or (self._entry.request.get("import_files") if self._entry else None)

    @cached_property
    def request_metadata(self) -> Mapping[str, Any] | None:
        """The metadata of the request from this machine; None for a run that was started elsewhere.

        This metadata, not the cloud's record, decides how this process may use the outputs of the run.
        """
        if self.bundle:
            return self.bundle.request.metadata or {}
        entry = self._entry
        return None if entry is None else entry.request.get("metadata") or {}

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the run, as far as known."""
        if self.bundle:
            return self.bundle.ports
        entry = self._journal.get(self.execution_id)
        return read_ports(entry.request.get("metadata") if entry else self.record.metadata)

    @property
    def time_limit(self) -> int | None:
        """The seconds after which the run is ended; None for a run that was started elsewhere."""
        if self.bundle:
            return self.bundle.timeout
        limit = self._entry.request.get("timeout") if self._entry else None
        return limit if isinstance(limit, int) else None

    def follower(self, log: RunLog) -> Follower:
        """Return a follower that reads the output of this run from the end of the log, and writes the log."""
        entry = self._journal.get(self.execution_id)
        return follower_class(self._session)(
            self._session.client,
            self.execution_id,
            log,
            self._streaming_url.get_secret_value() or None,
            squeeze=self._session.assumptions["newlines"] == "extra",
            late=self.bundle is None,
            is_complete=bool(entry and log.size and entry.log_size == log.size),
            on_complete=lambda size: self._record_log_size(log, size),
            has_gap=bool(entry and log.size and entry.log_size == 0),
            on_gap=lambda: self._record_log_size(log, 0),
            ending=self._ending,
        )

    def _record_log_size(self, log: RunLog, size: int) -> None:
        """Record the size of the complete log, which is never requested again; 0 for a log that lacks lines."""
        log.flush()
        if log.is_stored:
            self._journal.update(self.execution_id, log_size=size)

    def follow(self) -> Iterator[StreamEvent]:
        """Yield the output from its first line as ``Output`` events, every line once, then ``Finished``.

        The complete log is also written to ``log_path``. An interrupt meanwhile aborts the run, as for ``wait``.

        Raises:
            ConnectionFailed: The server was out of reach for 15 minutes. The run may be active.

        Source: ``POST /stream/{execution_id}``, ``GET /logs/execution/{execution_id}``
        """
        with closing(RunLog(self.log_path)) as log:
            try:
                yield from self.follower(log).events()
            except KeyboardInterrupt:
                if not self._detaches_on_interrupt:
                    self.abort_soon()
                raise

    def wait(self, timeout: float | None = None) -> ExecutionRecord:
        """Wait until the run has ended. An interrupt aborts the run, unless ``on_interrupt`` is ``detach``.

        Args:
            timeout: Seconds to wait. Default: no limit.

        Returns:
            The ExecutionRecord.

        Raises:
            TimeoutError: The run is still active after ``timeout`` seconds.
            ConnectionFailed: The server was out of reach for 15 minutes.
            RunDetached: Somebody clicked Detach meanwhile.

        Source: ``GET /execution/streaming/{execution_id}/status``, ``GET /execution/{execution_id}``
        """
        if self._detaches_on_interrupt:
            return self.wait_aside(timeout)
        with AtInterrupt(lambda _: self.abort_unless_ended()):
            try:
                with true_interrupts():
                    return self.wait_aside(timeout)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(self.describe_abort()) from None

    def wait_aside(self, timeout: float | None = None) -> ExecutionRecord:
        """Wait as ``wait`` does; an interrupt ends the waiting only, and the run keeps running."""
        with waiting_on(self.execution_id) as released:
            return self._wait_for_end(timeout, released)

    @property
    def _detaches_on_interrupt(self) -> bool:
        """Whether an interrupt of the waiting cell leaves the run active."""
        chosen = getattr(self.bundle.options, "on_interrupt", None) if self.bundle else None
        return bool((chosen or setting("on_interrupt")) == "detach")

    def describe_abort(self) -> str:
        """Abort the run, wait for its end, and describe the state of both. An interrupt ends the waiting only.

        Returns:
            A line of text; with the command that stops the run if it may still be active.

        Source: ``POST /workloads/abort/{execution_id}``
        """
        if self.is_finished:
            return f"Run {self.short_id} had already finished."
        abort = self.abort_soon()
        try:
            with true_interrupts():
                return f"Aborted run {self.execution_id}." if abort.wait() else abort.words
        except KeyboardInterrupt:
            abort.hurry()
            return f"Stopped waiting. {abort.words}"

    def _wait_for_end(self, timeout: float | None, released: threading.Event) -> ExecutionRecord:
        end = None if timeout is None else time.monotonic() + timeout
        answered_at, pause, state = time.monotonic(), 0.05, "active"
        while True:
            try:
                if is_final(state := self.record.status if self._ending.finished else self.status):
                    return self.record
                answered_at = time.monotonic()
            except BROKEN as error:
                check_patience(error, answered_at, f"The run is still active. Wait again: %lk_wait {self.short_id}")
            if end is not None and time.monotonic() + pause > end:
                raise TimeoutError(f"run {self.short_id} is still {state} after {timeout} s")
            if released.wait(pause):
                raise RunDetached(
                    f"run {self.short_id} is still active in the background. Wait again: %lk_wait {self.short_id}",
                    execution_id=self.execution_id,
                )
            pause = min(pause * 2, POLL_SECONDS)

    def mark_viewed(self) -> None:
        """Record that the user has seen the end of the run."""
        self._journal.update(self.execution_id, shown=True)

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end and return the result.

        Args:
            timeout: Seconds to wait. Default: no limit.

        Returns:
            A Result: ``stdout``, ``stderr``, ``return_code``, ``duration`` (seconds), ``cost`` (credits).

        Raises:
            RunFailed: The code failed, ran out of time, or the platform failed.
            RunAborted: Somebody aborted the run.
            TimeoutError: The run is still active after ``timeout`` seconds.

        Source: ``GET /execution/{execution_id}``
        """
        record = self.wait(timeout)
        self.mark_viewed()
        return self.result_from(record)

    def result_from(self, record: ExecutionRecord) -> Result:
        """Return the result in the final record. Raises RunFailed or RunAborted."""
        reason = self.stopped_because
        if self.stopped_by_cost(record) and not reason and self.bundle:
            limit = self.bundle.max_cost or 0
            reason = f"--max-cost {limit:f} allows {self.bundle.timeout} s, and this time has passed"
        return read_result(record, line_shift=self.bundle.line_shift if self.bundle else 0, stopped_because=reason)

    def stopped_by_cost(self, record: ExecutionRecord) -> bool:
        """Return whether the maximum cost ended the run."""
        state = classify_end(record)
        by_server = state == "timeout" and self.bundle is not None and self.bundle.cost_binds
        return by_server or (self.stopped_because is not None and state in STOPPED_STATES)

    def outputs(self, timeout: float | None = None, names: Sequence[str] = ()) -> Outputs:
        """Wait for the end, and return the variables that the run returned. Outputs are stored for two weeks.

        Pickles are read only for runs that were started from here with ``pickle=True``.

        Args:
            timeout: Seconds to wait. Default: no limit.
            names: Names of variables. Default: all.

        Returns:
            An Outputs: name → value; its ``missing`` is name → reason.

        Raises:
            TimeoutError: The run is still active after ``timeout`` seconds.
            StorageError: The bucket can't be read.

        Source: ``GET /execution/{execution_id}``, ``POST /storage/credentials``
        """
        self.wait(timeout)
        return read_outputs(self, names)

    def abort(self) -> None:
        """Abort the run and its billing, and wait at most 10 seconds for its end.

        Nothing happens to a run that has ended. A warning reports a run that is still active after an accepted abort.

        Raises:
            OutcomeUnknown: The server accepted no abort within 10 seconds. The abort is repeated in the background.

        Source: ``POST /workloads/abort/{execution_id}``
        """
        abort = self.abort_soon()
        try:
            with true_interrupts():
                has_ended = abort.wait()
        except KeyboardInterrupt:
            abort.hurry()
            raise KeyboardInterrupt(f"Stopped waiting. {abort.words}") from None
        if not abort.has_arrived or abort.is_stuck:
            raise OutcomeUnknown(abort.words)
        if not has_ended:
            warnings.warn(plain(abort.words), stacklevel=2)

    def abort_soon(self, grace: float = GRACE) -> Abort:
        """Abort the run in the background; the abort is repeated for 15 minutes while the server is out of reach.

        A run that returns variables is requested to do so first, and is aborted if it is still active after ``grace``
        seconds.

        Args:
            grace: Seconds in which the run may return its variables. Default: 10. 0: abort the run immediately.

        Returns:
            An Abort: ``wait()`` waits for the end, ``words`` describes the state.

        Source: ``POST /workloads/abort/{execution_id}``
        """
        request_stop = None
        with suppress(Exception):  # whatever the journal contains, the run is aborted
            request_stop = self._request_stop if grace and self._returns_variables else None
        return abort_soon(self._session.client, self.execution_id, request_stop, grace)

    @property
    def _returns_variables(self) -> bool:
        """Whether this machine started the run, and the run returns variables."""
        return returns_variables(self.request_metadata)

    def _request_stop(self) -> None:
        """Store the signed object at which the run returns its variables and ends. Raises StorageError."""
        token = str((self.request_metadata or {}).get(REQUEST_KEY))
        if vm_run := vm_run_in(self._session):
            vm_run.put(stop_key(token), stop_content(token))
        else:
            self._session.storage.put(stop_content(token), stop_key(token))

    def abort_unless_ended(self) -> None:
        """Abort the run in the background, unless its end is already known."""
        if not self.is_finished:
            self.abort_soon()

    @property
    def is_finished(self) -> bool:
        """Whether the end of the run is already known; this sends no request."""
        return self._record is not None

    has_ended = old_name("has_ended", "is_finished")

    def stop(self) -> None:
        """End the run gracefully, for example a notebook server. Nothing happens to a run that has ended.

        Source: ``POST /workloads/stop/{execution_id}``
        """
        try:
            self._session.client.workloads.stop(self.execution_id)
        except NotFound:  # the run has ended, or the server can only abort
            is_over = False  # a server can answer 404 for an active run
            with suppress(NotFound):
                is_over = is_final(self.status)
            if not is_over:
                self.abort_soon()

    def logs(self, limit: int = 1000, hours: int = 24) -> list[LogEntry]:
        """Return the stored lines in order of time.

        Args:
            limit: Most lines to return, up to 10,000. Default: 1,000.
            hours: Greatest age in hours, up to 168. Default: 24.

        Returns:
            A list of LogEntry.

        Source: ``GET /logs/execution/{execution_id}``
        """
        client = self._session.client
        lines = client.logs.execution(self.execution_id, limit=limit, hours=hours).items
        return sort_by_time(drop_earlier_lines(client, self.execution_id, lines))

    def metrics(self, step: str = "15s") -> ExecutionMetrics:
        """Return the GPU and host series of the run.

        ``lk_jupyter.runs.metrics.metrics.read`` returns the series as a DataFrame.

        Args:
            step: Distance of the samples, such as ``5s`` or ``1m``. Default: ``15s``.

        Returns:
            An ExecutionMetrics.

        Source: ``GET /execution/{execution_id}/metrics``
        """
        return self._session.client.execution.metrics(self.execution_id, step=step)

    def scalars(self) -> Any:
        """Return the printed numbers as a DataFrame: ``step``, ``value`` (float64), ``name`` (str), ``time`` (UTC)."""
        return scalar_table(self)

    def eta(self) -> RunEta | None:
        """Estimate time and cost to the end from printed steps, such as ``3/10``; None without steps or after the end.

        Source: ``GET /logs/execution/{execution_id}``
        """
        return None if self.is_finished or is_final(self.status) else read_eta(self, hourly_price(self.machine))

    def delete(self) -> None:
        """Delete the record of the run, which must have ended.

        Source: ``DELETE /execution/{execution_id}``
        """
        self._session.client.execution.delete(self.execution_id)
