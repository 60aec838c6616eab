"""How soon the local cloud answers, and what it takes while idle."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
from figures import Figure

from lk_jupyter.localcloud import launch

ROUNDS = 3


def measure() -> Iterator[Figure]:
    """Yield its start-up time and its memory; what Python compiles at the first start is kept, as usual."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    _start()
    starts = [_start() for _ in range(ROUNDS)]
    yield Figure("local cloud ready after", median(seconds for seconds, _ in starts), 1.5, "s", f"median of {ROUNDS}")
    yield Figure("local cloud's memory while idle", max(memory for _, memory in starts), 120, "MB")


def _start() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        cloud = launch.start(Path(folder))
        seconds = time.perf_counter() - began
        memory = psutil.Process(cloud.pid).memory_info().rss / 1e6
        launch.stop(cloud.data)
    return seconds, memory
