"""Draw the picture that a StorageBrowser leaves in a notebook: the open folders, and the previewed file."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Any

from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import NULL, STYLE, Drawing, Table, round_to_five_digits

#: The most rows of the folders, letters of a text, and bytes of an image that a notebook keeps.
ROWS, LETTERS, IMAGE = 100, 4000, 200_000

_INDENT = "&emsp;"
#: Numeric types of columns, and the types with fractions.
_NUMBERS, _FRACTIONS = (re.compile(f"{kinds}float|double|decimal|half|number", re.IGNORECASE) for kinds in ("int|", ""))

Row = tuple[int, str, str, str]


def draw_browser(
    root: str, folders: dict[str, Any], preview: dict[str, Any], loaded: dict[str, Any], notice: str
) -> StaticView:
    """Return the picture as text and as HTML."""
    rows = list(_listing_rows(folders, root, 0))
    omitted = len(rows) - ROWS
    if omitted > 0:
        rows = [*rows[:ROWS], (0, f"… {omitted:,} more were shown", "", "")]
    title = f"Bucket, {root}" if root else "Bucket"
    text = [title, *map(_row_line, rows), *_preview_text(preview), *_loaded_lines(loaded), notice]
    html = [
        _rows_table(title, rows),
        *_preview_html(preview),
        *(f"<pre>{escape(line)}</pre>" for line in _loaded_lines(loaded)),
    ]
    html += [f"<p>{escape(notice)}</p>"] if notice else []
    return StaticView("\n".join(filter(None, text)), f'<div class="lk-picture">{STYLE}{"".join(html)}</div>')


def _listing_rows(folders: dict[str, Any], folder: str, depth: int) -> Iterator[Row]:
    listing = folders.get(folder)
    if listing is None:
        return
    if listing["begins"]:
        yield depth, f"(names starting with {listing['begins']})", "", ""
    for item in listing["items"]:
        name = item["key"].removeprefix(folder) or item["key"]
        yield depth, name, item["size"], item["written"]
        if item["key"].endswith("/"):
            yield from _listing_rows(folders, item["key"], depth + 1)
    if listing["token"]:
        yield depth, "… and more", "", ""
    elif not listing["items"]:
        yield depth, "(empty)" if listing["is_read"] else "(not read yet)", "", ""


def _row_line(row: Row) -> str:
    depth, name, size, written = row
    return f"{'  ' * (depth + 1) + name:<40} {size:>8}  {written}".rstrip()


def _rows_table(title: str, rows: list[Row]) -> str:
    cells = [(Drawing(f"{_INDENT * depth}{escape(name)}", name), size, written) for depth, name, size, written in rows]
    return Table(("Name", "Size", "Modified"), cells, right=frozenset({"Size"}), caption=title).html


def _preview_text(preview: dict[str, Any]) -> Iterator[str]:
    if not preview:
        return
    yield f"\n{preview['key']}: {preview['words']} In a run: {preview['remote']}"
    if preview["columns"]:
        yield "  " + ", ".join(f"{name} ({kind})" for name, kind in preview["columns"])
        yield from ("  " + " | ".join(row) for row in preview["rows"])
    yield preview["text"][:LETTERS].rstrip()


def _preview_html(preview: dict[str, Any]) -> Iterator[str]:
    if not preview:
        return
    key, words, remote = (escape(preview[name]) for name in ("key", "words", "remote"))
    yield f"<p><b>{key}</b>: {words} In a run: <code>{remote}</code></p>"
    if preview["columns"]:
        yield preview_grid(preview["columns"], preview["rows"]).html
    if preview["text"]:
        yield f"<pre>{escape(preview['text'][:LETTERS])}</pre>"
    if preview["image"] and len(preview["image"]) <= IMAGE:
        data = b64encode(preview["image"]).decode()
        yield f'<img alt="{key}" style="max-width:100%" src="data:{preview["mime"]};base64,{data}">'


def preview_grid(columns: list[tuple[str, str]], rows: list[list[str]]) -> Table:
    """Return the first rows of a file as a table: column types, numbers to the right with five significant digits."""
    kinds = [kind for _, kind in columns]
    names = [f"{name} ({kind})" for name, kind in columns]
    cells = [[_preview_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in rows]
    return Table(
        names, cells, right=frozenset(name for name, kind in zip(names, kinds, strict=True) if _NUMBERS.search(kind))
    )


def _preview_cell(cell: str, kind: str) -> Drawing | str:
    return (round_to_five_digits(cell) if _FRACTIONS.search(kind) else cell) if cell else NULL


def _loaded_lines(loaded: dict[str, Any]) -> Iterator[str]:
    if loaded:
        yield loaded["words"]
        yield loaded.get("code", "")
