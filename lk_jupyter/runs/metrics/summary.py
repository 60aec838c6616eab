"""Figures of a run's metrics, kept in the journal once they are known."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lk_jupyter.journal.journal import journal
from lk_jupyter.runs.metrics.gpu_use import GpuUsage, gpu_of

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

_lock = threading.Lock()


def figures(gpu: GpuUsage) -> dict[str, Any]:
    """Return what is kept of a GPU's use, rounded for a table; None where no series tells."""
    kept = {
        "peak_gpu_memory_percent": gpu.peak_memory,
        "peak_gpu_memory_gib": gpu.peak_gib,
        "mean_gpu_utilization_percent": gpu.mean_use,
    }
    return {name: value if value is None else round(value, 2) for name, value in kept.items()}


def keep_summary(run: Run, seconds: float | None, *, settled: bool = False) -> dict[str, Any]:
    """Read the metrics of a run that has ended, and keep their figures beside what the journal has of it.

    Metrics come late: that there are none is only kept when it is ``settled``.
    """
    found = figures(gpu_of(run, seconds))
    known = settled or any(figure is not None for figure in found.values())
    return keep_figures(run.execution_id, found) if known else found


def keep_figures(execution_id: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep these figures of a run beside those that the journal has; return all of them."""
    with _lock:
        entry = journal().get(execution_id)
        kept = {**(entry.summary if entry else {}), **found}
        journal().update(execution_id, summary=kept)
    return kept
