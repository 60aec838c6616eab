"""Metrics of a run: its samples, on the time grid of the request."""

from __future__ import annotations

import re
import socket
from bisect import bisect_right
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from lk_jupyter.api._models import Timestamp
from lk_jupyter.api.execution import Execution, ExecutionMetrics
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.catalogue import is_gpu
from lk_jupyter.localcloud.clock import now, to_text
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.runs.gpus import Figures

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_MOST_POINTS = 11_000
_STALE_SECONDS = 5.0
_TIMESTAMP: TypeAdapter[datetime] = TypeAdapter(Timestamp)
_SERIES = [name for name in ExecutionMetrics.model_fields if name.startswith(("gpu", "system"))]


@implements(Execution.metrics)
def metrics(ctx: Context, execution_id: str, start: str | None, end: str | None, step: str) -> dict[str, Any]:
    """Read all series; GPU series only with a GPU, or with simulated values for a GPU machine."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    first = _parse_time("start", start or facts.get("start_time") or facts["created_at"])
    last = _parse_time("end", end or facts.get("end_time") or facts.get("finish_time") or now())
    grid = _build_grid(first, last, _parse_seconds(step))
    samples = ctx.cloud.samples.read_between(execution_id, first - _STALE_SECONDS, last)
    has_gpu = is_gpu(facts["hardware_profile"])
    series = [name for name in _SERIES if has_gpu or not name.startswith("gpu")]
    simulated = " (simulated GPU)" if has_gpu and ctx.cloud.samples.simulate_gpu else ""
    return {
        "executionId": execution_id,
        "hostname": socket.gethostname() + simulated,
        "timeRange": {"start": to_text(first), "end": to_text(last)},
        **{name: [] for name in _SERIES},
        **{name: _build_points(name, grid, samples) for name in series},
    }


def _build_grid(first: float, last: float, step: float) -> list[float]:
    count = int((last - first) // step) + 1
    if count > _MOST_POINTS:
        raise invalid("query", "step", f"{count} points are too many: use a longer step or a shorter window")
    return [first + index * step for index in range(count)]


def _build_points(name: str, grid: list[float], samples: list[tuple[float, Figures]]) -> list[dict[str, Any]]:
    """Return for each time of the grid the last sample before, unless that sample is too old."""
    measured = [(moment, figures[name]) for moment, figures in samples if name in figures]
    times = [moment for moment, _ in measured]
    points = []
    for moment in grid:
        index = bisect_right(times, moment) - 1
        if index >= 0 and moment - times[index] <= _STALE_SECONDS:
            points.append({"timestamp": to_text(moment), "value": measured[index][1]})
    return points


def _parse_seconds(step: str) -> float:
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d{1,9})(ms|[smhdwy])", step))
    if not _DURATION.fullmatch(step) or not seconds:
        raise invalid("query", "step", f"{step!r} is not a duration: write it as 5s, 15s or 1m")
    return seconds


def _parse_time(name: str, text: str) -> float:
    try:
        return _TIMESTAMP.validate_python(re.sub(r" (?=\d\d:\d\d$)", "+", text)).timestamp()  # "+" may come as a space
    except ValueError:
        raise invalid("query", name, f"{text!r} is no ISO 8601 time such as 2026-06-02T09:14:24Z") from None
