"""Attempts to prove who one is: after some that failed the next must wait, longer each time.

What can be guessed (a password, a code) is not even looked at while its user has to wait. What cannot
(a token of 256 bits) is taken whenever it is right, so that nobody locks the owner out by sending wrong
ones; each of these counts once, since a program with a token that has ended asks often. All clients are
on this machine, so a limit for each address is one limit for all users together.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import HTTPException

from lk_jupyter.localcloud.secret import digest

#: Attempts that may fail before the first pause: for one user, and for all users together.
USER_ATTEMPTS = 5
ALL_ATTEMPTS = 30

_FIRST_SECONDS = 1.0
_MOST_SECONDS = 900.0
_FORGOTTEN_SECONDS = 3600.0
_MOST_SUBJECTS = 10_000


@dataclass
class _Failures:
    """How often a subject has failed, and until when it has to wait."""

    count: int = 0
    last: float = 0.0
    until: float = 0.0
    tokens: set[str] = field(default_factory=set)


class Attempts:
    """The failed attempts at one cloud; ``speed`` is how much faster than a clock its time passes."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._lock = threading.Lock()
        self._subjects: OrderedDict[str, _Failures] = OrderedDict()

    @contextmanager
    def guess(self, what: str, user: str) -> Iterator[None]:
        """Let something be tried for a user: 429 while the user, or everybody, has to wait.

        It counts as failed before it is tried, so that many at the same time are no more than one by one.
        """
        one, everybody = f"{what} of {user.casefold()}", what
        with self._lock:
            self._check(one, everybody)
            self._fail(one, USER_ATTEMPTS)
            self._fail(everybody, ALL_ATTEMPTS)
        yield
        with self._lock:
            self._subjects.pop(one, None)
            self._take_back(everybody)

    def unknown(self, what: str, token: str) -> None:
        """Count a token that is not good; 429 when there were too many."""
        with self._lock:
            failures = self._failures_by(what)
            if digest(token) in failures.tokens:
                return
            self._check(what)
            self._fail(what, ALL_ATTEMPTS)
            if failures.count < ALL_ATTEMPTS:
                failures.tokens.add(digest(token))

    def _check(self, *subjects: str) -> None:
        seconds_left = max((self._failures_by(subject).until for subject in subjects), default=0.0) - time.monotonic()
        if seconds_left > 0:
            seconds = math.ceil(seconds_left)
            raise HTTPException(
                429, f"Too many failed attempts. Try again in {seconds} s.", headers={"Retry-After": str(seconds)}
            )

    def _fail(self, subject: str, free: int) -> None:
        failures, now = self._failures_by(subject), time.monotonic()
        failures.count, failures.last = failures.count + 1, now
        if failures.count >= free:
            seconds = min(_FIRST_SECONDS * 2.0 ** min(failures.count - free, 60), _MOST_SECONDS)
            failures.until = now + seconds / self._speed

    def _take_back(self, subject: str) -> None:
        failures = self._failures_by(subject)
        failures.count -= 1
        if failures.count < ALL_ATTEMPTS:
            failures.until = 0.0

    def _failures_by(self, subject: str) -> _Failures:
        """Return the failures of a subject; old ones are forgotten, and of very many subjects those not asked for."""
        failures = self._subjects.pop(subject, None)
        if failures is None or time.monotonic() - failures.last > _FORGOTTEN_SECONDS / self._speed:
            failures = _Failures()
        self._subjects[subject] = failures
        while len(self._subjects) > _MOST_SUBJECTS:
            self._subjects.popitem(last=False)
        return failures
