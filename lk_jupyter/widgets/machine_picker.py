"""Choosing a machine by memory, price and what can be had."""

from __future__ import annotations

import os
from typing import Any

from traitlets import Dict, List, Unicode

from lk_jupyter.config import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.runs.offer_table import Wish, table
from lk_jupyter.runs.offers import Offer, cheapest
from lk_jupyter.runs.session import current
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._view import View, action
from lk_jupyter.widgets.pictures.table import Table, picture

WISH = Wish().as_dict()
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
    """All machines that a run can ask for, to sort, filter and choose from.

    ``value`` is the profile that was chosen, and so is ``str(picker)``: ``%%lk_run --machine $picker``
    runs there. ``memory`` is what a GPU must have ("40 GB"), ``price`` the most that an hour may
    cost, ``limit`` the time for which the most that a run can cost is told ("10 min").
    """

    component = "machine_picker"

    wish = Dict(WISH, help="what is asked for, as it was typed").tag(sync=True)
    rows: List[Any] = List(help="the machines that fit, in order").tag(sync=True)
    total = Unicode(help="how many of how many").tag(sync=True)
    value = Unicode(help="the profile that was chosen").tag(sync=True)
    default = Unicode(help="the machine of runs that name none").tag(sync=True)
    problem = Unicode(help="what of the wish is not understood").tag(sync=True)

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
        self._offers: list[Offer] = []
        super().__init__(every=60_000, wish={**WISH, **typed, "available": available}, value=setting("machine"))
        self.observe(lambda _: self._fit(), ["wish"])
        self.observe(lambda _: self._keep(), ["rows", "value", "problem"])

    def __str__(self) -> str:
        return self.value

    def load(self) -> None:
        """Ask which machines there are, and which of them can be had."""
        self.default = setting("machine")
        self._offers = current(start=False).offers()
        self._fit()

    @action
    def choose_cheapest(self) -> None:
        """Choose the cheapest machine that fits, may be launched and is not taken."""
        self.value = cheapest(self._offers, self._wish.need).profile
        self.say(f"{self.value} is the cheapest that fits.")

    @action
    def make_default(self) -> None:
        """Let runs of this notebook that name no machine take the one that is chosen, until the kernel ends."""
        if self.value not in {offer.profile for offer in self._offers}:
            raise UsageError(f"There is no machine {self.value!r}. Choose one of the table.")
        os.environ["LK_MACHINE"] = self.value
        self.default = self.value
        self.say(f"Runs of this notebook that name no machine take {self.value} now, until the kernel ends.")

    def picture(self) -> Picture:
        """Tell the machines that fitted, and which was chosen."""
        rows = [("✓" if row["profile"] == self.value else "", *_cells(row)) for row in self.rows]
        note = self.problem or f"{self.total} Chosen: {self.value}."
        return picture(Table(_COLUMNS, rows, note, _FIGURES, "Machines, prices in credits"))

    def _keep(self) -> None:
        """Leave in the notebook what is chosen now."""
        for place in self._places:
            place.changed()

    @property
    def _wish(self) -> Wish:
        return Wish.of(self.wish)

    def _fit(self) -> None:
        """Find what fits what was typed; while that cannot be read, the table stays as it is."""
        try:
            shown = table(self._offers, self._wish)
        except LkError as problem:
            self.problem = str(problem)
            return
        self.problem, self.total, self.rows = shown.problem, shown.total, shown.rows


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(cell) for cell in row.values())
