"""Measures the imports at the top level of the code, and reports slow imports."""

from __future__ import annotations

import _ast
import builtins
import time

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from typing import Any

_least = 0.0
_start = _spent = 0.0
_slowest = ("", 0.0)


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Start to measure; report nothing below ``least`` seconds in total."""
    global _least  # noqa: PLW0603
    _least = settings["least"]
    vars(builtins).update(_lk_import_begins=_start_clock, _lk_import_ended=_stop_clock)


def rewritten(tree: ast.Module) -> ast.Module:
    """Insert the clock around each import: no frame of this package is between the code and the import."""
    body = []
    for node in tree.body:
        name = _find_imported_name(node)
        body += (
            [_build_call("_lk_import_begins", node), node, _build_call("_lk_import_ended", node, name)]
            if name
            else [node]
        )
    tree.body = body
    return tree


def _find_imported_name(node: Any) -> str:
    """Return the top-level name that a statement imports; empty for any other statement."""
    if isinstance(node, _ast.Import):
        return node.names[0].name.split(".")[0]
    if isinstance(node, _ast.ImportFrom) and node.module != "__future__":
        return (node.module or "").split(".")[0]
    return ""


def _build_call(function: str, node: Any, *arguments: Any) -> Any:
    place = {name: getattr(node, name) for name in driver.POSITION}
    values: list[Any] = [_ast.Constant(value, kind=None, **place) for value in arguments]
    call = _ast.Call(_ast.Name(function, _ast.Load(), **place), values, [], **place)
    return _ast.Expr(call, **place)


def _start_clock() -> None:
    global _start  # noqa: PLW0603
    _start = time.monotonic()


def _stop_clock(name: str) -> None:
    global _spent, _slowest  # noqa: PLW0603
    seconds = time.monotonic() - _start
    _spent += seconds
    _slowest = max(_slowest, (name, seconds), key=lambda item: item[1])
    if _spent >= _least and seconds > 0.01:
        slowest, seconds = _slowest
        driver.frame("imports", {"seconds": round(_spent, 2), "slowest": slowest, "slowest_seconds": round(seconds, 2)})
