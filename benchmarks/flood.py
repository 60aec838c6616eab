"""A flood of output: 100,000 log events through ``%%lk_run`` in a kernel, beside a bare reader on the same server."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from figures import Figure
from flood_server import line
from kernel import Kernel, running_kernel

HERE = Path(__file__).parent
KEY = "lk_bench"
FEW_EVENTS, EVENTS, MANY_EVENTS = SIZES = 10, 100_000, 1_000_000
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Yield the figures of the flood."""
    with tempfile.TemporaryDirectory() as folder, _flood_server() as address:
        logs = Path(folder, "logs")
        kept = {"LK_LOG_DIR": str(logs), "LK_JOURNAL": str(Path(folder, "journal.sqlite"))}
        with running_kernel(LK_BASE_URL=address, LK_API_KEY=KEY, **kept) as kernel:
            kernel.execute(_cell(FEW_EVENTS))
            pairs = [(kernel.execute(_cell(EVENTS)), _bare_seconds(address, folder)) for _ in range(ROUNDS)]
            missing = _missing(logs, EVENTS)
            growth = _growth(kernel, _cell(MANY_EVENTS))
            missing += _missing(logs, MANY_EVENTS)
    ours, bare = min(cell.seconds for cell, _ in pairs), min(seconds for _, seconds in pairs)
    beside = f"{ours:.2f} s / {bare:.2f} s, best of {ROUNDS}"
    yield Figure(f"{EVENTS:,} events to the cell, times a bare reader", ours / bare, 2, "x", beside)
    yield Figure("output messages within 10 s", max(cell.most_within(10) for cell, _ in pairs), 200, "messages")
    yield Figure(f"most memory that {MANY_EVENTS:,} events add to the kernel", growth, 50, "MB")
    yield Figure("lines missing from the kept logs", missing, 0, "lines")


def _cell(events: int) -> str:
    return f"%%lk_run --gpu L40S --fresh\nprint_lines = print\nprint_lines({events})"


@contextmanager
def _flood_server() -> Iterator[str]:
    command = [sys.executable, HERE / "flood_server.py", *map(str, SIZES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _bare_seconds(address: str, folder: str) -> float:
    file = Path(folder, "bare.log")
    command = [sys.executable, HERE / "bare_reader.py", address, KEY, f"print_lines({EVENTS})", file]
    return float(subprocess.check_output(command, text=True).split()[1])


def _growth(kernel: Kernel, code: str) -> float:
    before = kernel.process.memory_info().rss
    with _peak_memory(kernel.process) as peak:
        kernel.execute(code)
    return (max(peak) - before) / 1e6


@contextmanager
def _peak_memory(process: psutil.Process) -> Iterator[list[int]]:
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def _missing(logs: Path, events: int) -> int:
    """Count the lines of the newest log that are not where they should be."""
    newest = max((path for path in logs.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime)
    with newest.open(encoding="utf-8") as log:
        present = sum(kept == line(number) for number, kept in enumerate(log))
    return events - present
