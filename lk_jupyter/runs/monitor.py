"""Read the events of a run in a thread, so that the cell can show them at its pace.

A stream has the output of a run, but not the wait for a machine. A silent stream doesn't show the end of the run
either. So a further thread reads the states of all runs that are followed.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.api._events import Finished
from lk_jupyter.api.execution import is_final
from lk_jupyter.errors import ConnectionFailed, LkError, ServerError
from lk_jupyter.protocol.frames import Frame, format_items
from lk_jupyter.runs.clock import Stopwatch, now
from lk_jupyter.runs.interrupts import SafeEvent
from lk_jupyter.runs.reader import RunReader
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds of silence after which the state of the run is read, in case the stream is broken.
_SILENCE = 20.0

#: Seconds without an answer to a request after which the server counts as silent.
_PATIENCE = 5.0

#: Seconds between two looks at the states.
_PACE = 0.5

#: From this number of runs on, a list of all runs replaces the requests for single states.
_MANY = 3


class RunMonitor:
    """Read a run to its end. ``wake`` is set for new output, ``done`` at the end.

    ``state`` is the last known state of the run, ``stopwatch`` counts its billed time, ``finished`` is the end of the
    run, ``error`` an error that stopped the reading, ``lost`` whether the connection is broken.
    """

    def __init__(self, run: Run) -> None:
        self.state = "pending"
        submitted_at = run.submitted_at
        self.stopwatch = Stopwatch(submitted_at)
        self.error: Exception | None = None
        self.wake = SafeEvent()
        self.done = SafeEvent()
        self.run = run
        self._since = now() if submitted_at is None else submitted_at
        self._chunks: deque[str] = deque()
        self._last_activity = self._answer_time = time.monotonic()
        self._request_time: float | None = None  # of the first request since then that has no answer
        self._reader = RunReader(run)
        self._splitter = self._reader.splitter

    def start(self) -> RunMonitor:
        """Start to read."""
        threading.Thread(target=self._read_stream, name=f"lk-read-{self.run.short_id}", daemon=True).start()
        _POLLER.add(self)
        return self

    @property
    def finished(self) -> Finished | None:
        """The event that ended the run."""
        return self._reader.finished

    @property
    def lost(self) -> bool:
        """Whether the connection is lost and made again."""
        return self._reader.follower.lost

    @property
    def silent_seconds(self) -> float | None:
        """Return the seconds since the last answer of the server; None if the server answers.

        What a run costs in this time is unknown: the run may have ended.
        """
        moment, request_time = time.monotonic(), self._request_time
        is_silent = request_time is not None and moment - request_time > _PATIENCE and not self.done.is_set()
        return moment - self._answer_time if is_silent else None

    @property
    def waiting(self) -> float:
        """Seconds since the run was sent."""
        return now() - self._since

    @property
    def damaged(self) -> int:
        """How many of the run's frames came broken."""
        return self._splitter.damaged if self._splitter else 0

    def items(self, *, complete: bool = True) -> list[str | Frame]:
        """Return the items since the last call, text and frames in order; download large outputs if ``complete``."""
        ended = self.done.is_set()  # checked first: then all earlier text is in the queue
        text = "".join(self._chunks.popleft() for _ in range(len(self._chunks)))
        items = self._reader.split(text, is_last=ended)
        if self._splitter and self._splitter.restored:
            self.run.session.assumptions.store_finding("frames", "plain")
        return [self._complete_frame(item) if isinstance(item, Frame) and complete else item for item in items]

    def batches(self, *, complete: bool = True) -> Iterator[list[str | Frame]]:
        """Yield the items of each wake until the run ends. Raises the error that stopped the reading."""
        has_ended = False
        while not has_ended:
            self.wake.wait()
            self.wake.clear()
            has_ended = self.done.is_set()
            yield self.items(complete=complete)
        if self.error:
            raise self.error

    def _complete_frame(self, frame: Frame) -> Frame:
        """Return the complete frame, and keep the part that the server shows."""
        if frame.kind == "place":
            assumed, folder = self.run.session.assumptions, frame.payload.get("bucket")
            if folder in assumed.candidates("bucket_folder_python"):
                assumed.store_finding("bucket_folder_python", folder, is_confirmed=True)
        return self.run.messages.complete(frame)

    def take(self) -> str:
        """Return the text since the last call, for callers without use for frames."""
        return format_items(self.items())

    def close(self) -> None:
        """Stop reading. The run stays active."""
        self._reader.close()

    def _read_stream(self) -> None:
        try:
            self._pass_on()
        except Exception as error:  # noqa: BLE001 (it is raised again in the cell)
            self.error = error
        finally:
            self.done.set()
            self.wake.set()

    def _pass_on(self) -> None:
        for chunk in self._reader.chunks():
            self._chunks.append(chunk)
            if not self._reader.follower.recalls:
                self.record_answer()
            if not self.wake.is_set():
                self._last_activity = time.monotonic()
                self._reader.log.flush()
                self.wake.set()
                if not self._reader.follower.recalls:
                    self._set_state("running")

    @property
    def due(self) -> bool:
        """Whether to read the state: often until the run runs, then only when the stream is silent."""
        if self.stopwatch.due:  # the first output may have been delayed
            self.expect_answer()
            if self.stopwatch.look(self.run):
                self.record_answer()
        return self.state != "running" or self._is_silent()

    def expect_answer(self) -> None:
        """Record that a request is sent, which the server must answer."""
        self._request_time = self._request_time or time.monotonic()

    def record_answer(self) -> None:
        """Record that the server answers."""
        self._answer_time, self._request_time = time.monotonic(), None

    def apply_state(self, state: str) -> None:
        """Take in the state."""
        self.record_answer()
        self._set_state(state)
        if self._is_silent():
            if is_final(state):
                self._reader.follower.drop()
            self._last_activity = time.monotonic()

    def _is_silent(self) -> bool:
        return time.monotonic() - self._last_activity > (_PATIENCE if self.lost else _SILENCE)

    def _set_state(self, state: str) -> None:
        if state == "running":
            self.stopwatch.start()
        if state != self.state:
            self.state = state
            self.wake.set()
            self.run.learn(state)


class StatusPoller:
    """Report the states of runs to their monitors. The thread ends with the last monitor."""

    def __init__(self) -> None:
        self._monitors: list[RunMonitor] = []
        self._lock = threading.Lock()
        self._works = False

    def add(self, monitor: RunMonitor) -> None:
        """Report states to this monitor until the monitor is done."""
        with self._lock:
            self._monitors.append(monitor)
            if not self._works:
                threading.Thread(target=self._poll_states, name="lk-watch", daemon=True).start()
                self._works = True

    def _poll_states(self) -> None:
        time.sleep(_PACE)  # the answer to the start was the first look
        while monitors := self._drop_ended_monitors():
            by_session: dict[Connection, list[RunMonitor]] = defaultdict(list)
            for monitor in monitors:
                if monitor.due:
                    by_session[monitor.run.session].append(monitor)
            for session, due in by_session.items():
                with suppress(LkError):
                    _update_states(session, due)
            time.sleep(_PACE)

    def _drop_ended_monitors(self) -> list[RunMonitor]:
        with self._lock:
            self._monitors = [monitor for monitor in self._monitors if not monitor.done.is_set()]
            self._works = bool(self._monitors)
            return list(self._monitors)


def _update_states(session: Connection, monitors: list[RunMonitor]) -> None:
    for monitor in monitors:
        monitor.expect_answer()
    many = len(monitors) >= _MANY
    listed = {run.execution_id: run.status for run in session.client.workloads.list()} if many else {}
    for monitor in monitors:
        try:
            monitor.apply_state((listed.get(monitor.run.execution_id) or monitor.run.status).lower())
        except (ConnectionFailed, ServerError):
            continue
        except LkError:  # a refusal is an answer too
            monitor.record_answer()


#: The poller of this kernel.
_POLLER = StatusPoller()
