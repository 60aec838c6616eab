"""Read the log of a run as lines for a page, while the page is visible."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic

from lk_jupyter.api._events import Output
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.frames import NO_NONCE, Splitter, text_of
from lk_jupyter.runs.follow import Follower
from lk_jupyter.runs.log import RunLog
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
        self._follower: Follower | None = None
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

    def look(self, *, ended: bool) -> None:
        """Continue reading for UNSEEN seconds; the log of an ended run is read to its end."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if not self._is_complete and self._follower is None:
                self._begin()
            if self._follower and not ended:
                self._timer = threading.Timer(UNSEEN, self._follower.close)
                self._timer.daemon = True
                self._timer.start()

    def _begin(self) -> None:
        log = RunLog(self._run.log_path)
        self._follower = self._run.follower(log)
        name = f"lk-log-{self._run.short_id}"
        threading.Thread(target=self._read, args=(log, self._follower), name=name, daemon=True).start()

    def _read(self, log: RunLog, follower: Follower) -> None:
        with suppress(LkError), closing(log):  # other requests report the server's problems
            self._take(follower)
        with self._lock:
            self._follower = None
        self._changed()

    def _take(self, follower: Follower) -> None:
        text, redactor, splitter = (
            TerminalText(),
            LineRedactor(),
            Splitter(self._run.messages.nonce or NO_NONCE, key=self._run.messages.key),
        )
        lines: list[str] = []
        first, reported = 0, 0.0

        def add(new: list[str], live: str) -> None:
            nonlocal first, lines
            lines.extend(_COLOUR.sub("", line) for line in redactor.lines(new))
            if len(lines) > 2 * MOST:
                lines, first = lines[MOST:], first + MOST
            if first + len(lines) >= self.total:  # a new reader starts with the lines that are known already
                self.lines, self.first, self.live = lines, first, _COLOUR.sub("", redactor.live(live))

        for event in follower.events():
            if not isinstance(event, Output):
                self._is_complete = True
                break
            text.feed(text_of(splitter.feed(event.content)))
            add(*text.take())
            if monotonic() - reported > _PACE:
                reported = monotonic()
                self._changed()
        text.feed(text_of(splitter.end()))
        add(text.end() if self._is_complete else [], "")
