"""What it adds to a run that it may show more than text: from the start of the interpreter to the first line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from figures import Figure

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits

CODE = "print('first', flush=True)\n"
ROUNDS = int(os.environ.get("LK_BENCH_ROUNDS", "15"))
L40S = MachineType(hardware_profile="gpu.l40s", price_per_hour=1.0)


def measure() -> Iterator[Figure]:
    """Yield the time that is added, and the bytes; with and without take turns, so that both meet the same machine."""
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as rich:
        pairs = [(_first_line(Path(plain), rich=False), _first_line(Path(rich), rich=True)) for _ in range(ROUNDS)]
    without, added = median(pair[0] for pair in pairs), median(with_ - without for without, with_ in pairs)
    beside = f"{without * 1000:.0f} ms without, median of {ROUNDS}"
    yield Figure("the rich shim adds to the start of a run", added * 1000, 150, "ms", beside)
    more = _size(rich=True) - _size(rich=False)
    yield Figure("the rich shim adds to a request", more / 1000, 100, "kB")


def _request(*, rich: bool) -> tuple[str, dict[str, str]]:
    source = Source(CODE, "cell.py", is_cell=True)
    request = BundleBuilder(source, RunOptions(rich=rich), L40S, Limits(60, 600)).build().request
    return request.code, json.loads(request.import_files or "{}")


def _size(*, rich: bool) -> int:
    code, files = _request(rich=rich)
    return len(code) + len(json.dumps(files))


def _first_line(folder: Path, *, rich: bool) -> float:
    code, files = _request(rich=rich)
    for compiled in [*folder.rglob("__pycache__")]:  # a run compiles what came with it
        shutil.rmtree(compiled)
    for name, text in {**files, "cell.py": code}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "cell.py"], cwd=folder, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        return time.perf_counter() - began
