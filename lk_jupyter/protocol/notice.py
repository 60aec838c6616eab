"""A line about a run for its author: a note, a warning or a hint."""

from __future__ import annotations

from dataclasses import dataclass

WARNING, HINT = "warning", "hint"

_MARKS = {WARNING: "⚠ ", HINT: "Hint: "}


@dataclass(frozen=True)
class Notice:
    """A line about a run; ``kind`` is note, warning or hint; warnings and hints have a mark.

    ``option`` is the text that a hint adds to the line of the cell, such as ``--timeout 120``.
    """

    text: str
    kind: str = "note"
    option: str = ""

    def __str__(self) -> str:
        return f"{_MARKS.get(self.kind, '')}{self.text}"
