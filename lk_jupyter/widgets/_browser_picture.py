"""What a StorageBrowser leaves in a notebook: the folders that were open, and the file that was looked at."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Any

from lk_jupyter.views.picture import StaticView

#: The most rows of the folders, letters of a text, and bytes of an image that a notebook keeps.
ROWS, LETTERS, IMAGE = 100, 4000, 200_000

Row = tuple[int, str, str, str]


def draw(root: str, folders: dict[str, Any], seen: dict[str, Any], loaded: dict[str, Any], said: str) -> StaticView:
    """Return it as text and as HTML."""
    rows = list(_rows(folders, root, 0))
    left = len(rows) - ROWS
    if left > 0:
        rows = [*rows[:ROWS], (0, f"… {left:,} more were shown", "", "")]
    title = f"Bucket, {root}" if root else "Bucket"
    text = [title, *map(_line, rows), *_seen_text(seen), *_loaded_lines(loaded), said]
    html = [_table(title, rows), *_seen_html(seen), *(f"<pre>{escape(line)}</pre>" for line in _loaded_lines(loaded))]
    html += [f"<p>{escape(said)}</p>"] if said else []
    return StaticView("\n".join(filter(None, text)), "\n".join(html))


def _rows(folders: dict[str, Any], folder: str, depth: int) -> Iterator[Row]:
    listing = folders.get(folder)
    if listing is None:
        return
    if listing["begins"]:
        yield depth, f"(names starting with {listing['begins']})", "", ""
    for item in listing["items"]:
        name = item["key"].removeprefix(folder) or item["key"]
        yield depth, name, item["size"], item["written"]
        if item["key"].endswith("/"):
            yield from _rows(folders, item["key"], depth + 1)
    if listing["token"]:
        yield depth, "… and more", "", ""
    elif not listing["items"]:
        yield depth, "(empty)" if listing["is_read"] else "(not read yet)", "", ""


def _line(row: Row) -> str:
    depth, name, size, written = row
    return f"{'  ' * (depth + 1) + name:<40} {size:>8}  {written}".rstrip()


def _table(title: str, rows: list[Row]) -> str:
    body = "".join(
        f'<tr><td style="text-align:left;padding-left:{depth * 1.5 + 0.5:g}em">{escape(name)}</td>'
        f'<td style="text-align:right">{escape(size)}</td><td>{escape(written)}</td></tr>'
        for depth, name, size, written in rows
    )
    head = '<tr><th style="text-align:left">Name</th><th style="text-align:right">Size</th><th>Written</th></tr>'
    caption = f'<caption style="text-align:left">{escape(title)}</caption>'
    return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _seen_text(seen: dict[str, Any]) -> Iterator[str]:
    if not seen:
        return
    yield f"\n{seen['key']}: {seen['words']} In a run: {seen['remote']}"
    if seen["columns"]:
        yield "  " + ", ".join(f"{name} ({kind})" for name, kind in seen["columns"])
        yield from ("  " + " | ".join(row) for row in seen["rows"])
    yield seen["text"][:LETTERS].rstrip()


def _seen_html(seen: dict[str, Any]) -> Iterator[str]:
    if not seen:
        return
    key, words, remote = (escape(seen[name]) for name in ("key", "words", "remote"))
    yield f"<p><b>{key}</b>: {words} In a run: <code>{remote}</code></p>"
    if seen["columns"]:
        head = "".join(f"<th>{escape(name)}<br><small>{escape(kind)}</small></th>" for name, kind in seen["columns"])
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in seen["rows"])
        yield f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    if seen["text"]:
        yield f"<pre>{escape(seen['text'][:LETTERS])}</pre>"
    if seen["image"] and len(seen["image"]) <= IMAGE:
        data = b64encode(seen["image"]).decode()
        yield f'<img alt="{key}" style="max-width:100%" src="data:{seen["mime"]};base64,{data}">'


def _loaded_lines(loaded: dict[str, Any]) -> Iterator[str]:
    if loaded:
        yield loaded["words"]
        yield loaded.get("code", "")
