"""What a run cost and how it went, as plain JSON: for a notebook's metadata and for programs."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.machines.cost import price_of
from lk_jupyter.runs.clock import Bill, bill_of, waited_of
from lk_jupyter.runs.outcome import platform_words
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.redact import redact

#: Where the receipt stands in the metadata of an output.
METADATA_KEY = "lk_jupyter"


def receipt_facts(
    record: ExecutionRecord, machine: MachineType | None, package: Bundle | None = None
) -> dict[str, Any]:
    """Return the receipt of a run that has ended; credits are text, so that no digit is lost.

    ``cost_is`` is billed for the server's figure, estimated for price and time, and ``at most`` where the server
    does not give the moments between which it bills.
    """
    facts = {
        "execution_id": record.execution_id,
        "state": record.status,
        "machine": record.hardware_profile,
        "waited_seconds": waited_of(record),
        "max_cost": _text(package and package.max_cost),
        "created_at": record.created_at.isoformat() if record.created_at else None,
        "ended_at": record.end_time.isoformat() if record.end_time and is_final(record.status) else None,
        "return_code": record.return_code,
        "reason": redact(platform_words(record)) or None if record.status not in SUCCEEDED_STATES else None,
    }
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return {**facts_so_far(bill_of(record, price_of(machine)), machine, package), **known}


def facts_so_far(bill: Bill, machine: MachineType | None, package: Bundle | None) -> dict[str, Any]:
    """Return what is known of a run before its end, by the names of its receipt."""
    facts = {
        "machine": machine and machine.hardware_profile,
        "price_per_hour": _text(machine and machine.price_per_hour),
        "seconds": bill.seconds,
        "cost": _text(bill.cost),
        "cost_is": bill.cost_is,
        "time_limit_seconds": package and package.timeout,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _text(amount: Any) -> str | None:
    return None if amount is None else f"{amount:f}"
