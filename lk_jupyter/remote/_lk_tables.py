"""Tables of pyarrow and frames of polars, as nodes and leaves; a leaf is an Arrow IPC stream.

Travels with a run.
"""

from __future__ import annotations

import io


def encode(encoder, node, value):
    """Make the node of a table, a frame or a column; False when it has no form."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    encode = {"pyarrow": _encode_arrow, "polars": _encode_polars}[library]
    if not encode(encoder, node, value, kind.__name__):
        return False
    encoder.modules.add(library)
    return True


def decode(decoder, node):
    """Return the value of a node that ``encode`` made."""
    library, _, kind = node["t"].partition(".")
    content = decoder.leaf(node["leaf"])
    if library == "polars":
        import polars

        frame = polars.read_ipc_stream(io.BytesIO(content))
        return frame if kind == "DataFrame" else frame.to_series().alias(node["name"])
    table = read(content)
    if kind == "RecordBatch":
        return _one_batch(table)
    return table if kind == "Table" else _column(table, kind)


def write(table, sink):
    """Write a table of pyarrow, in as few batches as its columns have chunks."""
    import pyarrow

    with pyarrow.ipc.new_stream(_Sink(sink), table.schema) as writer:
        writer.write_table(table)


def read(content):
    """Return the table of pyarrow in the bytes; it uses them, not a copy."""
    import pyarrow

    with pyarrow.ipc.open_stream(pyarrow.py_buffer(content)) as reader:
        return reader.read_all()


def _encode_arrow(encoder, node, value, kind):
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


def _encode_polars(encoder, node, value, kind):
    if kind == "LazyFrame":
        raise encoder.refusal("is a plan of polars, not data: send what collect() gives")
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


def _one_batch(table):
    import pyarrow

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pyarrow.RecordBatch.from_pylist([], schema=table.schema)


def _column(table, kind):
    import pyarrow

    column = table.column(0)
    if kind == "ChunkedArray":
        return column
    return (
        column.chunk(0) if column.num_chunks == 1 else pyarrow.concat_arrays(column.chunks or [column.combine_chunks()])
    )


class _Sink(io.RawIOBase):
    """A file that hands on what is written to it, without a copy."""

    def __init__(self, sink):
        super().__init__()
        self._sink = sink
        self._at = 0

    def write(self, data):
        view = memoryview(data)
        self._sink(view)
        self._at += view.nbytes
        return view.nbytes

    def tell(self):
        return self._at

    def writable(self):
        return True
