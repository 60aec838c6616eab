"""Text that was made for a terminal, as lines for a notebook.

Carriage returns, backspaces, erased lines and the cursor-up of nested progress bars are applied
here, colours are kept, and every other control sequence is dropped: a log can neither link nor
redraw what is not its own.
"""

from __future__ import annotations

import re
import shutil
import sys
from textwrap import TextWrapper

#: Characters of one line that a notebook shows; the log file has all of them.
LINE_LIMIT = 5_000

_ESCAPE_LIMIT = 4_096
_ERASE_REST, _ERASE_LINE = "\x00", "\x01"
_SPECIAL_SIGNS = ("\r", "\b", _ERASE_REST, _ERASE_LINE)
_SPECIAL = re.compile(f"[{''.join(_SPECIAL_SIGNS)}]")
_CELL = re.compile(r"(?:\x1b\[[0-9;:]*m)*[^\x1b]|\x1b\[[0-9;:]*m")
_CONTROL = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|(?P<erase>\x1b\[[02]?K)"
    r"|(?P<up>\x1b\[\d*A)"
    r"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and other strings: titles, links
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # every other CSI sequence
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\x80-\x9f]"
)
_CONTROL_BYTES = bytes({*range(0x20), 0x7F} - {*b"\b\t\n\r"})
_FIRST_OF_C1 = b"\xc2"  # in UTF-8, of U+0080 to U+009F and of some letters
_UNFINISHED = re.compile(r"\x1b(?:[\]P_^X][^\x07\x1b]*\x1b?|\[[0-?]*[ -/]*|[ -/]*)\Z")
_MOVE = re.compile(r"(\n|\x1b\[\d*A)")

#: Signs that turn the direction in which text is read, so that a name looks like another one.
_TURNS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a name or a message of others without what a terminal obeys: colors, titles, moves, turned text."""
    return text if text.isprintable() else _TURNS.sub("", _CONTROL.sub("", text))


class TerminalText:
    """Takes chunks of terminal output, gives finished lines and the state of the unfinished ones.

    With ``returns`` a line that ended in a carriage return keeps it, as it does in a notebook.
    """

    def __init__(self, *, returns: bool = False) -> None:
        self._returns = returns
        self._rows = [""]  # what is not given away yet; the last is the line being written
        self._row = 0  # where the cursor is
        self._depth = 0  # how many rows above the last one are still written to
        self._cut = ""  # an escape sequence whose end has not come

    def feed(self, text: str) -> None:
        """Take a chunk, cut anywhere."""
        text = self._clean(self._cut + text)
        if self._depth or ("\x1b[" in text and any(part.startswith("\x1b[") for part in _MOVE.split(text)[1::2])):
            self._move(text)
        else:
            first, *rest = text.split("\n")
            self._rows[-1] = overwrite(self._rows[-1] + first)
            self._rows += map(overwrite, rest) if any(sign in text for sign in _SPECIAL_SIGNS) else rest
            self._row = len(self._rows) - 1

    def take(self) -> tuple[list[str], str]:
        """Return the lines finished since the last time, and what is being written now."""
        done = max(0, len(self._rows) - 1 - self._depth)
        lines, self._rows = self._rows[:done], self._rows[done:]
        self._row = max(0, self._row - done)
        return self._finished(lines), clip("   ".join(filter(None, map(shown, self._rows))))

    def end(self) -> list[str]:
        """Return all lines that are left, the unfinished ones included."""
        lines = [*self._finished(self._rows[:-1]), *_shown(self._rows[-1:])]
        self._rows, self._row = [""], 0
        return lines[:-1] if not lines[-1] else lines

    def _finished(self, lines: list[str]) -> list[str]:
        shown = _shown(lines)
        if not self._returns:
            return shown
        return [seen + "\r" if line.endswith("\r") else seen for line, seen in zip(lines, shown, strict=True)]

    def _clean(self, text: str) -> str:
        if not _may_hold_controls(text):
            self._cut = ""
            return text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _ESCAPE_LIMIT)) if "\x1b" in text else None
        self._cut = unfinished[0] if unfinished else ""
        return _CONTROL.sub(_replace, text.removesuffix(self._cut))

    def _move(self, text: str) -> None:
        """Write text that moves the cursor up, as nested progress bars do."""
        for part in _MOVE.split(text):
            if part == "\n":
                self._row += 1
                if self._row == len(self._rows):
                    self._rows.append("")
            elif part.startswith("\x1b[") and part.endswith("A"):
                up = int(part[2:-1] or 1)
                self._depth = max(self._depth, up)
                self._row = max(0, self._row - up)
            else:
                self._rows[self._row] = overwrite(self._rows[self._row] + part)


def _may_hold_controls(text: str) -> bool:
    """Whether there is anything to clean; ten times as fast as a look for it by a pattern, as most text has nothing."""
    data = text.encode(errors="replace")
    return len(data.translate(None, _CONTROL_BYTES)) < len(data) or _FIRST_OF_C1 in data


def _replace(match: re.Match[str]) -> str:
    if match["erase"]:
        return _ERASE_LINE if "2" in match["erase"] else _ERASE_REST
    return match[0] if match["colour"] or match["up"] else ""


def shown(line: str) -> str:
    """Return what a notebook shows of a line that ``overwrite`` made."""
    return clip(line.partition("\r")[0])


def _shown(lines: list[str]) -> list[str]:
    """Do so for many lines, most of which are shown as they are."""
    return [line if "\r" not in line and len(line) <= LINE_LIMIT else shown(line) for line in lines]


def overwrite(line: str) -> str:
    """Return what a terminal shows of a line after its carriage returns, backspaces and erasures.

    When the cursor is not at its end, a carriage return and what stands before the cursor follow,
    so that more of the line can be added.
    """
    if not _SPECIAL.search(line):
        return line[: 2 * LINE_LIMIT]
    seen = before = ""
    for part in line.split("\r"):
        seen, before = _write_over(seen, part)
    seen = seen[: 2 * LINE_LIMIT]
    return seen if _width(before) >= _width(seen) else f"{seen}\r{before}"


def _write_over(seen: str, part: str) -> tuple[str, str]:
    """Write from the first column on; return the line and what stands before the cursor then."""
    before = ""
    for piece in re.split(f"([\b{_ERASE_REST}{_ERASE_LINE}])", part):
        if piece == "\b":
            before = "".join(_CELL.findall(before)[:-1])
        elif piece == _ERASE_REST:
            seen = before
        elif piece == _ERASE_LINE:
            seen = before = ""
        else:
            before += piece
            seen = before + _after(seen, before)
    return seen, before


def _after(seen: str, before: str) -> str:
    if "\x1b" not in seen and "\x1b" not in before:
        return seen[len(before) :]
    return "".join(_CELL.findall(seen)[_width(before) :])


def _width(text: str) -> int:
    return len(_CELL.findall(text)) if "\x1b" in text else len(text)


def clip(line: str) -> str:
    """Return a line that a notebook can show."""
    if len(line) <= LINE_LIMIT:
        return line
    return f"{line[:LINE_LIMIT]}[0m … (long line; the log file has all of it)"


def columns_of_terminal() -> int | None:
    """Return how many letters a line of the terminal has in which output appears; None where it appears elsewhere."""
    try:
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    except ValueError:  # it is closed
        return None


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """Return lines that are no longer than this, unless a word is; ``indent`` begins each but the first."""
    if not width or max(map(len, text.split("\n"))) <= width:
        return text
    wrapper = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    parts = [wrapper.wrap(line) or [""] for line in text.split("\n")]
    return "\n".join(line for part in parts for line in part)
