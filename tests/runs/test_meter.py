"""Times of a run, by the server's stamps."""

from datetime import datetime, timedelta, timezone

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.runs.meter import began, now, waited_of

#: A server whose clock is years behind.
CREATED = datetime(2020, 2, 29, 12, tzinfo=timezone.utc)


def record(created, start=None, **facts):
    return ExecutionRecord(execution_id="x", status="running", created_at=created, start_time=start, **facts)


def test_a_run_that_has_not_begun_has_neither_waited_nor_begun():
    assert waited_of(record(CREATED)) is None
    assert began(record(CREATED), 1.0) is None


def test_what_a_run_waited_is_the_time_between_two_stamps_of_the_server():
    assert waited_of(record(CREATED, CREATED + timedelta(seconds=12.5))) == 12.5


def test_the_start_is_counted_from_the_sending_whatever_the_servers_clock_shows():
    sent = now() - 100
    assert began(record(CREATED, CREATED + timedelta(seconds=40)), sent) == sent + 40


def test_a_run_cannot_have_begun_in_the_future():
    assert began(record(CREATED, CREATED + timedelta(hours=1)), now()) <= now()


def test_of_a_run_that_was_sent_from_elsewhere_the_clock_here_tells_the_start():
    start = datetime.now(timezone.utc) - timedelta(seconds=30)
    assert 29 < now() - began(record(start, start), None) < 35
