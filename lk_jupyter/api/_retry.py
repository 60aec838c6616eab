"""Rules for sending a request again, and for the pause before. This module does no I/O."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from threading import Event
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
)

from lk_jupyter.api._endpoint import Endpoint

TRIES = 4

#: Maximum seconds between two attempts, whatever the server requests.
LONGEST_PAUSE = 60.0


#: Event in a thread whose requests may become unwanted: no attempt starts after the event is set.
unwanted: ContextVar[Event | None] = ContextVar("unwanted", default=None)


class Loss(Enum):
    """The ways to lose an answer."""

    UNREACHABLE = "Could not reach"
    ANSWER = "No answer from"


@dataclass(frozen=True)
class RequestOutcome:
    """The outcome of an attempt: an HTTP status or a loss; ``carries`` is the sender's result."""

    end: int | Loss
    carries: Any = None
    retry_after: str | None = None
    date: str | None = None

    @property
    def requested_pause(self) -> float | None:
        """The seconds that the server requests before another attempt, within limits; None without a request."""
        seconds = server_pause(self.retry_after, datetime.now(timezone.utc), self.date)
        return None if seconds is None else min(seconds, LONGEST_PAUSE)


def _is_any_operation(_: Endpoint) -> bool:
    return True


def _creates_nothing(endpoint: Endpoint) -> bool:
    """Return whether an operation creates nothing that is billed: ``create_once`` repeats the others, after a look."""
    return not endpoint.creates


def _is_repeatable(endpoint: Endpoint) -> bool:
    return endpoint.repeatable


def _is_read(endpoint: Endpoint) -> bool:
    return endpoint.method == "GET"


#: Outcomes that justify another attempt, and for which operations. After an outcome that only repeatable operations may
#: retry, the effect of the request is unknown.
AGAIN: dict[int | Loss, Callable[[Endpoint], bool]] = {
    Loss.UNREACHABLE: _is_any_operation,
    Loss.ANSWER: _is_repeatable,
    429: _creates_nothing,
    500: _is_read,
    # A gateway's message for a missing answer.
    **dict.fromkeys((408, 425, 502, 503, 504, 520, 522, 524), _is_repeatable),
}


def justifies_retry(endpoint: Endpoint, outcome: RequestOutcome) -> bool:
    """Return whether an outcome justifies another attempt."""
    rule = AGAIN.get(outcome.end)
    return rule is not None and rule(endpoint)


def unknown(endpoint: Endpoint, outcome: RequestOutcome) -> bool:
    """Return whether an unanswered request may have had an effect."""
    return AGAIN.get(outcome.end) is _is_repeatable and not endpoint.repeatable


def server_pause(retry_after: str | None, now: datetime, date: str | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, as a number or as a date; None without a header.

    A date is relative to the ``date`` of the answer, if any: the server's clock may differ from ours by hours.
    """
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    with suppress(ValueError, TypeError, OverflowError):
        now = parsedate_to_datetime(date) if date else now
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    return None


#: Draws pauses. The random numbers of the module ``random`` belong to the notebook, whose results depend on a seed.
_generator = random.Random()  # noqa: S311 (no secret)


def random_pause(multiplier: float, longest: float) -> Callable[[RetryCallState], float]:
    """Return a function that draws the seconds before the next attempt; the limit doubles up to ``longest``."""

    def draw(state: RetryCallState) -> float:
        exponent = min(state.attempt_number - 1, 50)
        return _generator.uniform(0, min(multiplier * 2**exponent, longest))

    return draw


_backoff_pause = random_pause(0.5, 8)


def pause(state: RetryCallState) -> float:
    """Return the seconds before the next attempt: the server's request within limits, or our growing pause."""
    requested = _read_last_outcome(state).requested_pause
    return _backoff_pause(state) if requested is None else requested


def _read_last_outcome(state: RetryCallState) -> RequestOutcome:
    assert state.outcome is not None  # noqa: S101 (tenacity calls back after a try only)
    result: RequestOutcome = state.outcome.result()
    return result


def send_with_retries(
    endpoint: Endpoint, once: Callable[[], RequestOutcome], *, backoff: float, stop: Event
) -> RequestOutcome:
    """Send until the outcome is final, or until ``stop`` is set; return the last outcome.

    ``backoff`` multiplies the pauses. The ``unwanted`` event of the thread also ends the attempts.
    """
    event, last = unwanted.get(), list[RequestOutcome]()
    wakes = event or stop

    def unless_unwanted() -> RequestOutcome:
        if not last or event is None or not event.is_set():
            last[:] = [once()]
        return last[0]

    return Retrying(
        retry=retry_if_result(lambda outcome: justifies_retry(endpoint, outcome)),
        wait=lambda state: backoff * pause(state),
        stop=stop_after_attempt(TRIES) | stop_when_event_set(wakes) | stop_when_event_set(stop),
        sleep=sleep_using_event(wakes),
        retry_error_callback=_read_last_outcome,
    )(unless_unwanted)


def wait_for_resend(seconds: float) -> bool:
    """Wait before a request is sent again; return False if the ``unwanted`` event of the thread is set."""
    return not (unwanted.get() or Event()).wait(seconds)
