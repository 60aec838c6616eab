"""A run: its state, machine, time and cost, and what shows more of it."""

from __future__ import annotations

from datetime import datetime, timezone

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.errors import LkError
from lk_jupyter.runs.cost import cost_of, credits_label, duration_label
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.machines import price_label
from lk_jupyter.runs.outcome import duration_of, failure_of
from lk_jupyter.runs.run import Run
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets.pictures.table import Table, picture

MARKS = {"running": "●", "aborted": "■", "cancelled": "■"}


def run(shown: Run) -> Picture:
    """Show a run as it is now; as this machine last knew it where the server cannot be asked."""
    try:
        record = shown.record
        rows, note = facts(shown, record), _note(shown, record)
    except LkError as problem:
        rows, note = _remembered(shown), f"As last known here: {problem}"
    return picture(Table(("Run", shown.short_id), [row for row in rows if row[1]], note))


def facts(shown: Run, record: ExecutionRecord) -> list[tuple[str, str]]:
    """Return what there is to know of a run, as names and words; some may be empty."""
    machine, ended = shown.machine, is_final(record.status)
    began = record.start_time or record.job_start
    seconds = duration_of(record)
    if seconds is None and began and not ended:
        seconds = (datetime.now(timezone.utc) - began).total_seconds()
    billed = record.billed if ended else None
    cost = billed if billed is not None else cost_of(machine, seconds or 0)
    return [
        ("State", state_label(record.status)),
        (
            "Machine",
            f"{record.hardware_profile} at {price_label(machine)}" if machine else record.hardware_profile or "",
        ),
        ("Started", f"{record.created_at.astimezone():%d %b %Y %H:%M:%S}"),
        ("Took" if ended else "So far", duration_label(seconds) if seconds is not None else ""),
        ("Cost", credits_label(cost) + ("" if billed is not None else " (estimate)") if cost is not None else ""),
        ("Id", shown.execution_id),
    ]


def reason(record: ExecutionRecord) -> str:
    """Return why a run did not end well; empty for one that did, or goes on."""
    failed = is_final(record.status) and record.status.lower() not in SUCCEEDED_STATES
    return str(failure_of(record)) if failed else ""


def _note(shown: Run, record: ExecutionRecord) -> str:
    return reason(record) or _more(shown, ended=is_final(record.status))


def _more(shown: Run, *, ended: bool) -> str:
    return f"%lk_logs {shown.short_id} shows its log{'' if ended else f', %lk_abort {shown.short_id} stops it'}."


def _remembered(shown: Run) -> list[tuple[str, str]]:
    entry = journal().get(shown.execution_id)
    state, machine = (state_label(entry.state or "not known"), entry.machine or "") if entry else ("not known", "")
    return [("State", state), ("Machine", machine), ("Id", shown.execution_id)]


def state_label(status: str) -> str:
    """Return a state with its sign, which says the same without colour."""
    word = status.lower()
    return f"{'✓' if word in SUCCEEDED_STATES else MARKS.get(word, '✗' if is_final(word) else '◌')} {status}"
