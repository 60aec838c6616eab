"""The virtual machines on sale, and their availability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches

from lk_jupyter.account.active import hardware_label
from lk_jupyter.api.vms import InstanceType, VMAvailability, VMInstanceVariant
from lk_jupyter.errors import UsageError
from lk_jupyter.text.terminal import one_line

_MOST = 4

#: The most characters of a notice of the cloud.
_MOST_NOTICE = 300


@dataclass(frozen=True)
class VmShape:
    """The shape of a machine that is wanted. ``lease`` are the seconds after which a broker deletes the machine."""

    profile: str
    count: int = 1
    instance_type: InstanceType = "on-demand"
    volume_gb: int | None = None
    lease: int | None = None


@dataclass(frozen=True)
class VmOffer:
    """A shape with its price in credits per hour; ``free`` is None without a report of the cloud.

    ``spot_per_hour`` is the price of the same machine as a spot VM that is free now, if the spot price is lower.
    ``is_leased`` is whether a broker rents the VM, and deletes the VM at the end of a lease.
    """

    profile: str
    count: int
    instance_type: str
    per_hour: Decimal
    free: bool | None
    spot_per_hour: Decimal | None = field(default=None, compare=False)
    is_leased: bool = field(default=False, compare=False)

    def lease_cost(self, seconds: float) -> Decimal:
        """Return the price of a complete lease of this many seconds, in credits."""
        return self.per_hour * Decimal(seconds) / 3600

    def __str__(self) -> str:
        spot = " spot" if self.instance_type == "spot" else ""
        several = f"{self.count} " if self.count > 1 else ""
        return f"{several}{hardware_label(self.profile)}{spot} at {self.per_hour:.2f} credits/h"

    @property
    def shape(self) -> VmShape:
        """Return the shape without the price."""
        return VmShape(self.profile, self.count, "spot" if self.instance_type == "spot" else "on-demand")

    @property
    def machine(self) -> str:
        """Return the machine type for header, receipt and history, such as ``vm.2xa100``."""
        return f"vm.{f'{self.count}x' if self.count > 1 else ''}{self.profile}"

    @property
    def line(self) -> str:
        """Return the options that request this shape."""
        count = f" --count {self.count}" if self.count > 1 else ""
        return f"--gpu {hardware_label(self.profile)}{count}{' --spot' if self.instance_type == 'spot' else ''}"


def require_rentable(availability: VMAvailability) -> None:
    """Raise UsageError if the cloud rents no VM at all, with its reason."""
    if notice := availability.notice:
        raise UsageError(f"{one_line(notice)[:_MOST_NOTICE].rstrip('.')}. Nothing was rented.")


def list_offers(availability: VMAvailability) -> list[VmOffer]:
    """Return every shape that is sold, cheapest first."""
    vm_offers = [
        offer for variant in availability.available_instance_variants for offer in _iterate_variant_offers(variant)
    ]
    return sorted(vm_offers, key=lambda offer: (offer.per_hour, offer.profile))


def _iterate_variant_offers(variant: VMInstanceVariant) -> Iterable[VmOffer]:
    free = variant.available_gpus_per_instance
    if variant.price_per_hour is None:  # nothing is rented at an unknown price
        return
    for count in variant.allowed_gpus_per_instance or free or [1]:
        price = variant.price_per_hour * count
        yield VmOffer(
            variant.hardware_profile, count, variant.instance_type, price, None if free is None else count in free
        )


def choose_offer(vm_offers: list[VmOffer], wish: VmShape) -> VmOffer:
    """Return the offer that is meant. Raises UsageError for a shape that is not sold."""
    profiles = sorted({offer.profile for offer in vm_offers})
    if not profiles:
        raise UsageError("The server lists no VM with a price. Nothing was rented. See its VMs: %lk_vm offers")
    if wish.profile not in profiles:
        near = get_close_matches(wish.profile, profiles, n=1)
        hint = f"Did you mean {hardware_label(near[0])}? " if near else ""
        sold = ", ".join(map(hardware_label, profiles))
        raise UsageError(f"No VM with {hardware_label(wish.profile)}. Nothing was rented. {hint}VMs: {sold}.")
    alike = [offer for offer in vm_offers if (offer.profile, offer.instance_type) == (wish.profile, wish.instance_type)]
    if not alike:
        raise UsageError(
            f"{hardware_label(wish.profile)} isn't sold as {wish.instance_type}. Nothing was rented. Leave out --spot."
        )
    fitting = [offer for offer in alike if offer.count == wish.count]
    if not fitting:
        counts = ", ".join(str(offer.count) for offer in sorted(alike, key=lambda offer: offer.count))
        raise UsageError(
            f"--count: a VM with {hardware_label(wish.profile)} has {counts} GPUs, got "
            f"{wish.count}. Nothing was rented."
        )
    chosen = fitting[0]
    spot = (
        offer.per_hour
        for offer in vm_offers
        if offer.shape == replace(chosen.shape, instance_type="spot")
        and offer.free is not False
        and offer.per_hour < chosen.per_hour
    )
    return replace(chosen, spot_per_hour=next(spot, None))


def alternatives_line(vm_offers: list[VmOffer], refused: VmOffer) -> str:
    """Return the available alternatives to an offer as a line: the same count and kind first, by price."""
    free = [
        offer for offer in vm_offers if offer.free is not False and offer != refused and offer.count >= refused.count
    ]
    free = [offer for offer in free if offer.profile != refused.profile or offer.instance_type != refused.instance_type]

    def distance(offer: VmOffer) -> tuple[bool, bool, Decimal]:
        other_kind = offer.instance_type != refused.instance_type
        return offer.count != refused.count, other_kind, abs(offer.per_hour - refused.per_hour)

    near = sorted(free, key=distance)[:_MOST]
    if not near:
        return "No VM of that size is free now. Try again in a few minutes, or choose fewer GPUs."
    listed = "; ".join(f"{offer} ({offer.line})" for offer in near)
    return f"Free now: {listed}."
