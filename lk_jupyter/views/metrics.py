"""Metrics of a run: each series as a line of figures with a small curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lk_jupyter.api.execution import ExecutionMetrics
from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.runs.metrics.series import EMPTY, SERIES, Point, Series, measured_values
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import Drawing, Table, figure_text, join_tables

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDE, _HIGH, _CHARACTERS = 160, 24, 24
_COLUMNS = ("Series", "Last", "Mean", "Peak", "Unit", "Course")
_RIGHT = frozenset({"Last", "Mean", "Peak"})


def answer(response: ExecutionMetrics) -> StaticView:
    """Show an answer of the API."""
    return metrics(Metrics.from_response(response))


def metrics(value: Metrics) -> StaticView:
    """Show the metrics of a run, with a row for each series with samples."""
    rows = [
        _build_series_row(series, value.samples[series.column])
        for series in SERIES
        if measured_values(value.samples.get(series.column, []))
    ]
    caption = f"Metrics of run {value.label}" + (f" on {value.hostname}" if value.hostname else "")
    return join_tables(Table(_COLUMNS, rows, "" if rows else EMPTY, _RIGHT, caption))


def _build_series_row(series: Series, samples: Sequence[Point]) -> tuple[str | Drawing, ...]:
    values = measured_values(samples)
    figures = (values[-1], sum(values) / len(values), max(values))
    return (series.label, *map(figure_text, figures), series.unit, _draw_curve(samples, max(values)))


def _draw_curve(samples: Sequence[Point], peak: float) -> Drawing:
    values = _pick_highest_values(samples, _CHARACTERS)
    heights = [None if math.isnan(value) else (value / peak if peak > 0 else 0.0) for value in values]
    text = "".join(" " if height is None else _BLOCKS[max(0, min(7, int(height * 8)))] for height in heights)
    return Drawing(_render_curve(_pick_highest_values(samples, _WIDE // 2), peak), text)


def _pick_highest_values(samples: Sequence[Point], most: int) -> list[float]:
    """Return the highest value of each of this number of pieces; a piece without any is NaN."""
    size = max(1.0, len(samples) / most)
    pieces = [samples[round(at * size) : round((at + 1) * size)] for at in range(min(most, len(samples)))]
    return [max(measured_values(piece), default=math.nan) for piece in pieces]


def _render_curve(values: Sequence[float], peak: float) -> str:
    """Draw a curve that breaks in gaps; a value alone is a dot."""
    across, up = (_WIDE - 4) / max(1, len(values) - 1), (_HIGH - 4) / (peak or 1)
    path, is_down = [], False
    for at, value in enumerate(values):
        if not math.isnan(value):
            place = f"{2 + at * across:.1f} {_HIGH - 2 - value * up:.1f}"
            path.append(f"L{place}" if is_down else f"M{place}h.1")
        is_down = not math.isnan(value)
    return (
        f'<svg width="{_WIDE}" height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}" aria-hidden="true">'
        f'<path d="{"".join(path)}" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"/></svg>'
    )
