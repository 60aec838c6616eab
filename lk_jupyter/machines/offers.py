"""Machines as rows to choose from: hardware, price, and whether each is available."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import parse_duration
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.text.units import duration_label

if TYPE_CHECKING:
    from lk_jupyter.api.vms import VMAvailability
    from lk_jupyter.machines.catalogue import Catalogue

_GIB = {"": 1.0, "gib": 1.0, "gi": 1.0, "gb": 10**9 / 2**30, "g": 10**9 / 2**30, "mib": 1 / 1024, "mb": 10**6 / 2**30}
_AMOUNT = re.compile(r"(\d+(?:[.,]\d+)?)\s*([a-z]*)")


@dataclass(frozen=True)
class MachineOffer:
    """A machine type with its price, as ``Session.offers`` returns it.

    ``profile`` is the name, ``gpu`` and ``gpus`` are the GPU model and the number of GPUs, ``memory_gib`` is the memory
    of each GPU in GiB, ``vcpus``, ``ram_gib``, ``price_per_hour`` in credits; None if the server doesn't report the
    value. ``allowed`` is whether your quota includes the machine, ``free`` whether the GPU is available now.

    Example:
        >>> offer = next(offer for offer in session.offers() if offer.gpu == "A100")
        >>> offer.profile, offer.allowed
        ('gpu.a100', True)
    """

    profile: str
    gpu: str
    gpus: int
    memory_gib: int | None
    vcpus: int | None
    ram_gib: int | None
    price_per_hour: Decimal | None
    allowed: bool
    free: bool | None

    def __str__(self) -> str:
        return self.profile


#: Names of the columns by which offers can be put in order.
COLUMNS = tuple(MachineOffer.__dataclass_fields__)


@dataclass(frozen=True)
class MachineFilter:
    """Requirements of a machine: GPU memory in GiB, maximum price in credits per hour, words of the name.

    ``available`` excludes machines that the account may not launch, and machines that are sold out.
    """

    memory_gib: float = 0.0
    price: Decimal | None = None
    available: bool = False
    text: str = ""

    @classmethod
    def of(
        cls, memory: str | float = "", price: str | float = "", *, available: bool = False, text: str = ""
    ) -> MachineFilter:
        """Read a need as people write it: ``40``, ``40 GB`` or ``40 GiB``, ``2.50``. Raises UsageError."""
        return cls(parse_gib(memory), parse_price(price), available, text.strip().lower())

    def fits(self, offer: MachineOffer) -> bool:
        """Whether a machine has all that is needed."""
        return (
            (not self.memory_gib or (offer.memory_gib or 0) >= self.memory_gib)
            and (self.price is None or (offer.price_per_hour is not None and offer.price_per_hour <= self.price))
            and (not self.available or (offer.allowed and offer.free is not False))
            and all(word in f"{offer.profile} {offer.gpu}".lower() for word in self.text.split())
        )


def build_offers(catalogue: Catalogue, sold: VMAvailability | None) -> list[MachineOffer]:
    """Return every machine type with the availability of its GPU; None if the server doesn't report it."""
    free: dict[str, bool] = {}
    for variant in sold.available_instance_variants if sold else ():
        card = variant.hardware_profile.lower()
        free[card] = free.get(card, False) or bool(variant.available_gpus_per_instance)
    return [
        make_offer(machine, allowed=catalogue.allows(machine), free=free.get(machine.card or ""))
        for machine in catalogue
    ]


def make_offer(machine: MachineType, *, allowed: bool = True, free: bool | None = None) -> MachineOffer:
    """Return a machine type as a row."""
    return MachineOffer(
        profile=machine.hardware_profile,
        gpu=machine.card_name,
        gpus=_reported_figure(machine, "gpu_count") or _count_gpus(machine),
        memory_gib=machine.memory_gib,
        vcpus=_reported_figure(machine, "cpu"),
        ram_gib=_reported_figure(machine, "memory"),
        price_per_hour=machine.price_per_hour,
        allowed=allowed,
        free=free,
    )


def _reported_figure(machine: MachineType, name: str) -> int | None:
    """Return a value that some servers report of a machine, by the field name of VM shapes."""
    more = machine.model_extra or {}
    specs = more.get("instance_specs")
    figure = (specs if isinstance(specs, dict) else more).get(name)
    return figure if isinstance(figure, int) else None


def _count_gpus(machine: MachineType) -> int:
    """Return the GPUs of a profile such as ``gpu.a100.2x``."""
    parts = re.findall(r"(?:^|\.)(\d+)x(?=\.|$)", machine.hardware_profile.lower())
    return int(parts[0]) if parts else int(machine.card is not None)


def filter_offers(offers: Iterable[MachineOffer], need: MachineFilter) -> list[MachineOffer]:
    """Return the machines that meet the requirements."""
    return [offer for offer in offers if need.fits(offer)]


def sort_offers(
    offers: Iterable[MachineOffer], by: str = "price_per_hour", *, descending: bool = False
) -> list[MachineOffer]:
    """Return machines in the order of a column; unknown values come last in both directions. Raises UsageError."""
    if by not in COLUMNS:
        raise UsageError(f"Unknown column '{by}'. Columns: {', '.join(COLUMNS)}.")
    by_name = sorted(offers, key=lambda offer: offer.profile)
    comparable = [offer for offer in by_name if getattr(offer, by) is not None]
    unknown = [offer for offer in by_name if getattr(offer, by) is None]
    return [*sorted(comparable, key=lambda offer: _sort_key(getattr(offer, by)), reverse=descending), *unknown]


def _sort_key(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def cheapest(offers: Sequence[MachineOffer], need: MachineFilter) -> MachineOffer:
    """Return the cheapest machine that fits, is allowed and is available. Raises UsageError without such a machine."""
    return cheapest_first(offers, need)[0]


def cheapest_first(offers: Sequence[MachineOffer], need: MachineFilter) -> list[MachineOffer]:
    """Return the machines that fit, are allowed and are available, the cheapest first. Raises UsageError for none."""
    needed = MachineFilter(need.memory_gib, need.price, available=True, text=need.text)
    matches = sort_by_price(filter_offers(offers, needed))
    if not matches:
        raise UsageError(_explain_no_match(offers, need))
    return matches


def nearest_matches(offers: Sequence[MachineOffer], need: MachineFilter) -> list[tuple[MachineOffer, str]]:
    """Return available machines that almost fit, each with the option of the line that includes it."""
    usable = [offer for offer in sort_by_price(offers) if offer.allowed and offer.free is not False]
    large = [offer for offer in usable if (offer.memory_gib or 0) >= need.memory_gib]
    cheap = [offer for offer in usable if need.price is None or (offer.price_per_hour or 0) <= need.price]
    rows = [(offer, f"--max-price {offer.price_per_hour}") for offer in large[:1]]
    largest = max(cheap, key=lambda offer: offer.memory_gib or 0, default=None)
    return rows + ([(largest, f"--memory {largest.memory_gib}")] if largest and largest.memory_gib else [])


def sort_by_price(offers: Iterable[MachineOffer]) -> list[MachineOffer]:
    """Return the machines with a published price, the cheapest first."""
    return sort_offers(offer for offer in offers if offer.price_per_hour is not None)


def _explain_no_match(offers: Sequence[MachineOffer], need: MachineFilter) -> str:
    usable = [offer for offer in offers if offer.allowed]
    largest = max(usable, key=lambda offer: offer.memory_gib or 0, default=None)
    if largest is None:
        return "Your account may not use any machine. Request a quota in the dashboard."
    if need.memory_gib > (largest.memory_gib or 0):
        size = f"{largest.memory_gib} GiB" if largest.memory_gib else "no GPU"
        return f"No machine that you may use has {need.memory_gib:g} GiB. The largest is {largest.profile} ({size})."
    return "No machine matches. Try less memory, a higher price, or another name."


def highest_cost(offer: MachineOffer, seconds: float) -> Decimal | None:
    """Return the cost of a run that uses its entire time limit; None without a published price."""
    return cost_at_limit(offer.price_per_hour, seconds)


def parse_gib(text: str | float) -> float:
    """Read an amount of memory: a number is GiB, and GB are a little less. Raises UsageError."""
    number, unit = _parse_amount(text, "Memory", "40 or 40 GB", _GIB)
    return number * _GIB[unit]


def parse_seconds(text: str | float, longest: int | None = None) -> int:
    """Read a time limit: a number is seconds, and 10 min or 2 h will do. Raises UsageError."""
    try:
        seconds = parse_duration(text) if isinstance(text, str) else round(text)
    except ValueError:
        raise UsageError(f"The time limit '{str(text)[:40]}' isn't valid. Examples: 600, 10m or 1h30m") from None
    if seconds < 1:
        raise UsageError("The time limit must be 1 second or more.")
    if longest is not None and seconds > longest:
        raise UsageError(f"The time limit must be {duration_label(longest)} or less, as set in max_timeout.")
    return seconds


def parse_price(text: str | float) -> Decimal | None:
    """Read a price; None for no text. Raises UsageError."""
    words = str(text).strip().replace(",", ".")
    if not words:
        return None
    try:
        price = Decimal(words.removesuffix("/h").removesuffix("credits").strip())
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price < 0:
        raise UsageError(f"The price '{str(text)[:40]}' isn't valid. Give credits per hour, such as 2.50.")
    return price


def _parse_amount(text: str | float, what: str, such_as: str, units: dict[str, Any]) -> tuple[float, str]:
    words = str(text).strip().lower()
    match = _AMOUNT.fullmatch(words)
    if words and (not match or match[2] not in units):
        raise UsageError(f"{what} '{str(text)[:40]}' isn't valid. Examples: {such_as}")
    return (float(match[1].replace(",", ".")), match[2]) if match else (0.0, "")


def offer_row(offer: MachineOffer) -> dict[str, Any]:
    """Return an offer as a table row of plain values."""
    price = offer.price_per_hour
    return {**asdict(offer), "price_per_hour": None if price is None else float(price)}
