"""Read the log of a run as lines for a page, while the page is visible."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.frames import format_items
from lk_jupyter.runs.reader import RunReader
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import TerminalText

#: The minimum number of newest lines in memory; the log file contains all lines.
MOST = 200_000

#: Seconds after the last look until this module stops reading the log of an active run.
UNSEEN = 60.0


_PACE = 0.25
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class LogLines:
    """The lines of a run. ``changed`` is called in the reading thread when new lines arrive."""

    def __init__(self, run: Run, changed: Callable[[], None]) -> None:
        self.lines: list[str] = []
        self.first = 0  # the number of the first line that is kept
        self.live = ""
        self._run = run
        self._changed = changed
        self._is_complete = False
        self._reader: RunReader | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """The number of lines so far, including lines that are no longer in memory."""
        return self.first + len(self.lines)

    def page(self, start: int, most: int) -> tuple[int, list[str]]:
        """Return lines from ``start`` on, or from the first in memory, and the number of the first returned line."""
        first, lines = self.first, self.lines
        at = max(0, start - first)
        return first + at, lines[at : at + most]

    def keep_reading(self, *, ended: bool) -> None:
        """Continue reading for UNSEEN seconds; the log of an ended run is read to its end."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if not self._is_complete and self._reader is None:
                self._start_reading()
            if self._reader and not ended:
                self._timer = threading.Timer(UNSEEN, self._reader.close)
                self._timer.daemon = True
                self._timer.start()

    def _start_reading(self) -> None:
        self._reader = RunReader(self._run)
        name = f"lk-log-{self._run.short_id}"
        threading.Thread(target=self._read_to_end, args=(self._reader,), name=name, daemon=True).start()

    def _read_to_end(self, reader: RunReader) -> None:
        with suppress(LkError):  # other requests report the server's problems
            self._read_lines(reader)
        with self._lock:
            self._reader = None
        self._changed()

    def _read_lines(self, reader: RunReader) -> None:
        text, redactor = TerminalText(), LineRedactor()
        lines: list[str] = []
        first, reported = 0, 0.0

        def add(new: list[str], live: str) -> None:
            nonlocal first, lines
            lines.extend(_COLOUR.sub("", line) for line in redactor.lines(new))
            if len(lines) > 2 * MOST:
                lines, first = lines[MOST:], first + MOST
            if first + len(lines) >= self.total:  # a new reader starts with the lines that are known already
                self.lines, self.first, self.live = lines, first, _COLOUR.sub("", redactor.redact_unfinished(live))

        for chunk in reader.chunks():
            text.feed(format_items(reader.split(chunk)))
            add(*text.take())
            if monotonic() - reported > _PACE:
                reported = monotonic()
                self._changed()
        self._is_complete = reader.finished is not None
        text.feed(format_items(reader.split("", is_last=True)))
        add(text.end() if self._is_complete else [], "")
