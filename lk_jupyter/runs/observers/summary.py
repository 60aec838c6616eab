"""Keep the figures of a run's metrics at its end."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.metrics.summary import keep_summary
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.outcome import duration_of

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Summary(RunObserver):
    """Keeps the figures of one run at its end, in the background: nobody waits for them."""

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Begin to read the metrics; nothing is said."""
        threading.Thread(
            target=_quietly, args=(run, duration_of(record)), name=f"lk-summary-{run.short_id}", daemon=True
        ).start()
        return []


def _quietly(run: Run, seconds: float | None) -> None:
    with suppress(Exception):  # no metrics, no figures: the ledger asks again
        keep_summary(run, seconds)
