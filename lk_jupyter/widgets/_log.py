"""The log of a run as lines that a page may show, read as they come while somebody looks."""

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

#: The newest lines are kept, so many at least; those before them are in the log file.
MOST = 200_000

#: Seconds after the last look until the log of a run that goes on is not read any more.
UNSEEN = 60.0


_PACE = 0.25
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class LogLines:
    """The lines of one run. ``changed`` is called, in the thread that reads, when there are new ones."""

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
        """How many lines there are by now, kept or not."""
        return self.first + len(self.lines)

    def page(self, start: int, most: int) -> tuple[int, list[str]]:
        """Return lines from this one on, or from the first that is kept, and the number of the first."""
        first, lines = self.first, self.lines
        at = max(0, start - first)
        return first + at, lines[at : at + most]

    def look(self, *, ended: bool) -> None:
        """Read on, until nobody has looked for a while; the log of a run that has ended is read to its end."""
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
        with suppress(LkError), closing(log):  # what is wrong with the server is told by what else is asked of it
            self._take(follower)
        with self._lock:
            self._follower = None
        self._changed()

    def _take(self, follower: Follower) -> None:
        text, redactor, splitter = (
            TerminalText(),
            LineRedactor(),
            Splitter(self._run.nonce or NO_NONCE, key=self._run.key),
        )
        lines: list[str] = []
        first, reported = 0, 0.0

        def add(new: list[str], live: str) -> None:
            nonlocal first, lines
            lines.extend(_COLOUR.sub("", line) for line in redactor.lines(new))
            if len(lines) > 2 * MOST:
                lines, first = lines[MOST:], first + MOST
            if first + len(lines) >= self.total:  # reading anew begins with what is known already
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
