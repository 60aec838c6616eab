"""What ``%load_ext lk_jupyter`` adds to a fresh IPython."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from figures import Figure

ROUNDS = 7
HEAVY = {"pandas", "matplotlib", "ipywidgets", "anywidget", "fastapi", "starlette", "uvicorn", "obstore", "boto3"}
LOAD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before, began = set(sys.modules), time.perf_counter()
shell.run_line_magic("load_ext", "lk_jupyter")
print(json.dumps([time.perf_counter() - began, sorted(set(sys.modules) - before)]))
"""


def measure() -> Iterator[Figure]:
    """Yield the time that is added and the heavy packages that come with it."""
    with tempfile.TemporaryDirectory() as folder:  # the reader's own journal may have runs to tell of
        env = {**os.environ, "LK_JOURNAL": str(Path(folder, "journal.sqlite"))}
        loads = [json.loads(subprocess.check_output([sys.executable, "-c", LOAD], env=env)) for _ in range(ROUNDS)]
    modules = loads[0][1]
    beside = f"{len(modules)} modules, median of {ROUNDS}"
    yield Figure("%load_ext lk_jupyter adds", median(seconds for seconds, _ in loads) * 1000, 120, "ms", beside)
    heavy = sorted(HEAVY & set(modules))
    yield Figure("heavy packages that it imports", len(heavy), 0, "packages", ", ".join(heavy))
