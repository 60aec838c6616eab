"""Show the bucket: lists of objects, and folders as a tree that can be folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from lk_jupyter.storage._tree import Branch, Tree
from lk_jupyter.storage.objects import ObjectInfo, Objects
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import size_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, STYLE, Table, join_tables, omitted_line

_ALL = "for info in session.storage.ls(...)"


def listing(value: Objects) -> StaticView:
    """Show the next objects of a listing, which stay in the listing."""
    ahead = value.ahead(MOST + 1)
    return _build_object_table(ahead[:MOST], f"… and more: {_ALL}" if len(ahead) > MOST else "")


def objects(value: Sequence[ObjectInfo]) -> StaticView:
    """Show a list of objects."""
    return _build_object_table(value[:MOST], omitted_line(len(value), MOST, "loop over the list."))


def _build_object_table(infos: Sequence[ObjectInfo], note: str) -> StaticView:
    rows = [_build_object_row(info) for info in infos]
    note = note or ("" if rows else "No files. Upload one: %lk_put FILE data/")
    return join_tables(Table(("Name", "Size", "Written", "In a run"), rows, note, frozenset({"Size"})))


def _build_object_row(info: ObjectInfo) -> tuple[str, str, str, str]:
    written = f"{info.modified.astimezone():%Y-%m-%d %H:%M}" if info.modified else ""
    return info.key, "" if info.is_folder else size_label(info.size), written, remote_path(info.key)


def tree(value: Tree) -> StaticView:
    """Show a folder and the contents."""
    top = f"<strong>{_render_text(value.top)}</strong>{_render_branches(value.branches)}"
    return StaticView(redact(str(value)), f'<div class="lk-picture">{STYLE}{top}</div>')


def _render_branches(branches: Iterable[Branch]) -> str:
    return f"<ul>{''.join(f'<li>{_render_branch(branch)}</li>' for branch in branches)}</ul>"


def _render_branch(branch: Branch) -> str:
    name = (
        f"{_render_text(branch.name)} <small>{escape(branch.size)}</small>"
        if branch.size
        else _render_text(branch.name)
    )
    if not branch.below:
        return name
    return f'<details open=""><summary>{name}</summary>{_render_branches(branch.below)}</details>'


def _render_text(name: str) -> str:
    return escape(redact(name))
