"""Relays: long work as a chain of runs, each of which continues from the checkpoint of the run before.

A relay has the id ``r-`` and its token. Its facts and its log are files of this machine, without secrets. One process
drives a relay at a time: the process that started or follows it, then a detached process. The driver starts a run,
copies its log, and starts the next run after the last message of this run: lines after the checkpoint are removed,
because the next run repeats them.

``RelayRun`` has the methods of ``VmRun`` that ``runs/vm.py`` uses: cells, journal and receipts work as for a run.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from decimal import Decimal
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from lk_jupyter.api._events import Output
from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import ExecutionRecord, StreamingExecutionRequest, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import STOP_SECONDS, SUCCEEDED_STATES
from lk_jupyter.code.source import Source
from lk_jupyter.config.files import open_locked, write_private
from lk_jupyter.config.settings import setting
from lk_jupyter.config.signing import signing_key
from lk_jupyter.connection.connection import describe_target
from lk_jupyter.errors import ConnectionFailed, LkError, OutcomeUnknown, ServerError, UsageError
from lk_jupyter.journal.drivers import start_driver
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.bucket import checkpoint_key
from lk_jupyter.protocol.frames import BARE_MARK, ESCAPE, Frame, Splitter, read_nonce
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import SETTINGS
from lk_jupyter.protocol.relay import FOLDER, PART, PREFIX, RELAY
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.follow import Ending, Follower
from lk_jupyter.runs.log import RunLog, log_path
from lk_jupyter.runs.outcome import is_other_machine
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.checkpoint import LATE
from lk_jupyter.runs.submit.start import find_marked, start_once
from lk_jupyter.runs.submit.upload import add_links

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds between two looks at a run of the relay.
_LOOK = 0.2

#: The share of the time limit of a run after which its last reported checkpoint is uploaded.
LATEST = 0.9

#: The shortest time limit of a run in seconds, and the number of runs in a row that may fail without a checkpoint.
_LEAST_SECONDS, _MOST_FAILURES = 10, 3

#: Seconds for attempts to start the next run, and between the attempts.
_RETRY_SECONDS, _RETRY_PAUSE = 600.0, 10.0

#: Seconds to wait for the bills of the runs at the end.
_BILL_SECONDS = 60.0

#: A frame starts and ends with these characters, and has at most this number.
_FRAME_START = ESCAPE + BARE_MARK
_FRAME_END, _LONGEST_FRAME = re.compile(r"(?<=\x07\n)"), 1 << 14


class Leg(BaseModel):
    """A run of a relay: its time limit in seconds, the size of the log at its start, and its bill in credits.

    ``saved`` has the key and the SHA-256 of its checkpoint, ``is_over`` is whether the next run may start, and
    ``lacks_output`` is whether lines of its log may be missing.
    """

    token: str
    limit: int
    log_start: int
    start_time: float
    execution_id: str | None = None
    saved: dict[str, str] = {}
    is_over: bool = False
    ended_at: float | None = None
    billed: Decimal | None = None
    lacks_output: bool = False


class RelayFacts(BaseModel):
    """The facts of a relay that this machine stores; moments are in Unix seconds, and costs in credits.

    ``job`` is the request of its runs without links, ``request`` its name, labels and metadata, ``seconds`` the billed
    time of all runs at most, ``limit`` the time limit of one run, ``cap`` the maximum cost, ``other_machine``
    the machine of the last run that had another machine than ``machine``.
    """

    model_config = ConfigDict(extra="ignore")

    token: str
    base_url: str
    machine: str
    created_at: float
    job: dict[str, Any]
    request: dict[str, Any]
    seconds: int
    limit: int
    per_hour: Decimal | None = None
    cap: Decimal | None = None
    other_machine: str = ""
    legs: list[Leg] = []
    state: dict[str, Any] = {}
    billed: Decimal | None = None
    reasons: list[str] = []

    @property
    def active_id(self) -> str:
        """The token of the run that writes the log now."""
        return self.legs[-1].token if self.legs else ""

    @property
    def log_start(self) -> int | None:
        """The size of the log at the start of the current run; None for the first run."""
        return self.legs[-1].log_start if len(self.legs) > 1 else None

    @property
    def is_started(self) -> bool:
        """Whether a run has started."""
        return any(leg.execution_id for leg in self.legs)

    @property
    def saved(self) -> dict[str, str]:
        """The last checkpoint; empty before the first."""
        return next((leg.saved for leg in reversed(self.legs) if leg.saved), {})

    @property
    def spent(self) -> Decimal:
        """The bills of the runs, and the highest cost of runs without a bill."""
        costs = (cost_at_limit(self.per_hour, leg.limit) if leg.billed is None else leg.billed for leg in self.legs)
        return sum(filter(None, costs), Decimal(0))

    @property
    def has_all_bills(self) -> bool:
        """Whether each run has its bill."""
        return all(leg.billed is not None for leg in self.legs if leg.execution_id)

    def place_label(self, number: int) -> str:
        """Return the place of a run in the relay, such as ``run 2 of about 5``."""
        if self.state.get("is_final"):
            return f"run {number} of {len(self.legs)}"
        return f"run {number} of about {max(len(self.legs), count_runs(self.seconds, self.limit))}"

    def used_seconds(self, now: float) -> float:
        """Return the time of all runs until a moment."""
        return sum(min((leg.ended_at or now) - leg.start_time, leg.limit) for leg in self.legs)


def relay_folder() -> Path:
    """Return the folder of relays, on this machine."""
    return Path(setting("journal")).parent / FOLDER


def count_runs(seconds: float, limit: float) -> int:
    """Return about how many runs with this time limit work for this time: a run ends at its late save."""
    return math.ceil(seconds / (LATE * limit))


def list_members() -> dict[str, str]:
    """Return the runs that belong to relays of this machine, each with its place, such as ``run 2 of about 5``."""
    members = {}
    for path in relay_folder().glob("*.json"):
        with suppress(UsageError):
            facts = read_relay(path.stem)
            for number, leg in enumerate(facts.legs, 1):
                if leg.execution_id:
                    members[leg.execution_id] = f"relay {PREFIX}{facts.token[:6]}, {facts.place_label(number)}"
    return members


def read_relay(token: str) -> RelayFacts:
    """Return the facts of a relay. Raises UsageError for a relay of another machine."""
    with suppress(OSError, ValueError):
        return RelayFacts.model_validate_json((relay_folder() / f"{token}.json").read_text("utf-8"))
    raise UsageError(f"Run '{PREFIX}{token[:6]}' was started on another machine. List runs: %lk_runs")


class RelayRun:
    """A relay, for the process that drives it and for all that follow it."""

    checkpoint: dict[str, Any] = {}

    def __init__(self, connection: Connection, facts: RelayFacts) -> None:
        self.facts = facts
        self._connection = connection
        self._folder = relay_folder()
        self._driver: threading.Thread | None = None
        self._lock: int | None = None
        self._start_lock = threading.Lock()

    def join(self) -> bool:
        """Drive the relay to its end; return False if another process drives it."""
        self.drive_in_thread()
        if self._driver:
            self._driver.join()
        return self._driver is not None

    @property
    def execution_id(self) -> str:
        """The id of the relay."""
        return PREFIX + self.facts.token

    def _build_path(self, suffix: str) -> Path:
        return self._folder / f"{self.facts.token}.{suffix}"

    @property
    def _is_aborted(self) -> bool:
        """Whether the user has aborted the relay, in any process."""
        return self._build_path("stop").exists()

    def start(self) -> None:
        """Store the relay, and drive it in a thread of this process. Raises UsageError if it can't be stored."""
        try:
            self._store_facts()
            self._build_path("log").touch(0o600)
            self._build_path("lock").touch(0o600)
            self._take_lock()
            start_driver(self.execution_id, describe_target(self._connection.target))
        except OSError as error:
            raise UsageError(f"Can't write to '{self._folder}': {error.strerror}. Nothing was sent.") from None
        self.drive_in_thread()

    def drive_in_thread(self) -> None:
        """Drive the relay in a thread, unless a process drives it already."""
        with self._start_lock:
            if (self._driver and self._driver.is_alive()) or not self._take_lock():
                return
            self._driver = threading.Thread(target=self.drive, name=f"lk-relay-{self.facts.token[:6]}", daemon=True)
            self._driver.start()

    def _take_lock(self) -> bool:
        """Lock the relay until this process ends; return False if another process has the lock."""
        if self._lock is None:
            with suppress(OSError):  # the file is removed at the end of the relay
                self._lock = open_locked(self._build_path("lock"))
            if self._lock is not None:
                self.facts = read_relay(self.facts.token)
        return self._lock is not None

    def state(self) -> dict[str, Any]:
        """Return the state of the relay: ``status``, and ``is_final`` after its end."""
        if self._lock is None:
            self.facts = read_relay(self.facts.token)
        if not self.facts.state.get("is_final"):
            self.drive_in_thread()
        return self.facts.state or {
            "status": "running" if self.facts.is_started else "pending",
            **self._build_start_fields(),
        }

    def _build_start_fields(self) -> dict[str, Any]:
        return {"started": self.facts.legs[0].start_time} if self.facts.is_started else {}

    def end(self, state: dict[str, Any]) -> None:
        """Do nothing: the driver stores the end."""

    def put(self, key: str, content: bytes) -> None:
        """Store an object for the code."""
        self._connection.storage.put(content, key)

    def abort(self, grace: float) -> None:
        """Abort the current run, and end the relay."""
        self._build_path("stop").touch(0o600)
        end = time.monotonic() + grace + _BILL_SECONDS
        while not self.state().get("is_final") and time.monotonic() < end:
            time.sleep(_LOOK)

    def log(self) -> str:
        """Return the log so far."""
        with suppress(OSError):
            return self._build_path("log").read_bytes().decode("utf-8", "replace")
        return ""

    @property
    def lacks_output(self) -> bool:
        """Whether the log of a run may lack lines."""
        return any(leg.lacks_output for leg in self.facts.legs)

    def log_times(self) -> list[tuple[float, int]]:
        """Return nothing: the times of lines are unknown."""
        return []

    def open_log(self, offset: int) -> LogTail:
        """Return the log from a byte offset until the current run of the relay ends."""
        return LogTail(self, self._build_path("log"), offset)

    def _store_facts(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._build_path("json"), self.facts.model_dump_json())

    # The rest is for the process that drives the relay.

    def drive(self) -> None:
        """Start and follow runs until the code ends, a limit is reached, or the user aborts the relay."""
        try:
            while not self.facts.state.get("is_final"):
                leg = self.facts.legs[-1] if self.facts.legs else None
                if leg is None or leg.is_over:
                    self._start_next_run()
                else:
                    self._follow_leg(leg)
        except Exception as error:  # noqa: BLE001 (the relay shows the reason)
            for leg in self.facts.legs[-1:]:
                if leg.execution_id and not leg.is_over:
                    abort_soon(self._connection.client, leg.execution_id)
            reason = str(error).partition("\n")[0] or type(error).__name__
            self._store_final_state("failed" if isinstance(error, UsageError) else "system_failure", None, reason)

    def _start_next_run(self) -> None:
        """Start the next run, within the rest of time and cost; without enough of both, end the relay."""
        facts, now = self.facts, time.time()
        if self._is_aborted:
            self._store_final_state("aborted", None, "Aborted.")
            return
        self._read_bills()
        seconds = min(float(facts.limit), facts.seconds - facts.used_seconds(now))
        reason = f"Time limit of {facts.seconds} s"
        if self._compute_affordable_seconds() < seconds:
            self._wait_for_bills()
        if (affordable := self._compute_affordable_seconds()) < seconds:
            seconds, reason = affordable, f"The maximum cost of {facts.cap} credits"
        if seconds < min(_LEAST_SECONDS, facts.seconds):
            self._store_final_state("timeout", None, reason)
            return
        self._send_next_start(int(seconds))

    def _compute_affordable_seconds(self) -> float:
        """Return the time limit, in seconds, that the rest of the maximum cost pays for."""
        facts = self.facts
        if facts.cap is None or not facts.per_hour:
            return float("inf")
        return float((facts.cap - facts.spent) * 3600 / facts.per_hour) - STOP_SECONDS

    def _build_next_run(self, seconds: int) -> Bundle:
        """Return the next run, with this time limit in seconds, which restores the last checkpoint."""
        facts = self.facts
        request = StreamingExecutionRequest.model_validate({k: v for k, v in facts.job.items() if k != "timeout"})
        files = json.loads(request.import_files or "{}")
        settings = json.loads(files[SETTINGS])
        changes = {"after": LATE * seconds, "latest": LATEST * seconds, "attempt": f"{len(facts.legs) + 1}-"}
        settings["parts"][PART] = {**settings["parts"][PART], **changes, **facts.saved}
        files[SETTINGS] = json.dumps(settings, ensure_ascii=False)
        metadata = {**(request.metadata or {}), REQUEST_KEY: uuid.uuid4().hex}
        update = {"import_files": json.dumps(files), "metadata": metadata, "timeout": seconds}
        machine = MachineType(hardware_profile=facts.machine, price_per_hour=facts.per_hour)
        source = Source("", request.file_name or Source.file_name)
        bundle = Bundle(
            source, RunOptions(), request.model_copy(update=update), machine, {}, 0, frames_token=facts.token
        )
        return add_links(self._connection, bundle)

    def _send_next_start(self, seconds: int) -> None:
        """Start a run; repeat that while the cloud is out of reach or has no machine.

        The relay records each start before it is sent, so that another process finds the run.
        """
        end = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                bundle = self._build_next_run(seconds)
                size = self._build_path("log").stat().st_size
                leg = Leg(token=bundle.token, limit=bundle.timeout, log_start=size, start_time=time.time())
                self.facts.legs.append(leg)
                self._store_facts()
                leg.execution_id = start_once(self._connection.client, bundle).execution_id
                self._store_facts()
            except (ServerError, ConnectionFailed):  # neither leaves a run whose answer was lost
                self.facts.legs = [leg for leg in self.facts.legs if leg.execution_id]
                self._store_facts()
                if time.monotonic() > end or self._is_aborted:
                    raise
            else:
                return
            time.sleep(_RETRY_PAUSE)

    def _follow_leg(self, leg: Leg) -> None:
        """Copy the log of a run until its end, or until its last message; an abort of the user ends the run."""
        if leg.execution_id is None:
            leg.execution_id = self._find_lost_start(leg)
            self._store_facts()
        client = self._connection.client
        copier = _LogCopier(self._connection, leg.execution_id, self._build_path("log"), leg, self.facts)
        copier.start()
        is_aborted = False
        while copier.is_alive():
            copier.join(_LOOK)
            if not is_aborted and self._is_aborted:
                is_aborted = True
                abort_soon(client, leg.execution_id)
        if copier.error:
            raise copier.error
        leg.lacks_output = copier.lacks_output
        leg.ended_at = time.time()
        if copier.saved and not is_aborted:
            abort_soon(client, leg.execution_id)  # its process ends after its last message: this ends the bill
            leg.saved, leg.is_over = {"resume": checkpoint_key(leg.token), **copier.saved}, True
            self._store_facts()
            return
        self._end_leg(leg, self._wait_for_final_record(leg.execution_id), is_aborted=is_aborted)

    def _wait_for_final_record(self, run_id: str) -> ExecutionRecord:
        """Return the final record of a run. Raises ConnectionFailed if the cloud is out of reach for 15 minutes."""
        ending, answered_at = Ending(self._connection.client, run_id), time.monotonic()
        while True:
            try:
                record = ending.record()
                if is_final(record.status):
                    return record
                answered_at = time.monotonic()
            except BROKEN as error:
                check_patience(error, answered_at, f"The run may be active. Check: %lk_status {run_id}")
            time.sleep(_LOOK)

    def _find_lost_start(self, leg: Leg) -> str:
        """Return the id of a run whose start another process has sent. Raises OutcomeUnknown if it isn't found."""
        run = find_marked(self._connection.client, leg.token, {}).user_run
        if run is None:
            raise OutcomeUnknown(
                "The relay requested a run but received no response. The run may be active. Check: %lk_runs"
            )
        return run.execution_id

    def _end_leg(self, leg: Leg, record: ExecutionRecord, *, is_aborted: bool) -> None:
        """End the relay with its last run; after a failure of the platform, the next run repeats this run."""
        status = "aborted" if is_aborted else record.status.lower()
        leg.is_over, leg.billed = True, record.billed
        profile = record.hardware_profile
        if profile and is_other_machine(profile, MachineType(hardware_profile=self.facts.machine)):
            self.facts.other_machine = profile
        failures = sum(1 for _ in takewhile(lambda each: not each.saved, reversed(self.facts.legs)))
        if status in {"system_failure", "failed_system"} and failures < _MOST_FAILURES:
            os.truncate(self._build_path("log"), leg.log_start)
            self._store_facts()
            return
        details = record.status_details
        if status == "timeout":
            details = f"No checkpoint was saved within {leg.limit} s. Save files in lk_jupyter.checkpoint_folder()"
        self._store_final_state(status, record.return_code, None if status in SUCCEEDED_STATES else details)

    def _read_bills(self) -> None:
        for leg in self.facts.legs:
            if leg.execution_id and leg.billed is None:
                with suppress(LkError):
                    record = self._connection.client.execution.get(leg.execution_id)
                    leg.billed = record.billed if is_final(record.status) else None

    def _wait_for_bills(self) -> None:
        """Wait until the cloud has billed each run, at most a minute."""
        end = time.monotonic() + _BILL_SECONDS
        self._read_bills()
        while not self.facts.has_all_bills and time.monotonic() < end:
            time.sleep(_LOOK)
            self._read_bills()

    def _store_final_state(self, status: str, return_code: int | None, details: str | None) -> None:
        """Store the final state, with the bills of all runs."""
        facts = self.facts
        self._wait_for_bills()
        bills = (leg.billed for leg in facts.legs)
        facts.billed = sum(filter(None, bills), Decimal(0)) if facts.has_all_bills else None
        state = {"status": status, "return_code": return_code, "details": details, "ended": time.time()}
        facts.state = {**self._build_start_fields(), **state, "is_final": True}
        self._store_facts()
        with suppress(OSError):
            self._build_path("lock").unlink(missing_ok=True)  # no process has to drive the relay


class _LogCopier(threading.Thread):
    """Copy the log of a run to the log of the relay, until the end or the last message of the run.

    ``saved`` has the SHA-256 of the checkpoint, ``lacks_output`` is whether lines may be missing, and ``error`` is the
    error that stopped the copy.
    """

    def __init__(self, connection: Connection, run_id: str, path: Path, leg: Leg, facts: RelayFacts) -> None:
        super().__init__(name=f"lk-relay-log-{facts.token[:6]}", daemon=True)
        self._connection, self._run_id = connection, run_id
        self._path, self._start_size = path, leg.log_start
        nonce = read_nonce(facts.job.get("metadata")) or ""
        self._splitter = Splitter(nonce, key=signing_key(facts.token))
        self._marks: dict[int, int] = {}
        self._frame_part = ""
        self.saved: dict[str, str] = {}
        self.lacks_output = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Copy each event. Another process may have copied a part: the copy starts at the log's size before the run."""
        try:
            with self._path.open("r+b") as log:
                log.truncate(self._start_size)
                log.seek(self._start_size)
                with (
                    closing(RunLog(log_path(self._run_id))) as run_log,
                    closing(self._create_follower(run_log)) as follower,
                ):
                    for event in follower.events():
                        if isinstance(event, Output) and self._copy_text(event.content, log):
                            return
                    self.lacks_output = follower.lacks_output
                log.write(self._frame_part.encode("utf-8", "replace"))
        except Exception as error:  # noqa: BLE001 (the driver raises it)
            self.error = error

    def _create_follower(self, run_log: RunLog) -> Follower:
        is_squeezed = self._connection.assumptions["newlines"] == "extra"
        return Follower(self._connection.client, self._run_id, run_log, squeeze=is_squeezed, late=True)

    def _copy_text(self, text: str, log: Any) -> bool:
        """Copy text; return whether it has the last message of the run. Then the log ends at the checkpoint."""
        for piece in _FRAME_END.split(self._hold_frame(text)):
            items = self._splitter.feed(piece)
            messages = [item.payload for item in items if isinstance(item, Frame) and item.kind == RELAY]
            start = piece.rfind(_FRAME_START) if messages else -1  # the cell needs no messages of the relay
            log.write((piece if start < 0 else piece[:start]).encode("utf-8", "replace"))
            log.flush()
            for payload in messages:
                if "mark" in payload:
                    self._marks[payload["mark"]] = log.tell()
                elif "sha256" in payload:
                    self.saved = {"sha256": str(payload["sha256"])}
                    log.truncate(self._marks.get(payload["saved"], log.tell()))
                    return True
        return False

    def _hold_frame(self, text: str) -> str:
        """Return the text up to a frame whose end hasn't arrived."""
        text, self._frame_part = self._frame_part + text, ""
        start = text.rfind(ESCAPE)
        is_frame = text.startswith(_FRAME_START, start) or _FRAME_START.startswith(text[start:])
        if start >= 0 and is_frame and not _FRAME_END.search(text, start) and len(text) - start < _LONGEST_FRAME:
            text, self._frame_part = text[:start], text[start:]
        return text


class LogTail:
    """The bytes of the log of a relay from an offset, until its current run ends or ``close`` is called."""

    def __init__(self, relay: RelayRun, path: Path, offset: int) -> None:
        self._relay, self._path, self._offset = relay, path, offset
        self._closed = threading.Event()

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()

    def __iter__(self) -> Iterator[bytes]:
        active_id = self._relay.facts.active_id
        with self._path.open("rb") as log:
            log.seek(self._offset)
            while not self._closed.is_set():
                is_over = bool(self._relay.state().get("is_final"))
                if self._relay.facts.active_id != active_id:
                    return
                if data := log.read(1 << 16):
                    yield data
                elif is_over:
                    return
                else:
                    self._closed.wait(_LOOK)


@cache
def _get_relay_registry() -> dict[tuple[str, str], RelayRun]:
    return {}


def open_relay(connection: Connection, token: str) -> RelayRun:
    """Return a relay by its token, the same object for each caller. Raises UsageError for one of another machine."""
    relays, key = _get_relay_registry(), (connection.base_url, token)
    if key not in relays:
        relays[key] = RelayRun(connection, read_relay(token))
    return relays[key]


def keep_relay(connection: Connection, relay: RelayRun) -> None:
    """Let ``open_relay`` return this relay."""
    _get_relay_registry()[connection.base_url, relay.facts.token] = relay
