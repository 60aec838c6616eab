"""Follow a run of a fan-out: its current state, and its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import OutcomeUnknown, RunError
from lk_jupyter.machines.catalogue import hourly_price
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.bucket import GRACE
from lk_jupyter.protocol.frames import BAR, NO_NONCE, Frame, Splitter, format_frame
from lk_jupyter.protocol.offloaded import STORED
from lk_jupyter.runs.abort import Abort
from lk_jupyter.runs.clock import Bill, calculate_bill
from lk_jupyter.runs.fanout.comparison import MemberResult
from lk_jupyter.runs.fanout.plan import RunPlan
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.metrics.summary import figures, keep_figures, measure_gpu
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.default import default_observers
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.text.scalars import ScalarParser, choose_score
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import TerminalText

#: States of a member in addition to the states of a run.
WAITING, SUBMITTING, STARTED = "queued locally", "submitting", "started"
REFUSED, LOST, NOT_STARTED = "refused", "lost", "not started"

#: Characters of the newest output that are stored to show the last line, and of each read of a log.
_TAIL = 4096
_PIECE = 1 << 16


class FanOutMember:
    """A run of a fan-out.

    ``plan`` is the plan, ``state`` the state in words, ``run`` the started run, ``record`` the final record, ``error``
    an error without a record. ``notices`` are from observers, ``variables`` from the run.
    """

    def __init__(self, session: Connection, plan: RunPlan, options: RunOptions) -> None:
        self.plan = plan
        self.variables: dict[str, Any] = {}
        self.state = WAITING
        self.run: Run | None = None
        self.submission: Submission | None = None
        self.aborting: Abort | None = None
        self.record: ExecutionRecord | None = None
        self.error: Exception | None = None
        self.outcome: MemberResult | None = None
        self.notices: list[str] = []
        self._observers = default_observers(session, options, plan.bundle, namespace=self.variables, in_place=False)
        self._unobserved: deque[str] = deque()  # text that the observers haven't read yet
        self._monitor: RunMonitor | None = None
        self.bar: dict[str, Any] | None = None  # the latest state of the outermost active progress bar
        self._tail = ""

    @property
    def scalars(self) -> ScalarParser:
        """Return the numbers that the run has printed so far."""
        return self._observers.scalars

    @property
    def progress(self) -> float | None:
        """Return the share of the work that is done, from a progress bar or from steps in the log; None if unknown."""
        bar = self.bar or {}
        n, total = bar.get("n"), bar.get("total")
        if isinstance(n, (int, float)) and isinstance(total, (int, float)) and total > 0:
            return max(0.0, min(1.0, n / total))
        return self.scalars.rate.share

    @property
    def ended(self) -> bool:
        """Return whether the member is concluded."""
        return self.outcome is not None

    @property
    def may_be_active(self) -> bool:
        """Return whether a run may be active, since its end is unknown, even if the member is concluded."""
        if self.record or (self.aborting and self.aborting.ended.is_set()):
            return False
        if self.run or not self.ended:
            return self.state != WAITING
        return isinstance(self.error, OutcomeUnknown)

    @property
    def bill(self) -> Bill:
        """Return time and cost of the run so far, or of the ended run."""
        price = self.plan.bundle.machine.price_per_hour
        if self.record:
            price = hourly_price(self.run.machine) if self.run else price
            return calculate_bill(self.record, price, quote=self.plan.bundle.quote)
        return self._monitor.stopwatch.bill(price) if self._monitor else Bill()

    @property
    def seconds(self) -> float | None:
        """Return the seconds that the code has run; None before the start."""
        return self.bill.seconds

    @property
    def lost(self) -> bool:
        """Return whether the connection is lost at the moment."""
        return self._monitor is not None and self._monitor.lost

    @property
    def silent_seconds(self) -> float | None:
        """Return the seconds since the last answer of the server; None if the server answers."""
        return self._monitor.silent_seconds if self._monitor else None

    @property
    def newest(self) -> str:
        """Return the newest line of the output, as a terminal shows it."""
        text = TerminalText()
        text.feed(self._tail)
        lines, live = text.take()
        return LineRedactor().redact_unfinished(next((line for line in [live, *reversed(lines)] if line.strip()), ""))

    def follow(self, run: Run) -> None:
        """Follow the run to its end. Raises the error that stopped the monitor."""
        self._observers.started(run)
        self._monitor = monitor = RunMonitor(run).start()
        self.apply_state(monitor.state)
        if run.bundle is None:  # an earlier run
            monitor.stopwatch.look(run)
        for items in monitor.batches(complete=False):
            self._observe_items(items)
            self.apply_state(monitor.state)
        self.record = run.wait_aside()
        self.state = self.record.status.lower()

    def _observe_items(self, items: list[str | Frame]) -> None:
        self.bar = _find_outer_bar(items, self.bar)
        for frame in (item for item in items if isinstance(item, Frame)):
            self._observers.saw(frame)
        text = _format_items(items)
        self._tail = (self._tail + text)[-_TAIL:]
        self._unobserved.append(text)

    def apply_state(self, state: str) -> None:
        """Show a state that the cloud reports, except for a final state, which needs the record of the run."""
        if not (is_final(state) or self.record):
            self.state = state

    def tick(self) -> None:
        """Let the observers look at the run, and store their notices."""
        if self.run and not self.record:
            self._observers.tick(self.run, self.seconds, self._take_unobserved())
            self.notices = list(map(str, self._observers.notices))

    def _take_unobserved(self) -> str:
        return "".join(self._unobserved.popleft() for _ in range(len(self._unobserved)))

    @property
    def note(self) -> str:
        """Return the scheduler's note about the run."""
        return (self.run and self.run.note) or ""

    @property
    def reason(self) -> str:
        """Return the reason of a failure, in one line; empty without a failure."""
        failure = str(self.failure() or "").partition("\n")[0]
        return failure.removeprefix(f"run {self.run.short_id} ") if self.run else failure

    def failure(self) -> Exception | None:
        """Return the error of a failed run; None without a failure."""
        if self.error or self.run is None or self.record is None:
            return self.error
        try:
            self.run.result_from(self.record)
        except RunError as error:
            return error
        return None

    def abort(self, because: str | None = None) -> None:
        """Abort the run as soon as the server answers, without waiting for the end.

        Without a reason, the user stops the run, and the run may return its variables first.
        """
        if self.run:
            self.run.stopped_because = because  # before the end can arrive
        if self.run:
            self.aborting = self.run.abort_soon(0 if because else GRACE)
        elif self.submission:
            self.submission.abort_soon()

    def conclude(self, state: str, scores: Sequence[Score], *, is_relevant: bool = True) -> None:
        """Set the result. Without ``is_relevant``, as after the win of another run, there are no notices."""
        self.state = state
        facts: dict[str, Any] = {"number": self.plan.number, "machine": self.plan.machine, "values": self.plan.values}
        facts |= {"state": state, "reason": self.reason}
        if self.run:
            facts |= {"execution_id": self.run.execution_id, "log": str(self.run.log_path)}
        with suppress(Exception):  # missing figures aren't a failure of the run
            facts |= self._collect_figures(scores, is_relevant=is_relevant)
        result = MemberResult(**facts)
        if self.record:
            default = choose_score(self.scalars.measures) if not scores else None
            measures = {default: self.scalars.measures[default]} if default else {}
            keep_figures(result.execution_id, {**figures(result.gpu), **measures, **result.scores})
        self.outcome = result  # now the run counts as ended

    def _collect_figures(self, scores: Sequence[Score], *, is_relevant: bool) -> dict[str, Any]:
        if self.run is None or self.record is None:
            return {}
        self._observers.tick(self.run, None, self._take_unobserved())
        notices = self._observers.ended(self.run, self.record)
        self.notices = list(map(str, notices)) if is_relevant else []
        return {
            "seconds": self.seconds,
            "cost": self.bill.cost,
            "cost_is": self.bill.cost_is,
            "notices": tuple(self.notices),
            "gpu": measure_gpu(self.run, self.seconds),
            "scores": {score.name: score.last(self.lines()) for score in scores},
        }

    def display_lines(self) -> list[str]:
        """Return the lines of the log as a notebook shows them."""
        text = TerminalText()
        for line in self.lines():
            text.feed(line + "\n")
        return LineRedactor().lines([*text.take()[0], *text.end()])

    def lines(self) -> Iterator[str]:
        """Iterate over the lines of the log so far, with displays as plain text."""
        line = ""
        for items in self._iterate_items():
            *lines, line = (line + _format_items(items)).split("\n")
            yield from lines
        if line:
            yield line

    def frames(self) -> Iterator[Frame]:
        """Iterate over the complete frames of the log."""
        for items in self._iterate_items():
            frames = [item for item in items if isinstance(item, Frame)]
            yield from (self.run.messages.complete(frame) for frame in frames if self.run)

    def _iterate_items(self) -> Iterator[list[str | Frame]]:
        if self.run is None or not self.run.log_path.exists():
            return
        splitter = Splitter(self.run.messages.nonce or NO_NONCE, key=self.run.messages.key)
        with self.run.log_path.open(encoding="utf-8", errors="replace", newline="") as log:
            while piece := log.read(_PIECE):
                yield splitter.feed(piece)
        yield splitter.end()


def _find_outer_bar(items: Iterable[str | Frame], bar: dict[str, Any] | None) -> dict[str, Any] | None:
    for item in items:
        if not isinstance(item, Frame) or item.kind != BAR:
            continue
        number, state = item.payload.get("bar"), item.payload.get("state")
        if isinstance(number, int) and (bar is None or number <= bar["bar"]):
            bar = item.payload if state == "going" else None
    return bar


def _format_items(items: Iterable[str | Frame]) -> str:
    """Return the items as plain text."""
    return "".join(
        item if isinstance(item, str) else format_frame(item) or _format_output_frame(item) for item in items
    )


def _format_output_frame(frame: Frame) -> str:
    data = frame.payload.get("data")
    displayed = data.get("text/plain") if frame.kind == "display" and isinstance(data, dict) else None
    text = frame.payload.get("plain") if frame.kind == STORED else displayed
    return f"{text}\n" if text else ""
