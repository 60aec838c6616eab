"""Define the series of a run's metrics: name, unit and panel of a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from lk_jupyter.api.execution import ExecutionMetrics, MetricPoint

#: A sample: seconds since 1970 and a value; NaN is a gap.
Point = tuple[float, float]

EMPTY = "No samples: the first arrives 15 s after the start."

_GIB = 1 / 2**30
_MB = 1 / 10**6

#: Samples that are more than this number of steps apart enclose a gap.
_GAP = 1.5


class Sampled(Protocol):
    """Describe the samples of a run for a plot."""

    @property
    def samples(self) -> dict[str, list[Point]]:
        """Column → points."""

    @property
    def start(self) -> datetime:
        """When its code started."""

    @property
    def label(self) -> str:
        """The name of the run in a plot."""

    @property
    def hostname(self) -> str:
        """The measured host; empty if unknown."""

    def broken(self, column: str) -> list[Point]:
        """Return the points of a series with a NaN in each gap."""


class Series(NamedTuple):
    """Define a series: field of the API, column of a table, label, unit, panel of a plot, and factor to the unit."""

    field: str
    column: str
    label: str
    unit: str
    panel: str
    factor: float = 1.0


SERIES = (
    Series("gpuUtilizationPercent", "gpu_utilization_percent", "GPU utilization", "%", "GPU"),
    Series("gpuMemoryUtilizationPercent", "gpu_memory_percent", "GPU memory", "%", "GPU"),
    Series("gpuTemperatureCelsius", "gpu_temperature_celsius", "GPU temperature", "°C", "Temperature"),
    Series("gpuPowerWatt", "gpu_power_watt", "GPU power", "W", "Power"),
    Series("gpuPowerLimitWatt", "gpu_power_limit_watt", "GPU power limit", "W", "Power"),
    Series("gpuClockSmMhz", "gpu_clock_sm_mhz", "GPU clock", "MHz", "Clocks"),
    Series("gpuClockMemMhz", "gpu_clock_memory_mhz", "GPU memory clock", "MHz", "Clocks"),
    Series("gpuPcieThroughputRxBytesPerSec", "gpu_pcie_rx_mb_per_s", "PCIe to the GPU", "MB/s", "PCIe", _MB),
    Series("gpuPcieThroughputTxBytesPerSec", "gpu_pcie_tx_mb_per_s", "PCIe from the GPU", "MB/s", "PCIe", _MB),
    Series("systemCpuUsagePercent", "cpu_percent", "CPU", "%", "CPU"),
    Series("systemRamUsedBytes", "ram_used_gib", "RAM used", "GiB", "RAM", _GIB),
    Series("systemRamTotalBytes", "ram_total_gib", "RAM total", "GiB", "RAM", _GIB),
)
BY_COLUMN = {series.column: series for series in SERIES}


def points(answer: ExecutionMetrics, series: Series) -> list[Point]:
    """Return the samples of a series in its unit, oldest first; a null is NaN."""
    metric_points: Sequence[MetricPoint] = getattr(answer, series.field) or []
    values = ((point.timestamp.timestamp(), point.value) for point in metric_points)
    return sorted((moment, math.nan if value is None else value * series.factor) for moment, value in values)


def measured_values(samples: Iterable[Point]) -> list[float]:
    """Return the values without the gaps."""
    return [value for _, value in samples if not math.isnan(value)]


def with_gaps(samples: Sequence[Point], step: float) -> list[Point]:
    """Return samples with a NaN for each gap, so that a line breaks there."""
    joined: list[Point] = []
    for moment, value in samples:
        if joined and moment - joined[-1][0] > step * _GAP:
            joined.append((joined[-1][0] + step, math.nan))
        joined.append((moment, value))
    return joined
