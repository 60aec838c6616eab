"""Show a table as HTML and as text, and several tables as a single picture.

Colors come from the theme of Jupyter, or from the page around the table: a dark page may be on a machine that prefers
light. The alignment appears three times: in the stylesheet for notebooks, in the style of a cell for pages that drop
the stylesheet (an untrusted notebook), and in ``align`` for pages that drop both (GitHub).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from html import escape
from itertools import zip_longest
from numbers import Integral, Real
from typing import Any

from lk_jupyter.text.terminal import plain, shorten_text, terminal_columns, wrap_lines
from lk_jupyter.views.picture import StaticView

#: Rows of a long list that are shown, and letters of a value.
MOST, LETTERS = 60, 200

#: Letters of a text column that are never wrapped in a terminal, and of a cell that stays on one line in a page.
_UNWRAPPED, _BRIEF = 24, 40

#: Text between two columns, and before columns below a row.
_GAP, _BELOW = "  ", "    "

#: Letters of a line of a DataFrame, if no terminal reports a width.
_COLUMNS = 80

STYLE = """<style>
.lk-picture{--lk-dim:var(--jp-ui-font-color2,color-mix(in srgb,currentColor 75%,transparent));
--lk-line:var(--jp-border-color2,color-mix(in srgb,currentColor 25%,transparent));
--lk-mark:var(--jp-brand-color1,#1e88e5);color:var(--jp-ui-font-color1,inherit)}
.lk-picture table{border-collapse:collapse;margin:0 0 8px;color:inherit;font-size:var(--jp-ui-font-size1,inherit);
font-variant-numeric:tabular-nums}
.lk-picture caption{caption-side:top;text-align:left;font-weight:600;padding:4px 8px;white-space:nowrap}
.lk-picture th,.lk-picture td{box-sizing:border-box;height:24px;padding:0 8px;line-height:20px;
border-bottom:1px solid var(--lk-line);text-align:left}
.lk-picture tbody tr:nth-child(n){background:none}
.lk-picture tbody tr:nth-child(n):hover{background:var(--jp-layout-color2,rgba(127,127,127,.12))}
.lk-picture th,.lk-picture td{white-space:nowrap}
.lk-picture thead th{white-space:normal}
.lk-picture .lk-long{white-space:normal;min-width:24ch}
.lk-picture .lk-folds{white-space:normal}
@media (max-width:1100px){.lk-picture th,.lk-picture td{padding:0 4px}}
.lk-picture tbody th{font-weight:500}
.lk-picture p{margin:0 8px 8px;color:var(--lk-dim)}
.lk-picture svg{vertical-align:middle;color:var(--lk-mark)}
.lk-picture ul{list-style:none;margin:0;padding-left:1.4em}
.lk-picture summary{cursor:pointer}
.lk-picture small{color:var(--lk-dim)}
</style>"""


@dataclass(frozen=True)
class Drawing:
    """The content of a cell as our own HTML, with a text form."""

    html: str
    text: str

    def __post_init__(self) -> None:
        """Remove control characters from the text: addresses and foreign names are drawn too."""
        object.__setattr__(self, "text", plain(self.text))

    def __len__(self) -> int:
        return len(self.text)

    def __str__(self) -> str:
        return self.text


Cell = str | Drawing

#: The name and the cells of a column, as text.
Column = Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns; ``note`` is a line below, ``caption`` a line above.

    A column whose name is in ``right`` contains figures and is aligned to the right; a column in ``folds`` becomes as
    narrow as its words on a narrow page. The first column is the row header.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    right: frozenset[str] = frozenset()
    caption: str = ""
    folds: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Remove secrets and control characters: cells contain names and labels of other people."""
        from lk_jupyter.text.secrets import redact  # noqa: PLC0415 (when a table is shown)

        rows = [[cell if isinstance(cell, Drawing) else plain(redact(cell)) for cell in row] for row in self.rows]
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "note", plain(redact(self.note)))
        object.__setattr__(self, "caption", plain(redact(self.caption)))
        object.__setattr__(self, "columns", tuple(map(plain, self.columns)))

    def __str__(self) -> str:
        return self.text(terminal_columns())

    def text(self, width: int | None) -> str:
        """Return the table as lines of at most this width: text is wrapped, columns without room are below the row."""
        if not self.columns:
            return "\n".join(filter(None, [self.caption, self.note]))
        rows = [list(self.columns), *([" ".join(str(cell).splitlines()) for cell in row] for row in self.rows)]
        parts = self._group_columns(list(zip(*rows, strict=True)), width)
        drawn = [
            self._format_part_lines(part, width) if part is parts[0] else self._format_lower_lines(part, width)
            for part in parts
        ]
        head, *body = [[line for lines in row for line in lines] for row in zip(*drawn, strict=True)]
        rule = _GAP.join("-" * space for space in self._compute_widths(parts[0], width))
        lines = [*head, rule, *(line for row in body for line in row)]
        return "\n".join(filter(None, [wrap_lines(self.caption, width), *lines, wrap_lines(self.note, width)]))

    def _group_columns(self, columns: Sequence[Column], width: int | None) -> list[list[Column]]:
        """Return the groups of columns that share a line."""
        parts: list[list[Column]] = [[]]
        for column in columns:
            needed = [self._compute_minimum_width(each) + len(_GAP) for each in (*parts[-1], column)]
            if width and parts[-1] and sum(needed) > width + len(_GAP) - len(_BELOW) * (len(parts) > 1):
                parts.append([])
            parts[-1].append(column)
        return parts

    def _compute_minimum_width(self, column: Column) -> int:
        """Return the letters that a column needs: only long text is wrapped."""
        natural = max(map(len, column))
        if natural <= _UNWRAPPED or column[0] in self.right:
            return natural
        return max(_UNWRAPPED, *(len(piece.rstrip()) for cell in column for piece in _split_breakable_parts(cell)))

    def _compute_widths(self, columns: Sequence[Column], width: int | None) -> list[int]:
        """Return the widths of columns that share a line: the widest columns shrink first."""
        widths, least = [max(map(len, column)) for column in columns], list(map(self._compute_minimum_width, columns))
        while width and (over := sum(widths) + len(_GAP) * (len(widths) - 1) - width) > 0:
            spare = [have - need for have, need in zip(widths, least, strict=True)]
            if not any(spare):
                break
            widest = max((have, at) for at, have in enumerate(widths) if spare[at])[1]
            widths[widest] -= min(over, spare[widest])
        return widths

    def _format_lower_lines(self, columns: Sequence[Column], width: int | None) -> list[list[str]]:
        """Return the lines of columns that have no room next to the first columns."""
        drawn = self._format_part_lines(columns, width and width - len(_BELOW))
        return [[_BELOW + line if line else "" for line in lines] for lines in drawn]

    def _format_part_lines(self, columns: Sequence[Column], width: int | None) -> list[list[str]]:
        """Return the lines of each row, the names first."""
        widths, names = self._compute_widths(columns, width), [column[0] for column in columns]
        sides = [str.rjust if name in self.right else str.ljust for name in names]
        return [
            [
                _GAP.join(side(cell, space) for side, cell, space in zip(sides, line, widths, strict=True)).rstrip()
                for line in zip_longest(*map(_wrap_text, row, widths), fillvalue="")
            ]
            for row in zip(*columns, strict=True)
        ]

    def _repr_html_(self) -> str:
        return f'<div class="lk-picture">{STYLE}{self.html}</div>'

    @property
    def html(self) -> str:
        """The table without the stylesheet that belongs to the HTML."""
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col"{self._choose_column_style(name)}>{escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{self._render_row(row)}</tr>" for row in self.rows if self.columns)
        note = "".join(f"<p>{escape(line)}</p>" for line in self.note.splitlines())
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def _render_row(self, cells: Sequence[Cell]) -> str:
        styles = [self._choose_column_style(name) for name in self.columns]
        longs = [
            ' class="lk-folds"' if name in self.folds else ' class="lk-long"' if len(cell) > _BRIEF else ""
            for name, cell in zip(self.columns, cells, strict=True)
        ]
        first, *rest = [
            f"{style}{long}>{_render_cell(cell)}" for style, long, cell in zip(styles, longs, cells, strict=True)
        ]
        return f'<th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in rest)

    def _choose_column_style(self, column: str) -> str:
        side = "right" if column in self.right else "left"
        return f' align="{side}" style="text-align: {side}"'

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _split_breakable_parts(text: str) -> list[str]:
    """Return the parts of a text between which a line may end: words, parts of a path and of a long name."""
    return re.findall(r"[^\s/_]*(?:[/_]|\s+|$)", text)


def _wrap_text(text: str, width: int) -> list[str]:
    """Return a text as lines of this width, except for parts that are longer."""
    if len(text) <= width:
        return [text]
    lines = [""]
    for piece in _split_breakable_parts(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _render_cell(cell: Cell) -> str:
    return cell.html if isinstance(cell, Drawing) else escape(cell)


def join_tables(*tables: Table) -> StaticView:
    """Return several tables as a single picture, top to bottom."""
    html = "".join(table.html for table in tables)
    return StaticView("\n\n".join(map(str, tables)), f'<div class="lk-picture">{STYLE}{html}</div>')


_IN_FRAME = "the DataFrame has all rows."


def show_as_grid(frame: Any, html_only: Sequence[str] = ()) -> Any:
    """Make a DataFrame display like our tables, and return the DataFrame; derived DataFrames display like pandas.

    The columns ``html_only`` would wrap the lines of a terminal, so the text form leaves them out.
    """
    if hasattr(frame, "to_html"):
        object.__setattr__(frame, "_repr_html_", lambda: frame_table(frame)._repr_html_())
        object.__setattr__(frame, "_repr_mimebundle_", lambda **_: _build_grid_bundle(frame, html_only))
    return frame


def _build_grid_bundle(frame: Any, html_only: Sequence[str]) -> dict[str, str]:
    view = frame_table(frame)
    text_view = frame_table(frame.drop(columns=list(html_only), errors="ignore")) if html_only else view
    return {"text/plain": text_view.text(terminal_columns() or _COLUMNS), "text/html": view._repr_html_()}


def frame_table(frame: Any) -> Table:
    """Return the first rows of a DataFrame: numbers to the right with five significant digits, nulls counted.

    A line below the rows lists the columns without any value.
    """
    is_numbered = frame.index.name is None and type(frame.index).__name__ == "RangeIndex"
    indexed = frame if is_numbered else frame.reset_index(allow_duplicates=True)
    filled = [indexed.empty or _has_value(column) for _, column in indexed.items()]
    flat = indexed.loc[:, filled]
    counts = flat.isna().sum().tolist()
    columns = [_label_with_nulls(str(name), count) for name, count in zip(flat.columns, counts, strict=True)]
    top = flat.head(MOST)
    nulls = top.isna().to_numpy().tolist()
    values = [
        [None if is_null else value for value, is_null in zip(*row, strict=True)]
        for row in zip(top.itertuples(index=False, name=None), nulls, strict=True)
    ]
    by_column = zip(columns, zip(*values, strict=True), strict=True) if values else ()
    right = frozenset(name for name, column in by_column if _are_numbers(column))
    cells = [[NULL if value is None else _format_value(value) for value in row] for row in values]
    empty = [str(name) for name, is_filled in zip(indexed.columns, filled, strict=True) if not is_filled]
    notes = [omitted_line(len(flat), MOST, _IN_FRAME), "No values: " + ", ".join(empty) if empty else ""]
    return Table(columns, cells, "\n".join(filter(None, notes)), right)


def _has_value(column: Any) -> bool:
    return any(not isinstance(value, str) or value for value in column[column.notna()])


NULL = Drawing("<small>null</small>", "null")


def _label_with_nulls(name: str, nulls: int) -> str:
    return f"{name} ({nulls:,} null{'s' * (nulls != 1)})" if nulls else name


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, Decimal)) and not isinstance(value, bool)


def _are_numbers(column: Sequence[Any]) -> bool:
    present = [value for value in column if value is not None]
    return bool(present) and all(map(_is_number, present))


def _format_value(value: Any) -> Cell:
    if isinstance(value, datetime):
        local = value if value.tzinfo is None else datetime.fromtimestamp(value.timestamp(), timezone.utc).astimezone()
        text = f"{local:%Y-%m-%d %H:%M:%S}"
        return Drawing(f'<span style="white-space: nowrap">{text}</span>', text)
    text = str(value)
    if _is_number(value):
        return text if isinstance(value, Integral) else round_to_five_digits(text)
    from lk_jupyter.text.secrets import redact  # noqa: PLC0415 (when a table is shown)

    return shorten_text(redact(text), LETTERS)  # in this order: half a secret isn't recognized


def round_to_five_digits(text: str) -> str:
    """Return a number with at most five significant digits, formatted like in the browser; other text unchanged."""
    try:
        value = float(f"{float(text):.5g}")
    except ValueError:
        return text
    if value != value or abs(value) == float("inf"):  # noqa: PLR0124 (not a number)
        return text
    if value and not 1e-6 <= abs(value) < 1e21:
        base, _, power = f"{value:.4e}".partition("e")
        return f"{base.rstrip('0').rstrip('.')}e{int(power):+d}"
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def omitted_line(count: int, visible: int, how: str) -> str:
    """Return the line below a list that was cut; empty for a complete list. ``how`` is the way to show all items."""
    return f"… and {count - visible:,} more: {how}" if count > visible else ""


def figure_text(value: float | None) -> str:
    """Return a figure for a column; empty without a value."""
    return "" if value is None or value != value else f"{value:,.1f}"  # noqa: PLR0124 (not a number)
