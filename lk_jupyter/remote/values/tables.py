"""Tables of pyarrow and frames of polars, as nodes and leaves; a leaf is an Arrow IPC stream."""

from __future__ import annotations

import io
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Decoder, Encoder, Sink

#: Kinds of Arrow messages that have a body, by the number in their header.
_DICTIONARY, _BATCH = 2, 3

#: Types whose values contain the positions of bytes.
_VIEWS = {"string_view", "binary_view"}


def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    """Fill the node of a table, a frame or a column; return False without a native form."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    encode = {"pyarrow": _encode_arrow, "polars": _encode_polars}[library]
    if not encode(encoder, node, value, kind.__name__):
        return False
    encoder.modules.add(library)
    return True


def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
    """Return the value of a node that ``encode`` made."""
    library, _, kind = node["t"].partition(".")
    content = decoder.leaf(node["leaf"])
    if library == "polars":
        frame = _read_polars(content, decoder.names)
        return frame if kind == "DataFrame" else frame.to_series().alias(node["name"])
    table = read(content)
    if kind == "RecordBatch":
        return _join_batches(table)
    return table if kind == "Table" else _restore_column(table, kind)


def write(table: Any, sink: Sink) -> None:
    """Write a table of pyarrow, in as few batches as the columns have chunks."""
    import pyarrow

    with pyarrow.ipc.new_stream(_Sink(sink), table.schema) as writer:
        writer.write_table(table)


def read(content: Any) -> Any:
    """Return the table of pyarrow in the bytes, without a copy. Raises ValueError for forged bytes.

    Without validation, a use of the table would read wherever a forged offset leads.
    """
    import pyarrow

    buffer = pyarrow.py_buffer(content)
    has_views = False
    for message in pyarrow.ipc.MessageReader.open_stream(buffer):
        metadata = memoryview(message.metadata)
        if find_compression(metadata):
            raise ValueError("compressed bytes could need any amount of memory")
        has_views = has_views or has_view_counts(metadata)
    with pyarrow.ipc.open_stream(buffer) as reader:
        table = reader.read_all()
    require_valid(table, has_views)
    return table


def require_valid(table: Any, has_views: bool = True) -> None:
    """Raise ArrowException for a table of pyarrow that leads out of its memory."""
    table.validate(full=True)
    for column in table.columns if has_views else ():
        for chunk in column.chunks:
            _require_views(chunk)


def _require_views(array: Any) -> None:
    """Raise ArrowException for a view out of bounds in place of a missing value: a cast reads such views too."""
    import pyarrow

    kind = array.type
    if str(kind) in _VIEWS:
        if array.null_count:  # validate skips missing values
            buffers = [None, *array.buffers()[1:]]
            pyarrow.Array.from_buffers(pyarrow.binary_view(), len(array), buffers, 0, array.offset).validate(full=True)
    elif isinstance(kind, pyarrow.DictionaryType):
        _require_views(array.dictionary)
    elif isinstance(kind, pyarrow.BaseExtensionType):
        _require_views(array.storage)
    elif isinstance(kind, (pyarrow.StructType, pyarrow.UnionType)):
        for at in range(kind.num_fields):
            _require_views(array.field(at))
    elif kind.num_fields:
        _require_views(array.values)


def find_compression(metadata: memoryview) -> int:
    """Return the position of the compression in the flatbuffer of an Arrow message, or 0 for a plain body."""
    batch = find_record_batch(metadata)
    return find_flatbuffer_field(metadata, batch, 3) if batch else 0


def has_view_counts(metadata: memoryview) -> bool:
    """Return whether an Arrow message has columns of views: the message has their buffer counts."""
    batch = find_record_batch(metadata)
    return bool(batch and find_flatbuffer_field(metadata, batch, 4))


def find_record_batch(metadata: memoryview) -> int:
    """Return the position of the table RecordBatch in the flatbuffer of an Arrow message, or 0 without one."""
    (message,) = struct.unpack_from("<I", metadata)
    kind, header = find_flatbuffer_field(metadata, message, 1), find_flatbuffer_field(metadata, message, 2)
    kind = metadata[kind] if kind and header else 0
    if kind not in (_DICTIONARY, _BATCH):
        return 0
    batch = follow_offset(metadata, header)
    if kind == _DICTIONARY:
        place = find_flatbuffer_field(metadata, batch, 1)
        return follow_offset(metadata, place) if place else 0
    return batch


def follow_offset(data: memoryview, place: int) -> int:
    """Return the position that the offset at a place leads to."""
    return place + int(struct.unpack_from("<I", data, place)[0])


def find_flatbuffer_field(data: memoryview, table: int, index: int) -> int:
    """Return the position of a field of a flatbuffer's table, or 0 for a missing field. Raises struct.error."""
    start = table - struct.unpack_from("<i", data, table)[0]
    if start < 0:
        raise ValueError("a flatbuffer refers to bytes outside of it")
    (size,) = struct.unpack_from("<H", data, start)
    place = 4 + 2 * index
    offset = struct.unpack_from("<H", data, start + place)[0] if place + 2 <= size else 0
    return table + offset if offset else 0


def _read_polars(content: Any, is_trusted: bool) -> Any:
    """Return the frame of polars in the bytes. Untrusted bytes are read and rewritten by pyarrow.

    polars doesn't validate the bytes that it reads.
    """
    import polars

    if not is_trusted:
        buffer = io.BytesIO()
        write(read(content), buffer.write)
        content = buffer.getvalue()
    try:
        return polars.read_ipc_stream(io.BytesIO(content))
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of Rust, which is no Exception
            raise ValueError("polars can't read it: {}".format(error)) from None
        raise


def _encode_arrow(encoder: Encoder, node: dict[str, Any], value: Any, kind: str) -> bool:
    import pyarrow

    if kind == "RecordBatch":
        table = pyarrow.Table.from_batches([value])
    elif kind == "Table":
        table = value
    elif isinstance(value, (pyarrow.Array, pyarrow.ChunkedArray)):
        kind = "ChunkedArray" if kind == "ChunkedArray" else "Array"
        table = pyarrow.table([value], names=[""])
    else:
        return False
    node.update(t="pyarrow." + kind, leaf=encoder.leaf(lambda sink: write(table, sink)))
    return True


def _encode_polars(encoder: Encoder, node: dict[str, Any], value: Any, kind: str) -> bool:
    if kind == "LazyFrame":
        raise encoder.refusal("is a query plan of polars, not data: send the result of collect()")
    if kind not in ("DataFrame", "Series"):
        return False
    frame = value
    if kind == "Series":
        frame = value.alias("").to_frame()
        node["name"] = value.name
    objects = [name for name, dtype in frame.schema.items() if str(dtype) == "Object"]
    if objects:
        raise encoder.refusal("has columns of Python objects ({}): convert them".format(", ".join(map(repr, objects))))
    node.update(t="polars." + kind, leaf=encoder.leaf(lambda sink: frame.write_ipc_stream(_Sink(sink))))
    return True


def _join_batches(table: Any) -> Any:
    import pyarrow

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pyarrow.RecordBatch.from_pylist([], schema=table.schema)


def _restore_column(table: Any, kind: str) -> Any:
    import pyarrow

    column = table.column(0)
    if kind == "ChunkedArray":
        return column
    return (
        column.chunk(0) if column.num_chunks == 1 else pyarrow.concat_arrays(column.chunks or [column.combine_chunks()])
    )


class _Sink(io.RawIOBase):
    """A file that forwards written bytes to a sink, without a copy."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._at = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._sink(view)
        self._at += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._at

    def writable(self) -> bool:
        return True
