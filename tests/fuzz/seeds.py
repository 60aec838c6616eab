"""Valid inputs of each parser, small ones, which the damaged ones are made of."""

# ruff: noqa: E501 (inputs are as they come)

from __future__ import annotations

import gzip
import io
import json
import lzma
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lk_jupyter.journal.entry import JournalEntry
from lk_jupyter.journal.journal import Journal
from lk_jupyter.remote import values
from lk_jupyter.remote.values import envelope

NONCE = "5f2c9f0e8d7b4a61"
RUN = "0d9f1f52-6a0d-4b30-9a3e-0d9c1c3f9d11"


def written(write: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    """Return what a function writes to a file."""
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


def _columns() -> dict[str, Any]:
    return {
        "int": pa.array([1, 2, None]),
        "text": pa.array(["a", "bc", None]),
        "large": pa.array(["a", "bc", None], pa.large_string()),
        "view": pa.array(["a", "b" * 20, None], pa.string_view()),
        "list": pa.array([[1], [2, 3], None]),
        "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "struct": pa.array([{"a": 1}, {"a": 2}, None]),
        "bool": pa.array([True, False, None]),
        "binary": pa.array([b"ab", b"cd", None], pa.binary(2)),
        "null": pa.nulls(3),
        "map": pa.array([[(1, "a")], [], None], pa.map_(pa.int64(), pa.string())),
        "decimal": pa.array([1, 2, None], pa.decimal128(5)),
        "time": pa.array([1, 2, None], pa.timestamp("us", "UTC")),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([5, 6])),
        "union": pa.UnionArray.from_sparse(
            pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(list("abc"))]
        ),
    }


def _stream(sink: Any, table: Any, opener: Any = pa.ipc.new_stream, **options: Any) -> None:
    with opener(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)


def arrow_streams() -> list[bytes]:
    """Return streams of one column each, and of all."""
    tables = [pa.table({name: column}) for name, column in _columns().items()]
    streams = [written(_stream, table) for table in (*tables, pa.table(_columns()))]
    return [*streams, written(_stream, pa.table({"n": np.zeros(5000)}), compression="zstd")]


def arrow_files() -> list[bytes]:
    """Return files of one column each; some are compressed."""
    tables = [pa.table({name: column}) for name, column in _columns().items()]
    files = [written(_stream, table, pa.ipc.new_file) for table in tables]
    packed = (written(_stream, tables[0], pa.ipc.new_file, compression=codec) for codec in ("lz4", "zstd"))
    return [*files, *packed]


def parquet_files() -> list[bytes]:
    """Return files of one column each, in the codecs that there are."""
    skipped = {"runs", "union", "view"}
    tables = [pa.table({name: column}) for name, column in _columns().items() if name not in skipped]
    files = [written(lambda sink, table=table: pq.write_table(table, sink)) for table in tables]
    codecs = ("zstd", "gzip", "brotli", "none")
    files += [written(pq_write, tables[0], compression=codec) for codec in codecs]
    files.append(written(lambda sink: pq.write_table(tables[1], sink, use_dictionary=False, data_page_version="2.0")))
    return files


def pq_write(sink: Any, table: Any, **options: Any) -> None:
    """Write a table to a file."""
    pq.write_table(table, sink, **options)


def messages() -> list[bytes]:
    """Return messages of values, as a run sends them."""
    frame = pd.DataFrame(
        {"n": [1.0, 2.0], "m": [3.0, 4.0], "s": ["a", None], "z": pd.date_range("2026", periods=2, tz="Europe/Berlin")},
        index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)]),
    )
    shared = [1]
    values: list[Any] = [
        {"a": [1, 2.5, "x", None, {3}, (4,), b"5"], "b": shared, "c": shared, "d": range(3), 5: 1 + 2j},
        np.arange(6.0).reshape(2, 3),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array([True, False]),
        np.ma.array([1, 2], mask=[False, True]),
        frame,
        frame.astype({"s": "category"}).astype({"n": "Int64"}),
        pd.DataFrame(
            {"o": [[1], {"a": 2}, None], "i": pd.interval_range(0, 3), "p": pd.period_range("2026", periods=3)}
        ),
        pd.Series(pd.array([1, None], dtype="Int64")),
        pd.Index(["a", "b"]),
        pl.DataFrame({"n": [1, None], "s": ["a", "b"], "l": [[1], []]}),
        pa.table({"n": [1, None], "s": ["a", "b"], "k": pa.array(["x", "y"]).dictionary_encode()}),
        pd.Timestamp("2026-01-01", tz="UTC"),
        np.float32(1.5),
    ]
    return [_message(value) for value in values]


def _message(value: Any) -> bytes:
    message = envelope.Envelope()
    if not message.add("x", value):
        raise AssertionError(message.refused)
    return message.text().encode()


def arrays() -> list[bytes]:
    """Return arrays as values have them, and as numpy writes them."""
    found = []
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.array([(1, b"x")], "i4,S2"),
        np.array(["a"]),
        np.zeros((0, 3)),
        np.eye(2).T,
    ):
        pieces: list[bytes] = []
        values.arrays.write(array, lambda piece, pieces=pieces: pieces.append(bytes(piece)))
        found += [b"".join(pieces), written(np.save, array)]
    return found


def archives() -> list[bytes]:
    """Return zip archives."""
    return [written(_zip, {"one.txt": b"1" * 50, "two/three.csv": b"a,b\n1,2\n"}), written(_zip, {"t.csv": b"a\n1\n"})]


def _zip(sink: Any, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def tars() -> list[bytes]:
    """Return tar archives: with folders, links and long names."""
    found = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
            for name, kind in (
                ("a.txt", tarfile.REGTYPE),
                ("d", tarfile.DIRTYPE),
                ("l", tarfile.SYMTYPE),
                ("x" * 120, tarfile.REGTYPE),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "a.txt" if kind == tarfile.SYMTYPE else ""
                member.size = 3 if kind == tarfile.REGTYPE else 0
                archive.addfile(member, io.BytesIO(b"abc"))
        found.append(sink.getvalue())
    return found


def notebooks() -> list[bytes]:
    """Return a notebook with outputs and widgets."""
    output = {"output_type": "display_data", "data": {"text/plain": "x", "text/html": "<b>x</b>"}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "text"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "%%lk_run\nx = 1", "outputs": [output]},
    ]
    return [json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"widgets": {}}, "cells": cells}).encode()]


def packed_texts() -> list[bytes]:
    """Return a table as text, compressed."""
    text = b"name,n,day\n" + b"a,1,2026-01-01\n" * 50
    return [gzip.compress(text), lzma.compress(text), written(_zip, {"t.csv": text})]


def texts() -> list[bytes]:
    """Return text with all that formats of text have."""
    return [
        b'name,n,x,day,yes\n"a, b",1,0.5,2026-01-31,true\n\xc3\xbc,2,,2026-02-01,false\n',
        b'{"a": [1, 2, {"b": null}], "c": "\\u00fc"}',
        b"# Title\n\n*a* **b** `c` [d](https://example.com) ![e](x)\n\n| a | b |\n|---|---|\n| $x^2$ | <b>c</b> |\n\n> q\n\n1. x\n",
        b"\x1b[31mred\x1b[0m\rover\x08\x08 \x1b]8;;http://x\x07link\x1b]8;;\x07\x1b[2K\xe2\x80\xaeabc\n 10%|###   | 1/10 [00:01<00:09]\n",
        b"Traceback (most recent call last):\n  File \"cell.py\", line 3, in <module>\nModuleNotFoundError: No module named 'x'\n",
        b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which 1.2 GiB is free.\n",
        b"FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'\nDuring handling of the above exception, another exception occurred:\n",
        b"key = 'sk-proj-abcdefghijklmnopqrstuvwx' AKIAIOSFODNN7EXAMPLE https://user:password1@example.com/x?token=abcdefgh\n",
        b"Project 'mine' of ada@example.com has no run 0d9f1f52-6a0d-4b30-9a3e-0d9c1c3f9d11 at 10.0.0.1:22 (https://x.y/z)\n",
        b"[2001:db8::1]:22",
        b"host.example.com:2222",
        b"10.0.0.1",
    ]


def streams() -> list[bytes]:
    """Return streams of events, as the API sends them."""
    events = [
        {"output": {"content": "hello\n"}},
        {"type": "stdout", "content": "x"},
        {"finished": {"exit_code": 0}},
        {"completed": {"status": "ok"}},
        {"error": {"message": "no"}},
        {"choices": [{"delta": {"content": "a"}}]},
    ]
    text = "".join(f"event: message\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    output = b"".join(b'data: {"output":{"content":"line %d\\n"}}\n\n' % number for number in range(200))
    return [
        text,
        b"\xef\xbb\xbf" + text,
        output,
        b'data: [DONE]\n\ndata: {"a"\ndata: :1}\n\n: comment\n\nid: 5\nretry: 9\n\n',
    ]


def listings() -> list[bytes]:
    """Return pages of the list of a bucket, and an error."""
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    row = "<Contents><Key>a%2Fb.txt</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>5</Size></Contents>"
    folder = "<CommonPrefixes><Prefix>f/</Prefix></CommonPrefixes>"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    page = f"<ListBucketResult {space}><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>{row}{folder}<NextMarker>m</NextMarker></ListBucketResult>"
    error = "<Error><Code>NoSuchKey</Code><Message>not there</Message></Error>"
    return [
        page.encode(),
        error.encode(),
        f'<?xml version="1.0"?>{bomb}<ListBucketResult>{row}&b;</ListBucketResult>'.encode(),
    ]


def descriptions() -> list[bytes]:
    """Return a description of an API, as short as it may be."""
    name = {"$ref": "#/components/schemas/Start"}
    body = {"requestBody": {"content": {"application/json": {"schema": name}}}}
    paths = {
        "/api/v2/external/execution/streaming/start": {"post": body},
        "/api/v2/external/inference/create": {"post": body},
        "/api/v2/external/machine-types": {"get": {}},
        "/chat/completions": {"post": {}},
    }
    schema = {
        "properties": {
            "timeout": {"anyOf": [{"type": "integer", "exclusiveMaximum": 601}, {"type": "null"}], "default": 60},
            "gpu_type": {"enum": ["a", "b"]},
            "code": {"allOf": [name]},
        },
        "required": ["code"],
    }
    return [
        json.dumps(
            {"paths": paths, "servers": [{"url": "https://x/y"}], "components": {"schemas": {"Start": schema}}}
        ).encode()
    ]


def answers() -> list[bytes]:
    """Return answers of the API."""
    record = {
        "execution_id": RUN,
        "status": "completed",
        "created_at": "2026-01-01T00:00:00Z",
        "stdout": "x",
        "stderr": None,
        "metadata": {"lk_ports": "8080,x", "lk_nonce": NONCE},
        "return_code": 0,
        "hardware_profile": "gpu.a100",
        "cost": "0.1",
    }
    machines = {
        "machine_types": [{"hardware_profile": "gpu.a100", "price_per_hour": 1.5, "gpu_type": "A100", "vram_gb": 80}]
    }
    files = [{"key": "a/b.txt", "size": 5, "last_modified": "2026-01-01T00:00:00Z"}]
    batch = {
        "custom_id": "row-3",
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "x"}}]}},
    }
    return [
        json.dumps(answer).encode()
        for answer in (record, machines, files, batch, {"detail": [{"msg": "no", "loc": ["a"]}]})
    ]


def kernel_messages() -> list[bytes]:
    """Return messages of a kernel in the binary form: the offsets of the parts, then JSON and buffers."""
    text = json.dumps({"header": {"msg_type": "stream"}, "content": {"name": "stdout", "text": "x"}}).encode()
    return [struct.pack("!3i", 2, 12, 12 + len(text)) + text + b"buffer", struct.pack("!2i", 1, 8) + text]


def journals() -> list[bytes]:
    """Return the file of a journal with two runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = Journal(path)
        entry = JournalEntry("a" * 32, "https://api.example.com", RUN)
        journal.add(entry)
        journal.add(replace(entry, token="b" * 32, execution_id="x-1", metadata={"a": 1}))
        journal._database.close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
        return [path.read_bytes()]


def rows() -> list[bytes]:
    """Return rows of a journal as JSON."""
    row = {
        "execution_id": RUN,
        "request": '{"code": "x"}',
        "metadata": '{"lk_nonce": "a"}',
        "receipt": "{}",
        "cost": "0.1",
        "created_at": 1.5,
    }
    return [json.dumps(row).encode()]


def frames() -> list[bytes]:
    """Return output with frames in it: displays, bars, several lines of one, control characters changed."""
    from lk_jupyter.remote.script import run as driver  # noqa: PLC0415

    driver._nonce = NONCE
    noise = np.random.default_rng(1).bytes(12_000).hex()
    payloads: list[Any] = [
        {"data": {"text/plain": "x"}, "id": "1"},
        {"n": noise},
        {"text": "é\n\x1b[31m"},
        {"size": 5, "key": "k"},
    ]
    lines = [b"".join(driver.lines("display", payload, str(number))) for number, payload in enumerate(payloads)]
    text = b"before\n" + lines[0] + b"10%|#  |\r" + lines[2] + b"after\n"
    changed = text.replace(b"\x1b", b"^[").replace(b"\x07", b"^G")
    return [text, changed, b"".join(lines), text.replace(b"\x1b", b"").replace(b"\x07", b"")]


def outputs() -> list[bytes]:
    """Return large outputs, as they are in the bucket."""
    payload = {"data": {"text/html": "<p>x</p>" * 100, "image/png": "iVBORw0KGgo="}, "metadata": {}, "id": None}
    return [zlib.compress(json.dumps(payload).encode()), zlib.compress(b" " * 5_000_000 + b"{}")]


def tables() -> list[bytes]:
    """Return tables as values have them."""
    found = []
    for name, column in _columns().items():
        pieces: list[bytes] = []
        values.tables.write(pa.table({name: column}), lambda piece, pieces=pieces: pieces.append(bytes(piece)))
        found.append(b"".join(pieces))
    return found


def images() -> list[bytes]:
    """Return images in the formats that previews show."""
    from PIL import Image  # noqa: PLC0415

    picture = Image.new("RGB", (20, 30), "red")
    return [written(picture.save, format=name) for name in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")]


def tensors() -> list[bytes]:
    """Return safetensors files."""
    head = json.dumps({"tensor": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return [len(head).to_bytes(8, "little") + head + bytes(8)]
