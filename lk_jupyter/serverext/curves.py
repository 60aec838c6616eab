"""Read the numbers in the output of a run, for the curves in a page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lk_jupyter.text.scalars import ScalarParser

#: Points of a curve in a page, and seconds between two events with curves.
_MOST_POINTS, _PACE = 500, 2.0

#: Seconds for reading numbers, in total and as a share of the time since, before the lines are sent on.
_READ_SECONDS, _READ_SHARE = 0.05, 0.05

#: Characters that are read in one step, and characters that are read after skipped text.
_READ_LENGTH, _END_LENGTH = 1 << 16, 1 << 18


class CurveReader:
    """Reads numbers in bounded time, and returns events with the curves of a run."""

    def __init__(self) -> None:
        self._scalars = ScalarParser(_MOST_POINTS)
        self._revision = 0
        self._event_time = 0.0
        self._opened = time.monotonic()
        self._read_seconds = 0.0
        self._unread = ""

    def add_points(self, payload: Mapping[str, Any]) -> None:
        """Add exact values of the run."""
        self._scalars.add_points(payload)

    def feed(self, text: str) -> None:
        """Read the numbers in text of the run."""
        for start in range(0, len(text), _READ_LENGTH):
            self._read(text[start : start + _READ_LENGTH])

    def end(self) -> None:
        """Read the buffered rest."""
        self._scalars.feed(self._unread)
        self._scalars.end()

    def events(self, *, is_last: bool) -> list[dict[str, Any]]:
        """Return an event with all curves if they have changed, now and then."""
        is_due = is_last or time.monotonic() - self._event_time >= _PACE
        if self._scalars.revision == self._revision or not is_due:
            return []
        self._revision, self._event_time = self._scalars.revision, time.monotonic()
        curves = self._scalars.curves
        return [{"curves": [curve.content() for curve in curves]}] if curves else []

    def _read(self, text: str) -> None:
        """Read the numbers of the log; of a log that arrives faster than it can be read, only its start and its end."""
        start = time.monotonic()
        if self._read_seconds > _READ_SECONDS + _READ_SHARE * (start - self._opened):
            self._unread += text
            if len(self._unread) > _END_LENGTH:
                self._scalars.skip()
                self._unread = self._unread[-_END_LENGTH:].partition("\n")[2]
            return
        self._scalars.feed(self._unread + text)
        self._unread = ""
        self._read_seconds += time.monotonic() - start
