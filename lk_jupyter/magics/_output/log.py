"""The log of a run as ordinary output of the cell: redrawn in place, never sent twice, capped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from lk_jupyter.runs.outcome import TRACEBACK
from lk_jupyter.text.secrets import COLOUR, LineRedactor, redact
from lk_jupyter.text.terminal import TerminalText

#: Seconds before a traceback is written: if the run ends with this traceback, the error of the cell shows it.
_HOLD = 0.5


class LogOutput:
    """Writer of a log: the first ``limit`` lines immediately, the last ``limit`` lines at the end.

    ``write`` puts text on the cell's stdout, ``write_error`` on its stderr. In a notebook (not ``ends``), an unfinished
    last line stays unfinished. ``note`` shows a line, updated in place, for the lines between; ``hide`` replaces this
    line at the end by the number of hidden lines.
    """

    def __init__(  # noqa: PLR0913 (each is another place)
        self,
        write: Callable[[str], None],
        note: Callable[[str], None],
        hide: Callable[[int], None],
        *,
        limit: int,
        ends: bool = True,
        write_error: Callable[[str], None] | None = None,
    ) -> None:
        self._ends = ends
        self._write_error = write_error or write
        self._write = write
        self._note = note
        self._hide = hide
        self._text = TerminalText(returns=True)
        self._redactor = LineRedactor()
        self._error_redactor = LineRedactor()
        self._error_text = TerminalText()
        self._room = limit
        self._tail: deque[str] = deque(maxlen=limit)
        self._beyond = 0  # lines after the first ``limit``
        self._on_screen = ""  # the unfinished line as last written
        self._waits = False  # an unfinished line is not on the screen
        self._waiting_lines: list[str] = []
        self._waiting_since = 0.0

    def show(self, text: str) -> None:
        """Write new text."""
        self._text.feed(text)
        lines, live = self._text.take()
        lines = self._delay_traceback(lines)
        self._write_lines(lines, "" if self._waiting_lines else live)

    def show_error(self, text: str) -> None:
        """Write stderr text after the preceding text; beyond the limit, stderr text joins the rest of the log."""
        *lines, live = self._error_text.allowed_text(text).split("\n")
        if self._room < len(lines):
            self.show(text)
            return
        self.cut()
        self._room -= len(lines)
        redacted = "".join(f"{line}\n" for line in self._error_redactor.lines(lines))
        self._write_error(redacted + redact(live))

    def end(self, traceback: str = "") -> None:
        """Write the remaining lines, without a traceback that the cell's error will show."""
        lines, live = self._list_remaining_lines(self._waiting_lines)
        last = traceback.rstrip().rpartition("\n")[2]
        if self._waiting_lines and last and redact(lines[-1].rstrip()) == last:
            lines = []
        self._write_final_lines(lines, live)
        if self._beyond:
            self._hide(self._beyond - len(self._tail))
        if self._tail:
            self._write("".join(line + "\n" for line in self._redactor.lines(self._tail)))

    def cut(self) -> None:
        """Write the remaining text and end its line, because another output follows."""
        self._write_final_lines(*self._list_remaining_lines(self._take_waiting_lines()))

    def _list_remaining_lines(self, waiting: list[str]) -> tuple[list[str], str]:
        """Return the remaining lines, and the unfinished line where it stays unfinished."""
        lines, live = self._text.take()
        unfinished = self._text.end()
        is_one = not self._ends and len(unfinished) == 1 and not waiting and self._room > len(lines)
        return (waiting + lines, live) if is_one else (waiting + lines + unfinished, "")

    def _write_final_lines(self, lines: list[str], live: str) -> None:
        if lines or not live:
            self._write_lines(lines, "")
        if live:
            self._write_lines([], live)
        elif self._on_screen:
            self._write("\n")
        self._on_screen = ""

    def _delay_traceback(self, lines: list[str]) -> list[str]:
        """Delay a traceback and all following lines for a moment; return the lines before."""
        if self._waiting_lines:
            self._waiting_lines += lines
            return self._take_waiting_lines() if time.monotonic() - self._waiting_since > _HOLD else []
        start = lines.index(TRACEBACK) if TRACEBACK in lines else len(lines)
        self._waiting_lines = lines[start:]
        self._waiting_since = time.monotonic()
        return lines[:start]

    def _take_waiting_lines(self) -> list[str]:
        lines, self._waiting_lines = self._waiting_lines, []
        return lines

    @property
    def holds(self) -> bool:
        """Whether something waits to be written though nothing new may come."""
        return bool(self._waiting_lines) or self._waits

    def _write_lines(self, lines: list[str], live: str) -> None:
        printed, rest = self._redactor.lines(lines[: self._room]), lines[self._room :]
        self._room -= len(lines) - len(rest)
        live = self._redactor.redact_unfinished(live)
        screen = "".join(self._complete_screen_line(line) + "\n" for line in printed)
        self._waits = bool(printed and live)  # a print is several writes: wait a moment for the end of the line
        if self._room and live != self._on_screen and not self._waits:
            screen += self._complete_screen_line(live)
            self._on_screen = live
        if screen:
            self._write(screen)
        if not self._room:
            self._append_tail(rest, live)

    def _complete_screen_line(self, line: str) -> str:
        """Return the text that turns the unfinished line on the screen into this line."""
        before, self._on_screen = self._on_screen, ""
        if line.startswith(before):
            return line[len(before) :]
        return "\r" + line + " " * (_compute_width(before) - _compute_width(line))

    def _append_tail(self, lines: list[str], live: str) -> None:
        self._tail.extend(lines)
        self._beyond += len(lines)
        newest = live or (self._redactor.redact_unfinished(self._tail[-1]) if self._tail else "")
        if newest:
            self._note(f"… {self._beyond:,} more lines so far, the newest: {COLOUR.sub('', newest)[:200]}")


def _compute_width(text: str) -> int:
    return len(COLOUR.sub("", text))
