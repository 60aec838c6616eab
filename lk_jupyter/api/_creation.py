"""Create something that costs credits exactly once, whatever the cloud answers.

A refusal doesn't prove that nothing was created, and neither does a lost answer. So the lists decide, after a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from lk_jupyter.errors import (
    ApiError,
    InvalidResponse,
    LkError,
    OperationNotAvailable,
    OutcomeUnknown,
    ServerError,
    Unauthorized,
)

T = TypeVar("T")

#: Looks for an object after a lost answer, and after a refusal, and seconds between two looks.
LOOKS, REFUSED_LOOKS = 3, 2
LOOK_PAUSE = 1.0


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

    Raises the refusal if the lists show no object, OutcomeUnknown if the result stays unknown.
    """
    try:
        return send()
    except (OperationNotAvailable, Unauthorized):
        raise
    except (OutcomeUnknown, InvalidResponse, ApiError) as error:
        failure = error
    is_refused = isinstance(failure, ApiError) and not isinstance(failure, ServerError)
    candidates, was_searched = Candidates[T](), False
    for attempt in range(REFUSED_LOOKS if is_refused else LOOKS):
        time.sleep(LOOK_PAUSE * bool(attempt))
        with suppress(LkError):
            candidates, was_searched = find(), True
            if candidates.match is not None:
                return candidates.match
    is_trusted = is_refused or (isinstance(failure, ServerError) and was_searched and trusts_failure(failure))
    if is_trusted and not candidates.advice:
        raise failure
    raise OutcomeUnknown(f"{str(failure).partition(chr(10))[0]}\n{unclear()}{candidates.advice}")
