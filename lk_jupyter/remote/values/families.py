"""The modules that write and read values of libraries; each is imported on first use."""

from __future__ import annotations

from . import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _import_arrays() -> Any:
    from . import arrays

    return arrays


def _import_tensors() -> Any:
    from . import tensors

    return tensors


def _import_pandas() -> Any:
    from . import pandas

    return pandas


def _import_tables() -> Any:
    from . import tables

    return tables


codec.families.update(
    numpy=_import_arrays, torch=_import_tensors, pandas=_import_pandas, polars=_import_tables, pyarrow=_import_tables
)
