"""Run code several times: start a limited number of runs at a time, follow all, and find earlier runs again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api.execution import SUCCEEDED_STATES
from lk_jupyter.code.source import Source, code_hash
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import NotFound, RunError, RunFailed
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.machines.catalogue import machine_cost
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.abort import let_go_at
from lk_jupyter.runs.clock import Bill, next_second
from lk_jupyter.runs.fanout.comparison import MemberResult, best_number, build_table
from lk_jupyter.runs.fanout.member import LOST, NOT_STARTED, REFUSED, STARTED, SUBMITTING, FanOutMember
from lk_jupyter.runs.fanout.plan import MAX_RUNS, RunPlan, prepare_plans
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.interrupts import AtInterrupt, SafeEvent, call_in_background, true_interrupts
from lk_jupyter.runs.package.local_values import local_value_notices
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.reattach import is_same, open_run
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.scalars import scalar_frame
from lk_jupyter.runs.submit.budget import enforce_budgets_for_all
from lk_jupyter.runs.submit.submission import Submission, SubmissionCancelled
from lk_jupyter.text.scalars import choose_score
from lk_jupyter.text.units import count_label, credits_label

#: Seconds between checks of the cost.
WATCH_SECONDS = 1.0

#: Seconds between checks of runs during an abort.
_TICK = 0.1


class FanOut:
    r"""Several runs of the same code, the result of ``Session.fan_out``; at most ``parallel`` are active at a time.

    ``done`` is an event that is set after the end of every run. ``winner`` is the first completed run with
    ``stop_on_first=True``. ``max_cost`` is the maximum cost of all runs together, in credits.

    Example:
        >>> fan = session.fan_out("y = x * x\nprint('loss =', x)", sweep=["x=1,2"], outputs=["y"], metric=["loss"])
        >>> fan.wait(timeout=60)
        True
        >>> fan.remainder
        ''
        >>> fan.variables()
        {'y': {1: 1, 2: 4}}
        >>> fan.table()["state"].to_list()
        ['completed', 'completed']
        >>> fan.best() is fan.members[0].run
        True
        >>> list(fan.curves().columns)
        ['lane', 'x', 'step', 'name', 'value', 'time']
        >>> [(result.number, result.completed) for result in fan.outcomes()]
        [(1, True), (2, True)]
        >>> fan.cost <= fan.worst_case
        True
        >>> fan.raise_failure(strict=True)
        >>> fan.cause
        ''
        >>> fan.abort()
        >>> fan.hurry()
    """

    def __init__(self, session: Connection, plans: Sequence[RunPlan], options: RunOptions) -> None:
        self.members = [FanOutMember(session, plan, options) for plan in plans]
        self._requested_scores = list(map(Score.parse, options.metric))
        self.parallel = min(options.parallel or setting("parallel"), len(plans))
        self.max_cost = options.max_cost
        self.winner: FanOutMember | None = None
        self.done = SafeEvent()
        self.notices: list[Notice] = []  # before the start
        self._session = session
        self._first = options.stop_on_first
        self._strict = options.require_all
        self._detaches = (options.on_interrupt or setting("on_interrupt")) == "detach"
        self._waiting = deque(self.members)
        self._lock = threading.Lock()
        self._stopping = SafeEvent()
        self._is_hurried = False  # no run gets time to return its variables
        self._because: str | None = None
        self._is_started = False

    @classmethod
    def prepare(
        cls, session: Connection, code: str, options: RunOptions, namespace: Mapping[str, Any] | None = None
    ) -> FanOut:
        """Return the fan-out of code, without starting runs. Raises UsageError or SyntaxError."""
        return cls(session, prepare_plans(session, Source(code, namespace=namespace or {}), options), options)

    @property
    def scores(self) -> list[Score]:
        """Return the figures that rank the runs: of ``metric``, else a printed validation measure, else the loss."""
        if self._requested_scores:
            return self._requested_scores
        names = dict.fromkeys(name for member in self.members for name in member.scalars.measures)
        name = choose_score(names)
        return [Score.from_name(name)] if name else []

    def __repr__(self) -> str:
        return (
            f"<FanOut of {count_label(len(self.members), 'run')}, {sum(member.ended for member in self.members)} ended>"
        )

    def check(self) -> None:
        """Raise ReadOnlyMode, or UsageError for secrets that weren't allowed and for a budget that is too small."""
        refuse_if_read_only("spends")
        bundles = require_consent(member.plan.bundle for member in self.members if member.run is None)
        enforce_budgets_for_all(self._session, bundles, self.max_cost)
        devices = {notice.text: notice for bundle in bundles for notice in local_value_notices(bundle)}
        balance = low_balance_notices(self._session, self.worst_case, f"these {len(bundles)} runs")
        self.notices = [*balance, *devices.values()]

    @property
    def worst_case(self) -> Decimal | None:
        """Return the highest possible cost of all runs together, in credits; None without a published price."""
        costs = [member.plan.bundle.worst_case for member in self.members]
        prices = [cost for cost in costs if cost is not None]
        total = sum(prices, Decimal(0)) if prices else None
        return min((cost for cost in (total, self.max_cost) if cost is not None), default=None)

    def start(self) -> FanOut:
        """Start the runs in threads; later calls do nothing."""
        if self._is_started:
            return self
        self._is_started = True
        for number in range(self.parallel):  # in the context of the cell, which the journal records
            call_in_background(partial(copy_context().run, self._run_waiting), f"lk-member-{number}")
        call_in_background(self._watch_members, "lk-members")
        return self

    def attach(self) -> None:
        """Use earlier runs that this cell started, if any; call this before ``start``."""
        runs = find_previous_runs(self._session, [member.plan for member in self.members])
        for member in self.members:
            member.run = runs.get(member.plan.number)

    @property
    def started_earlier_count(self) -> int:
        """Return the number of members whose run was started earlier."""
        return sum(member.run is not None and member.run.bundle is None for member in self.members)

    def mark_viewed(self) -> None:
        """Record in the journal that the ends of all runs were displayed."""
        for run in (member.run for member in self.members if member.run and member.record):
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
        """Abort all runs after an interrupt in this context, and list runs that may still be active.

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
                try:
                    with true_interrupts():
                        self.wait_for_abort()
                except KeyboardInterrupt:
                    self.hurry()
                raise KeyboardInterrupt(self.remainder or f"Aborted {count_label(len(self.members), 'run')}.") from None

    def wait_for_abort(self, seconds: float | None = None) -> bool:
        """Wait for the end of all aborted runs, for at most this number of seconds, but not for failing aborts.

        Returns whether all have ended.
        """
        end = let_go_at(seconds)
        while not self.done.wait(_TICK) and time.monotonic() < end:
            if seconds is None:
                end = max([end, *(member.aborting.let_go_at for member in self.members if member.aborting)])
            if all(member.ended or (member.aborting and member.aborting.is_stuck) for member in self.members):
                break
        self._check_end()  # the thread of the last run may not have set the event yet
        return self.done.is_set()

    def hurry(self) -> None:
        """Abort immediately all runs that still return their variables, and all runs that are aborted later."""
        self._is_hurried = True
        for member in self.members:
            if member.aborting:
                member.aborting.hurry()

    def _abort_member(self, member: FanOutMember) -> None:
        member.abort(self._because)
        if self._is_hurried and member.aborting:  # a second interrupt can come before this abort
            member.aborting.hurry()

    @property
    def remainder(self) -> str:
        """Return the commands that stop runs which may still be active; empty if all runs have ended."""
        active = [member for member in self.members if member.may_be_active]
        commands = [
            f"  %lk_abort {member.run.execution_id}   (run {member.plan.number})" for member in active if member.run
        ]
        starting = len(active) - len(commands)
        more = [f"  and {starting} starting. Check: %lk_runs"] if starting else []
        why = next((member.aborting.words for member in active if member.aborting and member.aborting.error), "")
        aborts = " They are aborted in the background." if self._is_hurried or self._stopping.is_set() else ""
        head = f"Stopped waiting. These runs may still be active.{aborts} Stop them:" if active else ""
        return "\n".join([*filter(None, [head]), *commands, *more, *filter(None, [why])])

    def table(self) -> Any:
        """Return the runs that have ended as a table.

        Returns:
            A pandas DataFrame with a row for each run (a list of rows without pandas). Index ``lane`` (int64): the
            number of the run. Columns: ``machine`` (str), a column for each swept value, ``state`` (str), ``seconds``
            (float64), ``cost`` (float64, credits), ``peak_gpu_memory_percent`` (float64), ``peak_gpu_memory_gib``
            (float64, GiB), ``mean_gpu_utilization_percent`` (float64), a column for each metric, ``mark`` (str, such
            as cheapest), ``remark`` (str), ``run`` (str, the id), ``log`` (str, the path of the log).
        """
        return build_table(self.outcomes(), self.scores)

    def variables(self) -> dict[str, Any]:
        """Return the variables that the runs returned.

        Returns:
            A dict: name → number of the run → value. With ``stop_on_first=True``, name → value of the winner.
        """
        if self.winner:
            return dict(self.winner.variables)
        names = dict.fromkeys(name for member in self.members for name in member.variables)
        return {
            name: {member.plan.number: member.variables[name] for member in self.members if name in member.variables}
            for name in names
        }

    def outcomes(self) -> list[MemberResult]:
        """Return a MemberResult for each run that has ended, in the order of the runs."""
        scores = self.scores
        return [result_with_scores(member, member.outcome, scores) for member in self.members if member.outcome]

    def best(self) -> Run | None:
        """Return the completed run with the best score, of equal runs the cheapest; None without a score."""
        number = next((best_number(self.outcomes(), score) for score in self.scores[:1]), None)
        return next((member.run for member in self.members if member.plan.number == number), None)

    def curves(self) -> Any:
        """Return the numbers that the runs have printed repeatedly or logged so far.

        Returns:
            A pandas DataFrame with a row for each value. Columns: ``lane`` (int64, the number of the run), a column for
            each swept value, ``step`` (float64), ``name`` (str), ``value`` (float64), ``time`` (float64, s since the
            start of the run).

        Raises:
            UsageError: pandas is missing.
        """
        return scalar_frame((leading_columns(member.plan), member.scalars) for member in self.members)

    @property
    def bill(self) -> Bill:
        """Return the known bill of all runs so far."""
        return Bill.total(member.bill for member in self.members if member.run)

    @property
    def cost(self) -> Decimal:
        """Return the known cost of all runs so far, in credits."""
        return self.bill.cost or Decimal(0)

    def abort(self, because: str | None = None) -> None:
        """Abort all active runs and start no more.

        Args:
            because: Reason for the errors of the runs. Default: none.
        """
        self._because = because
        self._stopping.set()
        for member in self.members:
            if not member.record:
                self._abort_member(member)
        while waiting := self._pop_next_member():
            waiting.conclude(NOT_STARTED, ())
        self._check_end()

    def raise_failure(self, *, strict: bool = False) -> None:
        """Raise an error if no run completed.

        Args:
            strict: Whether one failed run is enough. Default: False.

        Raises:
            RunFailed: No run completed, or with ``strict`` a run failed. The text describes the first failed run.
        """
        if error := self._build_failure(strict=strict):
            raise error

    @property
    def has_failure(self) -> bool:
        """Whether ``raise_failure`` raises."""
        return self._build_failure(strict=False) is not None

    @property
    def cause(self) -> str:
        """Return the last line of the traceback of ``raise_failure``; empty without an error or a traceback."""
        return getattr(self._build_failure(strict=False), "traceback", "").rstrip().rpartition("\n")[2]

    def _build_failure(self, *, strict: bool) -> Exception | None:
        failed = [(member, error) for member in self.members if (error := member.failure())]
        if self.winner or not failed or (not (strict or self._strict) and any(o.completed for o in self.outcomes())):
            return None
        if not any(isinstance(error, RunError) for _, error in failed):
            return failed[0][1]
        member, error = next((member, error) for member, error in failed if isinstance(error, RunError))
        total = f"of the {count_label(len(self.members), 'run')}"
        is_total = len(failed) == len(self.members)
        summary = f"none {total} completed" if is_total else f"{len(failed)} {total} didn't complete"
        return RunFailed(
            f"{summary}. First failure, in run {member.plan.number}: {error}",
            execution_id=error.execution_id,
            return_code=getattr(error, "return_code", None),
            traceback=getattr(error, "traceback", ""),
            shown=getattr(error, "shown", ""),
        )

    def _run_waiting(self) -> None:
        while member := self._pop_next_member():
            self._run_member(member)

    def _pop_next_member(self) -> FanOutMember | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _check_end(self) -> None:
        if all(member.ended for member in self.members):
            self.done.set()

    def _run_member(self, member: FanOutMember) -> None:
        member.state = NOT_STARTED if self._stopping.is_set() else SUBMITTING
        if member.state == SUBMITTING:
            self._follow_member(member)
        self._conclude_member(member)

    def _follow_member(self, member: FanOutMember) -> None:
        try:
            member.run = run = member.run or self._submit_member(member)
            member.state = STARTED
            if self._stopping.is_set():  # aborted during the start
                self._abort_member(member)
            member.follow(run)
        except SubmissionCancelled:
            member.state = NOT_STARTED
        except Exception as error:  # noqa: BLE001 (the board shows the error, and other runs stay active)
            member.error = error
            member.state = LOST if member.run else REFUSED

    def _submit_member(self, member: FanOutMember) -> Run:
        member.submission = Submission(self._session, member.plan.bundle, member.plan.group)
        if self._stopping.is_set():  # aborted before the submission existed
            member.submission.abort_soon()
        return Run.from_submission(self._session, member.submission)

    def _conclude_member(self, member: FanOutMember) -> None:
        with self._lock:
            wins = self._first and self.winner is None and member.state in SUCCEEDED_STATES
            self.winner = member if wins else self.winner
        if wins:
            self.abort(f"run {member.plan.number} completed first")
        member.conclude(member.state, self._requested_scores, is_relevant=self.winner in {None, member})
        self._check_end()

    def _watch_members(self) -> None:
        """Let observers look at all runs and check the cost of the fan-out, once a second."""
        while not self.done.wait(WATCH_SECONDS):
            active = [member for member in self.members if member.run and not member.record and not member.error]
            for member in active:
                member.tick()
            self._check_cost(active)

    def _check_cost(self, members: list[FanOutMember]) -> None:
        """Abort all runs if the cost would exceed the maximum before the next check."""
        seconds = WATCH_SECONDS + 1 - next_second()  # the cost lacks the current second
        next_look = sum(
            (machine_cost(member.plan.bundle.machine, seconds) or Decimal(0) for member in members), Decimal(0)
        )
        if self.max_cost is None or self.cost + next_look < self.max_cost or self._stopping.is_set():
            return
        self.abort(
            f"so far the runs together cost {self.bill.label} of --max-cost {self.max_cost.normalize():f}, and "
            f"they would cost {credits_label(next_look)} more until the next check"
        )


def result_with_scores(member: FanOutMember, result: MemberResult, scores: Sequence[Score]) -> MemberResult:
    """Return the result with scores from printed numbers, where ``--metric`` gave none."""
    measures = {score.name: member.scalars.measures.get(score.name) for score in scores}
    return replace(result, scores={**measures, **result.scores})


def leading_columns(plan: RunPlan) -> dict[str, Any]:
    """Return number and swept values of a run, by the names of their columns."""
    reserved = {"lane", "step", "name", "value", "time"}
    return {"lane": plan.number, **{f"swept_{n}" if n in reserved else n: value for n, value in plan.values.items()}}


#: The maximum number of journal entries of the same code that are searched for earlier runs.
_MAX_ENTRIES = 2 * MAX_RUNS


def find_previous_runs(session: Connection, plans: Sequence[RunPlan]) -> dict[int, Run]:
    """Return number of the plan → earlier run of this cell whose end wasn't displayed."""
    place, code = current_cell(), code_hash(plans[0].bundle.source.code)
    entries = [entry for entry in journal().entries(code_hash=code, limit=_MAX_ENTRIES) if entry.group]
    runs = {}
    for plan in plans:
        entry = next((entry for entry in entries if _matches_plan(entry, session, plan, place)), None)
        if entry is None or entry.shown:
            continue
        with suppress(NotFound):
            if run := open_run(session, entry):
                _ = run.status
                runs[plan.number] = run
    return runs


def _matches_plan(entry: JournalEntry, session: Connection, plan: RunPlan, place: CellContext) -> bool:
    values = {name: str(value) for name, value in plan.values.items()}
    return is_same(entry, session, plan.bundle, place) and values.items() <= entry.metadata.items()
