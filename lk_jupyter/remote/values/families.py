"""The modules that write and read values of libraries; each is imported on first use."""

from __future__ import annotations

from . import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _arrays() -> Any:
    from . import arrays

    return arrays


def _tensors() -> Any:
    from . import tensors

    return tensors


def _pandas() -> Any:
    from . import pandas

    return pandas


def _tables() -> Any:
    from . import tables

    return tables


codec.families.update(numpy=_arrays, torch=_tensors, pandas=_pandas, polars=_tables, pyarrow=_tables)
