"""Read a state in the cloud again and again, through failures that may be over in a while."""

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

T = TypeVar("T")

#: Seconds without a sign from the server after which a state is no longer asked for.
PATIENCE = 900.0

#: The same for a server that is there and refuses: it does not know the thing (yet), takes no key, has a rule.
PATIENCE_UNKNOWN = 10.0

#: Seconds that a state is read for at most: a server can name a time limit that no clock can represent.
_LONGEST = 1e9

#: Failures that may be over in a while.
_PASSING = (ConnectionFailed, InvalidResponse, RateLimited, ServerError)
BROKEN = (*_PASSING, ApiError, NotSignedIn)


def advised(error: LkError, advice: str) -> LkError:
    """Return an error with what else to do."""
    if isinstance(error, ApiError):
        error.next_step = f"{error.next_step}\n{advice}".strip()
    else:
        error.args = (f"{error}\n{advice}",)
    return error


def check_patience(error: LkError, last_answer: float, advice: str) -> None:
    """Let a failure pass that may be over in a while; ``last_answer`` is when the server last gave a sign.

    Raises ConnectionFailed, with the advice, after 15 minutes; the error itself, with the advice, when the server is
    in reach and keeps refusing; any other error at once.
    """
    waited = time.monotonic() - last_answer
    if not isinstance(error, BROKEN) or (not isinstance(error, _PASSING) and waited > PATIENCE_UNKNOWN):
        raise advised(error, advice)
    if waited > PATIENCE:
        raise ConnectionFailed(f"No sign of the server for {PATIENCE / 60:.0f} minutes. {advice}")


def poll(
    read: Callable[[], T],
    seconds: float,
    pauses: Iterable[float],
    advice: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Yield what ``read`` returns, again and again until the time is up. The last pause is repeated.

    Failures that may be over in a while are passed over. Raises as ``check_patience`` does, and the last failure with
    the advice where the time ends with it.
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
                raise advised(failure, advice)
            return
        pause = pause if following is None else following
        sleep(pause)
