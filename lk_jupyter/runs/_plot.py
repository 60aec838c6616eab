"""Metrics drawn by matplotlib, as one would print them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.runs._tables import pyplot
from lk_jupyter.runs.metrics import EMPTY, Metrics
from lk_jupyter.runs.series import BY_COLUMN, SERIES, Series, known

#: Colours that people of any colour vision tell apart (Okabe and Ito, 2008), and lines that need no colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))

_DARK, _INK, _PALE = "#444444", "#222222", "#dddddd"
_WIDTH, _PANEL, _FOOT, _LINE = 7.0, 1.45, 0.6, 0.15


def draw(runs: Sequence[Metrics], columns: Sequence[str]) -> Any:
    """Return a Figure of these series of the runs; of all that have samples where none are named."""
    plt = pyplot()
    figure = fill(plt.figure(), runs, columns)
    plt.close(figure)  # the last value of a cell is shown once, not again as an open figure
    return figure


def fill(figure: Any, runs: Sequence[Metrics], columns: Sequence[str] = (), head: str = "") -> Any:
    """Draw these series into a figure, below some lines of text; it looks the same whatever style is set."""
    panels = _panels(runs, _chosen(runs, columns))
    high = _PANEL * max(1, len(panels)) + _FOOT + _LINE * len(head.splitlines())
    blank(figure, high, head)
    axes = [row[0] for row in figure.subplots(max(1, len(panels)), sharex=True, squeeze=False)]
    unit, seconds = _time_unit(runs)
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel, runs, seconds)
    axes[-1].set_xlabel(f"Time since the start ({unit})", color=_INK, fontsize=9)
    if not panels:
        dress(axes[0])
        axes[0].text(0.5, 0.5, EMPTY, ha="center", va="center", color=_INK, transform=axes[0].transAxes)
        axes[0].set_yticks([])
    return figure


def blank(figure: Any, high: float, head: str) -> None:
    """Make a figure a white page of this height in inches, with lines of text at its top."""
    figure.set_size_inches(_WIDTH, high)
    figure.set_layout_engine("constrained")
    figure.set_facecolor("white")
    if head:
        words = {"family": "monospace", "fontsize": 8, "color": _INK, "parse_math": False}
        figure.suptitle(head, x=0.01, ha="left", **words)


def dress(axis: Any) -> None:
    """Give an axis its colours and sizes; the style that is set is the user's, and so is the thread that sets it."""
    axis.set_facecolor("white")
    axis.set_axisbelow(True)
    axis.grid(visible=True, color=_PALE, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_DARK)
    axis.tick_params(colors=_INK, labelsize=9)


def _chosen(runs: Sequence[Metrics], columns: Sequence[str]) -> list[Series]:
    for name in columns:
        if name not in BY_COLUMN:
            raise UsageError(f"There is no series {name!r}. There are: {', '.join(BY_COLUMN)}.")
    wanted = [BY_COLUMN[name] for name in columns] or list(SERIES)
    return [series for series in wanted if any(known(run.samples.get(series.column, [])) for run in runs)]


def _panels(runs: Sequence[Metrics], chosen: Sequence[Series]) -> list[list[Series]]:
    """Return the series of each panel: those of one run share one, those of several runs would be a tangle."""
    if len(runs) > 1:
        return [[series] for series in chosen]
    return [list(group) for _, group in groupby(chosen, key=lambda series: series.panel)]


def _time_unit(runs: Sequence[Metrics]) -> tuple[str, float]:
    ends = [samples[-1][0] - run.start.timestamp() for run in runs for samples in run.samples.values() if samples]
    longest = max(ends, default=0.0)
    return next(((unit, size) for unit, size in (("h", 3600.0), ("min", 60.0)) if longest > 2 * size), ("s", 1.0))


def _draw_panel(axis: Any, panel: Sequence[Series], runs: Sequence[Metrics], unit: float) -> None:
    dress(axis)
    lines = [(run, series) for run in runs for series in panel]
    for number, (run, series) in enumerate(lines):
        begin, found = run.start.timestamp(), run.broken(series.column)
        axis.plot(
            [(moment - begin) / unit for moment, _ in found],
            [value for _, value in found],
            label=run.label if len(runs) > 1 else series.label,
            color=COLOURS[number % len(COLOURS)],
            linestyle=_LINES[number % len(_LINES)],
            linewidth=1.4,
            marker="o" if len(known(found)) == 1 else None,
        )
    title = panel[0].label if len(panel) == 1 else panel[0].panel
    axis.set_ylabel(f"{title}\n({panel[0].unit})", color=_INK, fontsize=9)
    if panel[0].unit == "%":
        axis.set_ylim(-3, 103)
    else:
        axis.set_ylim(bottom=0)
    if len(lines) > 1:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0}
        axis.legend(**beside, frameon=False, fontsize=8, labelcolor=_INK)
