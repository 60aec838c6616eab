"""Show a run: state, machine, time, cost, and commands for details; the same facts as plain JSON for programs."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import state_label
from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.catalogue import hourly_price, price_label
from lk_jupyter.runs.clock import Bill, calculate_bill, measure_launch, measure_queue, measure_wait
from lk_jupyter.runs.outcome import build_error, list_differences, list_problems, platform_words
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import duration_label, moment_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import Table, join_tables


def run(value: Run) -> StaticView:
    """Show the present state of a run; if the server can't be reached, the last state that this machine knows."""
    try:
        record = value.record
        rows, note = run_facts(value, record), _format_state_note(value, record)
    except LkError as problem:
        rows, note = _list_journal_facts(value), f"Last known state: {problem}"
    return join_tables(Table(("Run", value.short_id), [row for row in rows if row[1]], note))


def run_facts(value: Run, record: ExecutionRecord) -> list[tuple[str, str]]:
    """Return the facts of a run, as names and words; some may be empty."""
    machine, ended = value.machine, is_final(record.status)
    bill = value.bill(record)
    return [
        ("State", state_label(record.status, record.run_name)),
        (
            "Machine",
            f"{record.hardware_profile} at {price_label(machine)}" if machine else record.hardware_profile or "",
        ),
        ("Server", _describe_local_cloud(value)),
        ("Started", moment_label(record.known_since, "%d %b %Y %H:%M:%S")),
        ("Duration" if ended else "So far", duration_label(bill.seconds) if bill.seconds is not None else ""),
        ("Cost", bill.label),
        ("Note", "; ".join(list_differences(record, bill, value.requested_machine)) if ended else ""),
        ("Id", value.execution_id),
    ]


def _describe_local_cloud(value: Run) -> str:
    """Return "local cloud", and whether the cloud is known to have no GPU; empty for a remote server."""
    if not value.session.is_local:
        return ""
    return "local cloud, no GPU" if (value.note or "").startswith("No GPU") else "local cloud"


def failure_reason(record: ExecutionRecord) -> str:
    """Return why a run failed; empty for a completed or an active run."""
    failed = is_final(record.status) and record.status.lower() not in SUCCEEDED_STATES
    return str(build_error(record)) if failed else ""


def _format_state_note(value: Run, record: ExecutionRecord) -> str:
    log, abort = f"Log: %lk_logs {value.short_id}", f"Abort: %lk_abort {value.short_id}"
    state = failure_reason(record) or (log if is_final(record.status) else f"{log}. {abort}")
    return " ".join([*list_problems(record, value.log_problem), state])


def _list_journal_facts(value: Run) -> list[tuple[str, str]]:
    entry = journal().get(value.execution_id)
    state, machine = (state_label(entry.state or "unknown"), entry.machine or "") if entry else ("unknown", "")
    return [("State", state), ("Machine", machine), ("Id", value.execution_id)]


#: Key of the receipt in the metadata of an output.
METADATA_KEY = "lk_jupyter"


def receipt_facts(record: ExecutionRecord, run: Run | None, bill: Bill | None = None) -> dict[str, Any]:
    """Return the receipt of an ended run; credits are text, so that no digit is lost.

    ``cost_is`` is ``billed`` for the server's figure, ``estimated`` for price and time, and ``at most`` if the server
    doesn't report the start and the end of the billed time. ``bill`` saves a calculation if already known.
    ``requested_machine`` is present if the record has another machine, ``quote`` if the bill is above the quote;
    ``differences`` has both in words.
    """
    machine, requested, bundle = (run.machine, run.requested_machine, run.bundle) if run else (None, None, None)
    bill = bill or calculate_bill(record, hourly_price(machine), quote=run.quote if run else None)
    differences = list_differences(record, bill, requested)
    facts = {
        "execution_id": record.execution_id,
        "state": record.status,
        "machine": record.hardware_profile,
        "requested_machine": requested.hardware_profile if requested and machine != requested else None,
        "quote": _format_amount(bill.quote) if bill.excess_label else None,
        "differences": "; ".join(differences) or None,
        "waited_seconds": measure_wait(record),
        "queue_seconds": measure_queue(record),
        "launch_seconds": measure_launch(record),
        "max_cost": _format_amount(bundle and bundle.max_cost),
        "created_at": record.created_at.isoformat() if record.created_at else None,
        "ended_at": record.end_time.isoformat() if record.end_time and is_final(record.status) else None,
        "return_code": record.return_code,
        "reason": redact(platform_words(record)) or None if record.status not in SUCCEEDED_STATES else None,
    }
    present = {name: fact for name, fact in facts.items() if fact is not None}
    return {**facts_so_far(bill, machine, bundle), **present}


def facts_so_far(bill: Bill, machine: MachineType | None, bundle: Bundle | None) -> dict[str, Any]:
    """Return the known facts of an active run, by the keys of the receipt."""
    facts = {
        "machine": machine and machine.hardware_profile,
        "price_per_hour": _format_amount(machine and machine.price_per_hour),
        "seconds": bill.seconds,
        "cost": _format_amount(bill.cost),
        "cost_is": bill.cost_is,
        "time_limit_seconds": bundle and bundle.timeout,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _format_amount(amount: Any) -> str | None:
    return None if amount is None else f"{amount:f}"
