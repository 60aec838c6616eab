"""What the server extension adds to the start of a Jupyter server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from figures import Figure

ROUNDS = 7
LOAD = """
import time
import jupyter_server.serverapp, jupyter_server.base.handlers
began = time.perf_counter()
import lk_jupyter.serverext, lk_jupyter.serverext.routes
print(time.perf_counter() - began)
"""


def measure() -> Iterator[Figure]:
    """Yield the time of its imports, where Jupyter's own are done."""
    loads = [float(subprocess.check_output([sys.executable, "-c", LOAD])) for _ in range(ROUNDS)]
    yield Figure("server extension imports", median(loads) * 1000, 60, "ms", f"median of {ROUNDS}, with its routes")
