"""How long a run has waited and run, by the server's stamps, whatever the clock of this machine says."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.api.execution import ExecutionRecord

#: Of the clocks that nobody sets, the one that goes on while the machine sleeps, where the usual one does not.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def now() -> float:
    """Return this moment in seconds: a run costs on while the laptop that started it sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def waited_of(record: ExecutionRecord | ExecutionSummary) -> float | None:
    """Return how long it took from the request to the first line of code, in seconds; None before that."""
    start = record.start_time or record.job_start
    return max(0.0, (start - record.created_at).total_seconds()) if start else None


def began(record: ExecutionRecord, sent_at: float | None) -> float | None:
    """Return the moment, on the clock of ``now``, at which the code began to run; None when it has not.

    ``sent_at`` is the moment at which the run was sent from here: then only the time between two
    stamps of the server counts. Of a run sent from elsewhere, its start is read by this clock.
    """
    waited = waited_of(record)
    start = record.start_time or record.job_start
    if waited is None or start is None:
        return None
    if sent_at is not None:
        return min(sent_at + waited, now())
    return now() - max(0.0, (datetime.now(timezone.utc) - start).total_seconds())
