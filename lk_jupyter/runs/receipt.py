"""What a run cost and how it went, as plain JSON: for a notebook's metadata and for programs."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.cost import cost_of
from lk_jupyter.runs.meter import waited_of
from lk_jupyter.runs.outcome import duration_of

#: Where the receipt stands in the metadata of an output.
METADATA_KEY = "lk_jupyter"


def receipt_facts(
    record: ExecutionRecord, machine: MachineType | None, package: Bundle | None = None
) -> dict[str, Any]:
    """Return the receipt of a run that has ended; credits are text, so that no digit is lost.

    ``cost_is`` tells whether the cost was billed or is estimated here from price and time.
    """
    seconds = duration_of(record)
    cost = record.billed
    if cost is None and seconds is not None:
        cost = cost_of(machine, seconds)
    facts = {
        "execution_id": record.execution_id,
        "state": record.status,
        "machine": record.hardware_profile or (machine and machine.hardware_profile),
        "price_per_hour": _text(machine and machine.price_per_hour),
        "waited_seconds": waited_of(record),
        "seconds": seconds,
        "cost": _text(cost),
        "cost_is": ("billed" if record.billed is not None else "estimated") if cost is not None else None,
        "time_limit_seconds": package and package.timeout,
        "max_cost": _text(package and package.max_cost),
        "created_at": record.created_at.isoformat(),
        "ended_at": record.end_time.isoformat() if record.end_time and is_final(record.status) else None,
        "return_code": record.return_code,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _text(amount: Any) -> str | None:
    return None if amount is None else f"{amount:f}"
