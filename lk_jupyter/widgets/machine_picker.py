"""Choose a machine by memory, price and availability."""

from __future__ import annotations

import os
from typing import Any

from traitlets import Dict, List, Unicode

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.machines.default import FALLBACK, default_profile
from lk_jupyter.machines.offers import MachineOffer, cheapest
from lk_jupyter.machines.picker import PickerQuery, offer_table
from lk_jupyter.session import current
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import Table, join_tables
from lk_jupyter.widgets._view import View, user_action

WISH = PickerQuery().as_dict()
_COLUMNS = (
    "Chosen",
    "Machine",
    "GPU",
    "Memory GiB",
    "GPUs",
    "vCPU",
    "RAM GiB",
    "Price/h",
    "At most",
    "Quota",
    "Free now",
)
_FIGURES = frozenset({"Memory GiB", "GPUs", "vCPU", "RAM GiB", "Price/h", "At most"})


class MachinePicker(View):
    """All machine types that a run can use, to sort, filter and choose from.

    ``value`` is the chosen machine type, and so is ``str(picker)``: ``%%lk_run --machine $picker`` runs there.

    Args:
        memory: GPU memory that is needed at least, such as ``"40 GB"``. Default: any.
        price: Highest price in credits per hour. Default: any.
        available: Show only machines that are free now. Default: False.
        text: Text that the name contains. Default: any.
        limit: Time limit for which the highest possible cost is shown, such as ``"10 min"``. Default: none.

    Example:
        >>> from lk_jupyter.widgets import MachinePicker
        >>> picker = MachinePicker(memory="40 GB", price=2)
        >>> picker.load()
        >>> picker.choose_cheapest()
        >>> picker.value
        'gpu...'
        >>> picker.make_default()
    """

    component = "machine_picker"

    wish = Dict(WISH, help="text of each filter, as typed").tag(sync=True)
    rows: List[Any] = List(help="the matching machines, in order").tag(sync=True)
    total = Unicode(help="number of matching machines, and of all machines").tag(sync=True)
    value = Unicode(help="the chosen machine type").tag(sync=True)
    default = Unicode(help="machine of runs without --gpu and --machine").tag(sync=True)
    problem = Unicode(help="error in a filter; empty without errors").tag(sync=True)

    def __init__(
        self,
        *,
        memory: str | float = "",
        price: str | float = "",
        available: bool = False,
        text: str = "",
        limit: str | float = "",
    ) -> None:
        typed = {"memory": str(memory), "price": str(price), "text": text, "limit": str(limit)}
        self._offers: list[MachineOffer] = []
        super().__init__(
            every=60_000, wish={**WISH, **typed, "available": available}, value=setting("machine") or FALLBACK
        )
        self.default = self.value
        self.observe(lambda _: self._filter_machines(), ["wish"])
        self.observe(lambda _: self._publish_choice(), ["rows", "value", "problem"])

    def __str__(self) -> str:
        return self.value

    def load(self) -> None:
        """Read the machine types, their prices and their availability."""
        self._offers = current(start=False).offers()
        before, self.default = self.default, default_profile(self._offers)
        if self.value == before:
            self.value = self.default
        self._filter_machines()

    @user_action
    def choose_cheapest(self) -> None:
        """Choose the cheapest machine that fits, may be launched and is free."""
        self.value = cheapest(self._offers, self._query.need).profile
        self.say(f"{self.value} is the cheapest match.")

    @user_action
    def make_default(self) -> None:
        """Use the chosen machine for runs of this notebook that name none, until the kernel ends."""
        if self.value not in {offer.profile for offer in self._offers}:
            raise UsageError(f"Unknown machine '{self.value}'. Choose one from the table.")
        os.environ["LK_MACHINE"] = self.value
        self.default = self.value
        self.say(f"Runs of this notebook that don't name a machine use {self.value} until the kernel ends.")

    def picture(self) -> StaticView:
        """Show the machines that fitted, and which was chosen."""
        rows = [("✓" if row["profile"] == self.value else "", *map(str, row.values())) for row in self.rows]
        note = self.problem or f"{self.total} Chosen: {self.value}."
        return join_tables(Table(_COLUMNS, rows, note, _FIGURES, "Machines, prices in credits"))

    def _publish_choice(self) -> None:
        """Publish the present choice to the notebook."""
        for place in self._places:
            place.publish_soon()

    @property
    def _query(self) -> PickerQuery:
        return PickerQuery.of(self.wish)

    def _filter_machines(self) -> None:
        """Find the machines that match the filters; while a filter is invalid, the table doesn't change."""
        try:
            fitting = offer_table(self._offers, self._query)
        except LkError as problem:
            self.problem = str(problem)
            return
        self.problem, self.total, self.rows = fitting.problem, fitting.total, fitting.rows
