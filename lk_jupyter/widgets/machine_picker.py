"""Choosing a machine by memory, price and what can be had."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

from traitlets import Dict, List, Unicode

from lk_jupyter.config import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.runs.cost import credits_label
from lk_jupyter.runs.offers import Need, Offer, cheapest, fitting, offers, ordered, seconds_of, worst_case
from lk_jupyter.runs.session import current
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._view import View, action
from lk_jupyter.widgets.pictures.table import Table, picture

WISH: dict[str, Any] = {
    "memory": "",
    "price": "",
    "available": False,
    "text": "",
    "limit": "",
    "by": "price_per_hour",
    "descending": False,
}
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
        self._offers = offers(current(start=False))
        self._fit()

    @action
    def choose_cheapest(self) -> None:
        """Choose the cheapest machine that fits, may be launched and is not taken."""
        self.value = cheapest(self._offers, self._need()).profile
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

    def _need(self) -> Need:
        wish = {**WISH, **self.wish}
        return Need.of(wish["memory"], wish["price"], available=bool(wish["available"]), text=str(wish["text"]))

    def _fit(self) -> None:
        """Find what fits what was typed; while that cannot be read, the table stays as it is."""
        wish = {**WISH, **self.wish}
        try:
            seconds = seconds_of(wish["limit"] or setting("timeout"), setting("max_timeout"))
            found = fitting(self._offers, self._need())
            shown = ordered(found, str(wish["by"]), descending=bool(wish["descending"]))
        except LkError as problem:
            self.problem = str(problem)
            return
        self.problem = "" if shown or not self._offers else "No machine fits: ask for less memory or a higher price."
        self.total = f"{len(shown)} of {len(self._offers)} machines."
        self.rows = [_row(offer, seconds) for offer in shown]


def _row(offer: Offer, seconds: int) -> dict[str, Any]:
    return {
        "profile": offer.profile,
        "gpu": offer.gpu,
        "memory_gib": _figure(offer.memory_gib),
        "gpus": str(offer.gpus),
        "vcpus": _figure(offer.vcpus),
        "ram_gib": _figure(offer.ram_gib),
        "price_per_hour": _price(offer.price_per_hour),
        "worst": "not told" if (cost := worst_case(offer, seconds)) is None else credits_label(cost),
        "allowed": "yes" if offer.allowed else "no",
        "free": {True: "yes", False: "no", None: "not told"}[offer.free],
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(cell) for cell in row.values())


def _figure(figure: int | None) -> str:
    return "–" if figure is None else str(figure)  # noqa: RUF001 (a dash where nothing is told)


def _price(price: Decimal | None) -> str:
    return "no price" if price is None else f"{price:.2f}"
