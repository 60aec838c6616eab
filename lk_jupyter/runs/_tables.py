"""pandas and matplotlib, for those who ask for a table or a plot."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lk_jupyter.errors import UsageError


def pandas() -> Any:
    """Return pandas. Raises UsageError where it is missing."""
    return _library("pandas", "pandas", "A table")


def numpy() -> Any:
    """Return numpy. Raises UsageError where it is missing."""
    return _library("numpy", "pandas", "An array")


def pyplot() -> Any:
    """Return matplotlib.pyplot. Raises UsageError where it is missing."""
    return _library("matplotlib.pyplot", "plot", "A plot")


def _library(module: str, extra: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f'{what} needs {name}: %pip install "lk-jupyter[{extra}]"') from None
