"""One run of several as it goes: what is known of it now, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from threading import Thread
from typing import Any

from lk_jupyter.api._events import Output
from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import OutcomeUnknown, RunError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.frames import BAR, NO_NONCE, Frame, Splitter, words_of
from lk_jupyter.protocol.offloaded import STORED
from lk_jupyter.runs.abort import Abort
from lk_jupyter.runs.clock import Bill, Stopwatch, calculate_bill
from lk_jupyter.runs.fanout.comparison import MemberResult
from lk_jupyter.runs.fanout.plan import RunPlan
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.follow import Follower
from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.metrics.summary import figures, keep_figures, measure_gpu
from lk_jupyter.runs.observers.default import default_observers
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import TerminalText

#: Seconds of silence after which a run that is not listed any more is looked at.
SILENCE = 20.0

#: States of a lane beside those of a run.
WAITING, SUBMITTING, STARTED = "queued locally", "submitting", "started"
REFUSED, LOST, NOT_STARTED = "refused", "lost", "not started"

#: Characters of the newest output that are kept to show its last line, and of a log that are read at once;
#: seconds between writes of a log.
_TAIL = 4096
_PIECE = 1 << 16
_FLUSH_SECONDS = 1.0


class FanOutMember:
    """One run of a fan-out: ``state`` in words, ``run`` once it is started, ``record`` at its end, ``error`` if none.

    ``remarks`` come from its companions, ``variables`` from the run.
    """

    def __init__(self, session: Connection, lane: RunPlan, options: RunOptions) -> None:
        self.lane = lane
        self.variables: dict[str, Any] = {}
        self.state = WAITING
        self.run: Run | None = None
        self.sending: Submission | None = None
        self.aborting: Abort | None = None
        self.record: ExecutionRecord | None = None
        self.error: Exception | None = None
        self._stopwatch = Stopwatch()
        self.heard = time.monotonic()
        self.outcome: MemberResult | None = None
        self.remarks: list[str] = []
        self._company = default_observers(session, options, lane.package, namespace=self.variables, in_place=False)
        self._unheard = ""  # text that the companions have not seen yet
        self._follower: Follower | None = None
        self.bar: dict[str, Any] | None = None  # the outermost progress bar that goes on, as it was last told
        self._tail = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.outcome is not None

    @property
    def may_be_active(self) -> bool:
        """Whether a run of it may be active: its end isn't known, also if nothing more happens to this member."""
        if self.record or (self.aborting and self.aborting.ended.is_set()):
            return False
        if self.run or not self.ended:
            return self.state != WAITING
        return isinstance(self.error, OutcomeUnknown)

    @property
    def bill(self) -> Bill:
        """What it has taken and costs so far, or did."""
        price = self.lane.package.machine.price_per_hour
        return calculate_bill(self.record, price) if self.record else self._stopwatch.bill(price)

    @property
    def seconds(self) -> float | None:
        """How long its code ran, or has run so far; None before."""
        return self.bill.seconds

    @property
    def lost(self) -> bool:
        """Whether there is no connection to it just now."""
        return self._follower is not None and self._follower.lost

    @property
    def newest(self) -> str:
        """The newest line of its output, as a terminal shows it."""
        text = TerminalText()
        text.feed(self._tail)
        lines, live = text.take()
        return LineRedactor().live(next((line for line in [live, *reversed(lines)] if line.strip()), ""))

    def follow(self, run: Run) -> None:
        """Follow the run to its end, with its log in its file."""
        self._company.started(run)
        self._stopwatch.submitted_at = run.submitted_at
        if run.bundle is None:  # it was started before
            self._stopwatch.look(run)
        with closing(RunLog(run.log_path)) as log:
            self._follower = run.follower(log)
            splitter = Splitter(run.messages.nonce or NO_NONCE, key=run.messages.key)
            flushed = 0.0
            for event in self._follower.events():
                if isinstance(event, Output):
                    items = splitter.feed(event.content)
                    self.bar = _outer_bar(items, self.bar)
                    for frame in (item for item in items if isinstance(item, Frame)):
                        self._company.saw(frame)
                    self._take(_words(items))
                    if self.heard - flushed > _FLUSH_SECONDS:
                        log.flush()
                        flushed = self.heard
        self.record = run.wait_aside()
        self.state = self.record.status.lower()

    def _take(self, text: str) -> None:
        self._tail = (self._tail + text)[-_TAIL:]
        self._unheard += text
        self.heard = time.monotonic()
        self.see("running")

    def see(self, state: str) -> None:
        """Apply a state that the cloud reports, unless it is the end: the end needs its record."""
        if is_final(state) or self.record:
            return
        if state == "running":
            self._stopwatch.start()
        self.state = state
        if self.run:
            self.run.learn(state)

    def tick(self) -> None:
        """Let the companions look at the run, and keep what they have to say."""
        if self.run and not self.record:
            if self._stopwatch.due:  # of many lanes none waits for the others
                Thread(target=self._stopwatch.look, args=(self.run,), name="lk-start", daemon=True).start()
            text, self._unheard = self._unheard, ""
            self._company.tick(self.run, self.seconds, text)
            self.remarks = list(map(str, self._company.notices))

    def look(self) -> None:
        """See to it that the state is asked for: the stream is silent, and the run is not listed."""
        if self._follower and time.monotonic() - self.heard > SILENCE:
            self.heard = time.monotonic()
            self._follower.drop()

    @property
    def note(self) -> str:
        """What the scheduler remarks on the run."""
        return (self.run and self.run.note) or ""

    @property
    def reason(self) -> str:
        """Why it did not go well, in one line; nothing if it did, or may yet."""
        told = str(self.failure() or "").partition("\n")[0]
        return told.removeprefix(f"run {self.run.short_id} ") if self.run else told

    def failure(self) -> Exception | None:
        """Return why it did not go well, if so."""
        if self.error or self.run is None or self.record is None:
            return self.error
        try:
            self.run.result_from(self.record)
        except RunError as error:
            return error
        return None

    def abort(self, because: str | None = None) -> None:
        """Abort the run as soon as the server is in reach. Don't wait for the end."""
        if self.run:
            self.run.stopped_because = because  # before its end can come
        if self.sending:
            self.sending.abort_soon()
        if self.run:
            self.aborting = self.run.abort_soon()

    def conclude(self, state: str, scores: Sequence[Score], *, wanted: bool = True) -> None:
        """Close the run: it changes no more. If the run isn't ``wanted`` any more, nothing counts as missing."""
        self.state = state
        told: dict[str, Any] = {"number": self.lane.number, "machine": self.lane.machine, "values": self.lane.values}
        told |= {"state": state, "reason": self.reason}
        if self.run:
            told |= {"execution_id": self.run.execution_id, "log": str(self.run.log_path)}
        with suppress(Exception):  # what cannot be found out is no failure of the run
            told |= self._figures(scores, wanted=wanted)
        self.outcome = MemberResult(**told)
        if self.record:
            keep_figures(self.outcome.execution_id, {**figures(self.outcome.gpu), **self.outcome.scores})

    def _figures(self, scores: Sequence[Score], *, wanted: bool) -> dict[str, Any]:
        if self.run is None or self.record is None:
            return {}
        self._company.tick(self.run, None, self._unheard)
        remarks = self._company.ended(self.run, self.record)
        self.remarks = list(map(str, remarks)) if wanted else []
        return {
            "seconds": self.seconds,
            "cost": self.bill.cost,
            "cost_is": self.bill.cost_is,
            "remarks": tuple(self.remarks),
            "gpu": measure_gpu(self.run, self.seconds),
            "scores": {score.name: score.last(self.lines()) for score in scores},
        }

    def shown_lines(self) -> list[str]:
        """Return the lines of its log as a notebook shows them."""
        text = TerminalText()
        for line in self.lines():
            text.feed(line + "\n")
        return LineRedactor().lines([*text.take()[0], *text.end()])

    def lines(self) -> Iterator[str]:
        """Iterate over the lines of its log so far, what it showed besides text in the place of that."""
        line = ""
        for items in self._items():
            *lines, line = (line + _words(items)).split("\n")
            yield from lines
        if line:
            yield line

    def frames(self) -> Iterator[Frame]:
        """Iterate over what it said besides text, each with all that it carries."""
        for items in self._items():
            frames = [item for item in items if isinstance(item, Frame)]
            yield from (self.run.messages.complete(frame) for frame in frames if self.run)

    def _items(self) -> Iterator[list[str | Frame]]:
        if self.run is None or not self.run.log_path.exists():
            return
        splitter = Splitter(self.run.messages.nonce or NO_NONCE, key=self.run.messages.key)
        with self.run.log_path.open(encoding="utf-8", errors="replace", newline="") as log:
            while piece := log.read(_PIECE):
                yield splitter.feed(piece)
        yield splitter.end()


def _outer_bar(items: Iterable[str | Frame], bar: dict[str, Any] | None) -> dict[str, Any] | None:
    for item in items:
        if not isinstance(item, Frame) or item.kind != BAR:
            continue
        number, state = item.payload.get("bar"), item.payload.get("state")
        if isinstance(number, int) and (bar is None or number <= bar["bar"]):
            bar = item.payload if state == "going" else None
    return bar


def _words(items: Iterable[str | Frame]) -> str:
    """Return what came as those see it who show only text; of a display its text."""
    return "".join(item if isinstance(item, str) else words_of(item) or _plain(item) for item in items)


def _plain(frame: Frame) -> str:
    data = frame.payload.get("data")
    shown = data.get("text/plain") if frame.kind == "display" and isinstance(data, dict) else None
    text = frame.payload.get("plain") if frame.kind == STORED else shown
    return f"{text}\n" if text else ""
