"""Measure the progress of a transfer: moved bytes, speed, and remaining time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lk_jupyter.text.units import duration_label, size_label

#: Seconds over which the speed is taken.
_WINDOW = 5.0


@dataclass(frozen=True)
class Progress:
    """The progress of a transfer, as passed to the function ``progress``.

    ``files_done`` of ``files``, ``bytes_done`` of ``bytes``, after ``seconds``. ``speed`` is in bytes per second, over
    the last five seconds.

    Example:
        >>> seen = []
        >>> _ = session.storage.put(b"x" * 1000, "progress.bin", progress=seen.append)
        >>> seen[-1].share, seen[-1].bytes_done, seen[-1].seconds_left
        (1.0, 1000, 0.0)
    """

    files: int
    files_done: int
    bytes: int
    bytes_done: int
    seconds: float
    speed: float

    @property
    def share(self) -> float:
        """The share that is done, from 0 to 1."""
        if self.bytes:
            return min(1.0, self.bytes_done / self.bytes)
        return self.files_done / self.files if self.files else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the present speed; None while the speed is unknown."""
        rest = max(0, self.bytes - self.bytes_done)
        return rest / self.speed if self.speed else (None if rest else 0.0)

    def __str__(self) -> str:
        files = f"{self.files_done:,} of {self.files:,} files" if self.files != 1 else ""
        parts = [f"{self.share:.0%}", f"{size_label(self.bytes_done)} of {size_label(self.bytes)}", files]
        parts.append(f"{size_label(self.speed)}/s" if self.speed else "")
        if self.seconds_left and self.share < 1:
            parts.append(f"{duration_label(self.seconds_left)} left")
        return " · ".join(filter(None, parts))


Watcher = Callable[[Progress], object]


class Meter:
    """A counter of the bytes that several threads move; ``tell`` passes the present state to the watcher."""

    def __init__(self, files: int, size: int, watcher: Watcher | None = None) -> None:
        self._files = files
        self._size = size
        self._watcher = watcher
        self._lock = threading.Lock()
        self._files_done = 0
        self._bytes_done = 0
        self._began = time.monotonic()
        self._marks: deque[tuple[float, int]] = deque([(self._began, 0)])

    def add(self, size: int) -> None:
        """Count bytes that were moved now."""
        with self._lock:
            self._bytes_done += size

    def add_earlier(self, size: int) -> None:
        """Count bytes that an earlier transfer has moved; they are not fast."""
        with self._lock:
            self._bytes_done += size
            self._marks = deque((moment, done + size) for moment, done in self._marks)

    def end_file(self) -> None:
        """Count a complete file."""
        with self._lock:
            self._files_done += 1

    def tell(self) -> None:
        """Pass the present state to the watcher, if any."""
        if self._watcher:
            self._watcher(self.state())

    def finish(self) -> Progress:
        """Count the last file, pass the final state to the watcher, and return the state."""
        self.end_file()
        self.tell()
        return self.state()

    def state(self) -> Progress:
        """Return the present state."""
        with self._lock:
            now = time.monotonic()
            self._marks.append((now, self._bytes_done))
            while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW:
                self._marks.popleft()
            since, before = self._marks[0]
            span = now - since
            speed = (self._bytes_done - before) / span if span > 0 else 0.0
            size = max(self._size, self._bytes_done)
            return Progress(self._files, self._files_done, size, self._bytes_done, now - self._began, speed)
