"""How long a ``print`` cell takes, with a session and as a run, next to a cell of the same kernel.

Each figure is the ratio of medians in one run, so that a slow machine changes both. ``LK_BENCH_CELLS`` is the number
of cells of each kind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from figures import Figure
from kernel import Kernel, running_kernel

from lk_jupyter.localcloud import launch

COUNT = int(os.environ.get("LK_BENCH_CELLS", "20"))

#: Row → line of the cell, code, and the limit: 20, 45 and 120 ms where a local cell takes 4 ms.
CELLS = {
    "a session": ("%%lk_run --session bench --machine cpu --fresh", "print({})", 5),
    "a session with a variable": ("%%lk_run --session bench --machine cpu", "values.append(1)\nprint({})", 11),
    "a kept machine with a variable": ("%%lk_run --keep 5m --machine cpu", "values.append(1)\nprint({})", 11),
    "a run with a variable": ("%%lk_run --machine cpu", "values.append(1)\nprint({})", 30),
}

FRAME = "import numpy, pandas\nframe = pandas.DataFrame({'a': numpy.arange(1_250_000.0)})"


def measure() -> Iterator[Figure]:
    """Yield the ratio of each kind of cell to a local cell, and the added seconds of a frame of 10 MB."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"), "--engine", "none")
        settings = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_CARRY": "always"}
        settings |= {"LK_LOG_DIR": f"{folder}/logs", "LK_JOURNAL": f"{folder}/journal.sqlite"}
        try:
            with running_kernel(**settings) as kernel:
                kernel.execute("values = [1]")
                local = _milliseconds(kernel, "print({})")
                for name, (line, code, limit) in CELLS.items():
                    cell = _milliseconds(kernel, f"{line}\n{code}")
                    detail = f"{cell:.0f} ms, a local cell {local:.1f} ms"
                    yield Figure(f"cells: {name}, next to a local cell", cell / local, limit, "x", detail)
                yield _frame(kernel)
        finally:
            launch.stop(cloud.data)


def _milliseconds(kernel: Kernel, code: str) -> float:
    """Return the median duration of a cell in ms, after the first cells."""
    for number in range(3):
        kernel.execute(code.format(number))
    return 1000 * median(kernel.execute(code.format(number)).seconds for number in range(COUNT))


def _frame(kernel: Kernel) -> Figure:
    """Return the seconds that a cell with a frame of 10 MB takes longer than a process that makes the frame."""
    kernel.execute(FRAME)
    line = "%%lk_run --machine cpu\nprint(len(frame))"
    kernel.execute(line)
    cell = median(kernel.execute(line).seconds for _ in range(5))
    bare = median(_bare_process() for _ in range(5))
    return Figure("cells: 10 MB frame, next to a bare process", cell - bare, 0.1, "s", f"{cell:.2f} s and {bare:.2f} s")


def _bare_process() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"{FRAME}\nprint(len(frame))"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
