"""Many tasks on kept machines: 18 fits of 1 s next to loky on the same cores, and ten thousand items of 1 ms.

The figures are of warm workers: a first round starts loky's processes and the machines. ``LK_BENCH_FIT_SECONDS`` is the
processor time of a fit.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import joblib
from figures import Figure

import lk_jupyter
from lk_jupyter import joblib_backend
from lk_jupyter.executor import Executor
from lk_jupyter.journal.journal import journal
from lk_jupyter.localcloud import launch

FITS, WORKERS = 18, 2
FIT_SECONDS = float(os.environ.get("LK_BENCH_FIT_SECONDS", "1"))
ITEMS = 10_000 if FIT_SECONDS >= 1 else 100

#: The settings that a bench leaves to the user.
_SETTINGS = ("LK_BASE_URL", "LK_API_KEY", "LK_LOG_DIR", "LK_JOURNAL")


def fit(number: int) -> int:
    """Use the processor for the time of a fit."""
    end = time.process_time() + FIT_SECONDS
    while time.process_time() < end:
        pass
    return number


def wait_1_ms(number: int) -> int:
    """Return after 1 ms."""
    time.sleep(0.001)
    return number


def measure() -> Iterator[Figure]:
    """Yield the time of the fits next to loky, the starts of machines, and the time of the items next to their sum."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"), "--engine", "none")
        values = (cloud.base_url, cloud.api_key, f"{folder}/logs", f"{folder}/journal.sqlite")
        os.environ.update(zip(_SETTINGS, values, strict=True))
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a machine doesn't have this file
        try:
            lk_jupyter.register_joblib()
            local, remote = _seconds_of_fits("loky"), _seconds_of_fits("lk", machine="cpu")
            starts = len(journal().entries())
            yield Figure(f"tasks: {FITS} fits on lk, next to loky", remote / local, 1.3, "x", f"{local:.1f} s on loky")
            yield Figure(f"tasks: machines started for {FITS} fits", starts, WORKERS, "")
            with Executor(WORKERS, keep="1m", machine="cpu") as executor:
                list(executor.map(wait_1_ms, range(WORKERS)))
                seconds = _seconds(lambda: list(executor.map(wait_1_ms, range(ITEMS))))
            ratio = seconds / (ITEMS * 0.001 / WORKERS)
            yield Figure(f"tasks: {ITEMS:,} items of 1 ms, next to their sum", ratio, 2, "x", f"{seconds:.1f} s")
        finally:
            for executor in joblib_backend._executors.values():  # the machines end before the cloud
                executor.shutdown()
            launch.stop(cloud.data)
            for name in _SETTINGS:
                os.environ.pop(name)


def _seconds_of_fits(backend: str, **options: object) -> float:
    """Return the seconds of the fits on warm workers."""
    with joblib.parallel_config(backend=backend, n_jobs=WORKERS, **options):
        joblib.Parallel()(joblib.delayed(fit)(number) for number in range(WORKERS))
        return _seconds(lambda: joblib.Parallel()(joblib.delayed(fit)(number) for number in range(FITS)))


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
