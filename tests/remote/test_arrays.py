"""Arrays of numpy come back with the same dtype, shape, order and bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from remote.roundtrip import EXAMPLES, there_and_back

from lk_jupyter.remote.values import arrays
from lk_jupyter.remote.values.codec import CannotTravel, Encoder

DTYPES = st.one_of(hnp.scalar_dtypes(), hnp.nested_dtypes(hnp.scalar_dtypes(), max_itemsize=200), hnp.array_dtypes())
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4))


def assert_same(back, array):
    assert type(back) is type(array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@EXAMPLES
@given(ARRAYS)
def test_an_array_comes_back_as_it_went(array):
    assert_same(there_and_back(array), array)


@EXAMPLES
@given(ARRAYS, st.data())
def test_a_view_comes_back_with_what_it_shows(array, data):
    view = np.asarray(array[data.draw(hnp.basic_indices(array.shape))]) if array.ndim else array
    assert_same(there_and_back(view.T), view.T)


@EXAMPLES
@given(hnp.arrays(hnp.scalar_dtypes(), ()))
def test_a_scalar_comes_back_as_it_went(array):
    assert_same(np.asarray(there_and_back(array[()])), np.asarray(array[()]))
    assert type(there_and_back(array[()])) is type(array[()])


def test_an_array_can_be_written_to_and_keeps_its_order():
    by_columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    back = there_and_back(by_columns)
    assert back.flags.f_contiguous
    back[0, 0] = 7
    assert back[0, 0] == 7


def test_a_leaf_is_a_file_that_numpy_reads():
    for array in (np.arange(6).reshape(2, 3), np.zeros(2, [("größe", "<i4")])):
        file = io.BytesIO()
        arrays.write(array, file.write)
        file.seek(0)
        assert_same(np.load(file), array)


def test_masks_records_matrices_and_dtypes():
    masked = np.ma.MaskedArray([1, 2, 3], [0, 1, 0], fill_value=9, hard_mask=True)
    back = there_and_back(masked)
    assert (back.tolist(), back.fill_value, back.hardmask) == ([1, None, 3], 9, True)
    assert there_and_back(np.ma.MaskedArray([1.5])).mask is np.ma.nomask
    records = np.rec.array([(1, "a")], dtype=[("n", "i4"), ("t", "U1")])
    assert_same(there_and_back(records), records)
    assert there_and_back(records)[0].t == "a"
    matrix = np.ones((1, 2)).view(np.matrix)
    assert_same(there_and_back(matrix), matrix)
    assert there_and_back(np.dtype([("a", ">i2")])) == np.dtype([("a", ">i2")])


def test_arrays_inside_of_containers_and_one_array_under_two_names():
    array = np.arange(3)
    one, other = there_and_back({"deep": [array]}, array)
    assert one["deep"][0] is other


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([object()]), "x is an array of objects"),
        (np.zeros(1, [("a", object)]), "x is an array of objects"),
        *([(np.array(["a"], np.dtypes.StringDType()), "x has the dtype")] if hasattr(np.dtypes, "StringDType") else []),
    ],
    ids=lambda value: value.dtype.char if isinstance(value, np.ndarray) else "",
)
def test_what_has_no_bytes_of_its_own_is_refused(array, said):
    with pytest.raises(CannotTravel, match=said):
        Encoder().value("x", array)


@pytest.mark.parametrize("descr", ["|O", [("a", "|O")]])
def test_bytes_are_never_taken_for_objects(descr):
    file = io.BytesIO()
    arrays.write(np.zeros(1), file.write)
    forged = bytearray(file.getvalue().replace(b"'<f8'", repr(descr).encode()))
    forged[8:12] = (len(forged) - 12 - 8).to_bytes(4, "little")
    with pytest.raises(ValueError, match="objects have no bytes"):
        arrays.read(forged)


def test_objects_travel_pickled_where_that_was_asked_for():
    back = there_and_back(np.array([1, "a", None], dtype=object), pickle=True)
    assert back.tolist() == [1, "a", None]
