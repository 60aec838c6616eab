"""Calculate duration and cost of a run from the server's time stamps, whatever the clock of this machine shows.

The browser calculates the same figures from the same record, in ``labextension/src/bill.ts``; both test suites read
a common table of examples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.errors import ConnectionFailed, LkError, ServerError
from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.text.units import credits_label

if TYPE_CHECKING:
    from lk_jupyter.api.billing import ExecutionSummary
    from lk_jupyter.connection.connection import Connection

#: The monotonic clock that continues while the machine sleeps, where the platform has such a clock.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))

#: Seconds between two looks at a record that does not have the start yet; the last holds from then on.
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)

CostIs = Literal["billed", "estimated", "at most"]

#: Certainty of an amount → prefix of the label, from the most certain to the least.
_MARKS: dict[CostIs, str] = {"billed": "", "estimated": "≈ ", "at most": "at most "}


def now() -> float:
    """Return this moment in seconds: costs continue to rise while the laptop that started the run sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def this_second() -> float:
    """Return the last full second of the wall clock, as a moment of ``now``.

    All displays of a cost count at these moments, here and in the browser, so that they show the same figure.
    """
    return now() - time.time() % 1


def next_second(period: int = 1) -> float:
    """Return the time to the next full second of the wall clock that ``period`` divides, in seconds."""
    return period - time.time() % period


@dataclass(frozen=True)
class Bill:
    """Store time and cost of a run.

    ``seconds`` of its code, ``cost`` in credits; None before the run starts, or if unknown. ``cost_is`` is ``billed``
    for the server's figure, ``estimated`` for price times time, and ``at most`` if the server doesn't report exact
    times. ``quote`` is the maximum cost that was shown before the start, in credits; None if unknown.

    Example:
        >>> run = session.run("print(1)")
        >>> _ = run.result()
        >>> run.bill().cost_is, run.bill().label
        ('billed', '... credits')
        >>> run.bill().excess_label  # the bill isn't above the quote
        ''
    """

    seconds: float | None = None
    cost: Decimal | None = None
    cost_is: CostIs | None = None
    quote: Decimal | None = None

    @property
    def excess_label(self) -> str:
        """The quote in words if the server has billed more than the quote; empty for any other bill."""
        if self.cost_is != "billed" or self.cost is None or self.quote is None or self.cost <= self.quote:
            return ""
        return f"above the quote of at most {credits_label(self.quote)}"

    @property
    def label(self) -> str:
        """The cost in words, with its mark; empty without a cost."""
        return "" if self.cost is None else f"{_MARKS[self.cost_is or 'estimated']}{credits_label(self.cost)}"

    @classmethod
    def total(cls, bills: Iterable[Bill]) -> Bill:
        """Return the sum of the known costs, as certain as the least certain cost."""
        priced = [bill for bill in bills if bill.cost is not None]
        kinds: list[CostIs] = [bill.cost_is or "estimated" for bill in priced]
        least: CostIs = max(kinds, key=list(_MARKS).index, default="billed")
        return cls(None, sum((bill.cost or Decimal(0) for bill in priced), Decimal(0)), least)


def calculate_bill(
    record: ExecutionRecord | ExecutionSummary,
    price_per_hour: Decimal | None,
    *,
    at: float | None = None,
    submitted_at: float | None = None,
    quote: Decimal | None = None,
) -> Bill:
    """Return time and cost of a run.

    Args:
        record: The server's record of the run.
        price_per_hour: Price of the machine in credits; None if unknown.
        at: This moment in Unix seconds by the server's clock. Default: now, by the clock of this machine.
        submitted_at: The moment, on the clock of ``at``, at which the run was submitted. With this moment, only the
            time between two stamps of the server counts, so its clock may differ from the local clock.
        quote: The maximum cost that was shown before the start, in credits, if known.
    """
    ended = is_final(record.status)
    start, end = record.start_time or record.job_start, record.end_time or record.job_end
    exact = measure_duration(record)
    if ended and record.billed is not None:
        return Bill(exact, record.billed, "billed", quote)
    if not ended and start is None and record.status.lower() != "running":
        return Bill()  # waiting and installing aren't billed
    first = start or record.execelet_start or record.created_at
    stop = end or record.finish_time
    last = (stop.timestamp() if stop else None) if ended else _compute_server_time(record.created_at, at, submitted_at)
    if first is None or last is None:
        return Bill()
    seconds = max(0.0, last - first.timestamp())
    cost = cost_at(price_per_hour, seconds)
    if record.billed is not None:
        cost = max(record.billed, cost or Decimal(0))
    is_exact = start is not None and (end is not None or not ended)
    kind: CostIs = "estimated" if is_exact else "at most"
    return Bill(seconds if is_exact or not ended else None, cost, None if cost is None else kind)


def _compute_server_time(created: datetime | None, at: float | None, submitted_at: float | None) -> float:
    """Return this moment on the server's clock, as far as its offset is known."""
    at = time.time() if at is None else at
    return at if submitted_at is None or created is None else created.timestamp() + (at - submitted_at)


def measure_duration(record: ExecutionRecord | ExecutionSummary) -> float | None:
    """Return how long the code ran, in seconds; None if the record lacks a start or an end."""
    start, end = record.start_time or record.job_start, record.end_time or record.job_end
    return (end - start).total_seconds() if start and end else None


def measure_wait(record: ExecutionRecord | ExecutionSummary) -> float | None:
    """Return the seconds from the request to the first line of code; None before that."""
    start = record.start_time or record.job_start
    created = record.created_at or record.execelet_start or start
    return max(0.0, (start - created).total_seconds()) if start and created else None


def measure_queue(record: ExecutionRecord | ExecutionSummary) -> float | None:
    """Return the seconds from the request until a machine accepted the run; None if the record lacks a moment."""
    created, accepted = record.created_at, record.execelet_start
    return max(0.0, (accepted - created).total_seconds()) if created and accepted else None


def measure_launch(record: ExecutionRecord | ExecutionSummary) -> float | None:
    """Return the seconds from a machine's acceptance to the first line: image, packages and start; None if unknown."""
    accepted, start = record.execelet_start, record.start_time or record.job_start
    return max(0.0, (start - accepted).total_seconds()) if accepted and start else None


class Recorded(Protocol):
    """A run whose record can be read."""

    @property
    def record(self) -> ExecutionRecord:
        """The record as of now."""

    @property
    def session(self) -> Connection:
        """The session that started or found the run."""


class Stopwatch:
    """Estimate the cost of an active run: from its record, and without a record since the run was first seen active.

    ``submitted_at`` is the moment, on the clock of ``now``, at which this process submitted the run, if it did.
    """

    def __init__(self, submitted_at: float | None = None) -> None:
        self.submitted_at = submitted_at
        self._since: float | None = None
        self._record: ExecutionRecord | None = None
        self._looks = 0
        self._server_now: Callable[[], float] = time.time
        self._look_at = 0.0

    def start(self) -> None:
        """Count from now, until the record shows the start."""
        if self._since is None:
            self._since = now()

    @property
    def due(self) -> bool:
        """Whether the record must be read: the run seems active, and its start time is unknown."""
        has_start = self._record is not None and bool(self._record.start_time or self._record.job_start)
        return self._since is not None and not has_start and now() >= self._look_at

    def look(self, run: Recorded) -> bool:
        """Read the record, and return whether the server answered.

        If the record lacks the start, the record is read again some seconds later.
        """
        self._look_at = now() + _PAUSES[min(self._looks, len(_PAUSES) - 1)]
        self._looks += 1
        self._server_now = run.session.client.now
        try:
            record = run.record
        except (ConnectionFailed, ServerError):
            return False
        except LkError:
            return True
        self._record = self._record if is_final(record.status) else record
        self.start()
        return True

    def bill(self, price_per_hour: Decimal | None) -> Bill:
        """Return the time and the cost of the run so far, at the last full second."""
        at = this_second()
        if self._record is not None:
            wall = float(int(self._server_now())) if self.submitted_at is None else at
            return calculate_bill(self._record, price_per_hour, at=wall, submitted_at=self.submitted_at)
        if self._since is None:
            return Bill()
        seconds = max(0.0, at - self._since)
        cost = cost_at(price_per_hour, seconds)
        return Bill(seconds, cost, None if cost is None else "estimated")
