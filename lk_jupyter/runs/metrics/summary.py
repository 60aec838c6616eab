"""Measure the GPU use of runs, and store the figures in the journal."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.runs.run import Run

#: Points of a metrics series that are asked for, at most.
_POINTS = 600

_lock = threading.Lock()


@dataclass(frozen=True)
class GpuUsage:
    """The GPU use of a run; None if there are no metrics.

    ``peak_memory`` and ``mean_use`` in percent, ``peak_gib`` in GiB.

    Example:
        >>> fan = session.fan_out("print(x)", sweep=["x=1,2"])
        >>> _ = fan.wait()
        >>> fan.outcomes()[0].gpu.is_known
        False
    """

    peak_memory: float | None = None
    mean_use: float | None = None
    peak_gib: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there are metrics of the GPU."""
        return (self.peak_memory, self.mean_use) != (None, None)


def measure_gpu(run: Run, seconds: float | None) -> GpuUsage:
    """Read the GPU use of a run; empty if the cloud has no series of the GPU."""
    try:
        series = run.metrics(f"{max(1, round((seconds or 0) / _POINTS))}s")
    except LkError:
        return GpuUsage()
    memory = [point.value for point in series.gpuMemoryUtilizationPercent or [] if point.value is not None]
    use = [point.value for point in series.gpuUtilizationPercent or [] if point.value is not None]
    peak, gib = max(memory, default=None), run.machine.memory_gib if run.machine else None
    return GpuUsage(peak, fmean(use) if use else None, peak * gib / 100 if peak is not None and gib else None)


def figures(gpu: GpuUsage) -> dict[str, Any]:
    """Return the figures of the GPU use, rounded for a table; None if no series has samples."""
    values = {
        "peak_gpu_memory_percent": gpu.peak_memory,
        "peak_gpu_memory_gib": gpu.peak_gib,
        "mean_gpu_utilization_percent": gpu.mean_use,
    }
    return {name: value if value is None else round(value, 2) for name, value in values.items()}


def is_measured(summary: Mapping[str, Any]) -> bool:
    """Return whether the figures of a run include the use of the GPU, even if the cloud had no samples."""
    return not summary.keys().isdisjoint(figures(GpuUsage()))


def keep_summary(run: Run, seconds: float | None, *, settled: bool = False) -> dict[str, Any]:
    """Read the metrics of a run that has ended, and store their figures in the journal.

    Metrics come late: missing metrics are only stored if the run is ``settled``.
    """
    gpu_figures = figures(measure_gpu(run, seconds))
    has_figures = settled or any(figure is not None for figure in gpu_figures.values())
    return keep_figures(run.execution_id, gpu_figures) if has_figures else gpu_figures


def keep_figures(execution_id: str, new_figures: Mapping[str, Any]) -> dict[str, Any]:
    """Add these figures of a run to its figures in the journal. Return all; values that aren't finite are None."""
    finite = {name: None if isinstance(n, float) and not math.isfinite(n) else n for name, n in new_figures.items()}
    with _lock:
        entry = journal().get(execution_id)
        all_figures = {**(entry.summary if entry else {}), **finite}
        journal().update(execution_id, summary=all_figures)
    return all_figures
