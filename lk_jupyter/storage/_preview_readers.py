"""Read the start of a file as a preview: tables, texts, notebooks, images and archives."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from lk_jupyter.storage.load import PACKED, library
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.text.units import count_label, size_label

#: The most that is shown: rows and columns of a table, letters of a cell and of a description, bytes of text, of a
#: notebook, of an image, and pixels.
ROWS, COLUMNS, LETTERS, WORDS = 20, 50, 200, 2000

TEXT, NOTEBOOK, IMAGE, PIXELS = 64_000, 4_000_000, 10_000_000, 50_000_000

_IMAGES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
    "image/bmp": b"BM",
}

#: JPEG markers before the image size.
_JPEG_FRAMES = {*range(0xFFC0, 0xFFD0)} - {0xFFC4, 0xFFC8, 0xFFCC}

#: JPEG markers that precede the size, followed by a length.
_JPEG_SEGMENTS = {0xFFC4, 0xFFCC, *range(0xFFDB, 0xFFFF)}

#: The maximum number of blocks of a GIF before its first frame.
_GIF_BLOCKS = 10_000


@dataclass(frozen=True)
class Preview:
    """The preview of a file in the bucket.

    ``info`` is the file. ``words`` describes the file in a line, or the reason for a missing preview. ``columns`` are
    names and types of a table, ``rows`` its first rows as text. ``text`` is the start of a text, or the cells of a
    notebook. ``image`` is a picture for browsers, and ``mime`` its type. ``is_part`` is whether the file has more
    content.

    Example:
        >>> from lk_jupyter.storage.preview import preview
        >>> _ = session.storage.put(b"lr,loss", "notes/empty.csv")
        >>> preview(session.storage, "notes/empty.csv").words
        'Table, 0 rows, 2 columns, 7 B. Types are from the first rows.'
    """

    info: ObjectInfo
    words: str
    columns: Sequence[tuple[str, str]] = ()
    rows: Sequence[Sequence[str]] = ()
    text: str = field(default="", repr=False)
    image: bytes = field(default=b"", repr=False)
    mime: str = ""
    is_part: bool = False


def read_preview(info: ObjectInfo, file: Any) -> Preview:
    """Return the preview of an open file, read in this process. Raises errors of the reading library."""
    show, _, unpack = find_reader(info.key)
    return show(info, unpack(file) if unpack else file)


def import_library(key: str) -> None:
    """Import the library that reads files with this suffix. Raises StorageError without the library."""
    if name := LIBRARIES.get(find_reader(key)[0]):
        library(name)


def preview_facts(preview: Preview) -> dict[str, Any]:
    """Return a preview as JSON, without the file."""
    names = ("words", "columns", "rows", "text", "is_part")
    return {name: getattr(preview, name) for name in names}


Show = Callable[[ObjectInfo, Any], Preview]


def find_reader(key: str) -> tuple[Show, str, Callable[[Any], Any] | None]:
    """Return the preview function for a key, the suffix, and the function that unpacks the file first."""
    *outer, last = ["", *(suffix.lower() for suffix in PurePosixPath(key).suffixes)]
    inner = outer[-1] if outer else ""
    if last in PACKED and inner in _TEXTS:
        return _PREVIEWS.get(inner, _preview_text), inner, PACKED[last]
    return _PREVIEWS.get(last, _preview_text), last, None


def _preview_csv(info: ObjectInfo, file: Any, separators: str = ",;\t|") -> Preview:
    text, is_part = _read_head(file, TEXT)
    separator = max(separators, key=text.partition("\n")[0].count)
    records = list(csv.reader(io.StringIO(text), delimiter=separator))
    if is_part and len(records) > 1:
        del records[-1]  # cut off in the middle
    names, rows = records[0], [row for row in records[1:] if row]
    first = names[: COLUMNS + 1]  # more columns than shown, to detect a cut
    columns = [(name, _guess_column_type(row[n] for row in rows if n < len(row))) for n, name in enumerate(first)]
    counted = "" if is_part else f"{count_label(len(rows), 'row')}, "
    words = (
        f"Table, {counted}{count_label(len(names), 'column')}, {size_label(info.size)}. Types are from the first rows."
    )
    return _preview_table(info, words, columns, rows, is_part=is_part or len(rows) > ROWS)


def _preview_tsv(info: ObjectInfo, file: Any) -> Preview:
    return _preview_csv(info, file, "\t")


def _preview_parquet(info: ObjectInfo, file: Any) -> Preview:
    parquet = library("pyarrow.parquet").ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
    schema, count = parquet.schema_arrow, parquet.metadata.num_rows
    batches = parquet.iter_batches(batch_size=ROWS, columns=schema.names[:COLUMNS], use_threads=False)
    return _preview_arrow(info, schema, next(iter(batches), None), count)


def _preview_feather(info: ObjectInfo, file: Any) -> Preview:
    feather = library("pyarrow").ipc.open_file(file)
    batch = feather.get_batch(0) if feather.num_record_batches else None
    return _preview_arrow(
        info, feather.schema, batch, None if feather.num_record_batches > 1 else batch and batch.num_rows
    )


def _preview_arrow(info: ObjectInfo, schema: Any, batch: Any, count: int | None) -> Preview:
    columns = [(each.name, _shorten_text(str(each.type))) for each in schema]
    if batch:
        batch.validate(full=True)
    cells = [column.slice(0, ROWS).to_pylist() for column in batch.columns[:COLUMNS]] if batch else []
    rows = [["" if value is None else _shorten_text(str(value)) for value in row] for row in zip(*cells, strict=True)]
    counted = "" if count is None else f"{count_label(count, 'row')}, "
    words = f"Table, {counted}{count_label(len(columns), 'column')}, {size_label(info.size)}."
    return _preview_table(info, words, columns, rows, is_part=count is None or count > len(rows))


def _preview_table(
    info: ObjectInfo, words: str, columns: list[tuple[str, str]], rows: list[list[str]], *, is_part: bool
) -> Preview:
    cells = [[_shorten_text(cell) for cell in row[:COLUMNS]] for row in rows[:ROWS]]
    names = [(_shorten_text(name), kind) for name, kind in columns[:COLUMNS]]
    return Preview(info, words, names, cells, is_part=is_part or len(columns) > COLUMNS)


def _preview_text(info: ObjectInfo, file: Any) -> Preview:
    text, is_part = _read_head(file, TEXT)
    if "\0" in text or text.count("\ufffd") > len(text) // 20:
        suffix = PurePosixPath(info.key).suffix
        kind = f"Files of the kind {suffix}" if suffix else "Files of bytes"
        return Preview(
            info, f"No preview of {kind[:1].lower() + kind[1:]} ({size_label(info.size)}). Download it: %lk_get"
        )
    return Preview(info, f"Text, {size_label(info.size)}.", text=text, is_part=is_part)


def _preview_json(info: ObjectInfo, file: Any) -> Preview:
    preview = _preview_text(info, file)
    with suppress(ValueError, RecursionError):
        if not preview.is_part:
            text = _indent_json(json.loads(preview.text))
            return replace(preview, text=text[:TEXT], is_part=len(text) > TEXT)
    return preview


def _indent_json(value: Any) -> str:
    """Return the start of JSON, indented: a line of a deep value has up to 2 kB of spaces, so the rest isn't made."""
    text = io.StringIO()
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        text.write(piece)
        if text.tell() > TEXT:
            break
    return text.getvalue()


def _preview_notebook(info: ObjectInfo, file: Any) -> Preview:
    if info.size > NOTEBOOK:
        return _preview_text(info, file)
    cells = json.loads(file.read())["cells"]
    texts = (f"# %% [{cell['cell_type']}]\n{''.join(cell['source'])}\n" for cell in cells)
    text = "\n".join(texts)
    words = f"A notebook, {count_label(len(cells), 'cell')}, {size_label(info.size)}. Outputs are not shown."
    return Preview(info, words, text=text[:TEXT], is_part=len(text) > TEXT)


def _preview_image(info: ObjectInfo, file: Any) -> Preview:
    size = size_label(info.size)
    if info.size > IMAGE:
        return Preview(info, f"Image of {size}: previews go up to {size_label(IMAGE)}. Open it: %lk_load")
    content = bytes(file.read())
    mime = next((mime for mime, begin in _IMAGES.items() if content.startswith(begin)), "")
    if not mime:
        return Preview(info, f"Not an image that browsers can show ({size}). Try to open it: %lk_load")
    width, height = _read_image_size(content)
    if not width * height:
        return Preview(
            info,
            f"The image file ({size}) doesn't state the width and height of the image. Download it: %lk_get "
            f"{shlex.quote(info.key)}",
        )
    if width * height > PIXELS:
        most = f"previews go up to {PIXELS // 1_000_000} million pixels"
        return Preview(
            info, f"Image of {width:,} by {height:,} pixels: {most}. Download it: %lk_get {shlex.quote(info.key)}"
        )
    return Preview(info, f"An image, {size}.", image=content, mime=mime)


def _read_image_size(content: bytes) -> tuple[int, int]:
    """Return width and height in the header of an image, for which a browser would use memory; zeros if unknown."""
    start = content[:64]
    with suppress(struct.error):
        if start.startswith(b"\x89PNG"):
            return struct.unpack_from("!2I", start, 16)
        if start.startswith(b"GIF8"):
            return _read_gif_size(content)
        if start.startswith(b"BM"):
            width, height = struct.unpack_from("<2i", start, 18)
            return abs(width), abs(height)
        if start.startswith(b"\xff\xd8\xff"):
            return _read_jpeg_size(content)
        if start[8:12] == b"WEBP":
            return _read_webp_size(start)
    return 0, 0


def _read_gif_size(content: bytes) -> tuple[int, int]:
    """Return the size of a GIF: the canvas, or the first frame if larger. Raises struct.error."""
    width, height, flags = struct.unpack_from("<2HB", content, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    for _ in range(_GIF_BLOCKS):
        (kind,) = struct.unpack_from("B", content, at)
        if kind == 0x2C:
            x, top, right, bottom = struct.unpack_from("<4H", content, at + 1)
            return max(width, x + right), max(height, top + bottom)
        (length,) = struct.unpack_from("B", content, at + 2 if kind == 0x21 else at)
        at += 3 + length if kind == 0x21 else 1 + length
    return 0, 0


def _read_webp_size(start: bytes) -> tuple[int, int]:
    """Return the size in the first bytes of a WebP, which has three forms. Raises struct.error."""
    if start[12:16] == b"VP8X":
        return 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    if start[12:16] == b"VP8L":
        (sides,) = struct.unpack_from("<I", start, 21)
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<2H", start, 26)
    return width & 0x3FFF, height & 0x3FFF


def _read_jpeg_size(content: bytes) -> tuple[int, int]:
    """Return the size in the frame header of a JPEG, which follows segments of stated lengths. Raises struct.error."""
    at = 2
    while True:
        marker, length = struct.unpack_from("!2H", content, at)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from("!2H", content, at + 5)
            return width, height
        if marker not in _JPEG_SEGMENTS or length < 2:  # a browser would search for the next marker
            return 0, 0
        at += 2 + length


def _preview_zip(info: ObjectInfo, file: Any) -> Preview:
    names = zipfile.ZipFile(file).namelist()
    text = "\n".join(names)
    words = f"An archive, {count_label(len(names), 'file')}, {size_label(info.size)}."
    return Preview(info, words, text=text[:TEXT], is_part=len(text) > TEXT)


def _preview_npy(info: ObjectInfo, file: Any) -> Preview:
    format_ = library("numpy").lib.format
    version = format_.read_magic(file)
    read = format_.read_array_header_1_0 if version == (1, 0) else format_.read_array_header_2_0
    shape, _, dtype = read(file)
    by = " by ".join(f"{n:,}" for n in shape) or "one value"
    return Preview(info, f"Array of {dtype}, {by}, {size_label(info.size)}. Load it: %lk_load")


def _preview_workbook(info: ObjectInfo, _: Any) -> Preview:
    return Preview(info, f"Excel workbook, {size_label(info.size)}. Load it as a table: %lk_load")


def _read_head(file: Any, size: int) -> tuple[str, bool]:
    """Return the start of a file as text, and whether the file has more."""
    content = bytes(file.read(size + 1))
    is_part = len(content) > size
    text = content[:size].decode("utf-8-sig", "replace")
    return (text[:-1] if is_part and text.endswith("\ufffd") else text), is_part


#: Type of a text column → pattern that every value matches.
_TYPES = (
    ("bool", re.compile(r"true|false", re.IGNORECASE)),
    ("int", re.compile(r"[+-]?\d+")),
    ("float", re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf", re.IGNORECASE)),
    ("date", re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?")),
)


def _guess_column_type(values: Iterable[str]) -> str:
    values_present = [value for value in values if value]
    return next((name for name, look in _TYPES if values_present and all(map(look.fullmatch, values_present))), "text")


def _shorten_text(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


_TEXTS = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".log", ".md"}

#: Suffix → preview function; other suffixes are shown as text if the content is text.
_PREVIEWS: dict[str, Show] = {
    ".csv": _preview_csv,
    ".tsv": _preview_tsv,
    ".parquet": _preview_parquet,
    ".pq": _preview_parquet,
    ".feather": _preview_feather,
    ".arrow": _preview_feather,
    ".json": _preview_json,
    ".ipynb": _preview_notebook,
    ".npy": _preview_npy,
    ".zip": _preview_zip,
    **dict.fromkeys((".xlsx", ".xls"), _preview_workbook),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"), _preview_image),
}

#: Preview functions that run in the child process, and their libraries.
IN_CHILD: set[Show] = {_preview_parquet, _preview_feather, _preview_notebook, _preview_npy, _preview_zip}

LIBRARIES: dict[Show, str] = {_preview_parquet: "pyarrow.parquet", _preview_feather: "pyarrow", _preview_npy: "numpy"}
