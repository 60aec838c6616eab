"""One cell as several runs: a lane for each, a table that compares them, and none left behind.

An interrupt does to all lanes what it does to one run, see ``_interrupt``: it aborts them, waits for
their ends and tells what they cost; those that wait here are not started. A second one leaves at
once, with the line that brings back to each. ``--on-interrupt detach`` lets all go on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._detached import BACKGROUND
from lk_jupyter.magics._interrupt import detaches, interrupt, kernel_ends
from lk_jupyter.magics._lanes_view import Board, Decision, Logs, lanes_plan, total
from lk_jupyter.magics._line import PACE, Note, Updated
from lk_jupyter.options import RunOptions
from lk_jupyter.runs.decision import table_of
from lk_jupyter.runs.fan import Lane
from lk_jupyter.runs.guard import permitted
from lk_jupyter.runs.lane import WAITING
from lk_jupyter.runs.lanes import FanOut
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.session import Session

STOPPING = "stopping; interrupt again to leave them"


def fan_out(session: Session, lanes: Sequence[Lane], options: RunOptions, shell: InteractiveShell) -> None:
    """Run every lane and compare them; raises RunFailed when none completed, KeyboardInterrupt when stopped here."""
    if options.plan:
        display(lanes_plan(FanOut(session, lanes, options)))
        return
    packages = permitted((lane.package for lane in lanes), ask)
    lanes = [replace(lane, package=package) for lane, package in zip(lanes, packages, strict=True)]
    fan = FanOut(session, lanes, options)
    if options.attach == "auto":
        fan.attach()
    fan.check()
    view = LanesView(fan, options, shell)
    if options.detach:
        view.detach()
    else:
        _follow(fan, view, detach=detaches(options))
        fan.raise_failure(strict=options.strict)


def _follow(fan: FanOut, view: LanesView, *, detach: bool) -> None:
    try:
        with true_interrupts():
            view.begin()
            view.follow()
    except KeyboardInterrupt:
        raise interrupt(_let_go_on(view) if detach else _stop(fan, view)) from None
    view.end()


def _let_go_on(view: LanesView) -> str:
    view.detach()
    return "the runs go on in the background. Stop one with %lk_abort ID; %lk_runs lists them."


def _stop(fan: FanOut, view: LanesView) -> str:
    """Abort all lanes, wait for their ends and say what they cost; a second interrupt leaves at once."""
    try:
        with true_interrupts():
            view.show(STOPPING)
            if kernel_ends():
                raise KeyboardInterrupt  # noqa: TRY301 (as a second interrupt does)
            fan.abort()
            view.follow(STOPPING)
            view.end()
    except KeyboardInterrupt:
        return _left(fan)
    return f"the runs were stopped: {total(fan)}"


def _left(fan: FanOut) -> str:
    """Return what brings back to the lanes that may go on, or to what is known of them."""
    going_on = [lane for lane in fan.lanes if not lane.ended and lane.state != WAITING]
    known = [f"  %lk_attach {lane.run.execution_id}   (lane {lane.lane.number})" for lane in going_on if lane.run]
    unknown = len(going_on) - len(known)
    more = [f"  and {unknown} that were being started; look with %lk_runs"] if unknown else []
    return "\n".join(["left the runs; they may go on. Follow them with:", *known, *more])


class LanesView:
    """Shows lanes: ``begin``, ``follow``, ``end``, in this order."""

    def __init__(self, fan: FanOut, options: RunOptions, shell: InteractiveShell) -> None:
        self.done = threading.Event()
        self._fan = fan
        self._options = options
        self._shell = shell
        self._board = Updated(shell)
        self._table = Updated(shell)
        self._logs = Updated(shell)
        self._is_detached = False

    def begin(self) -> None:
        """Start the lanes, with what they may cost shown before."""
        self._board.show(Board(self._fan), now=True)
        self._fan.start()

    def show(self, note: str) -> None:
        """Show the board with a note, at once."""
        self._board.show(Board(self._fan, note), now=True)

    def follow(self, note: str = "") -> None:
        """Keep the board current until all lanes have ended."""
        fan = self._fan
        while not fan.done.is_set():
            self._board.show(Board(fan, note))
            fan.done.wait(PACE)

    def end(self) -> None:
        """Show how all ended, compare them, and keep the table in its variable."""
        fan = self._fan
        fan.seen()
        self._board.show(Board(fan), now=True)
        self._table.show(Decision(fan, self._note()), now=True)
        if not self._options.quiet:
            self._logs.show(Logs(fan.lanes), now=True)
        if not self._is_detached:
            self._shell.user_ns.update(fan.variables())
            self._keep(self._options.save)

    def detach(self) -> None:
        """Go on in the background, in outputs that are all made now; the variable gets the FanOut."""
        self._is_detached = True
        if self._options.save:
            self._shell.user_ns[self._options.save] = self._fan
        self.begin()
        self._table.show(Note("The table comes here when all have ended."), now=True)
        self._logs.show(Note(""), now=True)
        BACKGROUND.add(self)
        threading.Thread(target=self._keep_showing, name="lk-show-lanes", daemon=True).start()

    def runs(self) -> list[Run]:
        """Return the runs of the lanes that were started."""
        return [lane.run for lane in self._fan.lanes if lane.run]

    def _keep_showing(self) -> None:
        try:
            self.follow("in the background")
            self.end()
        finally:
            self.done.set()

    def _keep(self, name: str | None) -> None:
        if name is None:
            return
        table = table_of(self._fan.outcomes(), self._fan.scores)
        self._shell.user_ns[name] = table
        if isinstance(table, list):
            display(Note(f"pandas is not installed here, so {name} is a list with a dict for each run."))

    def _note(self) -> str:
        if winner := self._fan.winner:
            return (
                f"Kept lane {winner.lane.number}, the first that completed, and stopped the others: {total(self._fan)}."
            )
        names = ", ".join(self._fan.variables())
        by_lane = f"In each of {names} is a dict: the number of a lane → what it sent back.\n" if names else ""
        before = self._fan.attached
        again = f"{before} of them were started by this cell before. " if before else ""
        return f"{by_lane}{again}{total(self._fan)}."
