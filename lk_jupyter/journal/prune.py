"""Delete old runs from the journal. Their costs still count in budgets."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from lk_jupyter.config.files import lock_beside
from lk_jupyter.config.settings import setting
from lk_jupyter.journal.charges import RUN, ChargeBook, RecordedCharge, charge_book
from lk_jupyter.journal.journal import ExpiredRun, Journal, journal
from lk_jupyter.text.units import count_label

DAY = 86_400

_pruned: set[Path] = set()


def prune_once() -> None:
    """Delete the runs above the age limit of the settings, once in the life of a process."""
    days, records = setting("journal_days"), journal()
    if days and records.path not in _pruned:
        _pruned.add(records.path)
        with suppress(OSError):  # without the lock file, another process deletes the runs
            prune(records, charge_book(), time.time() - days * DAY)


def prune(records: Journal, book: ChargeBook, before: float) -> int:
    """Delete the runs that were created before a moment (Unix seconds) and aren't active; return their number.

    Each notebook gets a charge with the sum of their costs, so that no budget is lowered.
    """
    with lock_beside(records.path.with_name(f"{records.path.name}-prune")) as is_free:
        runs = records.expired(before) if is_free else []
        by_place: dict[tuple[str, str | None], list[ExpiredRun]] = defaultdict(list)
        for run in runs:
            by_place[run.base_url, run.notebook].append(run)
        for (base_url, notebook), group in by_place.items():
            if cost := sum((run.cost for run in group), Decimal(0)):
                newest = max(run.created_at for run in group)
                token, name = uuid.uuid4().hex, f"total of {count_label(len(group), 'run')}, deleted from the journal"
                book.add(RecordedCharge(token, base_url, RUN, name, newest, notebook, cost=cost, ends=newest))
        if book.trouble:
            return 0
        records.remove([run.token for run in runs])
    return len(runs)


def compact(records: Journal) -> None:
    """Store the long texts of older requests once, and give free space back to the disk."""
    records.split_requests()
    records.vacuum()
