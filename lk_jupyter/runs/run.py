"""One run: start it, follow it, wait for it, stop it, read what it left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from lk_jupyter.api._events import StreamEvent
from lk_jupyter.api.execution import ExecutionMetrics, ExecutionRecord, is_final
from lk_jupyter.api.logs import LogEntry
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config import setting
from lk_jupyter.errors import NotFound, RunDetached, UsageError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.options import MachineOptions, RunOptions
from lk_jupyter.runs import guard
from lk_jupyter.runs.bundle import REQUEST_KEY, Bundle, Limits, Source, bundle, time_limit
from lk_jupyter.runs.checkpoint import checkpoint_parts
from lk_jupyter.runs.cost import credits_label
from lk_jupyter.runs.doctor import imports_part
from lk_jupyter.runs.entries import end_of_entry
from lk_jupyter.runs.follow import BROKEN, Follower, check_patience
from lk_jupyter.runs.frames import Frame, nonce_in, split
from lk_jupyter.runs.held import holding
from lk_jupyter.runs.ids import full_id
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.log import RunLog, log_path
from lk_jupyter.runs.outcome import SHORT_ID, STOPPED_STATES, Result, result_of
from lk_jupyter.runs.parts import Part
from lk_jupyter.runs.sending import Sending, abort_soon
from lk_jupyter.runs.stored import STORED, fetched
from lk_jupyter.runs.variables.looked_through import secrets_in
from lk_jupyter.runs.variables.names import inputs_of, named
from lk_jupyter.runs.variables.parcel import pack
from lk_jupyter.runs.variables.receiving import Outputs, outputs

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session

POLL_SECONDS = 1.0

#: Characters of an id that nobody types by chance.
_CERTAIN = 8


def prepare(session: Session, source: Source, options: RunOptions, parts: Sequence[Part] = ()) -> Bundle:
    """Put together what a run would send, on the machine that the options or the settings name.

    ``parts`` go along and work for the code over there.

    Raises UsageError or SyntaxError for what would not run.
    """
    if options.sweep or "," in f"{options.gpu}{options.machine}":
        raise UsageError("Several machines or a sweep are several runs: %%lk_run starts them, or session.fan_out(...).")
    _check_is_compared(options)
    if options.gpu and options.machine:
        raise UsageError("--gpu and --machine both name a machine; give one of them.")
    machine = session.machines().resolve(options.gpu or options.machine or setting("machine"))
    limits = limits_of(options)
    limit, _ = time_limit(options, machine, limits)
    parts = [*parts, *checkpoint_parts(session, source, options, limit), *imports_part(source, options)]
    inputs = inputs_of(source, options)
    parcel = pack(inputs, named("out", options.outputs), pickle=options.pickle)
    package = bundle(source, options, machine, limits, parts, parcel=parcel)
    secrets = guard.in_run(package, known=(session.target.key.token,))
    return replace(package, secrets=(*secrets, *secrets_in(inputs, parcel)))


def limits_of(options: MachineOptions) -> Limits:
    """Return the limits of a run: those of its options go before those of the settings."""
    max_cost = setting("max_cost") if options.max_cost is None else options.max_cost
    return Limits(setting("timeout"), setting("max_timeout"), max_cost)


def _check_is_compared(options: RunOptions) -> None:
    """Refuse for one run what compares several."""
    for name in ("score", "first", "strict", "parallel"):
        if getattr(options, name):
            raise UsageError(f"--{name} is for several runs: add --gpu A100,H100 or --sweep NAME=A,B.")


class Run:
    """A run on the cloud, going on or ended.

    ``execution_id`` is its id; ``machine`` the machine it was started on and ``note`` the
    scheduler's remark on it, where they are known; ``sent_at`` the moment, on the clock of
    ``meter.now``, at which it was sent, if that was here; ``stopped_because`` why it was stopped, if we did that.
    """

    def __init__(
        self,
        session: Session,
        execution_id: str,
        *,
        bundle: Bundle | None = None,
        streaming_url: str | None = None,
        note: str | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.bundle = bundle
        self.note = note
        self._session = session
        self._streaming_url = SecretStr(streaming_url or "")
        self.sent_at: float | None = None
        self.stopped_because: str | None = None
        self._record: ExecutionRecord | None = None
        self._state = ""

    @classmethod
    def start(cls, session: Session, code: str, options: RunOptions, namespace: Mapping[str, Any] | None = None) -> Run:
        """Start code as it stands, with local modules and files looked for in the working folder.

        ``namespace`` holds the variables that the options name.

        Raises UsageError or SyntaxError before anything is sent, then the errors of the API.
        """
        package = prepare(session, Source(code, namespace=namespace or {}), options)
        if options.attach == "auto":
            from lk_jupyter.runs.resume import same_run  # noqa: PLC0415 (it needs this module)

            if found := same_run(session, package):
                return found
        return cls.submit(session, package)

    @classmethod
    def submit(cls, session: Session, package: Bundle, *, group: str | None = None) -> Run:
        """Start what was prepared, exactly once, and keep it in the journal.

        ``group`` is what runs that are started together share. An interrupt meanwhile stops the run, if
        it was started. Raises UsageError for secrets in it that nobody has allowed, then the errors of
        the API.
        """
        sending = Sending(session, package, group)
        try:
            with true_interrupts():
                return cls.sent(session, sending)
        except KeyboardInterrupt:
            sending.abort()
            raise

    @classmethod
    def sent(cls, session: Session, sending: Sending, watch: Callable[[str], object] | None = None) -> Run:
        """Wait until a run that is on its way has been started, and return it. Raises the errors of the API.

        ``watch`` is told what is being done, where that takes its time.
        """
        answer = sending.answer(watch)
        run = cls(
            session,
            answer.execution_id,
            bundle=sending.package,
            streaming_url=answer.streaming_url or None,
            note=answer.pythia_decision,
        )
        run.sent_at = sending.sent_at
        return run

    @classmethod
    def attach(cls, session: Session, execution_id: str) -> Run:
        """Return a run that was started before, by its id or the first characters of it.

        One that was started on this machine is known without asking. Raises UsageError when no run
        begins so, or several do.
        """
        return cls(session, _known_here(session, execution_id) or full_id(session.client, execution_id))

    def __repr__(self) -> str:
        return f"<Run {self.execution_id} on {self._session.base_url}>"

    @property
    def session(self) -> Session:
        """The account on whose behalf it was started or found."""
        return self._session

    @property
    def short_id(self) -> str:
        """The first characters of the id, enough for every magic."""
        return self.execution_id[:SHORT_ID]

    @property
    def machine(self) -> MachineType | None:
        """The machine that was asked for; None when the catalogue does not know it."""
        if self.bundle:
            return self.bundle.machine
        entry = journal().get(self.execution_id)
        if entry and entry.machine:
            return MachineType(hardware_profile=entry.machine, price_per_hour=entry.price_per_hour)
        profile = self.record.hardware_profile
        return next((m for m in self._session.machines() if m.hardware_profile == profile), None)

    @property
    def log_path(self) -> Path:
        """The file on this machine that holds the whole log, once the run is followed."""
        return log_path(self.execution_id)

    @property
    def status(self) -> str:
        """The present state, in the API's words."""
        if self._record:
            return self._record.status
        status = self._session.client.execution.status(self.execution_id).status
        self.learn(status)
        return status

    def learn(self, state: str) -> None:
        """Take in a state that was heard of, so that the journal has it; what comes after the end is late."""
        if self._record is None and state.lower() != self._state:
            self._state = state.lower()
            journal().update(self.execution_id, state=self._state)

    @property
    def record(self) -> ExecutionRecord:
        """All that the cloud keeps of the run, as of now."""
        if self._record:
            return self._record
        record = self._session.client.execution.get(self.execution_id)
        if is_final(record.status):
            self._record = record
            journal().update(self.execution_id, **end_of_entry(record))
        return record

    @property
    def nonce(self) -> str | None:
        """What the frames in its output carry; None when it makes none."""
        if self.bundle:
            return self.bundle.nonce
        entry = journal().get(self.execution_id)
        metadata = entry.request.get("metadata") if entry else self.record.metadata
        return nonce_in(metadata)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that it was started with, as far as that was told."""
        from lk_jupyter.runs.containers import ports_in  # noqa: PLC0415 (it needs this module)

        if self.bundle:
            return self.bundle.ports
        entry = journal().get(self.execution_id)
        return ports_in(entry.request.get("metadata") if entry else self.record.metadata)

    def frames(self, kind: str) -> list[Frame]:
        """Return what the parts that went along have said so far, of one kind; for a run that was followed here."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""
        return [frame for frame in split(text, self.nonce)[1] if frame.kind == kind]

    def whole(self, frame: Frame) -> Frame:
        """Return the frame with what it carries, fetched from the bucket where that was too large for the log."""
        if frame.kind != STORED:
            return frame
        return fetched(self._session.storage.get_bytes, self.nonce or "", frame)

    def follower(self, log: RunLog, stop: threading.Event | None = None) -> Follower:
        """Return what follows this run and writes its log, going on from what the log has."""
        entry = journal().get(self.execution_id)
        return Follower(
            self._session.client,
            self.execution_id,
            log,
            self._streaming_url.get_secret_value() or None,
            squeeze=not self._session.is_local,
            late=self.bundle is None,
            whole=bool(entry and log.size and entry.log_size == log.size),
            on_whole=lambda size: self._keep_whole(log, size),
            stop=stop or threading.Event(),
        )

    def _keep_whole(self, log: RunLog, size: int) -> None:
        """Take note that the file holds the whole log, so that it need never be asked for again."""
        log.flush()
        if log.is_kept:
            journal().update(self.execution_id, log_size=size)

    def follow(self) -> Iterator[StreamEvent]:
        """Yield the output from its beginning as ``Output`` events, every line once, then ``Finished``.

        The whole log is kept in ``log_path``. Raises ConnectionFailed when the server is gone for
        15 minutes.
        """
        with closing(RunLog(self.log_path)) as log:
            yield from self.follower(log).events()

    def wait(self, timeout: float | None = None) -> ExecutionRecord:
        """Wait until the run has ended and return its record; a server that is away for a while is waited for.

        Raises TimeoutError when it goes on after ``timeout`` seconds, ConnectionFailed when the server
        is gone for 15 minutes, RunDetached when somebody lets the cell go meanwhile.
        """
        with holding(self.execution_id) as left:
            return self._wait(timeout, left)

    def _wait(self, timeout: float | None, left: threading.Event) -> ExecutionRecord:
        end = None if timeout is None else time.monotonic() + timeout
        heard, pause, state = time.monotonic(), 0.05, "going on"
        while True:
            try:
                if is_final(state := self.status):
                    return self.record
                heard = time.monotonic()
            except BROKEN as error:
                check_patience(error, heard, f"The run was not stopped; wait for it again: %lk_wait {self.short_id}")
            if end is not None and time.monotonic() + pause > end:
                raise TimeoutError(f"run {self.short_id} is still {state} after {timeout} s")
            if left.wait(pause):
                raise RunDetached(
                    f"run {self.short_id} goes on in the background. Wait for it again: %lk_wait {self.short_id}",
                    execution_id=self.execution_id,
                )
            pause = min(pause * 2, POLL_SECONDS)

    def seen(self) -> None:
        """Take note that the end of the run was looked at."""
        journal().update(self.execution_id, shown=True)

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end and return what the run left. Raises RunFailed or RunAborted."""
        record = self.wait(timeout)
        self.seen()
        return self.judged(record)

    def judged(self, record: ExecutionRecord) -> Result:
        """Return what the run left, as its final record tells it. Raises RunFailed or RunAborted."""
        reason = self.stopped_because
        if self.stopped_by_cost(record) and not reason and self.bundle:
            reason = f"its maximum cost of {credits_label(self.bundle.max_cost)} was reached"
        return result_of(record, line_shift=self.bundle.line_shift if self.bundle else 0, stopped_because=reason)

    def stopped_by_cost(self, record: ExecutionRecord) -> bool:
        """Whether the run ended because it would have cost more than it may."""
        state = record.status.lower()
        by_server = state == "timeout" and self.bundle is not None and self.bundle.cost_binds
        return by_server or (self.stopped_because is not None and state in STOPPED_STATES)

    def outputs(self, timeout: float | None = None) -> Outputs:
        """Wait for the end and return the variables that the run sent back, by their names.

        They are in the bucket for two weeks. ``.missing`` of the answer is name → reason for those
        that did not come. Raises TimeoutError, StorageError.
        """
        metadata = self.wait(timeout).metadata or {}
        token = self.bundle.token if self.bundle else metadata.get(REQUEST_KEY)
        return outputs(self._session.storage, str(token), metadata)

    def abort(self) -> None:
        """Kill the run; it may print on for a moment. A run that has ended is left as it is."""
        self._session.client.workloads.abort(self.execution_id)

    def abort_soon(self) -> threading.Thread:
        """Kill the run in the background, tried for 15 minutes while the server is out of reach."""
        return abort_soon(self._session.client, self.execution_id)

    @property
    def has_ended(self) -> bool:
        """Whether the end of the run is known here; nothing is asked."""
        return self._record is not None

    def stop(self) -> None:
        """End the run gracefully; made for notebook servers. A run that has ended is left as it is."""
        try:
            self._session.client.workloads.stop(self.execution_id)
        except NotFound:
            return

    def logs(self, limit: int = 1000, hours: int = 24) -> list[LogEntry]:
        """Return the stored lines in order of time, at most ``limit`` (10,000), not older than ``hours`` (168)."""
        entries = self._session.client.logs.execution(self.execution_id, limit=limit, hours=hours)
        return sorted(entries, key=lambda entry: entry.timestamp)

    def metrics(self, step: str = "15s") -> ExecutionMetrics:
        """Return the GPU and host series of the run; ``step`` is a duration such as ``5s``."""
        return self._session.client.execution.metrics(self.execution_id, step=step)

    def delete(self) -> None:
        """Remove the record of the run, which must have ended."""
        self._session.client.execution.delete(self.execution_id)


def _known_here(session: Session, prefix: str) -> str | None:
    """Return the id of the one run on this server that was started here and begins so."""
    prefix = prefix.strip()
    found = journal().find(prefix) if len(prefix) >= _CERTAIN else []
    ids = [entry.execution_id for entry in found if session.speaks_to(entry.base_url)]
    return ids[0] if len(ids) == 1 else None
