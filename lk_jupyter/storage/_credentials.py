"""Temporary credentials of the bucket, renewed before they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from lk_jupyter._fork import renew_in_child
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import ConnectionFailed, ServerError

#: Credentials are used no longer than until so long before their end.
MARGIN = timedelta(seconds=60)

#: How long credentials are used for which the server gives no end: the shortest life that S3 services give.
_UNTOLD = timedelta(minutes=15)

#: A difference of two clocks from which on requests are signed by the server's.
_SKEW = timedelta(minutes=5)

#: No credentials are asked for again within so short a time, however soon they end.
_REST = timedelta(seconds=1)

#: Credentials that have this share of their life behind them are as good as new ones.
_NEW = 1 / 20


class Credentials:
    """Gives credentials that are good for some time yet; safe to use from several threads.

    ``now`` is the clock of the server, which set their end and checks when a request was signed.
    """

    def __init__(self, issue: Callable[[], StorageCredentials], now: Callable[[], float] = time.time) -> None:
        self._issue = issue
        self._now = now
        self._lock = threading.Lock()
        self._present: StorageCredentials | None = None
        self._request_time = datetime.min.replace(tzinfo=timezone.utc)
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return this moment by the server's clock."""
        return datetime.fromtimestamp(self._now(), timezone.utc)

    @property
    def is_skewed(self) -> bool:
        """Whether what is signed by the clock of this machine may be refused: S3 allows for 15 minutes."""
        return abs(self._now() - time.time()) > _SKEW.total_seconds()

    def present(self) -> StorageCredentials:
        """Return credentials for a request that is sent now."""
        return self.lasting(timedelta(0))

    def lasting(self, time: timedelta) -> StorageCredentials:
        """Return credentials that last so long, or as long as the server gives them."""
        with self._lock:
            now = self.now()
            if self._present is None or (self._ends_before(now + time) and now - self._request_time > self._rest(now)):
                self._present = self._renewed(now)
                self._request_time = self.now()  # its answer may be the first that shows the server's clock
            return self._present

    def forget(self, credentials: StorageCredentials) -> None:
        """Record that the storage does not accept these any more."""
        with self._lock:
            if self._present == credentials:
                self._present = None

    def _renewed(self, now: datetime) -> StorageCredentials:
        """Return new credentials; the old ones, as long as they are good, when the server cannot be reached."""
        try:
            return self._issue()
        except (ConnectionFailed, ServerError):
            if self._present is None or _end(self._present, self._request_time) <= now:
                raise
            return self._present

    def _rest(self, now: datetime) -> timedelta:
        """Return how old credentials must be so that new ones are asked for."""
        assert self._present  # noqa: S101 (asked only when there are some)
        life = _end(self._present, self._request_time) - self._request_time
        return _REST if self._ends_before(now) else max(_REST, life * _NEW)

    def _ends_before(self, moment: datetime) -> bool:
        assert self._present  # noqa: S101 (asked only when there are some)
        end = _end(self._present, self._request_time)
        return end - min(MARGIN, (end - self._request_time) / 5) < moment


def _end(credentials: StorageCredentials, request_time: datetime) -> datetime:
    """Return when credentials end; where the server gives no time, they count for as long as the shortest do."""
    return credentials.expires_at or request_time + _UNTOLD
