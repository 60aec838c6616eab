"""The table of machines that a picker shows: a wish as it was typed, and what fits it, in words.

The widget in a notebook and the panel of Lab show the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.machines.offers import MachineFilter, MachineOffer, fitting, ordered, parse_seconds, worst_case
from lk_jupyter.text.units import credits_label


@dataclass(frozen=True)
class PickerQuery:
    """What is asked for, as it was typed, and the column that puts it in order.

    ``memory`` is what a GPU must have, ``price`` the most that an hour may cost, ``limit`` the time for which the
    highest cost of a run is shown; without one it is the setting ``timeout``.
    """

    memory: str = ""
    price: str = ""
    available: bool = False
    text: str = ""
    limit: str = ""
    by: str = "price_per_hour"
    descending: bool = False

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> PickerQuery:
        """Take what a page sent; what it left out is not asked for."""
        default = cls().as_dict()
        return cls(**{name: type(default[name])(typed[name]) for name in default if name in typed})

    @property
    def need(self) -> MachineFilter:
        """What a machine must have. Raises UsageError."""
        return MachineFilter.of(self.memory, self.price, available=self.available, text=self.text)

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values."""
        return asdict(self)


@dataclass(frozen=True)
class OfferTable:
    """The machines that fit, in order, each a row of words; ``problem`` says why there is none."""

    rows: list[dict[str, str]]
    total: str
    problem: str


def table(offers: Sequence[MachineOffer], wish: PickerQuery) -> OfferTable:
    """Return what fits a wish. Raises UsageError when it is not understood."""
    seconds = parse_seconds(wish.limit or setting("timeout"), setting("max_timeout"))
    rows = ordered(fitting(offers, wish.need), wish.by, descending=wish.descending)
    return OfferTable(
        [_row(offer, seconds) for offer in rows],
        f"{len(rows)} of {len(offers)} machines.",
        "" if rows or not offers else "No machine matches. Try less memory or a higher price.",
    )


def _row(offer: MachineOffer, seconds: int) -> dict[str, str]:
    return {
        "profile": offer.profile,
        "gpu": offer.gpu,
        "memory_gib": _figure(offer.memory_gib),
        "gpus": str(offer.gpus),
        "vcpus": _figure(offer.vcpus),
        "ram_gib": _figure(offer.ram_gib),
        "price_per_hour": _price(offer.price_per_hour),
        "worst": "unknown" if (cost := worst_case(offer, seconds)) is None else credits_label(cost),
        "allowed": "yes" if offer.allowed else "no",
        "free": {True: "yes", False: "no", None: "unknown"}[offer.free],
    }


def _figure(figure: int | None) -> str:
    return "–" if figure is None else str(figure)  # noqa: RUF001 (a dash where nothing is told)


def _price(price: Decimal | None) -> str:
    return "no price" if price is None else f"{price:.2f}"
