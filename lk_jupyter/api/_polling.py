"""Read a state in the cloud repeatedly, despite temporary failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from typing import TypeVar

from lk_jupyter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    LkError,
    NotSignedIn,
    RateLimited,
    ServerError,
)
from lk_jupyter.text.units import count_label

T = TypeVar("T")

#: Seconds without an answer after which polling stops.
PATIENCE = 900.0

#: Seconds of refusals after which polling stops: the server doesn't know the object (yet), or refuses the key.
PATIENCE_UNKNOWN = 10.0

#: Maximum seconds of polling: a server can report a time limit that no clock can represent.
_LONGEST = 1e9

#: Temporary failures.
_PASSING = (ConnectionFailed, InvalidResponse, RateLimited, ServerError)
BROKEN = (*_PASSING, ApiError, NotSignedIn)


def add_advice(error: LkError, advice: str) -> LkError:
    """Return an error with further advice."""
    if isinstance(error, ApiError):
        error.next_step = f"{error.next_step}\n{advice}".strip()
    else:
        error.args = (f"{error}\n{advice}",)
    return error


def check_patience(error: LkError, last_answer: float, advice: str) -> None:
    """Ignore a temporary failure; ``last_answer`` is the time of the last answer.

    Raises ConnectionFailed, with the advice, after 15 minutes; the error, with the advice, if the server keeps
    refusing; any other error immediately.
    """
    waited = time.monotonic() - last_answer
    if not isinstance(error, BROKEN) or (not isinstance(error, _PASSING) and waited > PATIENCE_UNKNOWN):
        raise add_advice(error, advice)
    if waited > PATIENCE:
        raise ConnectionFailed(f"No answer from the server for {count_label(round(PATIENCE / 60), 'minute')}. {advice}")


def poll(
    read: Callable[[], T],
    seconds: float,
    pauses: Iterable[float],
    advice: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Yield the results of ``read`` repeatedly until the time limit. The last pause is repeated.

    Temporary failures are ignored. Raises as ``check_patience`` does, and at the time limit the last failure with
    the advice.
    """
    last_answer = time.monotonic()
    end, pause = last_answer + min(seconds, _LONGEST), 0.0
    for following in chain(pauses, repeat(None)):
        failure: LkError | None = None
        try:
            state = read()
        except LkError as error:
            check_patience(error, last_answer, advice)
            failure = error
        else:
            last_answer = time.monotonic()
            yield state
        if time.monotonic() > end:
            if failure:
                raise add_advice(failure, advice)
            return
        pause = pause if following is None else following
        sleep(pause)
