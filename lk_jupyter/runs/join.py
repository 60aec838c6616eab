"""The output of a run from several connections, joined so that every line comes once.

A server may replay the output from its start, or only its end, or nothing at all, and no event
carries a number. So what a new connection sends is held against what is known until it is clear
where it goes on. All text is bytes here: positions are exact and compares are fast.
"""

from __future__ import annotations

from collections.abc import Callable

from lk_jupyter.runs.log import RunLog

#: How far back a replay that does not begin at the start is looked for, in bytes.
_TAIL = 1 << 18


class Join:
    """Takes what connections send, gives what is new, and writes everything new to the log.

    ``stored`` returns the output that the cloud has stored so far: it fills the gap when a
    connection goes on without a replay. ``late`` is whether the run may have written something before
    the first connection.
    """

    def __init__(self, log: RunLog, stored: Callable[[], bytes], *, late: bool = False) -> None:
        self.log = log
        self._stored = stored
        self._late = late
        self._held: bytes | None = None  # None: all that comes is new; else what came and is not placed yet
        self._repeated = 0  # bytes from the start that this connection has repeated

    def connect(self) -> None:
        """Begin a connection."""
        self._held = b"" if self.log.size or self._late else None
        self._repeated = 0

    def feed(self, data: bytes) -> bytes:
        """Take a chunk and return what of it is new."""
        if self._held is None:
            return self._new(data)
        if self._held:
            return self._place(self._held + data)
        if self._late and not self.log.size:
            self._late = False
            return self._new(data) if self._is_beginning(data) else self._place(data)
        known = self.log.read(self._repeated, len(data))
        if not data.startswith(known):
            return self._place(self.log.read(0, self._repeated) + data)
        self._repeated += len(known)
        return self._new(data[len(known) :]) if len(known) < len(data) else b""

    def _is_beginning(self, came: bytes) -> bool:
        """Whether this is the first that the run wrote, as far as the stored log tells."""
        first = came.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
        return self._stored().lstrip(b"\r\n").startswith(first)

    def _place(self, came: bytes) -> bytes:
        """Find where this, which is no replay from the start, goes on from what is known."""
        filled = b""
        if repeated(self._tail(), came) is None:
            filled = self._new(missing(self.log, self._stored()) or b"")
        overlap = repeated(self._tail(), came) or 0
        if overlap < len(came):
            return filled + self._new(came[overlap:])
        self._held = came
        return filled

    def _tail(self) -> bytes:
        return self.log.read(max(0, self.log.size - _TAIL), _TAIL)

    def complete(self, whole: bytes) -> bytes:
        """Take the output that the cloud kept of the run, and return what was missing at the end.

        The cloud may have kept only the last part of a long output: then that is joined to what came.
        If lines in the middle were lost, the log becomes the whole text; they cannot be shown late.
        """
        rest = missing(self.log, whole)
        if rest is None and (overlap := repeated(self._tail(), whole)):
            return self._new(whole[overlap:])
        if rest is not None or (len(whole) > self.log.size and self._begins_like(whole)):
            self.log.replace(whole)
        return rest or b""

    def _begins_like(self, whole: bytes) -> bool:
        first = next(filter(bytes.strip, self.log.lines()), b"")
        return whole.lstrip(b"\r\n").startswith(first)

    def _new(self, data: bytes) -> bytes:
        self._held = None
        self.log.append(data)
        return data


def repeated(known: bytes, came: bytes) -> int | None:
    """Return how much of ``came`` repeats the end of what is known; None when there is no telling.

    That it lies within is a repeat as a whole: more may come. A replay begins with a line, or is
    longer than one; anything less is chance.
    """
    start = 0
    while (start := known.find(came[:1], start)) >= 0:
        again = known[start : start + len(came)]
        begins_line = start == 0 or known[start - 1 : start] == b"\n"
        if came.startswith(again) and (begins_line or b"\n" in again):
            return len(again)
        start += 1
    return None


def missing(log: RunLog, whole: bytes) -> bytes | None:
    """Return what follows in ``whole`` after the text of the log; None when it does not begin with it.

    Empty lines do not count: servers add some.
    """
    if whole.startswith(log.read(0, min(log.size, len(whole) + 1))):
        return whole[log.size :]
    lines = (line.rstrip(b"\r") for line in whole.split(b"\n") if line.strip())
    begun = b""  # a line of which the log may hold the beginning only: its last
    for known in filter(bytes.strip, log.lines()):
        if begun:
            return None
        line = next(lines, b"")
        if not line.startswith(known):
            return None
        begun = line[len(known) :]
    rest = [begun, *lines] if begun else list(lines)
    return b"".join(line + b"\n" for line in rest)
