"""The machine type that a wish such as ``A100`` means within your quotas, and the cost of a run on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import STOP_SECONDS
from lk_jupyter.errors import UsageError
from lk_jupyter.text.units import credits_label

_NEAR = 3

#: Factor by which larger memory must be larger: sizes are reported with different roundings.
_MORE = 1.1

_HOUR = 3600
_FOREVER = 10**9


@dataclass(frozen=True)
class Catalogue:
    """All machine types of the server, as ``session.machines()`` returns them; iterate over it.

    ``types`` are the machine types, ``allowed`` the names that your quota includes (None: all of them).

    Source: ``GET /machine-types``, ``GET /user/quotas/available-hardware``

    Example:
        >>> machines = session.machines()
        >>> machine = machines.resolve("A100|H100")
        >>> machine.hardware_profile, machines.allows(machine)
        ('gpu.a100', True)
        >>> machines.offers_run("8xB200")
        False
        >>> machines.larger(machine.memory_gib).memory_gib > machine.memory_gib
        True
    """

    types: tuple[MachineType, ...]
    allowed: frozenset[str] | None = None

    @classmethod
    def of(cls, types: Iterable[MachineType], available: Iterable[str]) -> Catalogue:
        """Join both answers of the API; no available profile at all means that none is restricted."""
        return cls(tuple(types), frozenset(name.lower() for name in available) or None)

    def __iter__(self) -> Iterator[MachineType]:
        return iter(self.types)

    def allows(self, machine: MachineType) -> bool:
        """Whether your quota includes this machine type.

        Args:
            machine: A machine type.
        """
        return self.allowed is None or machine.hardware_profile.lower() in self.allowed

    def resolve(self, wish: str) -> MachineType:
        """Return the machine type with this name.

        Args:
            wish: A machine type (``gpu.a100``) or a GPU (``A100``). ``A100|H100`` is the first in your quota.

        Raises:
            UsageError: There is no such machine type, or your quota doesn't include it. The message lists similar ones.
        """
        if not self.types:  # the server lists no types, and decides
            return MachineType(hardware_profile=_profile_name(wish.partition("|")[0].strip()))
        matches = [self._find_machine(part.strip()) for part in wish.split("|")]
        for machine in matches:
            if machine is not None and self.allows(machine):
                return machine
        if not any(matches):
            if split_count(wish)[0] > 1:
                raise UsageError(
                    f"Runs can't use '{wish}'. Nothing was sent. Rent a VM for the cell: --gpu {wish} --on vm"
                )
            raise UsageError(f"Unknown machine '{wish}'. Nothing was sent. {self._similar_machines(wish)}")
        raise UsageError(
            f"Your quota doesn't include '{wish}'. Nothing was sent. You may use: "
            f"{self._list_with_prices(filter(self.allows, self.types))}."
        )

    def offers_run(self, wish: str) -> bool:
        """Whether a run can have this machine.

        Args:
            wish: A machine type or a GPU, as in ``resolve``.
        """
        return not self.types or any(self._find_machine(part.strip()) for part in wish.split("|"))

    def larger(self, memory_gib: float, needed_gib: float = 0.0) -> MachineType | None:
        """Return the cheapest machine type with more GPU memory that you may use; None without such a type.

        Args:
            memory_gib: GPU memory of the present machine, in GiB.
            needed_gib: Minimum GPU memory of the new machine, in GiB. Default: more than ``memory_gib``.
        """
        fitting = [
            machine
            for machine in self.types
            if machine.price_per_hour is not None
            and machine.memory_gib is not None
            and machine.memory_gib > max(memory_gib * _MORE, needed_gib)
            and self.allows(machine)
        ]
        return min(fitting, key=lambda machine: (machine.memory_gib, machine.price_per_hour), default=None)

    def _find_machine(self, wish: str) -> MachineType | None:
        count, name = split_count(wish.lower())
        by_profile = {machine.hardware_profile.lower(): machine for machine in reversed(self.types)}
        by_card = {machine.card: machine for machine in reversed(self.types)}
        if count > 1:
            names = (f"gpu.{name}.{count}x", f"gpu.{count}x{name}", f"gpu.{name}x{count}")
            return next((by_profile[each] for each in names if each in by_profile), None)
        return by_profile.get(name) or by_profile.get(f"gpu.{name}") or by_card.get(name.removeprefix("gpu."))

    def _similar_machines(self, wish: str) -> str:
        names = {(machine.card or machine.hardware_profile): machine for machine in reversed(self.types)}
        close = get_close_matches(wish.lower().removeprefix("gpu."), names, n=_NEAR, cutoff=0.4)
        similar = [names[name] for name in close] or [machine for machine in self.types if self.allows(machine)]
        return f"{'Similar' if close else 'Machines'}: {self._list_with_prices(similar)}. All machines: %lk_machines"

    def _list_with_prices(self, machines: Iterable[MachineType]) -> str:
        return ", ".join(f"{machine.hardware_profile} ({price_label(machine)})" for machine in machines) or "none"


_COUNT = re.compile(r"([1-9][0-9]?)x(?:gpu\.)?(.+)")


def split_count(wish: str) -> tuple[int, str]:
    """Return the number of GPUs and the name of the GPU: ``4xA100`` is 4 and ``A100``."""
    match = _COUNT.fullmatch(wish)
    return (int(match[1]), match[2]) if match else (1, wish)


def _profile_name(wish: str) -> str:
    name = wish.lower()
    return name if "." in name or name == "cpu" else f"gpu.{name}"


def machine_name(profile: str) -> str:
    """Return the name that people read for a machine type: ``gpu.a100`` is ``A100``, ``vm.a100`` is ``A100 VM``."""
    kind, _, name = profile.partition(".")
    return name.upper() if kind == "gpu" else f"{name.upper()} VM" if kind == "vm" and name else profile


def sort_by_price(machines: Iterable[MachineType]) -> list[MachineType]:
    """Return machine types, cheapest first; types without a price are last."""
    return sorted(machines, key=lambda machine: (machine.price_per_hour is None, machine.price_per_hour))


def price_label(machine: MachineType) -> str:
    """Return the price of a machine in words, such as ``1.59 credits/h``; an unknown price isn't free."""
    if machine.price_per_hour is None:
        return "price unknown"
    return f"{machine.price_per_hour.normalize():f} credits/h" if machine.price_per_hour else "free of charge"


def hourly_price(machine: MachineType | None) -> Decimal | None:
    """Return the price of a machine in credits an hour; None when machine or price is not known."""
    return machine.price_per_hour if machine else None


def machine_cost(machine: MachineType | None, seconds: float) -> Decimal | None:
    """Return the cost of a time on a machine, in credits; None if the price is unknown."""
    return cost_at(hourly_price(machine), seconds)


def cost_at(price_per_hour: Decimal | None, seconds: float) -> Decimal | None:
    """Return the cost of a time at a price per hour; None if the price is unknown."""
    return None if price_per_hour is None else price_per_hour * Decimal(str(seconds)) / _HOUR


def cost_at_limit(price_per_hour: Decimal | None, timeout: float) -> Decimal | None:
    """Return the highest bill of a run with a time limit in seconds, in credits; None if the price is unknown.

    A run that reaches its limit is billed until its process has ended.
    """
    return cost_at(price_per_hour, timeout + STOP_SECONDS)


def sum_costs(costs: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of costs in credits; None if one of them is unknown."""
    total = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def seconds_for(machine: MachineType, amount: Decimal) -> int:
    """Return the time limit that keeps a run on this machine below an amount of credits, in seconds.

    Raises UsageError if the price is unknown, or the amount buys less than a second.
    """
    if machine.price_per_hour is None:
        raise UsageError(
            f"{machine.hardware_profile} has no published price, so a maximum cost can't be enforced. Nothing "
            "was sent. Machines with a price: %lk_machines"
        )
    if not machine.price_per_hour:
        return _FOREVER
    seconds = int(amount * _HOUR / machine.price_per_hour) - STOP_SECONDS
    if seconds < 1:
        least = machine_cost(machine, 1 + STOP_SECONDS)
        raise UsageError(
            f"--max-cost {credits_label(amount)} is too low for {machine.hardware_profile}: the minimum is "
            f"{credits_label(least)}. Nothing was sent."
        )
    return seconds
