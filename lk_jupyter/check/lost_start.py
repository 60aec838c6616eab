"""Starts of a check whose answer was lost: find the run by its mark and abort it, or report how to stop it."""

from __future__ import annotations

import time
from contextlib import suppress

from lk_jupyter.api._client import Client
from lk_jupyter.api._creation import LOOK_PAUSE, LOOKS
from lk_jupyter.check.findings import Report
from lk_jupyter.errors import LkError
from lk_jupyter.runs.abort import Abort, abort_soon
from lk_jupyter.runs.submit.start import find_marked


def find_run_ids(client: Client, token: str) -> tuple[str, ...]:
    """Return the ids of the runs with the mark of a start; empty if no list shows such a run."""
    for attempt in range(LOOKS):
        time.sleep(LOOK_PAUSE * bool(attempt))
        with suppress(LkError):
            runs = find_marked(client, token, {})
            # The records of unclear runs don't show their user. No other start has this mark.
            if ids := (runs.user_run.execution_id,) if runs.user_run else runs.unclear:
                return ids
    return ()


def abort_marked(client: Client, report: Report, token: str, cost: str) -> list[Abort]:
    """Abort the runs with the mark of a start, and return the aborts.

    Without such a run, add a difference with the command that stops a run; ``cost`` is its cost in words.
    """
    run_ids = find_run_ids(client, token)
    if not run_ids:
        report.add_difference(
            "POST /execution/streaming/start",
            "a run in a list",
            "no answer, and no run with the mark of the start",
            "A start without an answer can't be found. A run may be active and billed",
            f"{cost} List active runs: %lk_runs Stop one: %lk_abort ID",
        )
    return [abort_soon(client, run_id) for run_id in run_ids]
