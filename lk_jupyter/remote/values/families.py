"""The modules that write and read values of libraries; each is imported on first use."""

from __future__ import annotations

from . import codec


def _arrays():
    from . import arrays

    return arrays


def _tensors():
    from . import tensors

    return tensors


def _pandas():
    from . import pandas

    return pandas


def _tables():
    from . import tables

    return tables


codec.families.update(numpy=_arrays, torch=_tensors, pandas=_pandas, polars=_tables, pyarrow=_tables)
