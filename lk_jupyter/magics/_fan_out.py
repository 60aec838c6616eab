"""Run a cell as several runs, compare the results in a table, and leave no run active.

An interrupt treats all runs like a single run, see ``_output.interrupt``: the fan-out aborts the runs, waits for their
ends and reports their cost; runs in the local queue aren't started. A second interrupt ends the waiting and shows the
lines that attach to the runs again. ``--on-interrupt detach`` keeps all of the runs active.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.code.variables import is_imported, named
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.start_question import require_answer
from lk_jupyter.magics._output.background import BACKGROUND
from lk_jupyter.magics._output.fanout import (
    Board,
    Decision,
    FanOutLogs,
    format_total,
    heading_lines,
    plan_table,
    start_line,
)
from lk_jupyter.magics._output.interrupt import NoInterrupt, Stop, build_interrupt, detaches
from lk_jupyter.magics._output.live import LiveOutput, Note, TerminalBlock, after_cell, write_text
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.clock import next_second
from lk_jupyter.runs.fanout.comparison import build_table
from lk_jupyter.runs.fanout.fanout import FanOut
from lk_jupyter.runs.fanout.plan import RunPlan
from lk_jupyter.runs.interrupts import AtInterrupt, SafeEvent, true_interrupts
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.variables.fingerprint import fingerprint
from lk_jupyter.runs.variables.state import note_compared
from lk_jupyter.session import Session
from lk_jupyter.text.units import count_label

#: Seconds between two checks for the ids of runs.
_TICK = 0.1

#: Runs whose board is drawn each second; the board of more runs is drawn every other second, which saves CPU time.
MOST_RUNS_PER_SECOND = 50

STOPPING = "stopping; interrupt again to stop waiting"


def fan_out(session: Session, plans: Sequence[RunPlan], options: RunOptions, shell: InteractiveShell) -> None:
    """Run all members and compare the results.

    Raises RunFailed if none completed, and KeyboardInterrupt after an interrupt.
    """
    if options.dry_run:
        display(plan_table(FanOut(session, plans, options)))
        return
    bundles = require_consent((plan.bundle for plan in plans), ask)
    require_answer(bundles, options, shell)
    plans = [replace(plan, bundle=bundle) for plan, bundle in zip(plans, bundles, strict=True)]
    fan = FanOut(session, plans, options)
    if options.attach == "auto":
        fan.attach()
    fan.check()
    view = FanOutView(fan, options, shell)
    if options.detach:
        view.detach()
    else:
        _follow_runs(fan, view, detach=detaches(options))
        fan.raise_failure()


def _follow_runs(fan: FanOut, view: FanOutView, *, detach: bool) -> None:
    stop = NoInterrupt() if detach else Stop(fan.abort)
    with AtInterrupt(stop):
        try:
            with true_interrupts():
                view.begin()
                view.follow()
        except KeyboardInterrupt:
            raise build_interrupt(_detach_runs(view) if detach else _await_abort(fan, view, stop)) from None
    view.end(fan.cause, raises=fan.has_failure)


def _detach_runs(view: FanOutView) -> str:
    view.detach()
    return "the runs are still active in the background. List: %lk_runs. Abort one: %lk_abort ID"


def _await_abort(fan: FanOut, view: FanOutView, stop: Stop) -> str:
    """Wait for runs that are being aborted, and return their cost; a second interrupt ends the waiting."""
    try:
        with true_interrupts():
            view.show(STOPPING)
            stop.wait()
            if not stop.kernel_ends and fan.wait_for_abort() and not fan.remainder:
                view.end(raises=True)
                return f"the runs were stopped: {format_total(fan)}"
    except KeyboardInterrupt:
        fan.hurry()
    summary = fan.remainder or f"the runs have finished: {format_total(fan)}"
    with suppress(KeyboardInterrupt):
        view.detach()
    return summary


@dataclass(frozen=True)
class ReturnedVariables:
    """Variables that several runs sent back.

    ``shared`` have one value, ``by_run`` are dicts of number of the run → value, ``unchanged`` are names of variables
    here that keep their values, as the values of the runs differ.
    """

    shared: Mapping[str, Any] = field(default_factory=dict)
    by_run: Mapping[str, dict[int, Any]] = field(default_factory=dict)
    unchanged: Sequence[str] = ()

    def __str__(self) -> str:
        listed = [name for name, value in self.shared.items() if not is_imported(value)]
        lines = [
            f"Each of {', '.join(self.by_run)} is a dict that maps the number of each run to the value in this run."
            if self.by_run
            else "",
            f"{', '.join(self.unchanged)}: unchanged in this notebook, because the runs returned different values."
            if self.unchanged
            else "",
            f"Set here: {', '.join(listed)}" if listed else "",
        ]
        return "".join(f"{line}\n" for line in lines if line)


def returned_variables(fan: FanOut, options: RunOptions, namespace: Mapping[str, Any]) -> ReturnedVariables:
    """Return the variables that the runs sent back.

    A name of ``--out`` is a dict. Of the others, only a name whose values differ is a dict; if the notebook has
    another value for the name, the dict is NAME_by_run.
    """
    if fan.winner:
        return ReturnedVariables(dict(fan.winner.variables))
    requested = named("out", options.outputs)
    shared: dict[str, Any] = {}
    by_run: dict[str, dict[int, Any]] = {}
    unchanged: list[str] = []
    for name, values in fan.variables().items():
        if name in requested or (name not in namespace and not are_same(list(values.values()))):
            by_run[name] = values
        elif are_same(list(values.values())):
            shared[name] = next(iter(values.values()))
        elif _is_by_run(namespace[name]):
            by_run[name] = values
        elif not name.startswith("_"):
            unchanged.append(name)
            by_run[f"{name}_by_run"] = values
    return ReturnedVariables(shared, by_run, unchanged)


def _is_by_run(value: Any) -> bool:
    """Whether a value is a dict of an earlier comparison of runs."""
    return isinstance(value, dict) and bool(value) and all(type(key) is int for key in value)


def are_same(values: Sequence[Any]) -> bool:
    """Whether values of several runs are one object, such as a module, or have the same content."""
    if all(value is values[0] for value in values):
        return True
    from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

    digests = {digest_value(value, fingerprint) for value in values}
    return len(digests) == 1 and None not in digests


class FanOutView:
    """Shows the runs of a fan-out: ``begin``, ``follow``, ``end``, in this order.

    In a front end without display updates, a line reports each run once its id is known, and the table is the last
    output. Nothing follows when the cell has ended.
    """

    def __init__(self, fan: FanOut, options: RunOptions, shell: InteractiveShell) -> None:
        self.done = SafeEvent()
        self._fan = fan
        self._options = options
        self._shell = shell
        self._board = LiveOutput(shell)
        self._table = LiveOutput(shell)
        self._logs = LiveOutput(shell)
        self._block = TerminalBlock() if TerminalBlock.fits(shell) else None
        self._is_detached = False
        self._announced: set[int] = set()
        self._returned = ReturnedVariables()

    def begin(self) -> None:
        """Show the maximum cost, then start the runs."""
        self._draw_board(Board(self._fan), now=True)
        self._fan.start()

    def _draw_board(self, board: Board, *, now: bool = False) -> None:
        """Show the present state of the runs; ``now`` skips the pause between two updates."""
        if self._block:
            self._block.draw(board)
        else:
            self._board.show(board, now=now, passing=now)

    def show(self, note: str) -> None:
        """Show the board with a note, immediately."""
        self._draw_board(Board(self._fan, note), now=True)

    def follow(self, note: str = "") -> None:
        """Update the board until all runs have ended."""
        fan = self._fan
        period = 1 if len(fan.members) <= MOST_RUNS_PER_SECOND else 2
        while not fan.done.is_set():
            self._draw_board(Board(fan, note))
            self._announce_new_runs()
            fan.done.wait(next_second(period))
        self._announce_new_runs()

    def _read_variables(self) -> ReturnedVariables:
        """Return the variables for the notebook; a detached fan-out keeps its variables."""
        if self._is_detached:
            return ReturnedVariables(by_run=self._fan.variables())
        return returned_variables(self._fan, self._options, self._shell.user_ns)

    def _announce_new_runs(self) -> None:
        """Write a line for each run whose id is new, where outputs never change."""
        new = [member for member in self._fan.members if member.run and member.plan.number not in self._announced]
        if not new or not self._board.appends or self._is_detached:
            return
        head = [] if self._announced else heading_lines(self._fan)
        write_text("".join(f"{line}\n" for line in [*head, *map(start_line, new)]))
        self._announced.update(member.plan.number for member in new)

    def end(self, cause: str = "", *, raises: bool = False) -> None:
        """Show the final states, compare the runs, and set the table's variable; an error below shows ``cause``.

        ``raises`` is whether an error of the cell follows. In a notebook, the table is the last output.
        """
        if self._is_detached and self._board.appends:  # the cell has ended: an output would be in another one
            return
        fan = self._fan
        fan.mark_viewed()
        self._returned = self._read_variables()
        if self._block:
            self._block.clear()
        if not self._board.appends:
            self._board.show(Board(fan), now=True)
        heading = f"{Board(fan)}\n" if self._board.appends else ""
        show_table = partial(self._table.show, Decision(fan, heading + self._format_summary(), cause), now=True)
        is_last = self._board.appends or self._board.is_on_page
        if not is_last:
            show_table()
        if not self._options.quiet:
            self._logs.show(FanOutLogs(fan.members), now=True)
        if is_last:
            after_cell(self._shell, show_table) if raises else show_table()
        if not self._is_detached:
            values = {**self._returned.shared, **self._returned.by_run}
            self._shell.user_ns.update(values)
            note_compared(values)
            self._store_table(self._options.save)

    def detach(self) -> None:
        """Continue in the background, in outputs that are all made now; the variable gets the FanOut."""
        if self._options.save:
            self._shell.user_ns[self._options.save] = self._fan
        if self._block:  # the prompt follows: from now on, lines are only added
            self._block.clear()
            self._block = None
        self.begin()
        if self._board.appends:
            self._announce_started()
        self._is_detached = True
        outputs = [(self._table, "Results appear here when all runs finish."), (self._logs, "")]
        for output, text in reversed(outputs) if self._board.is_on_page else outputs:
            output.show(Note(text), now=True, passing=True)
        BACKGROUND.add(self)
        threading.Thread(target=self._keep_showing, name="lk-show-members", daemon=True).start()

    def _announce_started(self) -> None:
        """Wait for and write the ids of the first runs: no output can follow when the cell has ended."""
        fan = self._fan
        while sum(bool(member.run or member.ended) for member in fan.members) < fan.parallel:
            fan.done.wait(_TICK)
        self._announce_new_runs()
        if waiting := sum(not (member.run or member.ended) for member in fan.members):
            write_text(f"{count_label(waiting, 'run')} will start when the active runs finish. List: %lk_runs\n")

    def runs(self) -> list[Run]:
        """Return the started runs."""
        return [member.run for member in self._fan.members if member.run]

    def _keep_showing(self) -> None:
        try:
            self.follow("in the background")
            self.end()
        finally:
            self.done.set()

    def _store_table(self, name: str | None) -> None:
        if name is None:
            return
        table = build_table(self._fan.outcomes(), self._fan.scores)
        self._shell.user_ns[name] = table
        if isinstance(table, list):
            display(Note(f"pandas isn't installed here, so {name} is a list with one dict per run."))

    def _format_summary(self) -> str:
        if winner := self._fan.winner:
            return f"Run {winner.plan.number} completed first and was kept; the other runs were aborted."
        before = self._fan.started_earlier_count
        again = f"This cell had already started {before} of these runs." if before else ""
        return str(self._returned) + again
