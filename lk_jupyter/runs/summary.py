"""Figures of a run's metrics, kept in the journal once they are known."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.runs.companion import Companion, Remark
from lk_jupyter.runs.decision import Gpu, gpu_of
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.outcome import duration_of

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

_lock = threading.Lock()


def figures(gpu: Gpu) -> dict[str, Any]:
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


class Summary(Companion):
    """Keeps the figures of one run at its end, in the background: nobody waits for them."""

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:
        """Begin to read the metrics; nothing is said."""
        threading.Thread(
            target=_quietly, args=(run, duration_of(record)), name=f"lk-summary-{run.short_id}", daemon=True
        ).start()
        return []


def _quietly(run: Run, seconds: float | None) -> None:
    with suppress(Exception):  # no metrics, no figures: the ledger asks again
        keep_summary(run, seconds)
