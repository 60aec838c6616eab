"""Limit attempts to prove an identity: after some failures, each next attempt must wait longer.

A secret that can be guessed (a password, a code) isn't checked while its user must wait. A secret that can't be guessed
(a token of 256 bits) is accepted whenever correct, so that wrong tokens lock out no owner; each wrong token counts
once, since a program with an expired token sends many requests. All clients are on this machine, so a limit for each
address would be a limit for all users together.
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

#: Attempts that may fail before the first pause: of a user, and of all users together.
USER_ATTEMPTS = 5
ALL_ATTEMPTS = 30

_FIRST_SECONDS = 1.0
_MOST_SECONDS = 900.0
_FORGOTTEN_SECONDS = 3600.0
_MOST_SUBJECTS = 10_000


@dataclass
class _Failures:
    """The failures of a subject, and the moment until which the subject must wait."""

    count: int = 0
    last: float = 0.0
    until: float = 0.0
    tokens: set[str] = field(default_factory=set)


class Attempts:
    """The failed attempts at a cloud; ``speed`` is the speed of the cloud's clock."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._lock = threading.Lock()
        self._subjects: OrderedDict[str, _Failures] = OrderedDict()

    @contextmanager
    def limit_attempts(self, what: str, user: str) -> Iterator[None]:
        """Allow an attempt for a user: 429 while the user, or all users together, must wait.

        The attempt counts as failed before it starts, so that parallel attempts get no advantage.
        """
        one, everybody = f"{what} of {user.casefold()}", what
        with self._lock:
            self._refuse_while_blocked(one, everybody)
            self._count_failure(one, USER_ATTEMPTS)
            self._count_failure(everybody, ALL_ATTEMPTS)
        yield
        with self._lock:
            self._subjects.pop(one, None)
            self._subtract_failure(everybody)

    def count_invalid_token(self, what: str, token: str) -> None:
        """Count an invalid token; 429 after too many."""
        with self._lock:
            failures = self._read_failures(what)
            if digest(token) in failures.tokens:
                return
            self._refuse_while_blocked(what)
            self._count_failure(what, ALL_ATTEMPTS)
            if failures.count < ALL_ATTEMPTS:
                failures.tokens.add(digest(token))

    def _refuse_while_blocked(self, *subjects: str) -> None:
        seconds_left = max((self._read_failures(subject).until for subject in subjects), default=0.0) - time.monotonic()
        if seconds_left > 0:
            seconds = math.ceil(seconds_left)
            raise HTTPException(
                429, f"Too many failed attempts. Try again in {seconds} s.", headers={"Retry-After": str(seconds)}
            )

    def _count_failure(self, subject: str, free: int) -> None:
        failures, now = self._read_failures(subject), time.monotonic()
        failures.count, failures.last = failures.count + 1, now
        if failures.count >= free:
            seconds = min(_FIRST_SECONDS * 2.0 ** min(failures.count - free, 60), _MOST_SECONDS)
            failures.until = now + seconds / self._speed

    def _subtract_failure(self, subject: str) -> None:
        failures = self._read_failures(subject)
        failures.count -= 1
        if failures.count < ALL_ATTEMPTS:
            failures.until = 0.0

    def _read_failures(self, subject: str) -> _Failures:
        """Return the failures of a subject; forget old failures, and the least recent of very many subjects."""
        failures = self._subjects.pop(subject, None)
        if failures is None or time.monotonic() - failures.last > _FORGOTTEN_SECONDS / self._speed:
            failures = _Failures()
        self._subjects[subject] = failures
        while len(self._subjects) > _MOST_SUBJECTS:
            self._subjects.popitem(last=False)
        return failures
