"""How long a machine is kept for a kernel that does nothing."""

from __future__ import annotations

import time


class Lease:
    """Ends after this number of seconds without work; it never does while something runs."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = time.monotonic()
        self._at_work = False

    def work(self) -> None:
        """Record that something runs."""
        self._at_work = True

    def rest(self) -> None:
        """Record that nothing runs any more."""
        self._at_work = False
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the machine must be given back."""
        return not self._at_work and time.monotonic() - self._since >= self._seconds

    @property
    def label(self) -> str:
        """How long it is, in words."""
        minutes = self._seconds / 60
        return f"{minutes:g} minute{'' if minutes == 1 else 's'}"
