"""Objects of pandas as nodes and leaves; a leaf is an Arrow IPC stream with the arrays of one frame or index.

The table contains bare arrays; the node has the labels, dtypes, index, time zones, categories and the kind of missing
values. So every frame is restored equal, even if Arrow's conversion would change the frame. Plain numbers are not
copied.
"""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa

from . import arrays as numbers
from . import codec as values
from . import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .codec import Decoder, Encoder

_NATIVE = "iuf"
_NUMPY_ARRAY = getattr(pd.arrays, "NumpyExtensionArray", None) or pd.arrays.PandasArray


def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    """Fill the node of a value of pandas; return False without a native form."""
    kind = type(value)
    if kind is pd.DataFrame:
        _encode_frame(encoder, node, value)
    elif kind is pd.Series:
        _encode_series(encoder, node, value)
    elif isinstance(value, pd.Index) and kind.__module__.partition(".")[0] == "pandas":
        table = _Table(encoder)
        node.update(t="pandas.Index", v=_describe_index(table, value))
        node["leaf"] = table.leaf()
    elif isinstance(value, pd.api.extensions.ExtensionArray) and kind.__module__.partition(".")[0] == "pandas":
        table = _Table(encoder)
        node.update(t="pandas.array", v=table.array(value))
        node["leaf"] = table.leaf()
    elif value is pd.NaT or value is pd.NA:
        node.update(t="pandas.NaT" if value is pd.NaT else "pandas.NA")
    elif kind in (pd.Timestamp, pd.Timedelta):
        plain = value.tz_convert("UTC").tz_localize(None) if getattr(value, "tz", None) is not None else value
        node.update(t="pandas." + kind.__name__, v=encoder.node(plain.to_numpy()))
        node["z"] = encoder.child(".tz", getattr(value, "tz", None))
    elif kind is pd.Period:
        node.update(t="pandas.Period", v=value.ordinal, f=value.freqstr)
    elif kind is pd.Interval:
        node.update(t="pandas.Interval", closed=value.closed)
        node["v"] = [encoder.node(value.left), encoder.node(value.right)]
    else:
        return False
    encoder.modules.update(("pandas", "pyarrow"))
    return True


def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
    """Return the value of a node that ``encode`` made."""
    return _READ[node["t"]](decoder, node)


def _encode_frame(encoder: Encoder, node: dict[str, Any], frame: Any) -> None:
    table = _Table(encoder)
    node.update(t="pandas.DataFrame", rows=len(frame), index=_describe_index(table, frame.index))
    labels = frame.columns
    node["data"] = [
        encoder.child_with("[{!r:.40}]".format(labels[at]), table.array, frame.iloc[:, at].array)
        for at in range(len(labels))
    ]
    node["columns"] = encoder.node(labels)
    if blocks := _describe_blocks(frame):
        node[values.LAYOUT] = blocks
    _encode_attributes(encoder, node, frame)
    node["leaf"] = table.leaf()


def _describe_blocks(frame: Any) -> list[Any]:
    """Return the columns of each array of two axes, and whether the values of a row are adjacent in memory.

    Sums of the same values in a different order may differ in the last digit, and pandas warns of fragmented frames.
    """
    blocks = getattr(getattr(frame, "_mgr", None), "blocks", ())
    arrays = [(block.mgr_locs, block.values) for block in blocks]  # noqa: PD011 (blocks have nothing else)
    return [
        [list(map(int, columns)), bool(array.flags.f_contiguous and not array.flags.c_contiguous)]
        for columns, array in arrays
        if isinstance(array, np.ndarray) and array.ndim == 2 and len(array) > 1
    ]


def _encode_series(encoder: Encoder, node: dict[str, Any], series: Any) -> None:
    table = _Table(encoder)
    node.update(t="pandas.Series", index=_describe_index(table, series.index), data=table.array(series.array))
    node["name"] = encoder.child(".name", series.name)
    _encode_attributes(encoder, node, series)
    node["leaf"] = table.leaf()


def _encode_attributes(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    if value.attrs:
        node["attrs"] = encoder.child(".attrs", value.attrs)
    if not value.flags.allows_duplicate_labels:
        node["unique"] = True


def _describe_index(table: _Table, index: Any) -> dict[str, Any]:
    """Return the description of an index by the arrays in the table."""
    encoder = table.encoder
    if type(index) is pd.RangeIndex:
        return {"k": "range", "v": [index.start, index.stop, index.step], "name": encoder.node(index.name)}
    if isinstance(index, pd.MultiIndex):
        return {
            "k": "multi",
            "levels": [encoder.node(level.rename(None)) for level in index.levels],
            "codes": [table.array(np.asarray(codes)) for codes in index.codes],
            "names": [encoder.node(name) for name in index.names],
        }
    freq = getattr(index, "freqstr", None) if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None
    return {"k": "index", "v": table.array(index.array), "name": encoder.node(index.name), "freq": freq}


def _read_index(arrays: _Arrays, form: Any) -> Any:
    value = arrays.decoder.value
    if form["k"] == "range":
        return pd.RangeIndex(*form["v"], name=value(form["name"]))
    if form["k"] == "multi":
        levels, codes = [value(level) for level in form["levels"]], [arrays.array(codes) for codes in form["codes"]]
        _require_codes(levels, codes)
        names = [value(name) for name in form["names"]]
        return pd.MultiIndex(levels=levels, codes=codes, names=names, verify_integrity=False)
    array = arrays.array(form["v"])
    index = pd.Index(array, dtype=array.dtype, name=value(form["name"]), copy=False)
    if form["freq"]:
        index.freq = form["freq"]
    return index


def _require_codes(levels: list[Any], codes: list[Any]) -> None:
    """Raise ValueError for codes that lead outside of their level: pandas would read memory there."""
    for level, numbered in zip(levels, codes):
        if numbered.dtype.kind != "i" or (len(numbered) and not -1 <= numbered.min() <= numbered.max() < len(level)):
            raise ValueError("a code of an index isn't in its level")
    if len(levels) != len(codes) or len(set(map(len, codes))) > 1:
        raise ValueError("the levels of an index differ in length")


class _Table:
    """Collects arrays of one length; ``array`` returns the description of an array."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._columns: list[Any] = []

    def leaf(self) -> int:
        """Make the leaf with the arrays."""
        table = pa.table(self._columns, names=[str(at) for at in range(len(self._columns))])
        return self.encoder.leaf(lambda sink: tables.write(table, sink))

    def array(self, array: Any) -> Any:
        """Add an array, and return the description."""
        if type(array) is _NUMPY_ARRAY:
            array = array.to_numpy()
        if isinstance(array, np.ndarray):
            return self._encode_objects(array) if array.dtype == object else self._encode_numbers(array)
        tell = _EXTENSIONS.get(type(array).__name__)
        if tell is None:
            raise self.encoder.refusal("has the dtype {}, which can't be sent: convert it".format(array.dtype))
        return tell(self, array)

    def _add_column(self, column: Any) -> int | dict[str, int]:
        """Add an array of Arrow. A chunked array is a separate leaf: else all columns would be chunked."""
        if isinstance(column, pa.ChunkedArray) and column.num_chunks != 1:
            alone = pa.table([column], names=["0"])
            return {"leaf": self.encoder.leaf(lambda sink: tables.write(alone, sink))}
        self._columns.append(column)
        return len(self._columns) - 1

    def _encode_numbers(self, array: Any) -> dict[str, Any]:
        dtype = array.dtype
        return {"k": "numpy", "d": dtype.str, "c": self._add_column(_convert_to_arrow(array))}

    def _encode_objects(self, array: Any) -> dict[str, Any]:
        kinds = set(map(type, array))
        if kinds <= {str, type(None)}:
            try:
                return {"k": "text", "c": self._add_column(pa.array(array, pa.large_string(), from_pandas=False))}
            except UnicodeEncodeError:
                pass  # half of a surrogate pair
        return {
            "k": "objects",
            "c": self._add_column(pa.array(map(self._encode_as_text, range(len(array)), array), pa.large_string())),
        }

    def _encode_as_text(self, at: int, value: Any) -> str:
        inner = values.Encoder(self.encoder.pickle)
        node = self.encoder.child_with("[{}]".format(at), lambda value: inner.value(self.encoder.place, value), value)
        self.encoder.modules.update(inner.modules)
        self.encoder.pickled.update(inner.pickled)
        return json.dumps([node, [values.encode_leaf_text(write) for write in inner.leaves]])

    # Extension arrays

    def masked(self, array: Any) -> dict[str, Any]:
        return {"k": "masked", "v": self._encode_numbers(array._data), "m": self._encode_numbers(array.isna())}

    def categorical(self, array: Any) -> dict[str, Any]:
        categories = self.encoder.node(array.categories)
        return {"k": "categories", "v": self._encode_numbers(array.codes), "of": categories, "ordered": array.ordered}

    def moments(self, array: Any) -> dict[str, Any]:
        if array.dtype.kind == "M" and getattr(array, "tz", None) is not None:
            zone = self.encoder.child(".tz", array.tz)
            plain = array.tz_convert("UTC").tz_localize(None)
            return {"k": "zoned", "v": self._encode_numbers(plain.to_numpy(copy=False)), "z": zone}
        return self._encode_numbers(array.to_numpy(copy=False))

    def periods(self, array: Any) -> dict[str, Any]:
        return {"k": "periods", "v": self._encode_numbers(array.asi8), "f": array.freqstr}

    def intervals(self, array: Any) -> dict[str, Any]:
        sides = [self.array(side.array) for side in (array.left, array.right)]
        return {"k": "intervals", "v": sides, "closed": array.closed}

    def sparse(self, array: Any) -> dict[str, Any]:
        fill = self.encoder.node(array.fill_value)
        return {"k": "sparse", "v": self.array(array.to_dense()), "fill": fill, "in": array.kind}

    def strings(self, array: Any) -> dict[str, Any]:
        missing = "nan" if getattr(array.dtype, "na_value", pd.NA) is not pd.NA else "NA"
        try:
            column = self._add_column(pa.array(array))
        except UnicodeEncodeError:
            return {"k": "loose", "v": self.array(array.astype(object)), "storage": array.dtype.storage, "na": missing}
        return {"k": "strings", "c": column, "storage": array.dtype.storage, "na": missing}

    def arrow(self, array: Any) -> dict[str, Any]:
        return {"k": "arrow", "c": self._add_column(pa.chunked_array(array.__arrow_array__()))}


_EXTENSIONS = {
    "IntegerArray": _Table.masked,
    "FloatingArray": _Table.masked,
    "BooleanArray": _Table.masked,
    "Categorical": _Table.categorical,
    "DatetimeArray": _Table.moments,
    "TimedeltaArray": _Table.moments,
    "PeriodArray": _Table.periods,
    "IntervalArray": _Table.intervals,
    "SparseArray": _Table.sparse,
    "StringArray": _Table.strings,
    "ArrowStringArray": _Table.strings,
    "ArrowStringArrayNumpySemantics": _Table.strings,
    "StringArrayNumpySemantics": _Table.strings,
    "ArrowExtensionArray": _Table.arrow,
}


def _convert_to_arrow(array: Any) -> Any:
    """Return an array of numpy as an array of Arrow, which uses the same memory if contiguous."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind in "mM":
        kind, array = pa.int64(), array.view(np.int64)
    elif array.dtype.kind == "b":
        kind, array = pa.uint8(), array.view(np.uint8)
    elif array.dtype.kind in _NATIVE and array.dtype.isnative and array.dtype.itemsize <= 8:
        kind = pa.from_numpy_dtype(array.dtype)
    else:
        kind, array = pa.binary(array.dtype.itemsize), array.view(np.uint8)
    count = len(array) if not pa.types.is_fixed_size_binary(kind) else len(array) // kind.byte_width
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(array)])


def _make_leaf_reader(leaves: list[str]) -> Callable[[int], bytearray]:
    """Return a function that returns the bytes of a leaf by its number."""
    return lambda number: values.decode_leaf_text(leaves[number])


class _Arrays:
    """Reads arrays from the table in a leaf."""

    def __init__(self, decoder: Decoder, leaf: int) -> None:
        self.decoder = decoder
        self._content = decoder.leaf(leaf)
        self._table = tables.read(self._content)
        self._bytes = np.frombuffer(self._content, np.uint8)

    def array(self, form: Any) -> Any:
        """Return the array that ``_Table.array`` described."""
        return _FORMS[form["k"]](self, form)

    def _read_column(self, form: Any) -> Any:
        place = form["c"]
        alone = isinstance(place, dict)
        return tables.read(self.decoder.leaf(place["leaf"])).column(0) if alone else self._table.column(place)

    def _numpy(self, form: Any) -> np.ndarray[Any, Any]:
        dtype, column = numbers.plain_dtype(form["d"]), self._read_column(form)
        parts = [self._view_memory(chunk, dtype) for chunk in column.chunks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, dtype)

    def _view_memory(self, chunk: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return the writable memory of an array of Arrow."""
        memory = chunk.buffers()[1]
        if not len(chunk) or (memory is None and not dtype.itemsize):
            return np.zeros(min(len(chunk), numbers.MAX_EMPTY), dtype)
        start = memory.address - self._bytes.ctypes.data + chunk.offset * dtype.itemsize
        if 0 <= start <= len(self._bytes) - len(chunk) * dtype.itemsize:
            array = np.frombuffer(self._content, dtype, len(chunk), start)
        else:
            array = np.frombuffer(memory, dtype, len(chunk), chunk.offset * dtype.itemsize).copy()
        numbers.require_bools(array)
        return array

    def joined(self, forms: list[Any], has_rows: bool) -> np.ndarray[Any, Any]:
        """Return arrays as rows of one array, in the memory of the leaf if the rows are adjacent."""
        rows = [self.array(one) for one in forms]
        first, size = rows[0], rows[0].nbytes
        start = self._bytes.ctypes.data
        places = [row.__array_interface__["data"][0] for row in rows]
        is_in_leaf = start <= places[0] and places[-1] + size <= start + len(self._bytes)
        if size and is_in_leaf and not has_rows and places == [places[0] + at * size for at in range(len(rows))]:
            return np.lib.stride_tricks.as_strided(first, (len(rows), len(first)), (size, first.itemsize))
        joined = np.empty((len(rows), len(first)), first.dtype, "F" if has_rows else "C")
        for place, row in zip(joined, rows):
            place[:] = row
        return joined

    def _read_text_column(self, form: Any) -> Any:
        """Return a column of text. Raises ValueError for a type whose values may be larger than the bytes."""
        column = self._read_column(form)
        if column.type not in (pa.string(), pa.large_string()):
            raise ValueError("a column of text has the type {}".format(column.type))
        return column

    def _text(self, form: Any) -> np.ndarray[Any, Any]:
        column = self._read_text_column(form)
        array = np.empty(len(column), object)
        array[:] = column.to_pylist()
        return array

    def _objects(self, form: Any) -> np.ndarray[Any, Any]:
        column = self._read_text_column(form)
        array = np.empty(len(column), object)
        for at, text in enumerate(column.to_pylist()):
            node, leaves = json.loads(text)
            array[at] = self.decoder.inner(_make_leaf_reader(leaves)).value(node)
        return array

    def _masked(self, form: Any) -> Any:
        data, mask = self.array(form["v"]), self.array(form["m"])
        kinds = {"b": pd.arrays.BooleanArray, "f": getattr(pd.arrays, "FloatingArray", None)}
        return kinds.get(data.dtype.kind, pd.arrays.IntegerArray)(data, mask)

    def _categories(self, form: Any) -> Any:
        dtype = pd.CategoricalDtype(self.decoder.value(form["of"]), form["ordered"])
        return pd.Categorical.from_codes(self.array(form["v"]), dtype=dtype)

    def _zoned(self, form: Any) -> Any:
        utc = pd.DatetimeIndex(self.array(form["v"]), copy=False).tz_localize("UTC")
        return utc.tz_convert(self.decoder.value(form["z"])).array

    def _periods(self, form: Any) -> Any:
        return pd.arrays.PeriodArray(self.array(form["v"]), dtype=pd.PeriodDtype(form["f"]))

    def _intervals(self, form: Any) -> Any:
        lower, upper = (pd.Index(self.array(side), copy=False) for side in form["v"])
        return pd.arrays.IntervalArray.from_arrays(lower, upper, closed=form["closed"])

    def _sparse(self, form: Any) -> Any:
        fill = self.decoder.value(form["fill"])
        return pd.arrays.SparseArray(self.array(form["v"]), fill_value=fill, kind=form["in"])

    def _strings(self, form: Any) -> Any:
        column, dtype = self._read_text_column(form), _build_string_dtype(form)
        return dtype.__from_arrow__(column) if len(column) else pd.array([], dtype=dtype)

    def _loose(self, form: Any) -> Any:
        return pd.array(self.array(form["v"]), dtype=_build_string_dtype(form))

    def _arrow(self, form: Any) -> Any:
        return pd.arrays.ArrowExtensionArray(self._read_column(form))


#: Name of a form → how an array of this form is read.
_FORMS = {
    name: getattr(_Arrays, "_" + name)
    for name in (
        "numpy", "text", "objects", "masked", "categories", "zoned", "periods", "intervals", "sparse", "strings",
        "loose", "arrow",
    )
}  # fmt: skip


def _build_string_dtype(form: Any) -> Any:
    """Return the dtype of text; an older pandas has a single kind of missing value."""
    if form["na"] == "NA":
        return pd.StringDtype(form["storage"])
    try:
        return pd.StringDtype(form["storage"], na_value=np.nan)
    except TypeError:
        return pd.StringDtype("pyarrow")


def _build_series(array: Any, index: Any = None, name: str | None = None) -> Any:
    return pd.Series(array, index=index, dtype=array.dtype, name=name, copy=False)


def _read_frame(decoder: Decoder, node: dict[str, Any]) -> Any:
    arrays = _Arrays(decoder, node["leaf"])
    index = _read_index(arrays, node["index"])
    columns = {at: _build_series(arrays.array(form), index) for at, form in enumerate(node["data"])}
    frame = pd.DataFrame(columns, index=index, copy=False)
    if values.LAYOUT in node:
        with suppress(Exception):  # a different pandas has a different layout: the values are right
            _arrange_blocks(frame, arrays, node)
    frame.columns = decoder.value(node["columns"])
    return _restore_attributes(decoder, node, frame)


def _arrange_blocks(frame: Any, arrays: _Arrays, node: dict[str, Any]) -> None:
    """Join columns into arrays of two axes, as ``_describe_blocks`` described."""
    from pandas._libs.internals import _unpickle_block

    places = [place for columns, _ in node[values.LAYOUT] for place in columns]
    if len(set(places)) < len(places) or not set(places) <= set(range(len(node["data"]))):
        raise ValueError("a block has columns that the DataFrame doesn't have")
    blocks, moved = [], set()
    for columns, has_rows in node[values.LAYOUT]:
        joined = arrays.joined([node["data"][at] for at in columns], has_rows)
        blocks.append(_unpickle_block(joined, np.array(columns), 2))
        moved.update(columns)
    manager = frame._mgr
    frame._mgr = type(manager)(
        (*(block for block in manager.blocks if block.mgr_locs[0] not in moved), *blocks), manager.axes
    )


def _read_series(decoder: Decoder, node: dict[str, Any]) -> Any:
    arrays = _Arrays(decoder, node["leaf"])
    index, array = _read_index(arrays, node["index"]), arrays.array(node["data"])
    return _restore_attributes(decoder, node, _build_series(array, index, decoder.value(node["name"])))


def _read_array(decoder: Decoder, node: dict[str, Any]) -> Any:
    array = _Arrays(decoder, node["leaf"]).array(node["v"])
    return pd.array(array, dtype=array.dtype) if isinstance(array, np.ndarray) else array


def _restore_attributes(decoder: Decoder, node: dict[str, Any], value: Any) -> Any:
    if "attrs" in node:
        value.attrs = decoder.value(node["attrs"])
    return value.set_flags(allows_duplicate_labels=False) if "unique" in node else value


def _read_moment(decoder: Decoder, node: dict[str, Any]) -> Any:
    moment, zone = pd.Timestamp(decoder.value(node["v"])), decoder.value(node["z"])
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


_READ: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "pandas.DataFrame": _read_frame,
    "pandas.Series": _read_series,
    "pandas.Index": lambda decoder, node: _read_index(_Arrays(decoder, node["leaf"]), node["v"]),
    "pandas.array": _read_array,
    "pandas.NaT": lambda _decoder, _node: pd.NaT,
    "pandas.NA": lambda _decoder, _node: pd.NA,
    "pandas.Timestamp": _read_moment,
    "pandas.Timedelta": lambda decoder, node: pd.Timedelta(decoder.value(node["v"])),
    "pandas.Period": lambda _decoder, node: pd.Period(ordinal=node["v"], freq=node["f"]),
    "pandas.Interval": lambda decoder, node: pd.Interval(*decoder.values(node["v"]), closed=node["closed"]),
}
