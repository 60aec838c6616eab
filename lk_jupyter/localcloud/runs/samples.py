"""Samples of the resources that runs use, once per second while their code runs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from lk_jupyter.localcloud.runs import gpus, processes
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS samples (
    run TEXT NOT NULL, time REAL NOT NULL, figures TEXT NOT NULL, PRIMARY KEY (run, time)
) WITHOUT ROWID;
"""

_SECONDS = 1.0


@dataclass(frozen=True)
class _Usage:
    """The resources of a run's processes: CPU seconds so far, bytes of memory now."""

    cpu_seconds: float
    memory: int


class Samples:
    """The stored samples, and the task that takes samples; ``pids`` returns the process of each run."""

    def __init__(self, store: Store, pids: Callable[[], dict[str, int]], *, simulate_gpu: bool) -> None:
        self._store = store
        self._pids = pids
        self.simulate_gpu = simulate_gpu and not gpus.available()
        self._last: dict[str, tuple[float, float]] = {}
        store.add_tables(_TABLES)

    async def take_forever(self) -> None:
        """Sample every second."""
        while True:
            await asyncio.sleep(_SECONDS)
            pids = self._pids()
            self._last = {run_id: last for run_id, last in self._last.items() if run_id in pids}
            if pids:
                await asyncio.to_thread(self._store_samples, pids)

    def read_between(self, run_id: str, start: float, end: float) -> list[tuple[float, gpus.Figures]]:
        """Return the samples of a run in a window, oldest first."""
        query = "SELECT time, figures FROM samples WHERE run = ? AND time BETWEEN ? AND ? ORDER BY time"
        return [(row["time"], json.loads(row["figures"])) for row in self._store.read(query, run_id, start, end)]

    def read_last_time(self, run_id: str) -> float | None:
        """Return when a run was last seen alive."""
        last: float | None = self._store.read("SELECT MAX(time) AS last FROM samples WHERE run = ?", run_id)[0]["last"]
        return last

    def delete(self, run_id: str) -> None:
        """Remove the samples of a run."""
        with self._store.write() as db:
            db.execute("DELETE FROM samples WHERE run = ?", (run_id,))

    def _store_samples(self, pids: dict[str, int]) -> None:
        gpu = gpus.read_figures()
        rows = [
            (run_id, time.time(), json.dumps({**self._measure_host(run_id, pid), **gpu}))
            for run_id, pid in pids.items()
        ]
        with self._store.write() as db:
            db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)

    def _measure_host(self, run_id: str, pid: int) -> gpus.Figures:
        usage, moment = _measure_usage(pid), time.monotonic()
        before, then = self._last.get(run_id, (0.0, moment - _SECONDS))
        self._last[run_id] = (usage.cpu_seconds, moment)
        cores = max(0.0, usage.cpu_seconds - before) / max(moment - then, 0.001)
        return {
            "systemRamTotalBytes": psutil.virtual_memory().total,
            "systemRamUsedBytes": usage.memory,
            "systemCpuUsagePercent": round(min(100.0, 100 * cores / (psutil.cpu_count() or 1)), 2),
            **(gpus.simulate_figures(min(1.0, cores)) if self.simulate_gpu else {}),
        }


def _measure_usage(pid: int) -> _Usage:
    cpu_seconds, memory = 0.0, 0
    for process in processes.iterate_session_processes(pid):
        try:
            with process.oneshot():
                cpu_seconds += sum(process.cpu_times()[:4])  # own and of children that have ended
                memory += process.memory_info().rss
        except psutil.Error:
            continue
    return _Usage(cpu_seconds, memory)
