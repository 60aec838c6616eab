"""Measures the time of a run until the first line: modules of this package, then variables and further parts.

The first of the parts, which is loaded before and called after all further parts.
"""

from __future__ import annotations

import time

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from typing import Any

_loaded = time.perf_counter()
_ready: list[float] = []


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Record that all parts are loaded."""
    _ready.append(time.perf_counter())


def rewritten(tree: ast.Module) -> ast.Module:
    """Report the times, as the last step before the code; return the tree unchanged."""
    now = time.perf_counter()
    driver.frame("time", {"shim": round(_ready[0] - _loaded, 4), "environment": round(now - _ready[0], 4)})
    return tree
