"""Runs that this cell has started together earlier."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.errors import NotFound
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.runs.fanout.plan import MOST_LANES, RunPlan
from lk_jupyter.runs.reattach import is_same, run_of
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import code_hash

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Entries of one code that are looked at for its lanes.
_MOST_LOOKED_AT = 2 * MOST_LANES


def find_previous_runs(session: Connection, lanes: Sequence[RunPlan]) -> dict[int, Run]:
    """Return the runs that this cell has started as several and whose ends were not seen, by the numbers of lanes."""
    place, code = current_cell(), code_hash(lanes[0].package.source.code)
    entries = [entry for entry in journal().entries(code_hash=code, limit=_MOST_LOOKED_AT) if entry.group]
    found = {}
    for lane in lanes:
        entry = next((entry for entry in entries if _is_of_lane(entry, session, lane, place)), None)
        if entry is None or entry.shown:
            continue
        with suppress(NotFound):
            if run := run_of(session, entry):
                _ = run.status
                found[lane.number] = run
    return found


def _is_of_lane(entry: JournalEntry, session: Connection, lane: RunPlan, place: CellContext) -> bool:
    values = {name: str(value) for name, value in lane.values.items()}
    return is_same(entry, session, lane.package, place) and values.items() <= entry.metadata.items()
