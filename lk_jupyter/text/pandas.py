"""Import pandas, numpy and matplotlib on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lk_jupyter._extras import library


def import_pandas() -> Any:
    """Return pandas. Raises UsageError if pandas is missing."""
    return library("pandas", "pandas", "A table")


def set_float_columns(frame: Any, numbers: Iterable[str]) -> Any:
    """Return a DataFrame with these columns as float64, also where no row has a number."""
    return frame.astype({name: "float64" for name in numbers if name in frame})


def import_numpy() -> Any:
    """Return numpy. Raises UsageError if numpy is missing."""
    return library("numpy", "pandas", "An array")


def import_pyplot() -> Any:
    """Return matplotlib.pyplot. Raises UsageError if matplotlib is missing."""
    return library("matplotlib.pyplot", "plot", "A plot")
