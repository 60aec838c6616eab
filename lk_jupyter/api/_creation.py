"""Create something that costs credits exactly once, whatever the cloud answers.

A refusal doesn't prove that nothing was created, and neither does a lost answer. So the lists decide, after a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lk_jupyter.api._retry import wait_for_resend
from lk_jupyter.errors import (
    ApiError,
    InvalidResponse,
    LkError,
    OperationNotAvailable,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
)

T = TypeVar("T")

#: Looks for an object after a lost answer, and after a refusal, and seconds between two looks.
LOOKS, REFUSED_LOOKS = 3, 2
LOOK_PAUSE = 1.0

#: Seconds before each further request after HTTP 429 without a Retry-After; None after the last request.
_RESEND_PAUSES = (1.0, 4.0, 8.0, None)


@dataclass(frozen=True)
class Candidates(Generic[T]):
    """The objects that a request may have created.

    ``match`` is certainly the object of the request, and ``advice`` are lines about objects that may be, or that must
    be deleted.
    """

    match: T | None = None
    advice: str = ""


def create_once(
    send: Callable[[], T],
    find: Callable[[], Candidates[T]],
    unclear: Callable[[], str],
    *,
    trusts_failure: Callable[[ServerError], bool] = lambda _: True,
) -> T:
    """Send a request that creates an object, once; after any failure, look for the object in the lists.

    ``find`` reads the lists. ``unclear`` returns the text of the error after a lost answer. A server that
    reports an error (HTTP 5xx) and lists no object has created none, if ``trusts_failure`` is true for the error.
    After HTTP 429, and if the lists show no object, the request is sent again, at most three times.

    Raises the refusal if the lists show no object, OutcomeUnknown if the result stays unknown.
    """
    for pause in _RESEND_PAUSES:
        search = _Search(find, trusts_failure)
        try:
            return send()
        except (OutcomeUnknown, InvalidResponse, ApiError) as error:
            failure = error
        match = search.run(failure)
        if match is not None:
            return match
        if not search.proves_absence:
            raise OutcomeUnknown(f"{str(failure).partition(chr(10))[0]}\n{unclear()}{search.candidates.advice}")
        if not isinstance(failure, RateLimited) or pause is None or not search.is_complete:
            break
        if not wait_for_resend(pause if failure.pause is None else failure.pause):
            break
    raise failure


class _Search(Generic[T]):
    """The search for the object of one request in the lists, after a failure."""

    def __init__(self, find: Callable[[], Candidates[T]], trusts_failure: Callable[[ServerError], bool]) -> None:
        self.candidates = Candidates[T]()
        self.is_complete = False
        self.proves_absence = False
        self._find = find
        self._trusts_failure = trusts_failure

    def run(self, failure: LkError) -> T | None:
        """Return the object of the request that failed; None if no list shows the object."""
        is_refused = isinstance(failure, ApiError) and not isinstance(failure, ServerError)
        for attempt in range(REFUSED_LOOKS if is_refused else LOOKS):
            time.sleep(LOOK_PAUSE * bool(attempt))
            try:
                self.candidates, self.is_complete = self._find(), True
            except (OperationNotAvailable, Unauthorized):  # as for the request itself
                break
            except LkError:
                continue
            if self.candidates.match is not None:
                return self.candidates.match
        is_trusted = is_refused or (
            isinstance(failure, ServerError) and self.is_complete and self._trusts_failure(failure)
        )
        self.proves_absence = is_trusted and not self.candidates.advice
        return None
