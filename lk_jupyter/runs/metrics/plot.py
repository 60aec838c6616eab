"""Draw metrics with matplotlib, in a style for print."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.runs.metrics.series import BY_COLUMN, EMPTY, SERIES, Sampled, Series, measured_values
from lk_jupyter.text.pandas import import_pyplot
from lk_jupyter.text.plotting import COLOURS, INK, LINES, clear_figure, style_axis

_PANEL, _FOOT, _LINE = 1.45, 0.6, 0.15


def draw(runs: Sequence[Sampled], columns: Sequence[str]) -> Any:
    """Return a Figure of these series of the runs; of all that have samples where none are named."""
    plt = import_pyplot()
    figure = fill(plt.figure(), runs, columns)
    plt.close(figure)  # the last value of a cell is shown once, not again as an open figure
    return figure


def fill(figure: Any, runs: Sequence[Sampled], columns: Sequence[str] = (), head: str = "") -> Any:
    """Draw these series into a figure, below some lines of text, independently of the current style."""
    panels = _group_panels(runs, _select_series(runs, columns))
    high = _PANEL * max(1, len(panels)) + _FOOT + _LINE * len(head.splitlines())
    clear_figure(figure, high, head)
    axes = [row[0] for row in figure.subplots(max(1, len(panels)), sharex=True, squeeze=False)]
    unit, seconds = _choose_time_unit(runs)
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel, runs, seconds)
    hosts = ", ".join(dict.fromkeys(run.hostname for run in runs if run.hostname))
    measured = f" · measured on {hosts}" if hosts else ""
    axes[-1].set_xlabel(f"Time since the start ({unit}){measured}", color=INK, fontsize=9)
    if not panels:
        style_axis(axes[0])
        axes[0].text(0.5, 0.5, EMPTY, ha="center", va="center", color=INK, transform=axes[0].transAxes)
        axes[0].set_yticks([])
    return figure


def _select_series(runs: Sequence[Sampled], columns: Sequence[str]) -> list[Series]:
    for name in columns:
        if name not in BY_COLUMN:
            raise UsageError(f"Unknown metric '{name}'. Metrics: {', '.join(BY_COLUMN)}.")
    selected = [BY_COLUMN[name] for name in columns] or list(SERIES)
    return [series for series in selected if any(measured_values(run.samples.get(series.column, [])) for run in runs)]


def _group_panels(runs: Sequence[Sampled], chosen: Sequence[Series]) -> list[list[Series]]:
    """Return the series of each panel. The series of a single run share a panel, the series of several runs don't."""
    if len(runs) > 1:
        return [[series] for series in chosen]
    return [list(group) for _, group in groupby(chosen, key=lambda series: series.panel)]


def _choose_time_unit(runs: Sequence[Sampled]) -> tuple[str, float]:
    ends = [samples[-1][0] - run.start.timestamp() for run in runs for samples in run.samples.values() if samples]
    longest = max(ends, default=0.0)
    return next(((unit, size) for unit, size in (("h", 3600.0), ("min", 60.0)) if longest > 2 * size), ("s", 1.0))


def _draw_panel(axis: Any, panel: Sequence[Series], runs: Sequence[Sampled], unit: float) -> None:
    style_axis(axis)
    lines = [(run, series) for run in runs for series in panel]
    for number, (run, series) in enumerate(lines):
        begin, samples = run.start.timestamp(), run.broken(series.column)
        axis.plot(
            [(moment - begin) / unit for moment, _ in samples],
            [value for _, value in samples],
            label=run.label if len(runs) > 1 else series.label,
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % len(LINES)],
            linewidth=1.4,
            marker="o" if len(measured_values(samples)) == 1 else None,
        )
    title = panel[0].label if len(panel) == 1 else panel[0].panel
    axis.set_ylabel(f"{title}\n({panel[0].unit})", color=INK, fontsize=9)
    if panel[0].unit == "%":
        axis.set_ylim(-3, 103)
    else:
        axis.set_ylim(bottom=0)
    if len(lines) > 1:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0}
        axis.legend(**beside, frameon=False, fontsize=8, labelcolor=INK)
