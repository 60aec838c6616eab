"""The price book: machines by card and count, models by the million tokens, and whatever else has a price."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from lk_jupyter.account.active import hardware_label
from lk_jupyter.api.pricing import PriceBook, PriceEntry
from lk_jupyter.text.units import count_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, Table, join_tables, omitted_line

_MACHINE = re.compile(r"(?P<type>[a-z-]+)\.(?P<card>[a-z0-9]+)\.(?P<count>\d+)x")
_TOKENS = re.compile(r"(?P<what>.*)_(?P<side>prompt|completion)_tokens")
_MILLION = 1_000_000
_ALL = "All prices: list(prices)"


def prices(book: PriceBook) -> StaticView:
    """Show all prices, with a table for each kind."""
    vms = [entry for entry in book if entry.meter_slug == "vm_running" and _match_machine(entry)]
    tokens = [entry for entry in book if _TOKENS.fullmatch(entry.meter_slug)]
    used = {id(entry) for entry in (*vms, *tokens)}
    remaining = [entry for entry in book if id(entry) not in used]
    tables = [
        make(entries)
        for make, entries in (
            (_build_vm_prices_table, vms),
            (_build_model_prices_table, tokens),
            (_build_other_prices_table, remaining),
        )
        if entries
    ]
    return join_tables(*tables or [_build_other_prices_table([])])


def _match_machine(entry: PriceEntry) -> re.Match[str] | None:
    return _MACHINE.fullmatch(str(entry.selector.get("hardware_profile", "")).lower())


def _build_vm_prices_table(entries: Iterable[PriceEntry]) -> Table:
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for entry in entries:
        match = _match_machine(entry)
        if match:
            cells.setdefault((match["card"], match["type"]), {})[int(match["count"])] = _format_amount(
                entry.unit_price_per_hour
            )
    counts = sorted({count for row in cells.values() for count in row})
    columns = ("GPU", "Sold as", *(count_label(count, "GPU") for count in counts))
    rows = [
        (hardware_label(card), kind, *(row.get(count, "") for count in counts))
        for (card, kind), row in list(cells.items())[:MOST]
    ]
    caption, note = "Virtual machines, credits per hour", omitted_line(len(cells), MOST, _ALL)
    return Table(columns, rows, note, frozenset(columns[2:]), caption)


def _build_model_prices_table(entries: Iterable[PriceEntry]) -> Table:
    cells: dict[str, dict[str, str]] = {}
    for entry in entries:
        match = _TOKENS.fullmatch(entry.meter_slug)
        model = str(entry.selector.get("deployment_id", "any model")).removeprefix("serverless:")
        if match and entry.unit_price is not None:
            cells.setdefault(model, {})[match["side"]] = _format_amount(entry.unit_price * _MILLION)
    rows = [(name, row.get("prompt", ""), row.get("completion", "")) for name, row in list(cells.items())[:MOST]]
    right = frozenset({"Read", "Written"})
    return Table(
        ("Model", "Read", "Written"), rows, omitted_line(len(cells), MOST, _ALL), right, "Credits per million tokens"
    )


def _build_other_prices_table(entries: list[PriceEntry]) -> Table:
    rows = [
        (
            entry.meter_slug,
            _format_selector(entry),
            _format_amount(entry.unit_price),
            _format_amount(entry.unit_price_per_hour),
        )
        for entry in entries[:MOST]
    ]
    columns = ("Meter", "For", "Each unit", "Each hour")
    note = omitted_line(len(entries), MOST, _ALL) if entries else "No prices."
    return Table(columns, rows, note, frozenset(columns[2:]), "Other prices, in credits")


def _format_selector(entry: PriceEntry) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.selector.items())


def _format_amount(price: Decimal | None) -> str:
    return "" if price is None else f"{price.normalize():f}"
