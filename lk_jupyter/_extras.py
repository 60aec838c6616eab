"""Packages that only some of our extras bring."""

from __future__ import annotations

from typing import Any

from lk_jupyter._threads import import_safely
from lk_jupyter.errors import UsageError


def library(module: str, extra: str, what: str = "This") -> Any:
    """Return a module of an optional package. Raises UsageError with the extra to install."""
    try:
        return import_safely(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f'{what} needs {name}: %pip install "lk-jupyter[{extra}]"') from None
