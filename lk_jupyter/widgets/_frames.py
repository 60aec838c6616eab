"""Metrics on their way to the browser: the numbers as bytes, with what they mean."""

from __future__ import annotations

import math
from array import array
from typing import Any

from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.runs.metrics.series import SERIES, with_gaps
from lk_jupyter.text.redact import redact


def frame_of(metrics: Metrics) -> dict[str, Any]:
    """Return the metrics of a run as the component ``MetricsPlot`` takes them.

    ``points`` holds columns of doubles, one after the other: seconds since the start of the run, then
    each of ``series``; NaN is a gap, and so is a row in which all are missing.
    """
    columns = {series: dict(metrics.samples.get(series.column, [])) for series in SERIES}
    told = [series for series, found in columns.items() if found]
    moments = sorted(set().union(*columns.values()))
    times = [moment for moment, _ in with_gaps([(moment, 0.0) for moment in moments], metrics.step)]
    begin = metrics.start.timestamp()
    points = array("d", (moment - begin for moment in times))
    for series in told:
        found = columns[series]
        points.extend(found.get(moment, math.nan) for moment in times)
    return {
        "run": redact(metrics.label),
        "host": redact(metrics.hostname),
        "step": metrics.step,
        "series": [{"label": each.label, "unit": each.unit, "panel": each.panel} for each in told],
        "points": points.tobytes(),
    }
