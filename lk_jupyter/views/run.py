"""A run: its state, machine, time and cost, and what shows more of it."""

from __future__ import annotations

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.api.states import label_of
from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.machines.cost import duration_label, moment_label
from lk_jupyter.runs.outcome import failure_of
from lk_jupyter.runs.run import Run
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import Table, picture

MARKS = {"running": "●", "aborted": "■", "cancelled": "■"}


def run(shown: Run) -> StaticView:
    """Show a run as it is now; as this machine last knew it where the server cannot be asked."""
    try:
        record = shown.record
        rows, note = facts(shown, record), _note(shown, record)
    except LkError as problem:
        rows, note = _remembered(shown), f"Last known state: {problem}"
    return picture(Table(("Run", shown.short_id), [row for row in rows if row[1]], note))


def facts(shown: Run, record: ExecutionRecord) -> list[tuple[str, str]]:
    """Return what there is to know of a run, as names and words; some may be empty."""
    machine, ended = shown.machine, is_final(record.status)
    bill = shown.bill(record)
    return [
        ("State", state_label(record.status)),
        (
            "Machine",
            f"{record.hardware_profile} at {price_label(machine)}" if machine else record.hardware_profile or "",
        ),
        ("Started", moment_label(record.known_since, "%d %b %Y %H:%M:%S")),
        ("Took" if ended else "So far", duration_label(bill.seconds) if bill.seconds is not None else ""),
        ("Cost", bill.label),
        ("Id", shown.execution_id),
    ]


def reason(record: ExecutionRecord) -> str:
    """Return why a run failed; empty if it completed, or is active."""
    failed = is_final(record.status) and record.status.lower() not in SUCCEEDED_STATES
    return str(failure_of(record)) if failed else ""


def _note(shown: Run, record: ExecutionRecord) -> str:
    more = f"Log: %lk_logs {shown.short_id}"
    return reason(record) or (more if is_final(record.status) else f"{more}. Abort: %lk_abort {shown.short_id}")


def _remembered(shown: Run) -> list[tuple[str, str]]:
    entry = journal().get(shown.execution_id)
    state, machine = (state_label(entry.state or "unknown"), entry.machine or "") if entry else ("unknown", "")
    return [("State", state), ("Machine", machine), ("Id", shown.execution_id)]


def state_label(status: str) -> str:
    """Return a state with its sign, which says the same without colour."""
    word = status.lower()
    return f"{'✓' if word in SUCCEEDED_STATES else MARKS.get(word, '✗' if is_final(word) else '◌')} {label_of(status)}"
