"""Which machine a wish such as ``A100`` means: the catalogue, seen through the caller's quotas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import UsageError

_NEAR = 3

#: How much more memory is more: sizes are told in several roundings.
_MORE = 1.1


@dataclass(frozen=True)
class Catalogue:
    """Every machine type, and the profiles that the caller may launch (None: all of them)."""

    types: tuple[MachineType, ...]
    allowed: frozenset[str] | None = None

    @classmethod
    def of(cls, types: Iterable[MachineType], available: Iterable[str]) -> Catalogue:
        """Join both answers of the API; no available profile at all means that none is restricted."""
        return cls(tuple(types), frozenset(name.lower() for name in available) or None)

    def __iter__(self) -> Iterator[MachineType]:
        return iter(self.types)

    def allows(self, machine: MachineType) -> bool:
        """Whether the caller may launch this machine."""
        return self.allowed is None or machine.hardware_profile.lower() in self.allowed

    def resolve(self, wish: str) -> MachineType:
        """Return the machine that a wish means; ``A100|H100`` is the first that the caller may use.

        A wish is a profile (``gpu.a100``) or a card (``A100``, ``a100``). Raises UsageError, naming
        the near ones with their prices, when it is in no catalogue or in nobody's quota.
        """
        if not self.types:  # the server lists none, and decides itself
            return MachineType(hardware_profile=_profile(wish.partition("|")[0].strip()))
        known = [self._find(part.strip()) for part in wish.split("|")]
        for machine in known:
            if machine is not None and self.allows(machine):
                return machine
        if not any(known):
            raise UsageError(f"Unknown machine '{wish}'. Nothing was sent. {self._near(wish)}")
        raise UsageError(
            f"Your quota doesn't include '{wish}'. Nothing was sent. You may use: "
            f"{self._priced(filter(self.allows, self.types))}."
        )

    def larger(self, memory_gib: float, needed_gib: float = 0.0) -> MachineType | None:
        """Return the next machine up in GPU memory that the caller may use and whose price is known.

        It has more than ``memory_gib``, and at least ``needed_gib``; of several, the cheapest.
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

    def _find(self, wish: str) -> MachineType | None:
        name = wish.lower()
        by_profile = {machine.hardware_profile.lower(): machine for machine in reversed(self.types)}
        by_card = {machine.card: machine for machine in reversed(self.types)}
        return by_profile.get(name) or by_profile.get(f"gpu.{name}") or by_card.get(name.removeprefix("gpu."))

    def _near(self, wish: str) -> str:
        names = {(machine.card or machine.hardware_profile): machine for machine in reversed(self.types)}
        close = get_close_matches(wish.lower().removeprefix("gpu."), names, n=_NEAR, cutoff=0.4)
        found = [names[name] for name in close] or [machine for machine in self.types if self.allows(machine)]
        return f"{'Similar' if close else 'Machines'}: {self._priced(found)}. All machines: %lk_machines"

    def _priced(self, machines: Iterable[MachineType]) -> str:
        return ", ".join(f"{machine.hardware_profile} ({price_label(machine)})" for machine in machines) or "none"


def _profile(wish: str) -> str:
    name = wish.lower()
    return name if "." in name or name == "cpu" else f"gpu.{name}"


def price_label(machine: MachineType) -> str:
    """Return the price of a machine in words, such as ``1.59/h``."""
    return "no price" if machine.price_per_hour is None else f"{machine.price_per_hour.normalize():f}/h"
