"""Read a run of the check again: history, list, metrics, timing, bill and balance, compared with its record.

A server may publish a bill some seconds after the end of a run. So the check reads until the bill appears, and reports
unit, rounding and delay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from itertools import product
from typing import Any

from pydantic import ValidationError

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import PLACEHOLDER, endpoint_of
from lk_jupyter.api._models import Listing
from lk_jupyter.api.billing import Billing
from lk_jupyter.api.execution import Execution, ExecutionMetrics, ExecutionRecord, MetricPoint, Timing
from lk_jupyter.api.workloads import Workloads
from lk_jupyter.check.findings import Report
from lk_jupyter.check.reading import read_answer
from lk_jupyter.check.run_rules import is_same_id
from lk_jupyter.connection.credits import available_credits
from lk_jupyter.errors import LkError
from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.runs.clock import measure_duration
from lk_jupyter.text.units import count_label

#: Seconds to wait for a bill, a row of the history and a new balance, and seconds between two reads.
BILL_PATIENCE, _PACE = 20.0, 0.5

#: Seconds, or fraction of a duration, by which two durations of a run may differ.
_SECOND, _PART = 1.5, 0.25

RECORD, HISTORY = "GET /execution/{execution_id}", "GET /billing/history"
WORKLOADS, BALANCE = "GET /workloads/list", "GET /billing/credits"
_BILL_RESPONSE = "Shows the bill, and reports the difference."
METRICS, TIMING = "GET /execution/{execution_id}/metrics", "GET /execution/{execution_id}/timing"


def read_again(report: Report, method: Callable[..., Any], execution_id: str = "") -> Any:
    """Read an operation about a run, and return the answer; record an unreadable answer and return None."""
    endpoint = endpoint_of(method)
    if str(endpoint) in report.values.get("absent_operations", "").split(","):
        return None  # the answer already has a row
    path = endpoint.server + PLACEHOLDER.sub(execution_id, endpoint.path)
    try:
        return read_answer(report, endpoint, report.probe("GET", path))
    except LkError as error:
        words = str(error).partition("\n")[0]
        report.add_difference(str(endpoint), "an answer", words, "The server didn't answer", "Tries again.")
    return None


@dataclass
class EndedRun:
    """An ended run of the check, to compare with all answers about the run.

    ``price`` is in credits per hour. ``balance`` is in credits before the run, None if unknown.
    """

    client: Client
    report: Report
    execution_id: str
    price: Decimal
    balance: Decimal | None

    def compare(self) -> None:
        """Read all answers about the run and record differences."""
        watch = _BillWatch(self)
        watch.wait()
        record = read_again(self.report, Execution.get, self.execution_id)
        if not isinstance(record, ExecutionRecord):
            return
        self._compare_history(record)
        self._compare_list()
        self._compare_metrics(record)
        self._compare_timing(record)
        watch.report(record)

    def compare_bills(self, longer_id: str) -> None:
        """Compare the bills of this run and of a longer run: only two durations show the unit of a bill."""
        records = []
        for execution_id in (self.execution_id, longer_id):
            watch = _BillWatch(EndedRun(self.client, self.report, execution_id, self.price, None))
            watch.wait()
            record = read_again(self.report, Execution.get, execution_id)
            if not isinstance(record, ExecutionRecord) or record.billed is None:
                return
            records.append(record)
        words, fits = explain_bills(records, self.price)
        if fits:
            self.report.add_measurement(RECORD, "one price for two runs", words, "Unit and rounding of two bills")
        else:
            meaning = "The bills of a short and a longer run have another unit, rounding or price"
            self.report.add_difference(RECORD, "one price for two runs", words, meaning, _BILL_RESPONSE)

    def _find_row(self, method: Callable[..., Any], operation: str) -> Any:
        """Return the row of the run; None without a row. Record an id in another form."""
        rows = self._read_rows(method)
        row = next((row for row in rows if row.execution_id == self.execution_id), None)
        if row is None and (
            row := next((row for row in rows if is_same_id(row.execution_id, self.execution_id)), None)
        ):
            self.report.add_difference(
                operation,
                "the id of the run",
                "the id in another form",
                "A list writes the id of a run in another form",
                "Compares ids without their form.",
            )
        return row

    def _compare_history(self, record: ExecutionRecord) -> None:
        row = self._find_row(Billing.history, HISTORY)
        if row is None:
            meaning = "A run that has ended isn't in the history"
            self.report.add_difference(HISTORY, "the run", "no such run", meaning, "Reads the record.")
            return
        for name in ("status", "billed", "hardware_profile"):
            in_row, in_record = getattr(row, name, None), getattr(record, name, None)
            if in_row and in_record and in_row != in_record:
                words = f"the field '{name}' is {in_row} in the history, but {in_record} in the record"
                self.report.add_difference(
                    HISTORY, "the same in both", words, "The history differs", "Uses the record."
                )

    def _compare_list(self) -> None:
        row = self._find_row(Workloads.list, WORKLOADS)
        if row is not None:
            meaning = "A run that has ended is listed as active"
            self.report.add_difference(
                WORKLOADS, "only active runs", f"a run that is {row.status}", meaning, "Uses the record."
            )

    def check_listed(self) -> None:
        """Record whether the list of active runs contains the active run."""
        if self._find_row(Workloads.list, WORKLOADS) is not None:
            return
        meaning = "A run that is active isn't listed"
        self.report.add_difference(
            WORKLOADS,
            "the active run",
            "no such run",
            meaning,
            "If the answer to the request that starts a run is lost, the run can't be found.",
        )

    def _compare_metrics(self, record: ExecutionRecord) -> None:
        metrics = read_again(self.report, Execution.metrics, self.execution_id)
        if not isinstance(metrics, ExecutionMetrics):
            return
        series = {name: points for name, points in metrics if isinstance(points, list) and points}
        if not series:
            self.report.add_missing(METRICS, "samples within the run", "The answer has no metrics of the run")
        if metrics.executionId and metrics.executionId != self.execution_id:
            meaning = "The metrics belong to another run"
            self.report.add_difference(METRICS, "the run", "another run", meaning, "Shows them.")
        for name, points in series.items():
            if name.endswith("Percent") and any((point.value or 0) > 101 for point in points):
                self.report.add_difference(
                    METRICS, f"'{name}' up to 100", "more", "The metrics have another unit than expected", "Shows them."
                )
        first, last = record.start_time or record.created_at, record.end_time or record.finish_time
        outside = _compute_greatest_distance([point for points in series.values() for point in points], first, last)
        if outside > 60:
            words = f"{count_label(round(outside), 'second')} away"
            self.report.add_difference(
                METRICS, "times within the run", words, "The times of the metrics are outside the run", "Shows them."
            )

    def _compare_timing(self, record: ExecutionRecord) -> None:
        answer = read_again(self.report, Execution.timing, self.execution_id)
        timing = getattr(answer, "timing", None)
        if not isinstance(timing, Timing):
            if answer is not None:
                self.report.add_missing(TIMING, "the duration of the run", "The answer has no timing")
            return
        code, entire = measure_duration(record), _compute_seconds(record.created_at, _read_end_time(record))
        pairs = {"executingJob": (timing.executingJob, code), "total": (timing.total or timing.total_duration, entire)}
        for name, (reported, by_record) in pairs.items():
            if reported is None or by_record is None:
                continue
            if not _is_near(reported, by_record) and not (code is not None and _is_near(reported, code)):
                words = f"{reported:g}, but the record states {by_record:.1f} seconds"
                self.report.add_difference(
                    TIMING, f"'{name}' in seconds", words, "Timing and record differ", "Uses the record."
                )

    def _read_rows(self, method: Callable[..., Any]) -> list[Any]:
        rows = read_again(self.report, method)
        return list(rows) if isinstance(rows, Listing) or hasattr(rows, "root") else []


class _BillWatch:
    """Wait for the bill of a run in record and balance, and measure the delay in seconds."""

    def __init__(self, run: EndedRun) -> None:
        self._run = run
        self._ended_at = time.monotonic()
        self._in_record: float | None = None
        self._in_balance: float | None = None
        self._spent: Decimal | None = None

    def wait(self) -> None:
        """Read record and balance until both contain the bill, or until the time limit."""
        while not (self._poll_bill() and self._poll_balance()) and time.monotonic() - self._ended_at < BILL_PATIENCE:
            time.sleep(_PACE)

    def _poll_bill(self) -> bool:
        if self._in_record is None:
            with suppress(LkError, ValidationError):
                if self._run.client.execution.get(self._run.execution_id).billed:
                    self._in_record = time.monotonic() - self._ended_at
        return self._in_record is not None

    def _poll_balance(self) -> bool:
        before = self._run.balance
        if before is None:
            return True
        if self._in_balance is None:
            with suppress(LkError, ValidationError):
                balance, _ = available_credits(self._run.client)
                if balance < before:
                    self._spent, self._in_balance = before - balance, time.monotonic() - self._ended_at
        return self._in_balance is not None

    def report(self, record: ExecutionRecord) -> None:
        """Record unit, rounding and delay of the bill, and whether the balance has fallen by the bill."""
        report = self._run.report
        if record.billed is None or self._in_record is None:
            words = f"no bill within {BILL_PATIENCE:.0f} seconds"
            report.add_difference(
                RECORD,
                "a bill",
                words,
                "The cost of a run appears later than expected",
                "Estimates the cost from the price.",
            )
            return
        form, fits = explain_bills([record], self._run.price)
        if fits:
            report.add_measurement(RECORD, "price by seconds", form, "Unit and rounding of the bill")
        else:
            meaning = "The bill has another unit, rounding or price"
            report.add_difference(RECORD, "price by seconds", form, meaning, _BILL_RESPONSE)
        report.add_measurement(RECORD, "a bill", f"{self._in_record:.1f} seconds after the end", "Delay of the bill")
        self._report_balance(record.billed)

    def _report_balance(self, billed: Decimal) -> None:
        report = self._run.report
        if self._run.balance is None:
            report.add_missing(BALANCE, "the bill of the run", "The balance wasn't read before the run")
        elif self._spent is None:
            words = f"the same balance for {BILL_PATIENCE:.0f} seconds"
            report.add_difference(
                BALANCE, "the bill of the run", words, "The balance falls later", "Shows the balance."
            )
        elif abs(self._spent - billed) > _compute_last_place(billed):
            words = f"the balance fell by {self._spent:f} credits, but the bill is {billed:f}"
            report.add_difference(BALANCE, "the bill of the run", words, "Bill and balance differ", "Shows both.")
        else:
            words = f"{self._in_balance:.1f} seconds after the end"
            report.add_measurement(BALANCE, "the bill of the run", words, "Delay of the balance")


# Bills

#: Unit of a bill → number of units in one credit.
_UNITS = {"credits": 1, "cents": 100, "thousandths of a credit": 1000}

#: Seconds to which a bill may be rounded up; 0 for no rounding.
_ROUNDINGS = (0, 1, 10, 60, 300, 3600)


def explain_bills(records: Sequence[ExecutionRecord], price: Decimal) -> tuple[str, bool]:
    """Return the unit, time and rounding that explain the bills of runs, in words, and whether they are as expected.

    Expected are bills in credits for the seconds from start to end.
    """
    spans = [dict(_iterate_spans(record)) for record in records]
    bills = [record.billed or Decimal(0) for record in records]
    shared = [name for name in spans[0] if all(name in each for each in spans)]
    for unit, rounding, name in product(_UNITS, _ROUNDINGS, shared):
        counted = [_round_up(each[name], rounding) for each in spans]
        costs = [_UNITS[unit] * (cost_at(price, seconds) or Decimal(0)) for seconds in counted]
        if all(_is_bill(bill, cost) for bill, cost in zip(bills, costs, strict=True)):
            rounded = f"rounded up to {rounding} seconds" if rounding else "not rounded up"
            decimals = max(_count_decimals(bill) for bill in bills)
            words = f"{_describe_bills(bills, counted, unit)} ({name}, {rounded}), {decimals} decimals"
            return words, unit == "credits" and rounding <= 1 and name == shared[0]
    seconds = [each[shared[0]] if shared else 0.0 for each in spans]
    name = shared[0] if shared else "no duration"
    return f"{_describe_bills(bills, seconds, '')} ({name}) at {price:f} credits per hour", False


def _is_bill(bill: Decimal, cost: Decimal) -> bool:
    return bool(cost) and abs(cost - bill) <= max(_compute_last_place(bill) / 2, cost / 50)


def _describe_bills(bills: Sequence[Decimal], seconds: Sequence[float], unit: str) -> str:
    pairs = zip(bills, seconds, strict=True)
    return " and ".join(f"{bill:f}{' ' * bool(unit)}{unit} for {time:.1f} seconds" for bill, time in pairs)


def _iterate_spans(record: ExecutionRecord) -> Iterator[tuple[str, float]]:
    """Yield the times of a run that a server may bill, with their names."""
    end = _read_end_time(record)
    starts = {
        "from start to end": record.start_time or record.job_start,
        "from machine to end": record.execelet_start,
        "from request to end": record.created_at,
    }
    for name, start in starts.items():
        seconds = _compute_seconds(start, end)
        if seconds is not None and seconds >= 0:
            yield name, seconds


def _read_end_time(record: ExecutionRecord) -> datetime | None:
    return record.end_time or record.job_end or record.finish_time


def _compute_seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def _round_up(seconds: float, step: int) -> float:
    if not step:
        return seconds
    return float((Decimal(str(seconds)) / step).to_integral_value(ROUND_CEILING) * step)


def _count_decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _compute_last_place(amount: Decimal) -> Decimal:
    """Return the last decimal place of an amount, where the server may have rounded."""
    return Decimal(1).scaleb(-_count_decimals(amount))


def _is_near(first: float, second: float) -> bool:
    return abs(first - second) <= max(_SECOND, _PART * max(first, second))


def _compute_greatest_distance(points: list[MetricPoint], first: datetime | None, last: datetime | None) -> float:
    """Return the greatest distance in seconds of a sample from the time between start and end of a run."""
    times = [point.timestamp for point in points]
    before = max(((first - moment).total_seconds() for moment in times), default=0.0) if first else 0.0
    after = max(((moment - last).total_seconds() for moment in times), default=0.0) if last else 0.0
    return max(before, after)
