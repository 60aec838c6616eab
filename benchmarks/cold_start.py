"""What a cell costs besides its code: cold with a 10 MB frame, beside a bare subprocess; in a session, beside a kernel.

The subprocess reads the same frame from an Arrow file and has the same result. All take turns, so that all meet the
same machine.
"""

from __future__ import annotations

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

ROUNDS = 7

FRAME = (
    "import numpy as np, pandas as pd, pyarrow as pa\n"
    "frame = pd.DataFrame({name: np.random.rand(125_000) for name in 'abcdefghij'})\n"
    "table = pa.Table.from_pandas(frame)\n"
    "with pa.OSFile({path!r}, 'wb') as sink, pa.ipc.new_stream(sink, table.schema) as writer:\n"
    "    writer.write_table(table)"
)
BARE = "import pandas, pyarrow as pa; print(float(pa.ipc.open_stream({path!r}).read_all().to_pandas()['a'].sum()))"
COLD = "%%lk_run --gpu L40S --in frame --out total\ntotal = float(frame['a'].sum())\nprint(total)"
CODE = "total = 6 * 7\nprint(total)"
IN_SESSION = f"%%lk_run --session bench\n{CODE}"


def measure() -> Iterator[Figure]:
    """Yield what is added, in seconds, and the second cell of a session beside the same cell here."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"), "--engine", "none")
        kept = {"LK_LOG_DIR": f"{folder}/logs", "LK_JOURNAL": f"{folder}/journal.sqlite"}
        try:
            with running_kernel(LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key, **kept) as kernel:
                yield from _compare(kernel, str(Path(folder, "frame.arrow")))
                kernel.execute("%lk_sessions stop bench")
        finally:
            launch.stop(cloud.data)


def _compare(kernel: Kernel, path: str) -> Iterator[Figure]:
    kernel.execute(FRAME.replace("{path!r}", repr(path)))
    bare = [sys.executable, "-c", BARE.format(path=path)]
    rounds = [
        (_seconds(bare), *(kernel.execute(cell).seconds for cell in (COLD, CODE, IN_SESSION)))
        for _ in range(ROUNDS + 1)
    ]
    alone, cold, here, warm = (median(times) for times in zip(*rounds[1:], strict=True))
    beside = f"{cold:.2f} s / {alone:.2f} s, medians of {ROUNDS}"
    yield Figure("a cell with a 10 MB frame adds to a bare subprocess", cold - alone, 0.2, "s", beside)
    beside = f"{warm * 1000:.0f} ms / {here * 1000:.0f} ms in the kernel here"
    yield Figure("a cell in a session adds to the same cell here", warm - here, 0.1, "s", beside)
    yield Figure("second cell of a session, times the same cell here", warm / here, 20, "x", beside)


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began
