"""How long a run takes to its first line: our own modules, then the variables and what else they make ready.

A part: travels with a run, as the first of its parts, so that it is loaded before and asked after the others.
"""

from __future__ import annotations

import time

from . import run as driver

_loaded = time.perf_counter()
_ready = []


def before(settings, namespace):
    """Record that all parts are loaded."""
    _ready.append(time.perf_counter())


def rewritten(tree):
    """Report the times, as the last step before the code; the tree stays as it is."""
    now = time.perf_counter()
    driver.frame("time", {"shim": round(_ready[0] - _loaded, 4), "environment": round(now - _ready[0], 4)})
    return tree
