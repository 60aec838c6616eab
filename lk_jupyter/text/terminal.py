"""Turn terminal output into lines for a notebook.

Carriage returns, backspaces, erased lines and the cursor-up of nested progress bars are applied here, colors are
preserved, and every other control sequence is dropped, as are signs that change the direction of text: a log can't add
links, redraw foreign output, or look like another text.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from textwrap import TextWrapper
from typing import Any

#: Maximum characters of a line in a notebook; the log file has the complete line.
LINE_LIMIT = 5_000

#: Maximum characters in memory of an unfinished line.
_MOST_CELLS = 2 * LINE_LIMIT

#: Maximum lines that a log moves up, for nested progress bars: lower lines wait until they are finished.
_MOST_UP = 100

_ESCAPE_LIMIT = 4_096
_ERASE_REST, _ERASE_LINE = "\x00", "\x01"
_SPECIAL_SIGNS = ("\r", "\b", _ERASE_REST, _ERASE_LINE)
_SPECIAL = re.compile(f"[{''.join(_SPECIAL_SIGNS)}]")
_PIECES = re.compile(f"([{''.join(_SPECIAL_SIGNS)}])")
_CELL = re.compile(r"(?:\x1b\[[0-9;:]*m)+[^\x1b]?|[^\x1b]")
#: Signs that change the direction of text, with which a name could look like another name.
_TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
#: Invisible signs, with which a name looks like another name.
_INVISIBLE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f"
    "\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_CONTROL = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|(?P<erase>\x1b\[[02]?K)"
    r"|(?P<up>\x1b\[\d*A)"
    r"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and other strings: titles, links
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # every other CSI sequence
    r"|\x1b[ -/]*[0-~]"
    # The rest of an incomplete sequence, which would otherwise combine with the text after a dropped sign; and half of
    # a pair of UTF-16, which no stream can carry.
    r"|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ud800-\udfff" + _TURNS + "]"
)
_CONTROL_BYTES = bytes({*range(0x20), 0x7F} - {*b"\b\t\n\r"})
#: The first bytes, in UTF-8, of U+0080 to U+009F, of U+061C, of other turns and of surrogates; some letters have them.
_FIRST_BYTES = (b"\xc2", b"\xd8\x9c", b"\xe2\x80", b"\xe2\x81", b"\xed")
_UNFINISHED = re.compile(r"\x1b(?:[\]P_^X][^\x07\x1b]*\x1b?|\[[0-?]*[ -/]*|[ -/]*)\Z")
_MOVE = re.compile(r"(\n|\x1b\[\d*A)")

#: Invisible signs, parts of characters, and joiners next to ASCII: only other scripts and emoji need joiners.
_UNSEEN = re.compile(
    f"[\b\r{_INVISIBLE}]|(?<=[\x20-\x7e])[\u200c\u200d]+|(?<![\u200c\u200d])[\u200c\u200d]+(?=[\x20-\x7e]|\\Z)"
)

_ESCAPED = re.compile(f"[\x7f-\x9f\ud800-\udfff{_TURNS}{_INVISIBLE}]")


def plain(text: str) -> str:
    """Return a foreign name or message without control sequences and invisible signs.

    Colors, titles, links, cursor moves, signs that change the direction of text, and invisible signs are removed.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub("", _CONTROL.sub("", text))


def only_colors(text: str) -> str:
    """Return a foreign text as ``plain`` does, with its colors, and the empty Braille pattern, which draws."""
    colored = _CONTROL.sub(lambda match: match["colour"] or "", text)
    return _UNSEEN.sub(lambda match: "\u2800" if match[0] == "\u2800" else "", colored)


def log_text(text: str) -> str:
    """Return finished lines of a log for a terminal: colors stay, and what changes the same line."""
    return _CONTROL.sub(lambda match: match["colour"] or match["erase"] or "", text)


def escape_signs(text: str) -> str:
    """Return JSON text in which each sign that ``plain`` removes is escaped, so that values stay exact."""
    return _ESCAPED.sub(lambda match: json.dumps(match[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return a foreign name on a single line, without control sequences and invisible signs."""
    return " ".join(plain(text).split())


def plain_values(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of a table whose names and texts a terminal and a page can show."""
    return [
        {one_line(name): one_line(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows
    ]


def _replace_control(match: re.Match[str]) -> str:
    if match["erase"]:
        return _ERASE_LINE if "2" in match["erase"] else _ERASE_REST
    if match["up"]:
        return f"\x1b[{min(int(match['up'][2:-1][:4] or 1), _MOST_UP)}A"
    return match["colour"] or ""


class TerminalText:
    """A converter from chunks of terminal output to finished lines and the state of unfinished lines.

    With ``returns``, a line that ended with a carriage return ends with a carriage return, as in a notebook.
    """

    def __init__(self, *, returns: bool = False) -> None:
        self._returns = returns
        self._rows = [""]  # rows that ``take`` hasn't returned yet; the last row is being written
        self._row = 0  # where the cursor is
        self._depth = 0  # rows above the last row that may still change
        self._cut = ""  # an escape sequence without its end

    def feed(self, text: str) -> None:
        """Take a chunk, cut anywhere."""
        text = self._clean_text(self._cut + text)
        if self._depth or ("\x1b[" in text and any(part.startswith("\x1b[") for part in _MOVE.split(text)[1::2])):
            self._write_moves(text)
        else:
            first, *rest = text.split("\n")
            self._rows[-1] = overwrite(self._rows[-1] + first)
            self._rows += map(overwrite, rest) if any(sign in text for sign in _SPECIAL_SIGNS) else rest
            self._row = len(self._rows) - 1

    def allowed_text(self, text: str) -> str:
        """Return a chunk for a terminal: only control sequences that this class applies remain."""
        return self._clean_text(self._cut + text, lambda match: match["erase"] or _replace_control(match))

    def take(self) -> tuple[list[str], str]:
        """Return the lines finished since the last call, and the unfinished text."""
        done = max(0, len(self._rows) - 1 - self._depth)
        lines, self._rows = self._rows[:done], self._rows[done:]
        self._row = max(0, self._row - done)
        return self._list_completed_lines(lines), clip_line("   ".join(filter(None, map(visible_part, self._rows))))

    def end(self) -> list[str]:
        """Return all remaining lines, unfinished lines included."""
        lines = [*self._list_completed_lines(self._rows[:-1]), *_list_visible_lines(self._rows[-1:])]
        self._rows, self._row = [""], 0
        return lines[:-1] if not lines[-1] else lines

    def _list_completed_lines(self, lines: list[str]) -> list[str]:
        visible = _list_visible_lines(lines)
        if not self._returns:
            return visible
        return [text + "\r" if line.endswith("\r") else text for line, text in zip(lines, visible, strict=True)]

    def _clean_text(self, text: str, replace: Callable[[re.Match[str]], str] = _replace_control) -> str:
        if not _may_contain_controls(text):
            self._cut = ""
            return text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _ESCAPE_LIMIT)) if "\x1b" in text else None
        self._cut = unfinished[0] if unfinished else ""
        return _CONTROL.sub(replace, text.removesuffix(self._cut))

    def _write_moves(self, text: str) -> None:
        """Write text that moves the cursor up, as nested progress bars do."""
        for at, part in enumerate(_MOVE.split(text)):
            if at % 2 == 0:
                self._rows[self._row] = overwrite(self._rows[self._row] + part)
            elif part == "\n":
                self._row += 1
                if self._row == len(self._rows):
                    self._rows.append("")
            else:
                up = int(part[2:-1] or 1)
                self._depth = max(self._depth, up)
                self._row = max(0, self._row - up)


def _may_contain_controls(text: str) -> bool:
    """Return whether the text may need cleaning; ten times as fast as a regular expression on clean text."""
    data = text.encode(errors="surrogatepass")
    has_unicode = not text.isascii() and any(first in data for first in _FIRST_BYTES)
    return has_unicode or len(data.translate(None, _CONTROL_BYTES)) < len(data)


def visible_part(line: str) -> str:
    """Return the visible part of a line from ``overwrite``."""
    return clip_line(line.partition("\r")[0])


def _list_visible_lines(lines: list[str]) -> list[str]:
    """Return the visible parts of many lines, most of which don't change."""
    return [line if "\r" not in line and len(line) <= LINE_LIMIT else visible_part(line) for line in lines]


def overwrite(line: str) -> str:
    """Return a line after its carriage returns, backspaces and erasures, like a terminal.

    If the cursor isn't at the end, a carriage return and the text before the cursor follow, so that more text can be
    appended.
    """
    if not _SPECIAL.search(line):
        return line[:_MOST_CELLS]
    cells, column = list[str](), 0
    for piece in _PIECES.split(line):
        if piece == "\r":
            column = 0
        elif piece == "\b":
            column = max(0, column - 1)
        elif piece == _ERASE_REST:
            del cells[column:]
        elif piece == _ERASE_LINE:
            cells, column = [], 0
        elif piece:
            column = _write_cells(cells, column, piece)
    text = "".join(cells)[:_MOST_CELLS]
    is_at_end = column >= len(cells) and (cells or not line.endswith("\r"))
    return text if is_at_end else f"{text}\r{''.join(cells[:column])}"


def _write_cells(cells: list[str], column: int, piece: str) -> int:
    """Write text at a column of a line; return the column after the text."""
    if "\x1b" not in piece:
        new = list(piece[:_MOST_CELLS])
    else:
        new = [match[0] for match in islice(_CELL.finditer(piece), _MOST_CELLS)]
    if new and column and _is_colour(cells[column - 1]):
        column -= 1  # a color belongs to the letter after the color
        new[0] = cells[column] + new[0]
    new = new[: max(0, _MOST_CELLS - column)]
    cells[column : column + len(new)] = new
    return column + len(new)


def _is_colour(cell: str) -> bool:
    """Whether a cell is colors without a letter."""
    return cell[0] == "\x1b" and cell[-1] == "m" and cell[-2] != "m"


def clip_line(line: str) -> str:
    """Return a line that a notebook can show."""
    if len(line) <= LINE_LIMIT:
        return line
    return f"{line[:LINE_LIMIT]}[0m … (the line is long; the log file contains the complete line)"


def shorten_text(text: str, most: int) -> str:
    """Return a text, cut after this number of letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def terminal_columns() -> int | None:
    """Return the columns of the terminal that shows the output; None if no terminal shows the output."""
    try:
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    except ValueError:  # stdout is closed
        return None


def wrap_lines(text: str, width: int | None, indent: str = "") -> str:
    """Return lines of at most this width, except for longer words; ``indent`` starts each line but the first."""
    if not width or max(map(len, text.split("\n"))) <= width:
        return text
    wrapper = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    parts = [wrapper.wrap(line) or [""] for line in text.split("\n")]
    return "\n".join(line for part in parts for line in part)
