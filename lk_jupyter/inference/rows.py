"""Read a column of texts: from a DataFrame, a Series, or a list, with the other columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.inference.prompt import fill_template, placeholder_names
from lk_jupyter.text.pandas import import_pandas

#: ``name``, ``name.column`` or ``name[column]``; the line of a magic has lost its quotes.
_PLACE = re.compile(r"""(?P<name>[^\W\d]\w*)(?:\.(?P<attribute>\w+)|\[["']?(?P<item>.+?)["']?\])?""")

#: The name of the text itself in a prompt.
TEXT = "text"


@dataclass(frozen=True)
class Column:
    """Texts by row; ``index`` is the index of the DataFrame, ``frame`` its columns; None for a list."""

    name: str
    texts: Sequence[str]
    index: Any = None
    frame: Any = None

    def __len__(self) -> int:
        return len(self.texts)

    def prompts(self, template: str | None) -> list[str]:
        """Return a prompt for each row: the text, or the template with ``{text}`` and other columns filled in."""
        if template is None:
            return list(self.texts)
        names = placeholder_names(template)
        if not names:
            raise UsageError(
                "--prompt doesn't contain {text}, so each row would send the same prompt. Nothing was sent."
            )
        columns = [] if self.frame is None else [name for name in self.frame.columns if name in names]
        beside = {name: self.frame[name].tolist() for name in columns}
        return [
            fill_template(
                template, {**{name: values[row] for name, values in beside.items()}, TEXT: text, self.name: text}
            )
            for row, text in enumerate(self.texts)
        ]

    def joined(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        """Return a DataFrame with the texts and the given columns, by row."""
        return import_pandas().DataFrame({self.name: list(self.texts), **columns}, index=self.index)


def read_column(expression: str, values: Mapping[str, Any]) -> Column:
    """Return the column of an expression such as ``df.review``.

    Raises UsageError for an unknown column, and for a row that is empty or isn't text.
    """
    match = _PLACE.fullmatch(expression)
    if not match:
        raise UsageError(
            f"'{expression}' isn't a column. Nothing was sent. Write df.column, df[column], or the name of a list."
        )
    name, part = match["name"], match["attribute"] or match["item"]
    if name not in values:
        close = get_close_matches(name, values, 1, cutoff=0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"Unknown variable '{name}'. Nothing was sent.{hint}")
    return _check_texts(
        _read_frame_column(values[name], name, part) if part else _list_column(values[name], name), expression
    )


def _read_frame_column(frame: Any, name: str, part: str) -> Column:
    if not hasattr(frame, "columns"):
        raise UsageError(f"'{name}' is a {type(frame).__name__}, not a DataFrame. Nothing was sent.")
    if part not in frame.columns:
        close = get_close_matches(part, map(str, frame.columns), 1) or [", ".join(map(str, frame.columns))]
        raise UsageError(f"'{name}' has no column '{part}'. Nothing was sent. Did you mean {close[0]}?")
    return Column(part, frame[part].tolist(), frame.index, frame)


def _list_column(value: Any, name: str) -> Column:
    if hasattr(value, "columns"):
        raise UsageError(
            f"'{name}' is a DataFrame. Nothing was sent. Name one of its columns: "
            f"{name}.{next(iter(value.columns), 'x')}"
        )
    if hasattr(value, "index") and hasattr(value, "tolist"):
        return Column(str(value.name or TEXT), value.tolist(), value.index)
    if isinstance(value, (list, tuple)):
        return Column(TEXT, list(value))
    raise UsageError(
        f"'{name}' is a {type(value).__name__}, not a column. Nothing was sent. Give df.column, a Series or a list."
    )


def _check_texts(result: Column, expression: str) -> Column:
    if not len(result):
        raise UsageError(f"'{expression}' has no rows. Nothing was sent.")
    for row, text in enumerate(result.texts):
        if not isinstance(text, str) or not text.strip():
            what = "is empty" if isinstance(text, str) else f"is {text!r}, not a text"
            place = row if result.index is None else result.index[row]
            raise UsageError(
                f"Row {place} of '{expression}' {what}. Nothing was sent. First give such rows a text, or remove them."
            )
    return result
