import random
from datetime import datetime, timezone

import pytest
from tenacity import RetryCallState, Retrying

from lk_jupyter.api._endpoint import endpoint_of
from lk_jupyter.api._retry import (
    LONGEST_PAUSE,
    TRIES,
    Loss,
    RequestOutcome,
    justifies_retry,
    random_pause,
    send_with_retries,
    server_pause,
    unknown,
)
from lk_jupyter.api.execution import Execution
from lk_jupyter.api.workloads import Workloads

READ = endpoint_of(Execution.get)
ABORT = endpoint_of(Workloads.abort)
START = endpoint_of(Execution.start_streaming)
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("end", "endpoints_tried_again"),
    [
        (Loss.UNREACHABLE, [READ, ABORT, START]),
        (429, [READ, ABORT]),
        (Loss.ANSWER, [READ, ABORT]),
        (502, [READ, ABORT]),
        (503, [READ, ABORT]),
        (504, [READ, ABORT]),
        (408, [READ, ABORT]),
        (425, [READ, ABORT]),
        (500, [READ]),
        (200, []),
        (401, []),
        (404, []),
        (422, []),
    ],
)
def test_what_is_tried_again(end, endpoints_tried_again):
    assert [
        endpoint for endpoint in (READ, ABORT, START) if justifies_retry(endpoint, RequestOutcome(end))
    ] == endpoints_tried_again


def test_the_outcome_of_a_start_is_unknown_after_a_lost_answer_or_a_gateway_error_only():
    ends = [Loss.UNREACHABLE, Loss.ANSWER, 408, 425, 429, 500, 502, 503, 504, 401, 422]
    assert [end for end in ends if unknown(START, RequestOutcome(end))] == [Loss.ANSWER, 408, 425, 502, 503, 504]
    assert not any(unknown(endpoint, RequestOutcome(end)) for end in ends for endpoint in (READ, ABORT))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("Sun, 01 Nov 2026 12:00:30", None),
        ("Sun, 01 Nov 99999999999 12:00:30 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(header, seconds):
    assert server_pause(header, NOW) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Sun, 01 Nov 2026 15:00:00 GMT", 30), ("Sun, 01 Nov 2026 09:00:00 GMT", 21630), ("soon", 10830), ("", 10830)],
)
def test_a_retry_after_date_counts_from_the_date_of_the_answer(date, seconds):
    assert server_pause("Sun, 01 Nov 2026 15:00:30 GMT", NOW, date) == seconds


class Waits:
    """Stands where a given-up event stands and notes how long it is waited for."""

    def __init__(self):
        self.seconds = []

    def wait(self, timeout):
        self.seconds.append(timeout)

    def is_set(self):
        return False


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("3600", LONGEST_PAUSE)])
def test_a_try_waits_as_long_as_the_server_asks_within_reason(header, seconds):
    waits = Waits()
    last = send_with_retries(READ, lambda: RequestOutcome(429, retry_after=header), backoff=1, stop=waits)
    assert waits.seconds == [seconds] * (TRIES - 1)
    assert last.end == 429


def test_own_pauses_stay_short_and_can_be_switched_off():
    waits = Waits()
    send_with_retries(READ, lambda: RequestOutcome(503), backoff=1, stop=waits)
    assert len(waits.seconds) == TRIES - 1
    assert all(0 <= seconds <= 8 for seconds in waits.seconds)

    waits = Waits()
    send_with_retries(READ, lambda: RequestOutcome(503), backoff=0, stop=waits)
    assert waits.seconds == [0] * (TRIES - 1)


def test_a_pause_draws_no_random_number_of_the_notebook_and_keeps_its_limit():
    state = RetryCallState(Retrying(), None, (), {})
    before = random.getstate()
    pauses = []
    for state.attempt_number in (1, 2, 3, 2000):
        pauses.append([random_pause(0.5, 8)(state) for _ in range(50)])
    assert random.getstate() == before
    assert [max(drawn) <= limit for drawn, limit in zip(pauses, (0.5, 1, 2, 8), strict=True)] == [True] * 4
    assert max(pauses[3]) > 2
