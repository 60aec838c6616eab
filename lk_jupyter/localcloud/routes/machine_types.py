"""The catalogue of machines."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.machine_types import MachineTypes
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.catalogue import PRICES
from lk_jupyter.localcloud.context import Context


@implements(MachineTypes.list)
def list_(ctx: Context) -> dict[str, Any]:  # noqa: ARG001 (every handler is given one)
    """List all machines."""
    rows = [{"hardware_profile": profile, "price_per_hour": price} for profile, price in PRICES.items()]
    return {"machine_types": rows, "count": len(rows)}
