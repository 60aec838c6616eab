"""Machine types, cheapest first."""

from __future__ import annotations

from collections.abc import Iterable

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.machines.catalogue import Catalogue, price_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, Table, picture, rest

_COLUMNS = ("Machine", "GPU", "Memory GiB", "Price")


def catalogue(found: Catalogue) -> StaticView:
    """Show machine types, and which of them the account may launch."""
    return _shown(_cheapest_first(found), found)


def machines(found: Iterable[MachineType]) -> StaticView:
    """Show machine types."""
    return _shown(_cheapest_first(found), None)


def machine(found: MachineType) -> StaticView:
    """Show one machine type."""
    return _shown([found], None)


def _cheapest_first(found: Iterable[MachineType]) -> list[MachineType]:
    return sorted(found, key=lambda each: (each.price_per_hour is None, each.price_per_hour, each.hardware_profile))


def _shown(found: list[MachineType], allowed: Catalogue | None) -> StaticView:
    columns = (*_COLUMNS, "You may use it") if allowed else _COLUMNS
    rows = [(*_row(each), *(["yes" if allowed.allows(each) else "no"] if allowed else [])) for each in found[:MOST]]
    note = rest(len(found), MOST, "All machine types: %lk_machines") if found else "No machine types for this account."
    caption = "1 machine type" if len(found) == 1 else f"{len(found):,} machine types, prices in credits"
    return picture(Table(columns, rows, note, frozenset({"Memory GiB", "Price"}), caption))


def _row(each: MachineType) -> tuple[str, ...]:
    memory = str(each.memory_gib or "unknown") if each.card else ""
    return each.hardware_profile, each.card_name, memory, price_label(each)
