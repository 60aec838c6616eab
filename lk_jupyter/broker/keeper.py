"""Watch the active runs of a broker: settle bills, find lost starts, abort runs of revoked keys and overrunning runs.

Every decision is repeated until the cloud shows its effect, also after the broker was killed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.states import is_final, is_run_id
from lk_jupyter.broker.ledger import ACTIVE, MODEL_CALLS, RENTAL, RESERVED, UNKNOWN, GrantLedger, RunRow
from lk_jupyter.broker.rentals import Rentals
from lk_jupyter.broker.spending import read_budgets
from lk_jupyter.broker.starts import MARK
from lk_jupyter.broker.upstream import OddAnswer, OrganizationClient, billionths, read_moment

#: Seconds between two looks at the runs.
_PACE = 0.5

#: Seconds after which a reservation without an answer is looked up.
_DOUBT_SECONDS = 35.0

#: Seconds over its time limit after which a run is aborted: the cloud doesn't enforce the limit.
_OVERRUN_SECONDS = 15.0

#: Seconds to wait for the bill of an ended run; afterwards its time times its price counts.
_BILL_SECONDS = 60.0

#: Seconds for which a refused start keeps the broker looking at the active runs, seconds for which it is compared with
#: them whenever they are read, and the alarm if the cloud started its run.
_REFUSED_SECONDS, _COMPARED_SECONDS = 120.0, 86_400.0
_REVIVED = "The cloud refused to start a run, but started the run anyway."

#: Seconds between two searches for lost starts: of a start in the last minute, and of older ones.
_SEARCH_SECONDS, _OLD_SEARCH_SECONDS = 1.0, 30.0

#: Seconds after which a start that no list shows is released: of a process that died, and of an odd answer.
_RELEASE_SECONDS, _DOUBTFUL_RELEASE_SECONDS = 60.0, 900.0

#: Seconds by which the clocks of the broker and the cloud may differ.
_CLOCK_SECONDS = 300.0

#: Seconds after its time limit, and successive reads, after which a run without a record counts its reservation.
_LOST_SECONDS, _LOST_READS = 900.0, 20

#: Pages of the history that are searched for lost starts, and parallel requests.
_PAGES, _PARALLEL = 10, 16

#: States of a run that waits for its machine; its time limit counts from the first other state.
_WAITING_STATES = frozenset(
    {"pending", "queued", "starting", "waiting_for_docker_container", "waiting for docker container"}
)

_log = logging.getLogger("lk_jupyter.broker")


class Keeper:
    """Watch runs in a task. ``started_at`` is when this process started: older reservations have no request in it.

    ``rentals`` watches the VMs.
    """

    def __init__(
        self, ledger: GrantLedger, upstream: OrganizationClient, started_at: float, rentals: Rentals | None = None
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._started_at = started_at
        self._rentals = rentals
        self._wake = asyncio.Event()
        self._unbilled_since: dict[str, float] = {}
        self._missing: Counter[str] = Counter()
        self._search_at = 0.0
        self._tasks: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Look at the runs immediately: a key was revoked."""
        self._wake.set()

    def abort_revoked(self) -> None:
        """Send the aborts of revoked keys now: a look may wait for an answer of the cloud. The looks repeat them."""
        task = asyncio.ensure_future(self._abort_revoked())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.wake()

    async def _abort_revoked(self) -> None:
        rows = [row for row in self._ledger.open_runs() if row.state == ACTIVE]
        revoked = [row for row in rows if self._ledger.grant(row.grant_id).is_revoked]
        self._ledger.note_aborts({row: self._ledger.grant(row.grant_id).end_reason for row in revoked})
        await self._abort_all([row for row in revoked if row.operation != RENTAL])
        if self._rentals is not None:
            await self._rentals.delete_all([row for row in revoked if row.operation == RENTAL])

    async def watch(self) -> None:
        """Watch until the task is cancelled."""
        looks = [self.look] if self._rentals is None else [self.look, self._rentals.look]
        while True:
            await asyncio.gather(*map(_look_safely, looks))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _PACE)
            self._wake.clear()

    async def look(self) -> None:
        """Look at all runs once: abort, settle, and find lost starts. Raises OddAnswer."""
        rows = [row for row in self._ledger.open_runs() if row.operation != RENTAL]
        for row in rows:
            if row.operation.startswith(MODEL_CALLS) and row.created_at < self._started_at:
                self._ledger.settle(
                    row.mark, row.reserved, 0, "The broker ended during the call. The reserved credits count as spent."
                )
        rows = [row for row in rows if not row.operation.startswith(MODEL_CALLS)]
        refused = {
            row.mark: row
            for row in self._ledger.refused_since(time.time() - _COMPARED_SECONDS)
            if row.operation != RENTAL
        }
        if not rows and all(time.time() - (row.ended_at or 0) >= _REFUSED_SECONDS for row in refused.values()):
            return
        active_rows = [row for row in rows if row.state == ACTIVE]
        grants = map(self._ledger.grant, {row.grant_id for row in active_rows})
        exceeded = {grant.id for grant in grants if any(each.is_exceeded for each in read_budgets(self._ledger, grant))}
        ends = {row: reason for row in active_rows if (reason := self._read_end(row, exceeded))}
        self._ledger.note_aborts(ends)
        await self._abort_all(list(ends))
        active = await self._upstream.list_active()
        for run_id, run in active.items():
            if (refusal := refused.get(read_mark(run) or "")) and is_run_id(run_id):
                self._ledger.revive(refusal.mark, run_id, _REVIVED)
                self._block_grant(refusal, _REVIVED)
                self.wake()
        lost = [row for row in rows if row.state == UNKNOWN or (row.state == RESERVED and self._is_doubtful(row))]
        if lost and time.monotonic() >= self._search_at:
            await self._find_lost(lost, active)
        limit = asyncio.Semaphore(_PARALLEL)

        async def settle(row: RunRow) -> None:
            async with limit:
                with suppress(OddAnswer):
                    await self._settle_run(row)

        for row in active_rows:
            state = active.get(str(row.execution_id), {}).get("status")
            if row.running_at is None and isinstance(state, str) and state.lower() not in _WAITING_STATES:
                self._ledger.note_running(row.mark)
        ended = [row for row in active_rows if self._may_have_ended(active.get(str(row.execution_id)))]
        await asyncio.gather(*map(settle, ended))

    def _is_doubtful(self, row: RunRow) -> bool:
        """Return whether no request of this process can still answer for a reservation."""
        return row.created_at < self._started_at or time.time() - row.created_at > _DOUBT_SECONDS

    def _read_end(self, row: RunRow, exceeded: set[str]) -> str:
        """Return why a run must end; empty if the run may stay active. ``exceeded`` are grants above their budget."""
        if row.alarm == _REVIVED:
            return row.alarm
        grant = self._ledger.grant(row.grant_id)
        if grant.end_reason:
            return grant.end_reason
        if grant.id in exceeded:
            return "the credits of the key are used up"
        if row.running_at is not None and time.time() - row.running_at > row.timeout + _OVERRUN_SECONDS:
            self._block_grant(row, "A run exceeded its time limit: the cloud doesn't enforce limits.")
            return "the run exceeded its time limit"
        return ""

    @staticmethod
    def _may_have_ended(workload: dict[str, Any] | None) -> bool:
        if workload is None:
            return True
        state = workload.get("status")
        return not isinstance(state, str) or is_final(state)

    async def _abort_all(self, rows: list[RunRow]) -> None:
        """Send the aborts of these runs at the same time; each is repeated at the next look until the run has ended."""

        async def abort(row: RunRow) -> None:
            with suppress(OddAnswer):
                await self._upstream.send("POST", f"/workloads/abort/{row.execution_id}")

        await asyncio.gather(*map(abort, rows))

    async def _find_lost(self, rows: list[RunRow], active: dict[str, dict[str, Any]]) -> None:
        """Find the runs of starts without an answer by the marks in their metadata.

        A start that no list shows keeps its reservation for some time: the cloud may list its run later. It is released
        only if the lists are complete, and show the mark of another run.
        """
        oldest = min(row.created_at for row in rows)
        ended, is_complete = await self._read_history(oldest)
        runs = {**ended, **active}
        by_mark = {mark: run_id for run_id, run in runs.items() if (mark := read_mark(run))}
        shows_marks = any(self._ledger.run(run_id) is not None for run_id in by_mark.values())
        for row in rows:
            run_id = by_mark.get(row.mark)
            if run_id and is_run_id(run_id):
                self._ledger.activate(row.mark, run_id, None)
            elif is_complete and shows_marks and self._is_long_lost(row):
                self._ledger.release(row.mark)
            elif row.state == RESERVED:
                self._ledger.doubt(
                    row.mark,
                    "The answer to the request that starts the run was lost. The reserved credits count as spent.",
                )
        is_recent = any(time.time() - row.created_at < _RELEASE_SECONDS + 10 for row in rows)
        self._search_at = time.monotonic() + (_SEARCH_SECONDS if is_recent else _OLD_SEARCH_SECONDS)

    async def _read_history(self, since: float) -> tuple[dict[str, dict[str, Any]], bool]:
        """Return the newest ended runs by id, and whether all runs since a moment, in Unix seconds, are among them."""
        runs: dict[str, dict[str, Any]] = {}
        pages = 0
        async for page in self._upstream.history(_PAGES):
            runs |= page
            pages += 1
            moments = [moment for run in page.values() if (moment := read_moment(run.get("created_at"))) is not None]
            if moments and min(moments).timestamp() < since - _CLOCK_SECONDS:
                return runs, True
        return runs, pages < _PAGES

    def _is_long_lost(self, row: RunRow) -> bool:
        """Return whether a run that was started would be listed: sooner if the process that sent the start has died."""
        has_died = row.created_at < self._started_at
        return time.time() - row.created_at > (_RELEASE_SECONDS if has_died else _DOUBTFUL_RELEASE_SECONDS)

    async def _settle_run(self, row: RunRow) -> None:
        """Replace the reservation of a run that has ended by its bill. Raises OddAnswer."""
        answer = await self._upstream.send("GET", f"/execution/{row.execution_id}")
        if answer.fields is None:
            self._settle_missing(row)
            return
        self._missing.pop(row.mark, None)
        try:
            record = ExecutionRecord.model_validate({**answer.fields, "execution_id": row.execution_id})
        except ValueError:
            return
        if not is_final(record.status):
            return
        billed = billionths(record.billed) if record.billed is not None else None
        seconds = _compute_duration(record)
        if billed is None:
            since = self._unbilled_since.setdefault(row.mark, time.monotonic())
            if time.monotonic() - since < _BILL_SECONDS:
                return
            billed = row.reserved if seconds is None else -(-row.price * (seconds + 1) // 3600)
        self._unbilled_since.pop(row.mark, None)
        self._ledger.settle(row.mark, max(0, billed), row.timeout if seconds is None else seconds)
        if billed > row.reserved:
            self._block_grant(row, "A run cost more than the reserved credits: the cloud doesn't enforce limits.")

    def _settle_missing(self, row: RunRow) -> None:
        """Count the reservation of a run as its bill if its record stays missing long after its time limit."""
        self._missing[row.mark] += 1
        is_old = time.time() > row.created_at + row.timeout + _LOST_SECONDS
        if is_old and self._missing[row.mark] >= _LOST_READS:
            del self._missing[row.mark]
            self._unbilled_since.pop(row.mark, None)
            self._ledger.settle(row.mark, row.reserved, row.timeout, "The cloud has no record of the run.")

    def _block_grant(self, row: RunRow, reason: str) -> None:
        """Block the grant of a run, and report it."""
        if self._ledger.grant(row.grant_id).blocked != reason:
            self._ledger.block(row.grant_id, reason)
            _log.error("ALARM run %s of key %s: %s The key is blocked.", row.execution_id, row.grant_id, reason)


async def _look_safely(look: Callable[[], Awaitable[None]]) -> None:
    """Look once; no answer of the cloud ends the watch."""
    try:
        await look()
    except OddAnswer as problem:
        _log.warning("%s The broker will check again.", problem)
    except Exception:  # noqa: BLE001 (no answer ends the watch)
        _log.exception("The broker couldn't check the runs, and will try again.")


def read_mark(run: dict[str, Any]) -> str | None:
    """Return the broker's mark of a run in a list."""
    metadata = run.get("metadata")
    mark = metadata.get(MARK) if isinstance(metadata, dict) else None
    return mark if isinstance(mark, str) else None


def _compute_duration(record: ExecutionRecord) -> int | None:
    """Return the seconds of a run's code, rounded up; None if the record lacks a time."""
    start: datetime | None = record.start_time or record.job_start
    end: datetime | None = record.end_time or record.job_end or record.finish_time
    return None if start is None or end is None else max(0, math.ceil((end - start).total_seconds()))
