"""A file that somebody else put into the bucket neither crashes nor fills the process that previews it."""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lk_jupyter.storage import _preview_process, _preview_readers, preview
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.preview import preview_object


def shown(content, name, file=None):
    return preview_object(ObjectInfo(name, len(content), None), file or io.BytesIO(content))


def written(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


TEXTS = written(pa.table({"s": ["a", "bc", "def"]}))
FORGED = TEXTS.replace(
    bytes.fromhex("00000000010000000300000006000000"), bytes.fromhex("00000000010000000300ff7f06000000")
)


def test_forged_arrow_of_500_bytes_is_refused_in_words():
    assert FORGED != TEXTS
    assert len(FORGED) < 600
    assert shown(FORGED, "t.arrow").words.startswith("Can't read this as arrow: In column 0: Invalid: Offset")
    assert shown(TEXTS, "t.arrow").rows == [["a"], ["bc"], ["def"]]


def list_of_zeros(count):
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": pa.array([np.zeros(count)], pa.list_(pa.float64()))}), sink, compression="zstd")
    return sink.getvalue()


def column_of_zeros(count):
    return written(pa.table({"x": np.zeros(count)}), compression="zstd")


@pytest.mark.parametrize(
    ("name", "write"),
    [("t.arrow", column_of_zeros), pytest.param("t.parquet", list_of_zeros, marks=pytest.mark.nightly)],
    ids=["arrow", "parquet"],
)
def test_a_small_file_of_hundreds_of_megabytes_takes_no_memory_here(name, write):
    content = write(40_000_000)
    assert len(content) < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = shown(content, f"d/{name}")
    assert seen.words == (f"Can't preview '{name}': it needs more than 250 MB of memory. Download it: %lk_get d/{name}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert shown(TEXTS, "t.arrow").rows  # the next one is shown


def test_a_crash_ends_one_preview_and_the_next_one_is_shown():
    class Crash(io.BytesIO):
        def read(self, *arguments):
            os.kill(_preview_process.PROCESS.child.process.pid, signal.SIGSEGV)
            return super().read(*arguments)

    assert shown(TEXTS, "t.arrow", Crash(TEXTS)).words == (
        "Can't preview 't.arrow': it crashes the library that reads it. Download it: %lk_get t.arrow"
    )
    assert shown(TEXTS, "t.arrow").rows


def test_a_preview_that_takes_too_long_is_ended(monkeypatch):
    class Stop(io.BytesIO):
        def read(self, *arguments):
            os.kill(_preview_process.PROCESS.child.process.pid, signal.SIGSTOP)
            return super().read(*arguments)

    monkeypatch.setattr(_preview_process, "SECONDS", 0.2)
    assert "it takes more than" in shown(TEXTS, "t.arrow", Stop(TEXTS)).words
    assert shown(TEXTS, "t.arrow").rows


def test_the_process_of_previews_has_no_key_of_the_user_and_no_folder_of_theirs(monkeypatch):
    monkeypatch.setenv("LK_API_KEY", "lk_" + "k" * 30)
    _preview_process.PROCESS.close()
    assert shown(TEXTS, "t.arrow").rows
    child = Path(f"/proc/{_preview_process.PROCESS.child.process.pid}")
    assert b"LK_API_KEY" not in (child / "environ").read_bytes()
    assert "lk-preview-" in str((child / "cwd").readlink())


def png(width, height):
    head = struct.pack("!2I5B", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack("!I", len(head)) + chunk + struct.pack("!I", zlib.crc32(chunk))


def test_an_image_of_billions_of_pixels_does_not_reach_the_browser():
    seen = shown(png(60_000, 60_000), "d/i.png")
    assert (seen.image, seen.words) == (
        b"",
        "Image of 60,000 by 60,000 pixels: previews go up to 50 million pixels. Download it: %lk_get d/i.png",
    )
    assert shown(png(100, 100), "i.png").image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_the_size_of_an_image_of_each_kind_is_read(kind, options):
    sink = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(sink, kind, **options)
    assert _preview_readers._read_image_size(sink.getvalue()) == (30, 20)


@pytest.mark.parametrize("depth", [500, 5000, 30_000])
def test_json_of_any_depth_is_shown_as_text(depth):
    assert shown(b"[" * depth + b"]" * depth, "d.json").text.startswith("[")


def test_a_column_of_long_numbers_takes_no_time():
    assert shown(b"a\n" + b"1" * 60_000 + b"x\n", "t.csv").columns == [("a", "text")]


def jpeg(width, height, before=b""):
    frame = struct.pack("!HHBHHB", 0xFFC0, 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + before + frame


def gif(canvas, frame):
    return b"GIF89a" + struct.pack("<2H3B", *canvas, 0, 0, 0) + b"," + struct.pack("<4HB", 0, 0, *frame, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("i.jpg", jpeg(60_000, 60_000, b"\xff")),  # browsers skip the byte
        ("i.jpg", jpeg(60_000, 60_000, b"\xff\x01")),
        ("i.jpg", jpeg(60_000, 60_000, b"\xff\xe0\x00\x00")),
        ("i.gif", gif((1, 1), (60_000, 60_000))),
        ("i.gif", gif((1, 1), (60_000, 60_000)).replace(b",", b"!\xfe\x00" * 20_000 + b",")),
        ("i.png", png(0, 60_000)),
    ],
    ids=["byte to skip", "marker without a length", "impossible length", "frame", "late frame", "no width"],
)
def test_an_image_that_states_its_size_as_only_browsers_read_it_does_not_reach_them(name, content):
    seen = shown(content, name)
    assert seen.image == b""
    assert "Download it: %lk_get" in seen.words


def wide_arrow(count):
    sink = io.BytesIO()
    pa.ipc.new_file(sink, pa.schema([pa.field("n" * 300, pa.null())] * count)).close()
    return sink.getvalue()


def test_a_table_with_more_columns_than_are_shown_takes_no_time_and_memory():
    by_text = shown(b"a," * 16_000 + b"\n" + b"x\n" * 16_000, "t.csv")
    assert (len(by_text.columns), by_text.is_part) == (preview.COLUMNS, True)
    assert "16,001 columns" in by_text.words
    by_arrow = shown(wide_arrow(20_000), "t.arrow")
    assert (len(by_arrow.columns), by_arrow.is_part) == (preview.COLUMNS, True)
    assert {len(name) for name, _ in by_arrow.columns} == {preview.LETTERS}


def test_json_is_indented_only_as_far_as_it_is_shown(monkeypatch):
    deep = b"[" * 300 + b"1," * 30_000 + b'"\xf0\x9f\x98\x80"' + b"]" * 300
    monkeypatch.setattr(_preview_readers.json, "dumps", None)
    seen = shown(deep, "d.json")
    assert (len(seen.text), seen.is_part) == (preview.TEXT, True)


@pytest.mark.parametrize("name", ["d.json", "b.ipynb"])
def test_half_of_a_surrogate_pair_is_shown_as_a_question_mark(name):
    book = b'{"cells": [{"cell_type": "code", "source": "a\\ud800b"}]}'
    assert "a?b" in shown(book, name).text.encode().decode()
