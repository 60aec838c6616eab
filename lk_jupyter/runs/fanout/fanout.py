"""Several runs at once: started a bounded number at a time, followed to their ends, none left behind, found again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from decimal import Decimal
from functools import partial
from typing import Any

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api.execution import SUCCEEDED_STATES
from lk_jupyter.code.source import Source
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import NotFound, RunError, RunFailed
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.machines.catalogue import cost_of
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.abort import let_go_at
from lk_jupyter.runs.clock import Bill, next_second
from lk_jupyter.runs.fanout.comparison import MemberResult, table_of
from lk_jupyter.runs.fanout.member import LOST, NOT_STARTED, REFUSED, STARTED, SUBMITTING, FanOutMember
from lk_jupyter.runs.fanout.plan import MOST_LANES, RunPlan, prepare_lanes
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.interrupts import AtInterrupt, SafeEvent, in_background, true_interrupts
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.reattach import is_same, open_run
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.budget import enforce_budgets_for_all
from lk_jupyter.runs.submit.submission import Submission, SubmissionCancelled, code_hash
from lk_jupyter.text.units import credits_label

#: Seconds between two looks at the states.
WATCH_SECONDS = 1.0

#: Seconds between two looks at lanes that are being aborted.
_TICK = 0.1


class FanOut:
    r"""Several runs of one code, as ``Session.fan_out`` returns it; ``parallel`` of them are active at once.

    ``done`` is an event that is set when every run has ended. ``winner`` is the first completed run with
    ``stop_on_first=True``. ``max_cost`` is what all runs may cost together, in credits.

    Example:
        >>> fan = session.fan_out("y = x * x\nprint('loss =', x)", sweep=["x=1,2"], outputs=["y"], metric=["loss"])
        >>> fan.wait(timeout=60)
        True
        >>> fan.left
        ''
        >>> fan.variables()
        {'y': {1: 1, 2: 4}}
        >>> fan.table()["state"].to_list()
        ['completed', 'completed']
        >>> [(result.number, result.completed) for result in fan.outcomes()]
        [(1, True), (2, True)]
        >>> fan.cost <= fan.worst_case
        True
        >>> fan.raise_failure(strict=True)
        >>> fan.cause
        ''
        >>> fan.abort()
    """

    def __init__(self, session: Connection, lanes: Sequence[RunPlan], options: RunOptions) -> None:
        self.lanes = [FanOutMember(session, lane, options) for lane in lanes]
        self.scores = list(map(Score.of, options.metric))
        self.parallel = min(options.parallel or setting("parallel"), len(lanes))
        self.max_cost = options.max_cost
        self.winner: FanOutMember | None = None
        self.done = SafeEvent()
        self.remarks: list[Notice] = []  # what is to be known before the start
        self._session = session
        self._first = options.stop_on_first
        self._strict = options.require_all
        self._detaches = (options.on_interrupt or setting("on_interrupt")) == "detach"
        self._waiting = deque(self.lanes)
        self._lock = threading.Lock()
        self._stopping = SafeEvent()
        self._because: str | None = None
        self._begun = False

    @classmethod
    def of(
        cls, session: Connection, code: str, options: RunOptions, namespace: Mapping[str, Any] | None = None
    ) -> FanOut:
        """Put together what code would run as, not started yet. Raises UsageError or SyntaxError."""
        return cls(session, prepare_lanes(session, Source(code, namespace=namespace or {}), options), options)

    def __repr__(self) -> str:
        return f"<FanOut of {len(self.lanes)} runs, {sum(lane.ended for lane in self.lanes)} ended>"

    def check(self) -> None:
        """Raise ReadOnlyMode, or UsageError for secrets that weren't allowed and for a budget that is too small."""
        refuse_if_read_only("spends")
        packages = require_consent(lane.lane.package for lane in self.lanes if lane.run is None)
        enforce_budgets_for_all(self._session, packages, self.max_cost)
        self.remarks = low_balance_notices(self._session, self.worst_case, f"these {len(packages)} runs")

    @property
    def worst_case(self) -> Decimal | None:
        """The highest cost of all runs together, in credits; None if no price is known."""
        costs = [lane.lane.package.worst_case for lane in self.lanes]
        known = [cost for cost in costs if cost is not None]
        total = sum(known, Decimal(0)) if known else None
        return min((cost for cost in (total, self.max_cost) if cost is not None), default=None)

    def start(self) -> FanOut:
        """Start the runs, in threads; once."""
        if self._begun:
            return self
        self._begun = True
        for number in range(self.parallel):  # each in the context of the cell, by which the journal knows it
            in_background(partial(copy_context().run, self._work), f"lk-member-{number}")
        in_background(self._watch, "lk-members")
        return self

    def attach(self) -> None:
        """Let lanes be the runs that this cell has started before, as far as there are any; before ``start``."""
        found = find_previous_runs(self._session, [lane.lane for lane in self.lanes])
        for lane in self.lanes:
            lane.run = found.get(lane.lane.number)

    @property
    def attached(self) -> int:
        """How many lanes are runs that were started before."""
        return sum(lane.run is not None and lane.run.bundle is None for lane in self.lanes)

    def seen(self) -> None:
        """Record that the ends of all runs were looked at."""
        for run in (lane.run for lane in self.lanes if lane.run and lane.record):
            run.mark_viewed()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every run has ended.

        An interrupt aborts all runs, unless the option or the setting ``on_interrupt`` is ``detach``.

        Args:
            timeout: Seconds to wait. Default: no limit.

        Returns:
            Whether every run has ended.
        """
        with self.aborted_by_interrupt():
            return self.done.wait(timeout)

    @contextmanager
    def aborted_by_interrupt(self) -> Iterator[None]:
        """Abort all runs if an interrupt comes within, and name the runs that may still be active.

        Nothing is aborted if the option or the setting ``on_interrupt`` is ``detach``.
        """
        if self._detaches:
            yield
            return
        with AtInterrupt(lambda _: self.abort()):
            try:
                with true_interrupts():
                    yield
            except KeyboardInterrupt:
                with suppress(KeyboardInterrupt), true_interrupts():
                    self.wait_for_abort()
                raise KeyboardInterrupt(self.left or f"Aborted {len(self.lanes)} runs.") from None

    def wait_for_abort(self, seconds: float | None = None) -> bool:
        """Wait until all aborted runs have ended, at most this many seconds, and not for an abort that fails.

        Returns whether they have.
        """
        end = let_go_at(seconds)
        while not self.done.wait(_TICK) and time.monotonic() < end:
            if all(lane.ended or (lane.aborting and lane.aborting.is_stuck) for lane in self.lanes):
                break
        self._see_whether_all_have_ended()  # the last one may be about to say so
        return self.done.is_set()

    @property
    def left(self) -> str:
        """The lines that stop runs that may still be active; empty if all runs have ended."""
        active = [lane for lane in self.lanes if lane.may_be_active]
        commands = [f"  %lk_abort {lane.run.execution_id}   (run {lane.lane.number})" for lane in active if lane.run]
        starting = len(active) - len(commands)
        more = [f"  and {starting} starting. Check: %lk_runs"] if starting else []
        why = next((lane.aborting.words for lane in active if lane.aborting and lane.aborting.error), "")
        head = ["Stopped waiting. These runs may still be active. Stop them:"] if active else []
        return "\n".join([*head, *commands, *more, *filter(None, [why])])

    def table(self) -> Any:
        """Return the runs that have ended as a table.

        Returns:
            A pandas DataFrame with a row for each run (a list of rows without pandas). Index ``lane`` (int64): the
            number of the run. Columns: ``machine`` (str), one for each swept value, ``state`` (str), ``seconds``
            (float64), ``cost`` (float64, credits), ``peak_gpu_memory_percent`` (float64), ``peak_gpu_memory_gib``
            (float64, GiB), ``mean_gpu_utilization_percent`` (float64), one for each metric, ``mark`` (str, such as
            cheapest), ``remark`` (str), ``run`` (str, the id), ``log`` (str, the path of the log).
        """
        return table_of(self.outcomes(), self.scores)

    def variables(self) -> dict[str, Any]:
        """Return the variables that the runs sent back.

        Returns:
            A dict: name → number of the run → value. With ``stop_on_first=True``, name → value of the winner.
        """
        if self.winner:
            return dict(self.winner.variables)
        names = dict.fromkeys(name for lane in self.lanes for name in lane.variables)
        return {
            name: {lane.lane.number: lane.variables[name] for lane in self.lanes if name in lane.variables}
            for name in names
        }

    def outcomes(self) -> list[MemberResult]:
        """Return a MemberResult for each run that has ended, in the order of the runs."""
        return [lane.outcome for lane in self.lanes if lane.outcome]

    @property
    def bill(self) -> Bill:
        """What all lanes cost so far, as far as is known."""
        return Bill.total(lane.bill for lane in self.lanes if lane.run)

    @property
    def cost(self) -> Decimal:
        """The known cost of all runs so far, in credits."""
        return self.bill.cost or Decimal(0)

    def abort(self, because: str | None = None) -> None:
        """Abort all active runs and start no more.

        Args:
            because: Reason that the errors name. Default: none.
        """
        self._because = because
        self._stopping.set()
        for lane in self.lanes:
            if not lane.record:
                lane.abort(because)
        while waiting := self._next():
            waiting.conclude(NOT_STARTED, ())
        self._see_whether_all_have_ended()

    def raise_failure(self, *, strict: bool = False) -> None:
        """Raise an error if no run completed.

        Args:
            strict: Whether one failed run is enough. Default: False.

        Raises:
            RunFailed: No run completed, or with ``strict`` a run failed. It names the first failed run.
        """
        if error := self._failure(strict=strict):
            raise error

    @property
    def cause(self) -> str:
        """The line that ends the traceback of ``raise_failure``; empty if it raises nothing, or has no traceback."""
        return getattr(self._failure(strict=False), "traceback", "").rstrip().rpartition("\n")[2]

    def _failure(self, *, strict: bool) -> Exception | None:
        failed = [(lane, error) for lane in self.lanes if (error := lane.failure())]
        if self.winner or not failed or (not (strict or self._strict) and any(o.completed for o in self.outcomes())):
            return None
        if not any(isinstance(error, RunError) for _, error in failed):
            return failed[0][1]
        lane, error = next((lane, error) for lane, error in failed if isinstance(error, RunError))
        of = f"of the {len(self.lanes)} runs"
        several = f"none {of} completed" if len(failed) == len(self.lanes) else (f"{len(failed)} {of} didn't complete")
        return RunFailed(
            f"{several}. The first one, run {lane.lane.number}: {error}",
            execution_id=error.execution_id,
            return_code=getattr(error, "return_code", None),
            traceback=getattr(error, "traceback", ""),
            shown=getattr(error, "shown", ""),
        )

    def _work(self) -> None:
        while lane := self._next():
            self._go(lane)

    def _next(self) -> FanOutMember | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _see_whether_all_have_ended(self) -> None:
        if all(lane.ended for lane in self.lanes):
            self.done.set()

    def _go(self, lane: FanOutMember) -> None:
        lane.state = NOT_STARTED if self._stopping.is_set() else SUBMITTING
        if lane.state == SUBMITTING:
            self._run(lane)
        self._conclude(lane)

    def _run(self, lane: FanOutMember) -> None:
        try:
            lane.run = run = lane.run or self._started(lane)
            lane.state = STARTED
            if self._stopping.is_set():  # asked for while the start was on its way
                lane.abort(self._because)
            lane.follow(run)
        except SubmissionCancelled:
            lane.state = NOT_STARTED
        except Exception as error:  # noqa: BLE001 (it is shown in its lane, and the others go on)
            lane.error = error
            lane.state = LOST if lane.run else REFUSED

    def _started(self, lane: FanOutMember) -> Run:
        lane.sending = Submission(self._session, lane.lane.package, lane.lane.group)
        if self._stopping.is_set():  # asked for a moment ago
            lane.sending.abort_soon()
        return Run.from_submission(self._session, lane.sending)

    def _conclude(self, lane: FanOutMember) -> None:
        with self._lock:
            wins = self._first and self.winner is None and lane.state in SUCCEEDED_STATES
            self.winner = lane if wins else self.winner
        if wins:
            self.abort(f"run {lane.lane.number} completed first")
        lane.conclude(lane.state, self.scores, wanted=self.winner in {None, lane})
        self._see_whether_all_have_ended()

    def _watch(self) -> None:
        """Read the states of all runs with one call and check their cost, once a second while a run is active."""
        while not self.done.wait(WATCH_SECONDS):
            going_on = [lane for lane in self.lanes if lane.run and not lane.record and not lane.error]
            if going_on:
                with suppress(Exception):  # it is looked at again
                    self._see(going_on)
            for lane in going_on:
                lane.tick()
            self._look_at_the_cost(going_on)

    def _look_at_the_cost(self, lanes: list[FanOutMember]) -> None:
        """Stop all when the next look would come too late."""
        seconds = WATCH_SECONDS + 1 - next_second()  # the cost does not have the second that has begun
        next_look = sum((cost_of(lane.lane.package.machine, seconds) or Decimal(0) for lane in lanes), Decimal(0))
        if self.max_cost is None or self.cost + next_look < self.max_cost or self._stopping.is_set():
            return
        self.abort(
            f"together the runs had cost {self.bill.label} of --max-cost {self.max_cost.normalize():f}, and "
            f"would cost {credits_label(next_look)} more until the next check"
        )

    def _see(self, lanes: list[FanOutMember]) -> None:
        states = {run.execution_id: run.status.lower() for run in self._session.client.workloads.list()}
        for lane in lanes:
            execution_id = lane.run.execution_id if lane.run else ""
            if execution_id in states:
                lane.see(states[execution_id])
            else:
                lane.look()


#: Entries of one code that are looked at for its lanes.
_MOST_LOOKED_AT = 2 * MOST_LANES


def find_previous_runs(session: Connection, lanes: Sequence[RunPlan]) -> dict[int, Run]:
    """Return the runs that this cell has started as several and whose ends were not seen, by the numbers of lanes."""
    place, code = current_cell(), code_hash(lanes[0].package.source.code)
    entries = [entry for entry in journal().entries(code_hash=code, limit=_MOST_LOOKED_AT) if entry.group]
    found = {}
    for lane in lanes:
        entry = next((entry for entry in entries if _is_of_lane(entry, session, lane, place)), None)
        if entry is None or entry.shown:
            continue
        with suppress(NotFound):
            if run := open_run(session, entry):
                _ = run.status
                found[lane.number] = run
    return found


def _is_of_lane(entry: JournalEntry, session: Connection, lane: RunPlan, place: CellContext) -> bool:
    values = {name: str(value) for name, value in lane.values.items()}
    return is_same(entry, session, lane.package, place) and values.items() <= entry.metadata.items()
