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

#: The minimum time between two requests for credentials, even if the credentials end earlier.
_REST = timedelta(seconds=1)

#: Credentials in this first share of their life count as new.
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
        self._is_due = False
        self._request_time = datetime.min.replace(tzinfo=timezone.utc)
        renew_in_child(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent process may have locked."""
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return this moment by the server's clock."""
        return datetime.fromtimestamp(self._now(), timezone.utc)

    @property
    def is_skewed(self) -> bool:
        """Return whether S3 may refuse requests signed with this machine's clock: S3 tolerates 15 minutes."""
        return abs(self._now() - time.time()) > _SKEW.total_seconds()

    def current_credentials(self) -> StorageCredentials:
        """Return credentials for a request that is sent now."""
        return self.credentials_for(timedelta(0))

    def credentials_for(self, time: timedelta) -> StorageCredentials:
        """Return credentials that are valid for ``time``, or for the longest time that the server grants."""
        with self._lock:
            now = self.now()
            if (
                self._present is None
                or self._is_due
                or (self._ends_before(now + time) and now - self._request_time > self._compute_minimum_age(now))
            ):
                self._present, self._is_due = self._request_credentials(now), False
                self._request_time = self.now()  # the answer may be the first to show the server's clock
            return self._present

    def forget(self, credentials: StorageCredentials) -> None:
        """Record that the storage does not accept these any more."""
        with self._lock:
            if self._present == credentials:
                self._present = None

    def renew(self) -> None:
        """Request new credentials before the next use; the present ones stay while the server can't be reached."""
        with self._lock:
            self._is_due = self.now() - self._request_time > _REST

    def _request_credentials(self, now: datetime) -> StorageCredentials:
        """Return new credentials; return the old ones, while valid, if the server can't be reached."""
        try:
            return self._issue()
        except (ConnectionFailed, ServerError):
            if self._present is None or _compute_credentials_end(self._present, self._request_time) <= now:
                raise
            return self._present

    def _compute_minimum_age(self, now: datetime) -> timedelta:
        """Return the minimum age of the credentials before a request for new ones."""
        assert self._present  # noqa: S101 (asked only when there are some)
        life = _compute_credentials_end(self._present, self._request_time) - self._request_time
        return _REST if self._ends_before(now) else max(_REST, life * _NEW)

    def _ends_before(self, moment: datetime) -> bool:
        assert self._present  # noqa: S101 (asked only when there are some)
        end = _compute_credentials_end(self._present, self._request_time)
        return end - min(MARGIN, (end - self._request_time) / 5) < moment


def _compute_credentials_end(credentials: StorageCredentials, request_time: datetime) -> datetime:
    """Return when credentials end; where the server gives no time, they count for as long as the shortest do."""
    return credentials.expires_at or request_time + _UNTOLD
