"""Which virtual machines are sold, and which of them can be had now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

from lk_jupyter.api.vms import InstanceType, VMAvailability, VMInstanceVariant
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.burning import hardware_label

_MOST = 4


@dataclass(frozen=True)
class Wish:
    """The shape of a machine that is wanted."""

    profile: str
    count: int = 1
    instance_type: InstanceType = "on-demand"
    volume_gb: int | None = None


@dataclass(frozen=True)
class Offer:
    """One shape with its price in credits per hour; ``free`` is None where the cloud does not tell."""

    profile: str
    count: int
    instance_type: str
    per_hour: Decimal
    free: bool | None

    def __str__(self) -> str:
        spot = " spot" if self.instance_type == "spot" else ""
        several = f"{self.count} " if self.count > 1 else ""
        return f"{several}{hardware_label(self.profile)}{spot} at {self.per_hour:.2f}/h"

    @property
    def line(self) -> str:
        """What asks for it."""
        count = f" --count {self.count}" if self.count > 1 else ""
        return f"--gpu {hardware_label(self.profile)}{count}{' --spot' if self.instance_type == 'spot' else ''}"


def offers(availability: VMAvailability) -> list[Offer]:
    """Return every shape that is sold, cheapest first."""
    found = [offer for variant in availability.available_instance_variants for offer in _of(variant)]
    return sorted(found, key=lambda offer: (offer.per_hour, offer.profile))


def _of(variant: VMInstanceVariant) -> Iterable[Offer]:
    free = variant.available_gpus_per_instance
    for count in variant.allowed_gpus_per_instance or free or [1]:
        price = variant.price_per_hour * count
        yield Offer(
            variant.hardware_profile, count, variant.instance_type, price, None if free is None else count in free
        )


def chosen(found: list[Offer], wish: Wish) -> Offer:
    """Return the offer that is meant. Raises UsageError for a shape that is not sold."""
    profiles = sorted({offer.profile for offer in found})
    if wish.profile not in profiles:
        near = get_close_matches(wish.profile, profiles, n=1)
        hint = f"Did you mean {hardware_label(near[0])}? " if near else ""
        sold = ", ".join(map(hardware_label, profiles))
        raise UsageError(f"There is no VM with {hardware_label(wish.profile)}. {hint}Sold are: {sold}.")
    alike = [offer for offer in found if (offer.profile, offer.instance_type) == (wish.profile, wish.instance_type)]
    if not alike:
        raise UsageError(f"{hardware_label(wish.profile)} is not sold as {wish.instance_type}: leave --spot out.")
    fitting = [offer for offer in alike if offer.count == wish.count]
    if not fitting:
        counts = ", ".join(str(offer.count) for offer in sorted(alike, key=lambda offer: offer.count))
        raise UsageError(f"--count: a VM with {hardware_label(wish.profile)} has {counts} GPUs, not {wish.count}.")
    return fitting[0]


def instead(found: list[Offer], refused: Offer) -> str:
    """Return what can be had in place of an offer as one line: the same count and kind first, by price."""
    free = [offer for offer in found if offer.free is not False and offer != refused and offer.count >= refused.count]
    free = [offer for offer in free if offer.profile != refused.profile or offer.instance_type != refused.instance_type]

    def distance(offer: Offer) -> tuple[bool, bool, Decimal]:
        other_kind = offer.instance_type != refused.instance_type
        return offer.count != refused.count, other_kind, abs(offer.per_hour - refused.per_hour)

    near = sorted(free, key=distance)[:_MOST]
    if not near:
        return "Nothing of that size is free now: try again in some minutes, or ask for fewer GPUs."
    listed = "; ".join(f"{offer} ({offer.line})" for offer in near)
    return f"Free now: {listed}."
