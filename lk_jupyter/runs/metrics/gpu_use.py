"""How much of its GPU a run used."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from lk_jupyter.api.execution import ExecutionMetrics
from lk_jupyter.errors import LkError
from lk_jupyter.runs.run import Run

#: Points of a metrics series that are asked for, at most.
_POINTS = 600


@dataclass(frozen=True)
class GpuUsage:
    """What a run made of its GPU, in percent; None where no series tells. ``peak_gib`` of its memory."""

    peak_memory: float | None = None
    mean_use: float | None = None
    peak_gib: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether any series tells of it."""
        return (self.peak_memory, self.mean_use) != (None, None)


def gpu_of(run: Run, seconds: float | None) -> GpuUsage:
    """Read what a run made of its GPU; nothing where the cloud has no series of it."""
    with suppress(LkError):
        return _summed_up(run.metrics(f"{max(1, round((seconds or 0) / _POINTS))}s"), run)
    return GpuUsage()


def _summed_up(series: ExecutionMetrics, run: Run) -> GpuUsage:
    memory = [point.value for point in series.gpuMemoryUtilizationPercent or [] if point.value is not None]
    use = [point.value for point in series.gpuUtilizationPercent or [] if point.value is not None]
    peak, gib = max(memory, default=None), run.machine.memory_gib if run.machine else None
    return GpuUsage(peak, fmean(use) if use else None, peak * gib / 100 if peak is not None and gib else None)
