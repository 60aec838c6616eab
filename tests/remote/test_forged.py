"""Values that somebody forged crash nothing, fill no memory and name no code."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lk_jupyter.remote import _lk_arrays, _lk_codec, _lk_envelope, _lk_pandas, _lk_tables


def stream_of(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def encoded(value):
    encoder = _lk_codec.Encoder()
    node = encoder.value("x", value)
    leaves = []
    for write in encoder.leaves:
        leaves.append(bytearray())
        write(leaves[-1].extend)
    return json.loads(json.dumps(node)), leaves


def decoded(node, leaves=(), **options):
    return _lk_codec.Decoder([bytearray(leaf) for leaf in leaves].__getitem__, **options).value(node)


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
        _lk_tables.read(content)


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
    content = _lk_arrays.MAGIC + len(head).to_bytes(4, "little") + head + bytes(4)
    with pytest.raises(Exception, match=r"."):
        _lk_arrays.read(content)


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
        _lk_pandas._require_codes([["x"]], [np.array([10**9])])


@pytest.mark.parametrize("columns", [[0, 0], [-1, 0], [0, 10**6]])
def test_a_block_of_columns_that_a_frame_lacks_changes_nothing(columns):
    frame = pd.DataFrame({"n": [1.0, 2.0], "m": [3.0, 4.0]})
    node, leaves = encoded(frame)
    node[_lk_codec.LAYOUT][0][0] = columns
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
    received = _lk_envelope.Received(json.dumps(content), None)
    assert received.values() == {}
    assert "uses them twice" in received.refused["x"]
    assert "aren't in the message" in received.refused["y"]


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
def test_shared_tuples_keep_no_hash_busy(kind):
    nodes = [{"t": "tuple", "id": 1, "v": [1, 2]}]
    nodes += [{"t": "tuple", "id": at, "v": [{"t": "same", "n": at - 1}] * 2} for at in range(2, 60)]
    last = {"t": "same", "n": 59}
    with pytest.raises(_lk_codec.CannotTravel, match="too many parts"):
        decoded({"t": "list", "v": [*nodes, {"t": kind, "v": [[last, 1]] if kind == "dict" else [last]}]})
    assert decoded(encoded({(1, (2, 3)): 4})[0]) == {(1, (2, 3)): 4}


def test_a_fraction_is_of_two_ints():
    with pytest.raises(ValueError, match="int"):
        decoded({"t": "Fraction", "v": ["1e999999999"]})
