"""What magics show: tables and lines."""

from __future__ import annotations

from lk_jupyter.views.table import Table

__all__ = ["Table", "say"]


def say(text: str) -> None:
    """Show a line of plain text under the cell."""
    print(text)  # noqa: T201 (the output is for the reader of the cell)
