"""The ledger of an organization, drawn by day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

from lk_jupyter.api.orgs import OrgTransaction
from lk_jupyter.text.pandas import import_pyplot
from lk_jupyter.text.plotting import COLOURS

_HATCHES = ("", "//", "..", "xx", "--", "\\\\", "oo")
_LEAST = 7
_EMPTY = "No spending."
_STYLE = {
    "axes.edgecolor": "#444444",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelcolor": "#222222",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "savefig.dpi": 300,
    "text.color": "#222222",
    "xtick.color": "#222222",
    "ytick.color": "#222222",
}


def draw_spending(entries: Sequence[OrgTransaction], title: str) -> Any:
    """Return a Figure: spending per day, by source; hatching separates the sources without color."""
    plt = import_pyplot()
    spent = _debits_by_source(entries)
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(7.0, 2.4), layout="constrained")
        days = _all_days(spent)
        ground = [0.0] * len(days)
        for number, (source, sums) in enumerate(spent.items()):
            heights = [float(sums[day]) for day in days]
            axis.bar(
                days,
                heights,
                bottom=ground,
                label=source,
                color=COLOURS[number % len(COLOURS)],
                hatch=_HATCHES[number % len(_HATCHES)],
                edgecolor="white",
                width=0.7,
            )
            ground = [low + height for low, height in zip(ground, heights, strict=True)]
        _finish_axis(axis, title, is_empty=not spent)
        plt.close(figure)  # so that the cell shows the figure only once
    return figure


def _debits_by_source(entries: Sequence[OrgTransaction]) -> dict[str, Counter[date]]:
    """Return the debits of each source by day, the largest source first."""
    amounts: defaultdict[str, Counter[date]] = defaultdict(Counter)
    for entry in entries:
        if entry.kind == "debit" and entry.created_at and entry.amount is not None:
            source = str((entry.metadata or {}).get("source") or "other").replace("_", " ")
            amounts[source][entry.created_at.astimezone().date()] += abs(entry.amount)  # type: ignore[assignment]
    return dict(sorted(amounts.items(), key=lambda each: -sum(each[1].values(), Decimal(0))))


def _all_days(spent: dict[str, Counter[date]]) -> list[date]:
    """Return every day from the first debit to the last, at least a week, including days without a debit."""
    dates = {day for sums in spent.values() for day in sums}
    first, last = min(dates, default=None), max(dates, default=None)
    if not (first and last):
        return []
    first = min(first, last - timedelta(days=_LEAST - 1))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _finish_axis(axis: Any, title: str, *, is_empty: bool) -> None:
    axis.set_title(f"Spent by {title}", loc="left", fontsize=10)
    axis.set_ylabel("credits per day")
    axis.grid(visible=False, axis="x")
    axis.set_axisbelow(True)
    if is_empty:
        axis.text(0.5, 0.5, _EMPTY, ha="center", va="center", transform=axis.transAxes)
        axis.set_xticks([])
        axis.set_yticks([])
    else:
        dates = import_module("matplotlib.dates")
        axis.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=10, interval_multiples=False))
        axis.xaxis.set_major_formatter(dates.DateFormatter("%d %b"))
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
