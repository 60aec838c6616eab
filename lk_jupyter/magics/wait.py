"""``%lk_wait``: wait for background runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.api.states import state_label
from lk_jupyter.errors import RunError
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.background import BACKGROUND, PACE
from lk_jupyter.magics._output.fanout import ReceiptTable
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, Note, after_cell
from lk_jupyter.options.runs import WaitOptions
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.observers.results import Returned
from lk_jupyter.runs.outcome import list_differences
from lk_jupyter.runs.run import Run
from lk_jupyter.session import current
from lk_jupyter.text.units import count_label, duration_label
from lk_jupyter.views.run import receipt_facts


@magic(WaitOptions)
def lk_wait(options: WaitOptions, shell: InteractiveShell) -> None:
    """Wait until runs finish, and show their states. Without ids, waits for all background runs of this notebook.

    Variables stay unchanged: ``%lk_attach ID`` sets the variables of a run.

    Raises the error of the first failed run, so that "Run All" stops at this cell. An interrupt ends the waiting; the
    runs stay active.

    Examples::

        %lk_wait
        %lk_wait 3f0c 77aa
    """
    status = LiveOutput(shell)
    try:
        with true_interrupts():
            runs = _wait_for_named(options.runs, status) if options.runs else _wait_for_detached(status)
    except KeyboardInterrupt:
        raise build_interrupt("stopped waiting; the runs are still active. Wait again: %lk_wait") from None
    receipts = _list_missing_receipts(runs) if status.appends else []
    failure = _find_failure(runs)
    table = ReceiptTable(_build_table(runs, _build_note(runs)), receipts) if runs else Note("No background runs.")
    show = partial(status.show, table, now=True)
    after_cell(shell, show) if failure and status.appends else show()
    if failure:
        raise failure


def _wait_for_named(names: Sequence[str], status: LiveOutput) -> list[Run]:
    runs = [Run.attach(current(), name) for name in names]
    for number, run in enumerate(runs):
        _show_count(status, len(runs) - number)
        run.wait_aside()
    return runs


def _wait_for_detached(status: LiveOutput) -> list[Run]:
    tasks = list(BACKGROUND.tasks)
    while pending := [task for task in tasks if not task.done.is_set()]:
        _show_count(status, len(pending))
        pending[0].done.wait(PACE)
    for task in tasks:
        BACKGROUND.forget(task)
    return [run for task in tasks for run in task.runs()]


def _show_count(status: LiveOutput, number: int) -> None:
    status.show(Note(f"Waiting for {count_label(number, 'run')} …"), now=True, passing=True)


#: Commands that set variables, at most.
_MAX_COMMANDS = 6


def _build_note(runs: Sequence[Run]) -> str:
    """Return the commands that set the variables of runs: waiting changes no variable."""
    notices = [str(notice) for run in runs for notice in Returned(None).ended(run, run.record)]
    return "\n".join([*notices[:_MAX_COMMANDS], *([f"{len(runs)} runs: %lk_runs"] if notices[_MAX_COMMANDS:] else [])])


def _build_table(runs: Sequence[Run], note: str) -> Table:
    columns = ("Run", "State", "Machine", "Duration", "Cost")
    return Table(columns, list(map(_build_run_row, runs)), right=frozenset({"Duration", "Cost"}), note=note)


def _build_run_row(run: Run) -> tuple[str, ...]:
    run.mark_viewed()
    record, bill = run.record, run.bill()
    return (
        run.short_id,
        state_label(record.status),
        record.hardware_profile or "",
        duration_label(bill.seconds) if bill.seconds is not None else "",
        ", ".join([bill.label, *list_differences(record, bill, run.requested_machine)]),
    )


def _list_missing_receipts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the receipts of runs whose cells ended before them, where a cell can't be updated later."""
    reported = {run.execution_id for run in runs if (entry := journal().get(run.execution_id)) and entry.shown}
    missing = [run for run in runs if run.execution_id not in reported]
    return [receipt_facts(run.record, run) for run in missing]


def _find_failure(runs: Sequence[Run]) -> RunError | None:
    """Return the error of the first run that failed."""
    for run in runs:
        try:
            run.result()
        except RunError as failure:
            return failure
    return None
