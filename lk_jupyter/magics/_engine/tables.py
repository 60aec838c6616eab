"""Show tables, data frames and lines of magics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lk_jupyter.text.terminal import plain, plain_values
from lk_jupyter.views.table import Table, show_as_grid

__all__ = ["Table", "build_data_frame", "show_text"]


def show_text(text: str) -> None:
    """Show a line of plain text under the cell."""
    print(plain(text))  # noqa: T201 (the output is for the reader of the cell)


def build_data_frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Any:
    """Return rows as a pandas DataFrame; as a table to look at where pandas is missing."""
    try:
        import pandas  # noqa: ICN001, PLC0415 (for those who ask for a table)
    except ImportError:
        return Table(columns, [["" if row[name] is None else str(row[name]) for name in columns] for row in rows])
    return show_as_grid(pandas.DataFrame(plain_values(rows), columns=list(columns)))
