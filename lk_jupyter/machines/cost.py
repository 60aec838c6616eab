"""What a run costs: billed per second of wall-clock time, in credits."""

from __future__ import annotations

from decimal import Decimal

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import UsageError
from lk_jupyter.text.units import credits_label

_HOUR = 3600
_FOREVER = 10**9

#: Seconds that a run may go on after its time is up, until it is dead and billed.
_DYING = 1


def price_of(machine: MachineType | None) -> Decimal | None:
    """Return the price of a machine in credits an hour; None when machine or price is not known."""
    return machine.price_per_hour if machine else None


def cost_of(machine: MachineType | None, seconds: float) -> Decimal | None:
    """Return what this long on this machine costs; None when its price is not known."""
    return cost_at(price_of(machine), seconds)


def cost_at(price_per_hour: Decimal | None, seconds: float) -> Decimal | None:
    """Return what this long costs at a price; None when that is not known."""
    return None if price_per_hour is None else price_per_hour * Decimal(str(seconds)) / _HOUR


def seconds_for(machine: MachineType, amount: Decimal) -> int:
    """Return the time limit that keeps a run on this machine below an amount of credits, in seconds.

    Raises UsageError when its price is not known, or the amount buys no second of it.
    """
    if machine.price_per_hour is None:
        raise UsageError(
            f"{machine.hardware_profile} has no published price, so a maximum cost can't be enforced. Nothing "
            "was sent. Machines with a price: %lk_machines"
        )
    if not machine.price_per_hour:
        return _FOREVER
    seconds = int(amount * _HOUR / machine.price_per_hour) - _DYING
    if seconds < 1:
        least = cost_of(machine, 1 + _DYING)
        raise UsageError(
            f"A maximum cost of {credits_label(amount)} buys less than two seconds of {machine.hardware_profile}, "
            f"which cost {credits_label(least)}. Nothing was sent."
        )
    return seconds
