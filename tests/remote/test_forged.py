"""Values that somebody forged crash nothing, fill no memory and name no code."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tarfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lk_jupyter.remote.script import checkpoint
from lk_jupyter.remote.values import arrays, codec, envelope, pandas, tables
from lk_jupyter.runs.variables.download import read_outputs
from lk_jupyter.storage import load


def stream_of(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def encoded(value):
    encoder = codec.Encoder()
    node = encoder.value("x", value)
    leaves = []
    for write in encoder.leaves:
        leaves.append(bytearray())
        write(leaves[-1].extend)
    return json.loads(json.dumps(node)), leaves


def decoded(node, leaves=(), **options):
    return codec.Decoder([bytearray(leaf) for leaf in leaves].__getitem__, **options).value(node)


TEXTS = pa.table({"s": ["a", "bc", "def"]})


@pytest.mark.parametrize("kind", ["pyarrow.Table", "polars.DataFrame"])
def test_offsets_of_text_that_lead_out_of_its_bytes_are_refused(kind):
    content = stream_of(TEXTS)
    forged = content.replace(
        bytes.fromhex("00000000010000000300000006000000"), bytes.fromhex("00000000010000000300ff7f06000000")
    )
    assert forged != content
    with pytest.raises(Exception, match=r"Offset|offset"):
        decoded({"t": kind, "leaf": 0}, [forged], names=False)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_bytes_are_refused_before_they_take_memory(codec):
    content = stream_of(pa.table({"n": np.zeros(20_000_000)}), compression=codec)
    assert len(content) < 1_000_000
    with pytest.raises(ValueError, match="compressed"):
        tables.read(content)


def test_a_frame_of_polars_from_elsewhere_comes_back_as_it_went():
    frame = pl.DataFrame(
        {"n": [1, None], "s": ["a", "b"], "l": [[1], []], "c": pl.Series(["x", "y"], dtype=pl.Categorical)}
    )
    node, leaves = encoded(frame)
    assert decoded(node, leaves, names=False).equals(frame)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2**62, 4), "<f8"), ((2**32, 2**32), "|u1"), ((10**12,), "|V0"), ((1,), "|O"), ((2,), "O")],
)
def test_an_array_that_claims_more_than_its_bytes_is_refused(shape, dtype):
    head = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    content = arrays.MAGIC + len(head).to_bytes(4, "little") + head + bytes(4)
    with pytest.raises(Exception, match=r"."):
        arrays.read(content)


def test_bools_are_0_or_1():
    node, leaves = encoded(np.array([True, False]))
    forged = bytes(leaves[0][:-2]) + b"\x02\xff"
    with pytest.raises(ValueError, match="bool"):
        decoded(node, [forged])


FRAME = pd.DataFrame(
    {"n": [1.0, 2.0], "m": [3.0, 4.0], "s": ["a", "b"], "yes": [True, False]},
    index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]),
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda node: node["index"]["levels"].__setitem__(0, {"t": "pandas.array", "leaf": 0, "v": {}}), "."),
        (lambda node: node["data"][2].update(c=node["data"][0]["c"]), "column of text"),
        (lambda node: node["data"][0].update(d="O"), "dtype"),
        (lambda node: node["data"][0].update(k="_init__"), "_init__"),
    ],
)
def test_a_frame_whose_description_was_forged_is_refused(change, reason):
    node, leaves = encoded(FRAME.astype({"s": object}))
    change(node)
    with pytest.raises(Exception, match=reason):
        decoded(node, leaves)


def test_codes_of_an_index_that_lead_out_of_a_level_are_refused():
    with pytest.raises(ValueError, match="code"):
        pandas._require_codes([["x"]], [np.array([10**9])])


@pytest.mark.parametrize("columns", [[0, 0], [-1, 0], [0, 10**6]])
def test_a_block_of_columns_that_a_frame_lacks_changes_nothing(columns):
    frame = pd.DataFrame({"n": [1.0, 2.0], "m": [3.0, 4.0]})
    node, leaves = encoded(frame)
    node[codec.LAYOUT][0][0] = columns
    assert decoded(node, leaves).equals(frame)


@pytest.mark.parametrize("name", ["load", "os", "Tensor", "none", "__builtins__"])
def test_a_dtype_of_torch_is_a_dtype(name):
    torch = pytest.importorskip("torch")
    assert decoded({"t": "torch.dtype", "v": "float16"}) is torch.float16
    with pytest.raises(ValueError, match="no dtype"):
        decoded({"t": "torch.dtype", "v": name})


@pytest.mark.parametrize(
    ("shape", "strides"), [([4], [1]), ([2, 2], [2, 1]), ([1], [-1]), ([3], [1, 1]), ([2**62, 2**62], [0, 1])]
)
def test_a_tensor_that_leads_out_of_its_bytes_is_refused(shape, strides):
    torch = pytest.importorskip("torch")
    node, leaves = encoded(torch.ones(3))
    with pytest.raises(ValueError, match=r"shape"):
        decoded({**node, "shape": shape, "strides": strides}, leaves)


def test_a_tensor_without_bytes_has_no_elements():
    torch = pytest.importorskip("torch")
    node, leaves = encoded(torch.ones(0, 3))
    with pytest.raises(ValueError, match="without bytes"):
        decoded(node, [leaves[0].replace(b"[0, 3]", b"[9, 9]")])


def test_bytes_of_a_message_are_used_once():
    text = base64.b64encode(bytes(5000)).decode()
    node = {"t": "list", "v": [{"t": "bytes", "leaf": 0}] * 10_000}
    content = {"values": {"x": node, "y": {"t": "bytes", "leaf": -1}}, "leaves": [{"v": text}], "refused": {}}
    received = envelope.Received(json.dumps(content), None)
    assert received.values() == {}
    assert "uses them twice" in received.refused["x"]
    assert "aren't in the message" in received.refused["y"]


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
def test_shared_tuples_keep_no_hash_busy(kind):
    nodes = [{"t": "tuple", "id": 1, "v": [1, 2]}]
    nodes += [{"t": "tuple", "id": at, "v": [{"t": "same", "n": at - 1}] * 2} for at in range(2, 60)]
    last = {"t": "same", "n": 59}
    with pytest.raises(codec.CannotTravel, match="too many parts"):
        decoded({"t": "list", "v": [*nodes, {"t": kind, "v": [[last, 1]] if kind == "dict" else [last]}]})
    assert decoded(encoded({(1, (2, 3)): 4})[0]) == {(1, (2, 3)): 4}


def test_a_fraction_is_of_two_ints():
    with pytest.raises(ValueError, match="int"):
        decoded({"t": "Fraction", "v": ["1e999999999"]})


@pytest.mark.parametrize("dtype", ["|b1", "|u1", "<f8"])
@pytest.mark.parametrize("size", [2**63 - 1, 2**62, 2**61])
def test_an_array_whose_size_overflows_is_refused(dtype, size):
    head = repr({"descr": dtype, "fortran_order": False, "shape": (size,)}).encode()
    content = arrays.MAGIC + len(head).to_bytes(4, "little") + head + b"\x00\x01"
    with pytest.raises(ValueError, match="shorter than its shape"):
        arrays.read(content)


def test_a_column_without_bytes_has_no_elements():
    node, _ = encoded(pd.Series([1]))
    empty = pa.Array.from_buffers(pa.binary(0), 12_345, [None, pa.py_buffer(b"")])
    content = stream_of(pa.table([empty], names=["0"]))
    with pytest.raises(ValueError, match="array is too big"):
        decoded(node, [content.replace(struct.pack("<q", 12_345), struct.pack("<q", 2**61))])


@pytest.mark.parametrize("operator", ["-", "not ", "lambda:"])
def test_a_dtype_nested_too_deeply_is_no_lack_of_memory(operator):
    message = {"values": {"x": {"t": "numpy.dtype", "d": operator * 10_000}}, "leaves": [], "refused": {}}
    refused = envelope.Received(json.dumps(message), None)
    assert refused.values() == {}
    assert "nested too deeply" in refused.refused["x"]


def string_views(length):
    """Return an array whose second value is missing, and has this length there."""
    views = struct.pack("<4i4i", 1, ord("a"), 0, 0, length, 0, 0, 0)
    return pa.Array.from_buffers(pa.string_view(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(views), pa.py_buffer(b"b")])


@pytest.mark.parametrize("length", [-1_048_576, 2**31 - 1])
@pytest.mark.parametrize(
    "column_of",
    [
        lambda views: views,
        lambda views: pa.StructArray.from_arrays([views], ["a"]),
        lambda views: pa.ListArray.from_arrays([0, 2], views),
        lambda views: pa.DictionaryArray.from_arrays([0, 0], views),
        lambda views: pa.MapArray.from_arrays([0, 2], ["x", "y"], views),
    ],
)
def test_a_view_in_place_of_a_missing_value_leads_nowhere(column_of, length):
    forged, plain = (pa.table({"s": column_of(string_views(size))}) for size in (length, 0))
    tables.require_valid(plain)
    with pytest.raises(pa.ArrowException, match="View"):
        tables.require_valid(forged)


def test_a_file_whose_missing_text_leads_out_of_its_bytes_is_refused():
    sink, table = io.BytesIO(), pa.table({"s": string_views(-1_048_576)})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    sink.seek(0)
    with pytest.raises(ValueError, match="negative size"):
        load._load_feather(sink, load.LoadRequest())


@pytest.mark.parametrize(
    ("start", "size"), [(0, 1e308), (0, 10**30), (0, 2**63), (-1, 5), (2**60, 5), (0, -1), (0, "5")]
)
def test_bytes_outside_of_the_objects_of_a_run_take_no_memory(start, size):
    leaf = {"at": start, "size": size, "sha256": "0" * 64}
    message = {"values": {"x": {"t": "bytes", "leaf": 0}}, "leaves": [leaf], "refused": {}}
    outputs = read_outputs(json.dumps(message), None, "a" * 32, ["x"], pickle=False, is_trusted=False)
    assert "that the run doesn't have" in outputs.missing["x"]


def test_a_checkpoint_with_a_header_that_is_too_long_is_refused(tmp_path):
    header, packed = tarfile.TarInfo("x"), tmp_path / "c.tar"
    text = b"99999999999999999999 path=a\n"
    header.type, header.size = tarfile.XHDTYPE, len(text)
    packed.write_bytes(header.tobuf() + text.ljust(512, b"\0") + tarfile.TarInfo("a").tobuf() + bytes(1024))
    with pytest.raises(RuntimeError, match="can't be read"):
        checkpoint.restore(packed.as_uri(), hashlib.sha256(packed.read_bytes()).hexdigest())
