"""Ids of runs, which may be shortened as in git."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from lk_jupyter.api._client import Client
from lk_jupyter.api.logs import LogEntry
from lk_jupyter.api.states import is_final, is_run_id
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal

if TYPE_CHECKING:
    from lk_jupyter.api.billing import ExecutionSummary
    from lk_jupyter.api.workloads import Workload

#: Length of a complete id: a UUID without dashes.
_FULL = 32
_SHORTEST = 4

#: Characters of an id that no one types by chance.
_CERTAIN = 8

#: Seconds by which the clock of this machine may differ from the time stamps of stored lines.
_CLOCKS = 60.0


def list_ids(client: Client) -> list[str]:
    """Return the ids of active runs, then of the latest runs that ended."""
    going_on = (run.execution_id for run in client.workloads.list())
    ended = (run.execution_id for run in client.billing.history())
    return [execution_id for execution_id in dict.fromkeys(chain(going_on, ended)) if is_run_id(execution_id)]


def latest_runs(connection: Connection, limit: int) -> list[Workload | ExecutionSummary]:
    """Return active runs, then at most ``limit`` ended runs; a run in both lists counts once.

    Runs on VMs of this computer are included. They are active until their VM is deleted.
    """
    from lk_jupyter.runs.vm_runs import list_vm_runs  # noqa: PLC0415 (lists import more than a run needs)

    client, vm_runs = connection.client, list_vm_runs(connection)
    ended = {run.execution_id: run for run in client.billing.history(limit=limit)}
    final = {run_id for run_id, run in ended.items() if is_final(run.status)}
    active = [run for run in client.workloads.list() if run.execution_id not in final]
    for run in active:
        ended.pop(run.execution_id, None)
    active_vm_runs = [run for run in vm_runs if run.ends_at]
    ended_runs = [*ended.values(), *(run for run in vm_runs if not run.ends_at)]
    ended_runs.sort(key=_find_start, reverse=True)
    return [*active_vm_runs, *active, *ended_runs[:limit]]


def _find_start(run: ExecutionSummary) -> float:
    return run.known_since.timestamp() if run.known_since else 0.0


def resolve(connection: Connection, prefix: str) -> str:
    """Return the id that starts with this text. Runs that were started on this machine need no request.

    Raises UsageError if no id or several ids start with this text.
    """
    return _find_in_journal(connection, prefix.strip()) or full_id(connection.client, prefix)


def _find_in_journal(connection: Connection, prefix: str) -> str | None:
    entries = journal().find(prefix) if len(prefix) >= _CERTAIN else []
    ids = {entry.execution_id for entry in entries if connection.speaks_to(entry.base_url)}
    return ids.pop() if len(ids) == 1 else None


def drop_earlier_lines(client: Client, execution_id: str, lines: Sequence[LogEntry]) -> list[LogEntry]:
    """Leave out stored lines of an earlier run from here that had the same id: lines from before the start."""
    runs = [entry for entry in journal().find(execution_id) if entry.execution_id == execution_id]
    if len(runs) < 2:
        return list(lines)
    since = runs[0].created_at + client.now() - time.time() - _CLOCKS
    return [line for line in lines if line.timestamp is None or line.timestamp.timestamp() >= since]


def full_id(client: Client, prefix: str) -> str:
    """Return the id that starts with this text. Raises UsageError when none or several do."""
    prefix = prefix.strip()
    if not is_run_id(prefix):
        raise UsageError(f"{prefix!r} isn't a run id. List runs: %lk_runs")
    if len(prefix) >= _FULL:
        return prefix
    if len(prefix) < _SHORTEST:
        raise UsageError(
            f"{prefix!r} is too short for a run id. Give {_SHORTEST} characters or more. List runs: %lk_runs"
        )
    matches = [execution_id for execution_id in list_ids(client) if execution_id.startswith(prefix)]
    if not matches:
        raise UsageError(f"No run of yours starts with {prefix!r}. List runs: %lk_runs")
    if len(matches) > 1:
        raise UsageError(f"{prefix!r} matches {len(matches)} runs: {', '.join(matches[:5])}. Give more characters.")
    return matches[0]
