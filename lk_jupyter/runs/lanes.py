"""Several runs at once: started a bounded number at a time, followed to their ends, none left behind."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from decimal import Decimal
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES
from lk_jupyter.config import setting
from lk_jupyter.errors import RunError, RunFailed
from lk_jupyter.options import RunOptions
from lk_jupyter.runs.budget import keep_budgets_for_all
from lk_jupyter.runs.bundle import Source
from lk_jupyter.runs.cost import cost_of, credits_label
from lk_jupyter.runs.decision import Outcome, table_of
from lk_jupyter.runs.fan import Lane, prepare_lanes
from lk_jupyter.runs.guard import permitted
from lk_jupyter.runs.lane import LOST, NOT_STARTED, REFUSED, STARTED, SUBMITTING, LaneRun
from lk_jupyter.runs.resume import same_runs
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.score import Score
from lk_jupyter.runs.session import Session

#: Seconds between two looks at the states.
WATCH_SECONDS = 1.0


class FanOut:
    """Lanes that run at once, ``parallel`` at most. With ``first`` the first that completes ends the others.

    ``max_cost`` is what all together may cost, in credits. ``done`` is set when every lane has ended.
    """

    def __init__(self, session: Session, lanes: Sequence[Lane], options: RunOptions) -> None:
        self.lanes = [LaneRun(session, lane, options) for lane in lanes]
        self.scores = list(map(Score.of, options.score))
        self.parallel = min(options.parallel or setting("parallel"), len(lanes))
        self.max_cost = options.max_cost
        self.winner: LaneRun | None = None
        self.done = threading.Event()
        self._session = session
        self._first = options.first
        self._waiting = deque(self.lanes)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._because: str | None = None
        self._begun = False

    @classmethod
    def of(cls, session: Session, code: str, options: RunOptions, namespace: Mapping[str, Any] | None = None) -> FanOut:
        """Put together what code would run as, not started yet. Raises UsageError or SyntaxError."""
        return cls(session, prepare_lanes(session, Source(code, namespace=namespace or {}), options), options)

    def __repr__(self) -> str:
        return f"<FanOut of {len(self.lanes)} runs, {sum(lane.ended for lane in self.lanes)} ended>"

    def check(self) -> None:
        """Raise UsageError for secrets that nobody has allowed, and when all might go beyond a budget."""
        packages = permitted(lane.lane.package for lane in self.lanes if lane.run is None)
        keep_budgets_for_all(self._session, packages, self.max_cost)

    def start(self) -> FanOut:
        """Begin, in threads of its own; once."""
        if self._begun:
            return self
        self._begun = True
        for number in range(self.parallel):  # each in the context of the cell, by which the journal knows it
            work = copy_context().run
            threading.Thread(target=work, args=(self._work,), name=f"lk-lane-{number}", daemon=True).start()
        threading.Thread(target=self._watch, name="lk-lanes", daemon=True).start()
        return self

    def attach(self) -> None:
        """Let lanes be the runs that this cell has started before, as far as there are any; before ``start``."""
        found = same_runs(self._session, [lane.lane for lane in self.lanes])
        for lane in self.lanes:
            lane.run = found.get(lane.lane.number)

    @property
    def attached(self) -> int:
        """How many lanes are runs that were started before."""
        return sum(lane.run is not None and lane.run.bundle is None for lane in self.lanes)

    def seen(self) -> None:
        """Take note that the ends of all were looked at."""
        for run in (lane.run for lane in self.lanes if lane.run and lane.record):
            run.seen()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every lane has ended, and tell whether they have."""
        return self.done.wait(timeout)

    def table(self) -> Any:
        """Return the lanes that have ended as a pandas DataFrame; as a list of rows where pandas is missing."""
        return table_of(self.outcomes(), self.scores)

    def variables(self) -> dict[str, Any]:
        """Return what the lanes sent back: name → lane → value; of the winner alone, where one was kept, the value."""
        if self.winner:
            return dict(self.winner.variables)
        names = dict.fromkeys(name for lane in self.lanes for name in lane.variables)
        return {
            name: {lane.lane.number: lane.variables[name] for lane in self.lanes if name in lane.variables}
            for name in names
        }

    def outcomes(self) -> list[Outcome]:
        """Return how the lanes that have ended did so, in their order."""
        return [lane.outcome for lane in self.lanes if lane.outcome]

    @property
    def cost(self) -> Decimal:
        """What all lanes cost so far, as far as is known."""
        return sum((lane.cost or Decimal(0) for lane in self.lanes if lane.run), Decimal(0))

    def abort(self, because: str | None = None) -> None:
        """Abort what goes on and start nothing more; the lanes end one after the other."""
        self._because = because
        self._stopping.set()
        self._leave_out_the_waiting()
        for lane in self.lanes:
            if not lane.record:
                lane.abort(because)

    def raise_failure(self, *, strict: bool = False) -> None:
        """Raise what tells that no lane completed, or with ``strict`` that one failed."""
        failed = [(lane, error) for lane in self.lanes if (error := lane.failure())]
        if self.winner or not failed or (not strict and any(o.completed for o in self.outcomes())):
            return
        if not any(isinstance(error, RunError) for _, error in failed):
            raise failed[0][1]
        lane, error = next((lane, error) for lane, error in failed if isinstance(error, RunError))
        of = f"of the {len(self.lanes)} runs"
        several = f"none {of} completed" if len(failed) == len(self.lanes) else f"{len(failed)} {of} did not complete"
        raise RunFailed(
            f"{several}. The first of them, lane {lane.lane.number}: {error}",
            execution_id=error.execution_id,
            return_code=getattr(error, "return_code", None),
            traceback=getattr(error, "traceback", ""),
            shown=getattr(error, "shown", ""),
        )

    def _work(self) -> None:
        while lane := self._next():
            self._go(lane)

    def _next(self) -> LaneRun | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _leave_out_the_waiting(self) -> None:
        while lane := self._next():
            lane.conclude(NOT_STARTED, ())
        self._see_whether_all_have_ended()

    def _see_whether_all_have_ended(self) -> None:
        if all(lane.ended for lane in self.lanes):
            self.done.set()

    def _go(self, lane: LaneRun) -> None:
        lane.state = NOT_STARTED if self._stopping.is_set() else SUBMITTING
        if lane.state == SUBMITTING:
            self._run(lane)
        self._conclude(lane)

    def _run(self, lane: LaneRun) -> None:
        try:
            lane.run = run = lane.run or Run.submit(self._session, lane.lane.package, group=lane.lane.group)
            lane.state = STARTED
            if self._stopping.is_set():  # asked for while the start was on its way
                lane.abort(self._because)
            lane.follow(run)
        except Exception as error:  # noqa: BLE001 (it is shown in its lane, and the others go on)
            lane.error = error
            lane.state = LOST if lane.run else REFUSED

    def _conclude(self, lane: LaneRun) -> None:
        with self._lock:
            wins = self._first and self.winner is None and lane.state in SUCCEEDED_STATES
            self.winner = lane if wins else self.winner
        if wins:
            self.abort(f"lane {lane.lane.number} completed first")
        lane.conclude(lane.state, self.scores, wanted=self.winner in {None, lane})
        self._see_whether_all_have_ended()

    def _watch(self) -> None:
        """Once a second, as long as a lane goes on, learn the states of all by one call, and look at what they cost."""
        while not self.done.wait(WATCH_SECONDS):
            going_on = [lane for lane in self.lanes if lane.run and not lane.record and not lane.error]
            if going_on:
                with suppress(Exception):  # it is looked at again
                    self._see(going_on)
            for lane in going_on:
                lane.tick()
            self._look_at_the_cost(going_on)

    def _look_at_the_cost(self, lanes: list[LaneRun]) -> None:
        """Stop all when the next look would come too late."""
        soon = sum((cost_of(lane.lane.package.machine, WATCH_SECONDS) or Decimal(0) for lane in lanes), self.cost)
        if self.max_cost is None or soon < self.max_cost or self._stopping.is_set():
            return
        self.abort(f"the maximum cost of all, {credits_label(self.max_cost)}, was reached")

    def _see(self, lanes: list[LaneRun]) -> None:
        states = {run.execution_id: run.status.lower() for run in self._session.client.workloads.list()}
        for lane in lanes:
            execution_id = lane.run.execution_id if lane.run else ""
            if execution_id in states:
                lane.see(states[execution_id])
            else:
                lane.look()
