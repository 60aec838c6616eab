"""Runs on a VM, for the code that follows, stops and reads runs: a connection that answers for the VM.

``VmConnection`` replaces the connection of a run. Its client answers requests for the run from the VM, and passes all
other requests to the cloud, so that cells, journal, receipts and variables work as for a run of the cloud.
"""

from __future__ import annotations

import codecs
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from lk_jupyter.api._client import Client
from lk_jupyter.api._events import Output, StreamEvent
from lk_jupyter.api._polling import BROKEN
from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.logs import LogEntries, LogEntry
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import OperationNotAvailable
from lk_jupyter.protocol.frames import STDERR, format_items, measure_common_prefix, read_nonce, split
from lk_jupyter.runs.follow import Follower, finish_event
from lk_jupyter.runs.outcome import TRACEBACK
from lk_jupyter.vms.facts import moment
from lk_jupyter.vms.hosted import VmRun

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: Seconds between SIGINT and the end of the code of an aborted run.
ABORT_GRACE = 5.0

#: Seconds between two looks at a VM that starts.
_LOOK = 0.5

#: Text between the lines of a VM and the lines of the VM that replaced it, if its lines differ.
REPEATED = "\n[lk_jupyter: another machine continues from the last checkpoint, and repeats lines]\n"

#: Bytes of a log in which the start of a line is searched.
_LINE_BYTES = 1 << 16


class VmConnection(Connection):
    """A connection whose client answers requests for ``vm_run`` from the VM."""

    def __init__(self, connection: Connection, vm_run: VmRun) -> None:
        super().__init__(connection.target)
        self.vm_run = vm_run
        self._connection = connection
        self._vm_client = cast("Client", VmClient(connection.client, vm_run))

    @property
    def client(self) -> Client:
        """The client for the run."""
        return self._vm_client

    @property
    def storage(self) -> Storage:
        """The bucket, where the results of the run are stored at its end."""
        return self._connection.storage

    def close(self) -> None:
        """Leave the connection of the session open."""


class VmClient:
    """A client that answers requests for a run on a VM; all other requests are the cloud's."""

    def __init__(self, client: Client, vm_run: VmRun) -> None:
        self._client = client
        self.vm_run = vm_run
        self.execution = _Execution(vm_run)
        self.workloads = _Workloads(client, vm_run)
        self.logs = _Logs(vm_run)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _Execution:
    """The record of a run on a VM."""

    def __init__(self, vm_run: VmRun) -> None:
        self._vm_run = vm_run

    def get(self, _execution_id: str) -> ExecutionRecord:
        """Return the record; at the end of the code, store the results and delete the VM first."""
        state = self._vm_run.state()
        if state.get("is_final"):
            self._vm_run.end(state)
        return build_record(self._vm_run, self._vm_run.state())

    status = abort_streaming = abort_image = get

    def __getattr__(self, name: str) -> Any:
        return partial(_refuse_operation, name)


class _Workloads:
    """The stop of a run on a VM."""

    def __init__(self, client: Client, vm_run: VmRun) -> None:
        self._client = client
        self._vm_run = vm_run

    def abort(self, _execution_id: str) -> None:
        """Interrupt the code, end the code, and delete the VM."""
        self._vm_run.abort(ABORT_GRACE)

    stop = abort

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client.workloads, name)


class _Logs:
    """The stored lines of a run on a VM."""

    def __init__(self, vm_run: VmRun) -> None:
        self._vm_run = vm_run

    def execution(self, execution_id: str, limit: int = 1000, hours: int = 24) -> LogEntries:  # noqa: ARG002
        """Return the last lines of the log, with times while the run is active."""
        lines = self._vm_run.log().splitlines(keepends=True)
        sizes = list(accumulate(len(line.encode()) for line in lines))
        times = list(self._iterate_times(sizes))
        entries = [
            LogEntry(message=line.rstrip("\r\n"), execution_id=execution_id, timestamp=written_at)
            for line, written_at in zip(lines, times, strict=True)
        ]
        return LogEntries(logs=entries[-limit:], total=len(lines))

    def _iterate_times(self, sizes: list[int]) -> Iterator[datetime | None]:
        """Yield the moment at which the log had each size; None if unknown."""
        facts = self._vm_run.facts
        samples = self._vm_run.log_times() if facts.is_started and not facts.state.get("is_final") else []
        moments, log_sizes = [seconds for seconds, _ in samples], [size for _, size in samples]
        for size in sizes:
            place = bisect_left(log_sizes, size)
            yield moment(moments[place]) if place < len(moments) else None


def _refuse_operation(operation: str, *_: object, **__: object) -> Any:
    raise OperationNotAvailable(f"{operation} of a run on a VM", "a VM")


def build_record(vm_run: VmRun, state: dict[str, Any]) -> ExecutionRecord:
    """Return the record of a run on a VM with this state."""
    facts = vm_run.facts
    text = vm_run.log() if state.get("is_final") else None
    metadata = facts.request.get("metadata")
    return ExecutionRecord(
        execution_id=vm_run.execution_id,
        created_at=moment(facts.created_at),
        status=state["status"],
        status_details=state.get("details"),
        execution_type="vm",
        hardware_profile=facts.other_machine or facts.machine,
        file_name=facts.request.get("file_name"),
        run_name=facts.request.get("run_name"),
        labels=facts.request.get("labels"),
        metadata=metadata,
        start_time=moment(state.get("started")),
        end_time=moment(state.get("ended")),
        return_code=state.get("return_code"),
        stdout=text,
        stderr=_find_error_output(text or "", metadata),
        install_log=state.get("install_log"),
        install_return_code=state.get("install_return_code"),
        billed=facts.billed,
    )


def _find_error_output(text: str, metadata: Any) -> str | None:
    """Return the log if it has a traceback: a VM writes both streams into one log."""
    plain_text, frames = split(text, read_nonce(metadata))
    moved = format_items(frame for frame in frames if frame.kind == STDERR)
    return text if TRACEBACK in plain_text or TRACEBACK in moved else None


class OffsetFollower(Follower):
    """Follow a run on a VM, whose log can be read from any byte: no line is lost or repeated."""

    @property
    def vm_run(self) -> VmRun:
        """The run on its VM."""
        return cast("VmClient", self.client).vm_run

    def _follow_stream(self) -> Iterator[StreamEvent]:
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        answered_at = time.monotonic()
        while not self.stop.is_set():
            try:
                for data in self._read_log():
                    answered_at, self._fruitless = time.monotonic(), 0
                    self.log.append(data)
                    yield Output((REPEATED if self.repeats else "") + decode(data))
                    self.repeats = False
            except BROKEN:  # the VM may have ended: the state shows that
                self._fruitless += 1
            try:
                if is_final(self._ending.state()):
                    break
                answered_at = time.monotonic()
            except BROKEN as error:
                self._check_patience(error, answered_at)
            self.stop.wait(_LOOK)
        if record := self._read_record():
            stored = self.vm_run.log().encode()
            self._ending.lacks_output = self.vm_run.lacks_output or len(stored) < self.log.size
            if rest := stored[self.log.size :]:  # saved by the VM after the last connection
                self.log.append(rest)
                yield Output(decode(rest))
            if self.lacks_output:
                self.on_gap()
            else:
                self.on_complete(self.log.size)
            yield finish_event(record)

    _joined_id = ""  # the id of the VM whose log continues this log
    repeats = False  # the next lines replace lines of another VM

    def _read_log(self) -> Iterator[bytes]:
        facts = self.vm_run.facts
        is_joined = facts.log_start is None or self._joined_id == facts.active_id
        start = self.log.size if is_joined else min(facts.log_start or 0, self.log.size)
        stream = self.vm_run.open_log(start)
        if stream is None:
            return
        self._stream = cast("Any", stream)
        try:
            yield from stream if is_joined else self._join_other_log(stream, start, facts.active_id)
        finally:
            self.drop()

    def _join_other_log(self, pieces: Iterable[bytes], start: int, vm_id: str) -> Iterator[bytes]:
        """Yield the part of another VM's log that this log lacks: the VM prints the lines since its checkpoint again.

        If a line differs, the log continues with the line of the other VM.
        """
        for data in pieces:
            stored = self.log.read(start, len(data)) if start < self.log.size else b""
            same = measure_common_prefix(stored, data)
            if same < len(stored) and same < len(data):
                line = max(0, start + same - _LINE_BYTES)
                before = self.log.read(line, start + same - line)
                line_start = before[before.rfind(b"\n") + 1 :]
                self.log.cut(start + same - len(line_start))
                self.repeats = True
                data = line_start + data[same:]  # noqa: PLW2901 (the rest of the piece)
                start, same = self.log.size, 0
            start += len(data)
            if start > self.log.size:
                self._joined_id = vm_id
                yield data[same:]
