"""How long a machine is kept for a kernel that does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable


class Lease:
    """Ends after this number of seconds without work; it never does while something runs.

    ``now`` is a clock that only goes forward.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._since = now()
        self._at_work = False

    def work(self) -> None:
        """Record that something runs."""
        self._at_work = True

    def rest(self) -> None:
        """Record that nothing runs any more."""
        self._at_work = False
        self._since = self._now()

    @property
    def is_over(self) -> bool:
        """Whether the machine must be given back."""
        return not self._at_work and self._now() - self._since >= self._seconds

    @property
    def label(self) -> str:
        """How long it is, in words."""
        minutes = self._seconds / 60
        return f"{minutes:g} minute{'' if minutes == 1 else 's'}"
