"""Waiting for runs that go on in the background."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.errors import RunError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._detached import BACKGROUND, PACE
from lk_jupyter.magics._interrupt import interrupt
from lk_jupyter.magics._line import Note, Updated, mark_of
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._views import Table
from lk_jupyter.options import WaitOptions
from lk_jupyter.runs.cost import credits_label, duration_label
from lk_jupyter.runs.outcome import duration_of
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.session import current


@magic(WaitOptions)
def lk_wait(options: WaitOptions, shell: InteractiveShell) -> None:
    """Wait until runs have ended, and show how: those named, or all that go on in the background here.

    Raises the failure of the first that failed, so that "Run All" stops there. An interrupt ends the
    waiting; the runs go on.

    Examples::

        %lk_wait
        %lk_wait 3f0c 77aa
    """
    status = Updated(shell)
    try:
        with true_interrupts():
            runs = _named(options.runs, status) if options.runs else _detached(status)
    except KeyboardInterrupt:
        raise interrupt("the waiting was ended; the runs go on. %lk_wait waits for them again.") from None
    status.show(_table(runs) if runs else Note("Nothing goes on in the background here."), now=True)
    _raise_failure(runs)


def _named(names: Sequence[str], status: Updated) -> list[Run]:
    runs = [Run.attach(current(), name) for name in names]
    for number, run in enumerate(runs):
        _say(status, len(runs) - number)
        run.wait()
    return runs


def _detached(status: Updated) -> list[Run]:
    tasks = list(BACKGROUND.tasks)
    while left := [task for task in tasks if not task.done.is_set()]:
        _say(status, len(left))
        left[0].done.wait(PACE)
    for task in tasks:
        BACKGROUND.forget(task)
    return [run for task in tasks for run in task.runs()]


def _say(status: Updated, number: int) -> None:
    status.show(Note("Waiting for 1 run …" if number == 1 else f"Waiting for {number} runs …"), now=True)


def _table(runs: Sequence[Run]) -> Table:
    columns = ("Run", "State", "Machine", "Took", "Cost")
    return Table(columns, list(map(_row, runs)), right=frozenset({"Took", "Cost"}))


def _row(run: Run) -> tuple[str, ...]:
    run.seen()
    record, seconds = run.record, duration_of(run.record)
    return (
        run.short_id,
        f"{mark_of(record.status)} {record.status}",
        record.hardware_profile or "",
        duration_label(seconds) if seconds is not None else "",
        credits_label(record.billed) if record.billed is not None else "",
    )


def _raise_failure(runs: Sequence[Run]) -> None:
    for run in runs:
        try:
            run.result()
        except RunError as failure:
            raise failure from None
