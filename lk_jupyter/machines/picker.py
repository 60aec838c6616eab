"""The table of machines that a picker shows: the typed wish, and the matching machines as text.

The widget in a notebook and the panel of Lab show the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.machines.offers import (
    MachineFilter,
    MachineOffer,
    filter_offers,
    highest_cost,
    parse_seconds,
    sort_offers,
)
from lk_jupyter.text.units import count_label, credits_label


@dataclass(frozen=True)
class PickerQuery:
    """The typed query, and the column that sorts the table.

    ``memory`` is the minimum GPU memory, ``price`` the maximum price per hour, ``limit`` the time for which the highest
    cost of a run is shown (default: the setting ``timeout``).
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
        """Read the fields that a page sent; missing fields have their defaults."""
        default = cls().as_dict()
        return cls(**{name: type(default[name])(typed[name]) for name in default if name in typed})

    @property
    def need(self) -> MachineFilter:
        """Return the requirements of a machine. Raises UsageError."""
        return MachineFilter.of(self.memory, self.price, available=self.available, text=self.text)

    def as_dict(self) -> dict[str, Any]:
        """Return the query as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class OfferTable:
    """The matching machines, in order, each a row of words; ``problem`` is the reason for an empty table."""

    rows: list[dict[str, str]]
    total: str
    problem: str


def offer_table(offers: Sequence[MachineOffer], wish: PickerQuery) -> OfferTable:
    """Return the machines that match a wish. Raises UsageError for a wish that can't be parsed."""
    seconds = parse_seconds(wish.limit or setting("timeout"), setting("max_timeout"))
    rows = sort_offers(filter_offers(offers, wish.need), wish.by, descending=wish.descending)
    return OfferTable(
        [_offer_row(offer, seconds) for offer in rows],
        f"{len(rows)} of {count_label(len(offers), 'machine')}.",
        "" if rows or not offers else "No machine matches. Try less memory or a higher price.",
    )


def _offer_row(offer: MachineOffer, seconds: int) -> dict[str, str]:
    return {
        "profile": offer.profile,
        "gpu": offer.gpu,
        "memory_gib": _figure_text(offer.memory_gib),
        "gpus": str(offer.gpus),
        "vcpus": _figure_text(offer.vcpus),
        "ram_gib": _figure_text(offer.ram_gib),
        "price_per_hour": _price_text(offer.price_per_hour),
        "worst": "unknown" if (cost := highest_cost(offer, seconds)) is None else credits_label(cost),
        "allowed": "yes" if offer.allowed else "no",
        "free": {True: "yes", False: "no", None: "unknown"}[offer.free],
    }


def _figure_text(figure: int | None) -> str:
    return "–" if figure is None else str(figure)  # noqa: RUF001 (a dash where nothing is told)


def _price_text(price: Decimal | None) -> str:
    return "unknown" if price is None else f"{price:.2f}" if price else "free"
