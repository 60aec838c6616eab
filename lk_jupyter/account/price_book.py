"""The price book as rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from lk_jupyter.api.pricing import PriceBook, PriceEntry

COLUMNS = ("what", "of", "credits", "per")

_MILLION = 1_000_000


def price_rows(book: PriceBook, words: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the entries that contain all of the words, each with the subject of its price."""
    rows = [_price_row(entry) for entry in book]
    return [row for row in rows if all(word.lower() in f"{row['what']} {row['of']}".lower() for word in words)]


def _price_row(entry: PriceEntry) -> dict[str, Any]:
    price, unit = _comparable_price(entry)
    selector = ", ".join(str(value) for value in entry.selector.values())
    return {"what": entry.meter_slug, "of": selector, "credits": None if price is None else float(price), "per": unit}


def _comparable_price(entry: PriceEntry) -> tuple[Decimal | None, str]:
    """Return a price in a unit that users can compare."""
    if entry.unit_price_per_hour is not None:
        return entry.unit_price_per_hour, "hour"
    if entry.unit_price is not None and entry.meter_slug.endswith("_tokens"):
        return entry.unit_price * _MILLION, "million tokens"
    return entry.unit_price, "unit"
