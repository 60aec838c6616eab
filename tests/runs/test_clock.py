"""What runs have taken and cost, by the server's stamps."""

import json
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from localcloud.conftest import moment

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.runs.clock import Bill, Stopwatch, calculate_bill, measure_wait, now

#: Read by the tests of the browser's half too.
EXAMPLES = json.loads(Path(__file__).parents[1].joinpath("bills.json").read_text("utf-8"))

#: A server whose clock is years behind.
CREATED = datetime(2020, 2, 29, 12, tzinfo=timezone.utc)


def record(created, start=None, status="running", **facts):
    return ExecutionRecord(execution_id="x", status=status, created_at=created, start_time=start, **facts)


def seconds_of(text):
    return None if text is None else moment(text).timestamp()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_a_bill_is_the_same_here_and_in_the_browser(example):
    price = example["price_per_hour"]
    found = calculate_bill(
        ExecutionRecord(execution_id="x", **example["record"]),
        None if price is None else Decimal(str(price)),
        at=seconds_of(example.get("at")),
        submitted_at=seconds_of(example.get("sent_at")),
    )
    wanted = example["bill"]
    assert found.seconds == pytest.approx(wanted["seconds"])
    assert (None if found.cost is None else float(found.cost)) == pytest.approx(wanted["cost"])
    assert found.cost_is == wanted["cost_is"]


def test_a_cost_is_marked_by_what_it_is():
    assert Bill(1, Decimal("0.5"), "billed").label == "0.5000 credits"
    assert Bill(1, Decimal("0.5"), "estimated").label == "≈ 0.5000 credits"
    assert Bill(1, Decimal("0.5"), "at most").label == "at most 0.5000 credits"
    assert Bill(1).label == ""


def test_a_sum_is_as_certain_as_its_least_certain_part():
    billed, estimated, most = (Bill(1, Decimal(1), kind) for kind in ("billed", "estimated", "at most"))
    assert Bill.total([]).label == "0.0000 credits"
    assert Bill.total([billed, billed, Bill()]).label == "2.00 credits"
    assert Bill.total([billed, estimated]).label == "≈ 2.00 credits"
    assert Bill.total([most, estimated, billed]).label == "at most 3.00 credits"


def test_what_a_run_waited_is_the_time_between_two_stamps_of_the_server():
    assert measure_wait(record(CREATED)) is None
    assert measure_wait(record(CREATED, CREATED + timedelta(seconds=12.5))) == 12.5


class OneRun:
    """A run whose record the server gives."""

    def __init__(self, *records, now=time.time):
        self._records = list(records)
        self.session = SimpleNamespace(client=SimpleNamespace(now=now))

    @property
    def record(self):
        return self._records.pop(0)


def test_a_run_that_was_seen_running_is_counted_from_then_until_its_record_shows_the_start():
    watch = Stopwatch(submitted_at=now() - 100)
    assert watch.bill(Decimal("3.6")) == Bill()
    assert not watch.due
    watch.start()
    assert watch.due
    seen = watch.bill(Decimal("3.6"))
    assert (round(seen.seconds), seen.cost_is) == (0, "estimated")
    watch.look(OneRun(record(CREATED, CREATED + timedelta(seconds=40))))
    assert not watch.due
    assert watch.bill(Decimal("3.6")).seconds == pytest.approx(60, abs=5)


def test_a_run_that_was_sent_from_elsewhere_is_counted_by_the_clock_of_its_server():
    run = OneRun(record(CREATED, CREATED), now=lambda: CREATED.timestamp() + 60)
    watch = Stopwatch()
    watch.look(run)
    assert watch.bill(Decimal("3.6")).seconds == pytest.approx(60, abs=1)


def test_output_that_comes_while_packages_are_installed_starts_no_meter():
    watch = Stopwatch(submitted_at=now() - 100)
    watch.start()
    watch.look(OneRun(record(CREATED, status="starting", execelet_start=CREATED)))
    assert watch.bill(Decimal("3.6")) == Bill()


def test_a_record_without_the_start_is_read_again_later_and_sets_the_most_meanwhile():
    watch = Stopwatch(submitted_at=now() - 100)
    watch.start()
    watch.look(OneRun(record(CREATED)))
    assert not watch.due  # not at once
    found = watch.bill(Decimal("3.6"))
    assert (found.cost_is, round(found.seconds / 10)) == ("at most", 10)
    watch._look_at = now()
    assert watch.due
