"""Which test calls which operation. The files ``calls_*.py`` beside this one hold such tests, one for each group."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from lk_jupyter.api._endpoint import endpoint_of

CALLS = {}


def calls(method):
    """Register a test of one operation: it gets the client and a run that has ended."""

    def register(test):
        CALLS[endpoint_of(method)] = test
        return test

    return register


def gathered():
    """Return the tests of all these files by their operations."""
    for path in sorted(Path(__file__).parent.glob("calls_*.py")):
        import_module(f"api.{path.stem}")
    return CALLS
