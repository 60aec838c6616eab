"""What pandas has comes back equal: dtypes, index, time zones, categories, every kind of missing."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_extension_array_equal, assert_frame_equal, assert_index_equal, assert_series_equal
from remote.roundtrip import EXAMPLES, there_and_back

from lk_jupyter.remote.values.codec import CannotTravel, Encoder

ROWS = st.integers(0, 5)
MOMENTS = st.datetimes(pd.Timestamp(1700, 1, 1).to_pydatetime(), pd.Timestamp(2200, 1, 1).to_pydatetime())
TEXTS = st.text(max_size=4)


def lists(values, rows):
    return st.lists(values, min_size=rows, max_size=rows)


def maybe(values):
    return st.one_of(st.none(), values)


def masked(values, dtype):
    return lambda rows: lists(maybe(values), rows).map(lambda found: pd.array(found, dtype=dtype))


def numbers(rows):
    return hnp.arrays(
        hnp.boolean_dtypes()
        | hnp.integer_dtypes(endianness="=")
        | hnp.floating_dtypes(endianness="=", sizes=(32, 64))
        | hnp.complex_number_dtypes(endianness="="),
        rows,
    )


def moments(rows):
    units = st.sampled_from(["s", "ms", "us", "ns"])
    naive = st.builds(lambda found, unit: pd.array(found, dtype=f"M8[{unit}]"), lists(maybe(MOMENTS), rows), units)
    zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", dt.timezone(dt.timedelta(hours=5))])
    return st.one_of(
        naive,
        st.builds(lambda found, zone: pd.DatetimeIndex(found).tz_localize("UTC").tz_convert(zone).array, naive, zones),
    )


def spans(rows):
    found = st.integers(-(10**12), 10**12).map(lambda n: np.timedelta64(n, "ms"))
    return lists(st.one_of(found, st.just(np.timedelta64("NaT", "ms"))), rows).map(
        lambda found: pd.array(np.array(found, dtype="m8[ms]"))
    )


def categories(rows):
    kinds = st.one_of(st.lists(TEXTS, unique=True, max_size=4), st.lists(st.integers(), unique=True, max_size=4))

    def of(kinds):
        codes = lists(st.integers(-1, len(kinds) - 1), rows)
        return st.builds(
            lambda codes, ordered: pd.Categorical.from_codes(codes, kinds, ordered=ordered), codes, st.booleans()
        )

    return kinds.map(pd.Index).flatmap(of)


def intervals(rows):
    def made(left, closed):
        return pd.arrays.IntervalArray.from_breaks(np.arange(rows + 1.0) + left, closed=closed)

    return st.builds(made, st.floats(-9, 9), st.sampled_from(["left", "right", "both", "neither"]))


def objects(rows):
    anything = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        TEXTS,
        st.floats(),
        st.binary(max_size=3),
        st.decimals(allow_nan=False),
        st.dates(),
        st.lists(st.integers(), max_size=2),
        st.just(pd.NA),
        st.just(pd.NaT),
    )

    def array(found):
        made = np.empty(len(found), object)
        made[:] = found
        return made

    return lists(anything, rows).map(array)


def sparse(rows):
    return lists(maybe(st.integers(0, 99)), rows).map(lambda found: pd.arrays.SparseArray(np.array(found, float)))


def periods(rows):
    ordinals = lists(st.integers(-99, 99), rows).map(lambda found: np.array(found, "i8"))
    return ordinals.map(lambda found: pd.arrays.PeriodArray(found, dtype="period[Q-NOV]"))


ARRAYS = (
    numbers,
    moments,
    spans,
    categories,
    intervals,
    objects,
    masked(st.integers(-(2**31), 2**31 - 1), "Int64"),
    masked(st.integers(0, 255), "UInt8"),
    masked(st.floats(allow_nan=False), "Float64"),
    masked(st.booleans(), "boolean"),
    masked(TEXTS, "string[python]"),
    masked(TEXTS, "string[pyarrow]"),
    masked(TEXTS, "str"),
    masked(st.integers(-9, 9), "int32[pyarrow]"),
    masked(st.lists(st.integers(-9, 9), max_size=2), pd.ArrowDtype(pa.list_(pa.int64()))),
    sparse,
    periods,
)


def arrays(rows):
    return st.sampled_from(ARRAYS).flatmap(lambda kind: kind(rows))


def indexes(rows):
    names = st.one_of(st.none(), TEXTS, st.integers(), st.tuples(TEXTS, st.integers()))
    plain = st.builds(lambda array, name: pd.Index(array, dtype=array.dtype, name=name), arrays(rows), names)
    ranges = st.builds(
        lambda start, step: pd.RangeIndex(start, start + rows * step, step), st.integers(-9, 9), st.integers(1, 3)
    )
    several = st.builds(
        lambda *levels: pd.MultiIndex.from_arrays(levels, names=["a", None]), lists(TEXTS, rows), moments(rows)
    )
    return st.one_of(ranges, plain, several)


@st.composite
def frames(draw):
    rows, width = draw(ROWS), draw(st.integers(0, 4))
    columns = {at: draw(arrays(rows)) for at in range(width)}
    index = draw(indexes(rows))
    frame = pd.DataFrame(
        {at: pd.Series(found, dtype=found.dtype, index=index) for at, found in columns.items()}, index=index
    )
    frame.columns = draw(indexes(width))
    return frame


@st.composite
def series(draw):
    rows = draw(ROWS)
    found = draw(arrays(rows))
    return pd.Series(
        found, dtype=found.dtype, index=draw(indexes(rows)), name=draw(st.one_of(st.none(), TEXTS, st.integers()))
    )


def assert_same_kinds_of_missing(back, value):
    """Hold what the comparisons of pandas take as equal: None, nan, NA and NaT."""
    assert [type(item) for item in back.to_numpy(object).ravel()] == [
        type(item) for item in value.to_numpy(object).ravel()
    ]


@EXAMPLES
@given(frames())
def test_a_frame_comes_back_as_it_went(frame):
    back = there_and_back(frame)
    assert_frame_equal(
        back, frame, check_exact=True, check_freq=True, check_index_type="exact", check_column_type="exact"
    )
    assert_same_kinds_of_missing(back, frame)


@EXAMPLES
@given(series())
def test_a_series_comes_back_as_it_went(one):
    back = there_and_back(one)
    assert_series_equal(back, one, check_exact=True, check_freq=True, check_index_type="exact")
    assert_same_kinds_of_missing(back, one)


@EXAMPLES
@given(ROWS.flatmap(indexes))
def test_an_index_comes_back_as_it_went(index):
    assert_index_equal(there_and_back(index), index, exact=True)


@EXAMPLES
@given(ROWS.flatmap(arrays))
def test_an_array_of_pandas_comes_back_as_it_went(array):
    if isinstance(array, pd.api.extensions.ExtensionArray):
        assert_extension_array_equal(there_and_back(array), array)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2026-10-25 01:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("1500-01-01").as_unit("s"),
        pd.Timestamp(1, unit="ns"),
        pd.Timedelta(5, "ns"),
        pd.Timedelta(np.timedelta64(300_000 * 86_400, "s")),
        pd.Period("2026Q3", "Q-NOV"),
        pd.Interval(pd.Timestamp("2026"), pd.Timestamp("2027"), closed="both"),
    ],
    ids=repr,
)
def test_a_scalar_of_pandas_comes_back_as_it_went(value):
    back = there_and_back(value)
    assert (type(back), back, repr(back)) == (type(value), value, repr(value))
    assert getattr(back, "unit", None) == getattr(value, "unit", None)


def test_missing_is_itself():
    assert there_and_back(pd.NaT) is pd.NaT
    assert there_and_back(pd.NA) is pd.NA


def test_frequencies_attributes_and_flags_come_along():
    frame = pd.DataFrame({"a": range(3)}, index=pd.date_range("2026", periods=3, freq="W-TUE", tz="Europe/Berlin"))
    frame.attrs = {"unit": "m", "from": (1, 2)}
    back = there_and_back(frame.set_flags(allows_duplicate_labels=False))
    assert back.index.freq == frame.index.freq
    assert back.attrs == frame.attrs
    assert not back.flags.allows_duplicate_labels


def test_labels_may_be_anything_and_twice_the_same():
    frame = pd.DataFrame([[1, 2.5, "x"]], columns=["größe", "größe", ("a", 1)])
    assert_frame_equal(there_and_back(frame), frame)
    deep = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]))
    assert_frame_equal(there_and_back(deep), deep)


def test_objects_in_cells_keep_their_types():
    cells = [decimal.Decimal("1.50"), {"a": (1, 2)}, np.arange(3), pd.DataFrame({"x": [1]}), "half \ud800", b"\0"]
    one = pd.Series(cells, dtype=object)
    back = there_and_back(one)
    assert list(map(type, back)) == list(map(type, cells))
    assert back[0] == cells[0]
    assert back[1] == cells[1]
    assert back[2].tolist() == [0, 1, 2]
    assert_frame_equal(back[3], cells[3])
    assert list(back[4:]) == cells[4:]


def test_a_frame_that_came_can_be_written_to():
    frame = pd.DataFrame({"a": np.arange(5.0), "b": pd.array([1, None, 3, 4, 5], dtype="Int64")})
    back = there_and_back(frame)
    back.loc[0, "a"] = 7
    back.loc[1, "b"] = 7
    assert back.loc[0, "a"] == back.loc[1, "b"] == 7
    assert frame.loc[0, "a"] == 0


def test_what_a_frame_cannot_bring_is_named_with_its_column():
    with pytest.raises(CannotTravel, match=r"df\['model'\]\[1\] is an iterator"):
        Encoder().value("df", pd.DataFrame({"n": [1, 2], "model": [1, iter([])]}))


def test_a_subclass_is_refused_rather_than_changed():
    class Special(pd.DataFrame):
        pass

    with pytest.raises(CannotTravel, match="can't be sent"):
        Encoder().value("df", Special({"a": [1]}))


def test_numbers_are_not_copied_on_their_way():
    frame = pd.DataFrame({"a": np.arange(100_000.0), "b": np.arange(100_000)})
    encoder = Encoder()
    encoder.value("df", frame)
    seen = []
    for write in encoder.leaves:
        write(lambda piece: seen.append(np.frombuffer(piece, np.uint8)))
    assert any(np.shares_memory(piece, frame["a"].to_numpy()) for piece in seen if piece.size)


def layout(frame):
    """Return the columns and the steps in memory of each array of a frame, where it has several columns."""
    arrays = [(list(block.mgr_locs), getattr(block.values, "strides", None)) for block in frame._mgr.blocks]
    return sorted((columns, steps if len(columns) > 1 else None) for columns, steps in arrays)


def test_a_frame_lies_in_memory_as_before():
    made = np.random.default_rng(0).normal(size=(999, 7))
    fragmented = pd.DataFrame({"a": made[:, 0]})
    fragmented["b"] = made[:, 1]
    mixed = pd.DataFrame(made)
    mixed["text"], mixed["more"] = "x", 1.5
    for frame in (
        pd.DataFrame(made),
        pd.DataFrame(made.T.copy()).T,
        pd.DataFrame(dict(enumerate(made.T))),
        fragmented,
        mixed,
    ):
        back = there_and_back(frame)
        assert_frame_equal(back, frame)
        assert layout(back) == layout(frame)
        numbers, wanted = (one.select_dtypes("number").to_numpy() for one in (back, frame))
        assert (numbers.sum(axis=0) == wanted.sum(axis=0)).all()
        back.iloc[0, 0] = 5.0  # the memory may be written to
        assert back.iloc[0, 0] == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of a frame in many pieces
        wide = there_and_back(pd.DataFrame(np.ones((2, 150))))
        wide["more"] = 1
