"""Machine types, cheapest first."""

from __future__ import annotations

from collections.abc import Iterable

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.machines.catalogue import Catalogue, price_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, Table, join_tables, omitted_line

_COLUMNS = ("Machine", "GPU", "Memory GiB", "Price")


def catalogue(value: Catalogue) -> StaticView:
    """Show machine types, and which types the account may launch."""
    return _build_type_table(_sort_by_price(value), value)


def machines(value: Iterable[MachineType]) -> StaticView:
    """Show machine types."""
    return _build_type_table(_sort_by_price(value), None)


def machine(value: MachineType) -> StaticView:
    """Show a machine type."""
    return _build_type_table([value], None)


def _sort_by_price(types: Iterable[MachineType]) -> list[MachineType]:
    return sorted(types, key=lambda each: (each.price_per_hour is None, each.price_per_hour, each.hardware_profile))


def _build_type_table(types: list[MachineType], allowed: Catalogue | None) -> StaticView:
    columns = (*_COLUMNS, "You may use it") if allowed else _COLUMNS
    rows = [
        (*_build_machine_row(each), *(["yes" if allowed.allows(each) else "no"] if allowed else []))
        for each in types[:MOST]
    ]
    note = (
        omitted_line(len(types), MOST, "All machine types: %lk_machines")
        if types
        else "No machine types for this account."
    )
    caption = "1 machine type" if len(types) == 1 else f"{len(types):,} machine types, prices in credits"
    return join_tables(Table(columns, rows, note, frozenset({"Memory GiB", "Price"}), caption))


def _build_machine_row(each: MachineType) -> tuple[str, ...]:
    memory = str(each.memory_gib or "unknown") if each.card else ""
    return each.hardware_profile, each.card_name, memory, price_label(each)
