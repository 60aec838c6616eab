"""Read the numbers in the output of a run, for the curves in a page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from lk_jupyter.text.scalars import ScalarParser

#: Points of a curve in a page, and seconds between two events with curves.
_MOST_POINTS, _PACE = 500, 2.0

#: Seconds for reading numbers, in total and as a share of the time since, before the lines are sent on.
_READ_SECONDS, _READ_SHARE = 0.02, 0.05

#: Characters that are read in one step, and characters that are read after skipped text.
_READ_LENGTH, _END_LENGTH = 1 << 13, 1 << 19


class CurveReader:
    """Reads numbers in bounded time, and returns events with the curves of a run."""

    def __init__(self) -> None:
        self._scalars = ScalarParser(_MOST_POINTS)
        self._revision = 0
        self._event_time = 0.0
        self._opened = time.monotonic()
        self._read_seconds, self._read_length = 0.0, 0
        self._unread: deque[str] = deque()
        self._unread_length = 0
        self._has_gap = False

    def add_points(self, payload: Mapping[str, Any]) -> None:
        """Add exact values of the run."""
        self._scalars.add_points(payload)

    def feed(self, text: str) -> None:
        """Read the numbers in text of the run; of text that arrives faster than it is read, the start and the end."""
        for start in range(0, len(text), _READ_LENGTH):
            if self._is_behind():
                self._store_text(text[start:])
                return
            self._read_numbers(text[start : start + _READ_LENGTH])

    def end(self) -> None:
        """Read the stored end."""
        self._read_numbers("")
        self._scalars.end()

    def events(self, *, is_last: bool) -> list[dict[str, Any]]:
        """Return an event with all curves if they have changed, now and then."""
        is_due = is_last or time.monotonic() - self._event_time >= _PACE
        if self._scalars.revision == self._revision or not is_due:
            return []
        self._revision, self._event_time = self._scalars.revision, time.monotonic()
        curves = self._scalars.curves
        return [{"curves": [curve.content() for curve in curves]}] if curves else []

    def _is_behind(self) -> bool:
        """Return whether reading the stored text and another step would exceed the time for reading."""
        seconds_per_character = self._read_seconds / max(1, self._read_length)
        seconds = self._read_seconds + seconds_per_character * (self._unread_length + _READ_LENGTH)
        return seconds > _READ_SECONDS + _READ_SHARE * (time.monotonic() - self._opened)

    def _store_text(self, text: str) -> None:
        """Store the newest text for later, and skip the text before."""
        self._unread.append(text)
        self._unread_length += len(text)
        while self._unread_length - len(self._unread[0]) > _END_LENGTH:
            self._unread_length -= len(self._unread.popleft())
            self._has_gap = True

    def _read_numbers(self, text: str) -> None:
        """Read the numbers of the stored text and of this text."""
        start = time.monotonic()
        unread = "".join(self._unread)
        self._unread.clear()
        if self._has_gap or len(unread) > _END_LENGTH:
            self._scalars.skip()
            unread = unread[-_END_LENGTH:].partition("\n")[2]
        self._unread_length, self._has_gap = 0, False
        self._scalars.feed(unread + text)
        self._read_seconds += time.monotonic() - start
        self._read_length += len(unread) + len(text)
