"""Frames of polars and tables of pyarrow come back equal."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from polars.testing import assert_frame_equal, assert_series_equal
from polars.testing.parametric import dataframes
from polars.testing.parametric import series as made_up_series
from remote.roundtrip import EXAMPLES, there_and_back

from lk_jupyter.remote.values.codec import CannotTravel, Encoder


@EXAMPLES
@given(dataframes(max_cols=4, max_size=5, excluded_dtypes=[pl.Object]))
def test_a_frame_of_polars_comes_back_as_it_went(frame):
    assert_frame_equal(there_and_back(frame), frame, check_exact=True)


@EXAMPLES
@given(made_up_series(max_size=5, excluded_dtypes=[pl.Object]))
def test_a_series_of_polars_comes_back_as_it_went(one):
    assert_series_equal(there_and_back(one), one, check_exact=True)


TABLE = pa.table(
    {
        "n": pa.chunked_array([[1, None], [3]]),
        "größe": pa.array([1.5, -0.0, None]),
        "when": pa.array(
            [None, dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), None], pa.timestamp("us", "Europe/Berlin")
        ),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "deep": pa.array([[{"x": 1}], [], None]),
    }
).replace_schema_metadata({"made": "here"})


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        TABLE[:0],
        TABLE.combine_chunks().to_batches()[0],
        TABLE["n"],
        pa.array([1, None]),
        pa.array([], pa.string()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_pyarrow_has_comes_back_as_it_went(value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back.equals(value)
    if isinstance(value, pa.Table):
        assert back.schema.equals(value.schema, check_metadata=True)


def test_what_is_no_data_yet_is_named():
    with pytest.raises(CannotTravel, match=r"x is a query plan of polars.*collect"):
        Encoder().value("x", pl.LazyFrame({"a": [1]}))
    with pytest.raises(CannotTravel, match="x has columns of Python objects"):
        Encoder().value("x", pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}))
