"""Watch the limits of a run: its time limit, its maximum cost and the balance."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.account.low_balance import LOW_SECONDS, balance_watch, lasting_label
from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.assumptions import find_assumption
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError
from lk_jupyter.machines.catalogue import cost_at, hourly_price, machine_cost, machine_name, seconds_for
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.eta import RunEta, estimate_rest
from lk_jupyter.runs.history.forecast import forecast_run
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.outcome import classify_end
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.checkpoint import CHECKPOINT, LATE, checkpoint_notice, is_saved, resume_line
from lk_jupyter.text.scalars import ScalarParser
from lk_jupyter.text.units import credits_label, duration_label, limit_label, whole_seconds_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.run import Run


class Countdown(RunObserver):
    """Watch the time limit of a run, if known, and report its checkpoint."""

    def __init__(self, limit: int | None, bundle: Bundle | None = None, scalars: ScalarParser | None = None) -> None:
        self.time_limit = limit
        self._scalars = scalars or ScalarParser()
        self._bundle = bundle
        self._late: list[Notice] = []
        self._saved: Frame | None = None

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002
        """Warn late in the run; the status line has the limit."""
        limit = self.time_limit
        if seconds is not None and limit is not None and seconds >= LATE * limit:
            remaining = max(0.0, limit - seconds)
            self._late = self._build_late_notices(remaining, limit)
            self.notices = [*self._late, *([checkpoint_notice(self._saved.payload)] if self._saved else [])]
        return []

    def _build_late_notices(self, remaining: float, limit: int) -> list[Notice]:
        """Return the time until the limit, the time that the code needs, and the action that continues the work."""
        text = f"{whole_seconds_label(remaining)} of {whole_seconds_label(limit)} remain."
        if rest := self._scalars.rate.rest:
            step, total, needed = rest
            if needed <= remaining:
                return [Notice(f"{text} Step {step} of {total}: about {whole_seconds_label(needed)} more.", WARNING)]
            text += f" Step {step} of {total}: about {whole_seconds_label(needed)} more,"
            text += " so the limit ends the run before its last step."
        return [Notice(f"{text}{self._describe_continuation(limit)}", WARNING)]

    def _describe_continuation(self, limit: int) -> str:
        bundle = self._bundle
        if bundle is None or bundle.cost_binds or "lk_checkpoint" in bundle.source.code:
            return ""
        if bundle.payload.carries:
            return (
                " Shortly before the time limit, the run sends its variables to this notebook. Run the cell again "
                "to continue."
            )
        if (longest := int(setting("max_timeout"))) > limit:
            return f" For more time, run again with: --timeout {longest}"
        return " To save the state, define lk_checkpoint(folder). To run for hours: --on vm --timeout 3h"

    def saw(self, frame: Frame) -> None:
        """Show the checkpoint that the run saved."""
        if frame.kind == CHECKPOINT:
            self._saved = frame
            self.notices = [*self._late, checkpoint_notice(frame.payload)]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Report the checkpoint, and the line that resumes from the checkpoint if the run didn't finish.

        A run that ``lk_checkpoint`` ended with SystemExit succeeds, but hasn't finished its work.
        """
        return [*self._iterate_early_end_notices(run, record), *self._build_checkpoint_notices(run, record)]

    def _iterate_early_end_notices(self, run: Run, record: ExecutionRecord) -> Iterator[Notice]:
        """Report that the cloud ended a run before its long time limit, and assume the documented limit again."""
        limit, documented = self.time_limit or 0, int(find_assumption("longest_run").default)
        if classify_end(record) != "timeout" or limit <= documented or not (record.start_time and record.end_time):
            return
        seconds = (record.end_time - record.start_time).total_seconds()
        if seconds < _EARLY * limit:
            run.session.client.assumptions.store_finding("longest_run", str(documented))
            yield Notice(
                f"The cloud ended the run after {duration_label(seconds)}, before its time limit of "
                f"{limit_label(limit)}. From now on, a run with --timeout above {limit_label(setting('max_timeout'))} "
                "rents a VM.",
                WARNING,
            )

    def _build_checkpoint_notices(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        if self._saved is None:
            return []
        payload = self._saved.payload
        notice = checkpoint_notice(payload)
        is_finished = record.status.lower() in SUCCEEDED_STATES and payload.get("is_end") is not True
        if "problem" in payload or is_finished:
            return [notice]
        return [Notice(f"{notice.text} Resume from this checkpoint: {resume_line(self._bundle, run.short_id)}")]


class RemainingTime(RunObserver):
    """Show how long the steps of the code still take and cost, and warn if a limit comes before their end."""

    def __init__(self, session: Connection, scalars: ScalarParser, limit: int | None, max_cost: Decimal | None) -> None:
        self._watch, self._scalars = balance_watch(session), scalars
        self._limit, self._max_cost = limit, max_cost

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (the parser reads it)
        """Return the estimate of a rest that is longer than a minute."""
        price = hourly_price(run.machine)
        eta = estimate_rest(self._scalars.rate, price, seconds)
        self.notices = []
        if eta is None or seconds is None or eta.seconds < _SHORT_REST:
            return []
        if self._limit is not None and seconds < LATE * self._limit:  # later, the countdown warns
            self.notices = [
                *self._iterate_limit_notices(eta, seconds, self._limit),
                *self._iterate_balance_notices(eta, price),
            ]
        return eta.facts

    def _iterate_limit_notices(self, eta: RunEta, seconds: float, limit: int) -> Iterator[Notice]:
        remaining = limit - seconds
        if eta.seconds > remaining:
            needed = duration_label(1.1 * (seconds + eta.seconds))
            name = "time limit" if self._max_cost is None else "time limit or --max-cost"
            yield Notice(
                f"Step {eta.step} of {eta.total}: the remaining steps take about {duration_label(eta.seconds)}, "
                f"but the {name} ends the run in {duration_label(remaining)}. The code needs about {needed}.",
                WARNING,
            )

    def _iterate_balance_notices(self, eta: RunEta, price: Decimal | None) -> Iterator[Notice]:
        balance = self._watch.left
        if balance is not None and eta.cost is not None and price and balance < eta.cost:
            yield Notice(
                f"The run costs about {credits_label(eta.cost)} more, but the balance of {credits_label(balance)} "
                f"lasts only for about {lasting_label(balance, price)}. {self._watch.advice}",
                WARNING,
            )


#: The part of a time limit after which its end isn't early.
_EARLY = 0.9

#: Seconds of a rest that is not shown.
_SHORT_REST = 60.0

#: Seconds by which the stop comes before the time limit.
_AHEAD = 0.5

#: Seconds between two reads of the charged cost.
LOOK_SECONDS = 10.0


class MaxCost(RunObserver):
    """Abort the run just before its cost reaches the maximum.

    The time limit in the request ends the run at about the same moment, also without this kernel. ``grace`` are the
    seconds before that moment in which a run may return its variables.
    """

    def __init__(self, machine: MachineType, max_cost: Decimal, grace: float = 0.0) -> None:
        self._grace = grace
        self._rate = machine_cost(machine, 1) or Decimal(0)
        self._max_cost = max_cost
        self._stop_at = seconds_for(machine, max_cost) - _AHEAD - grace
        self._stopping = threading.Event()
        self._timer: threading.Timer | None = None
        self._looked_at = time.monotonic()
        self._has_checkpoint = False

    def saw(self, frame: Frame) -> None:
        """Record whether the run can be resumed."""
        self._has_checkpoint = self._has_checkpoint or is_saved(frame)

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (what it wrote costs nothing)
        """Stop the run when its time is up, and report the maximum cost."""
        if seconds is not None:
            self._stop_in(self._stop_at - seconds, run)
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._looked_at = time.monotonic()
                name = f"lk-cost-{run.short_id}"
                threading.Thread(target=self._check_billed_cost, args=(run,), name=name, daemon=True).start()
        return [f"at most {credits_label(self._max_cost)}"]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Report that the cost ended the run, and how to allow more."""
        if self._timer:
            self._timer.cancel()
        bill = run.bill(record)
        limit, more = f"{self._max_cost.normalize():f}", f"{(2 * self._max_cost).normalize():f}"
        if not run.stopped_by_cost(record):
            if bill.cost is None or bill.cost <= self._max_cost:
                return []
            why = "the cloud didn't enforce the time limit, and the abort from this notebook came too late"
            return [Notice(f"The run cost {bill.label}, more than --max-cost {limit}: {why}.", WARNING)]
        if bill.cost is not None and bill.cost > self._max_cost:
            why = "the machine stopped later than expected"
        else:
            why = "the remaining credits were reserved, because the seconds until the machine stops are also billed"
        longer = "" if self._has_checkpoint else f" Run longer: --max-cost {more}"
        return [Notice(f"Stopped at {bill.label} of --max-cost {limit}: {why}.{longer}", WARNING)]

    def _stop_in(self, remaining: float, run: Run) -> None:
        spent = self._rate * Decimal(str(self._stop_at))
        if remaining <= 0:
            self._stop_run(run, spent)
        elif remaining < 2 and self._timer is None:
            self._timer = threading.Timer(remaining, self._stop_run, [run, spent])
            self._timer.daemon = True
            self._timer.start()

    def _check_billed_cost(self, run: Run) -> None:
        """Stop the run when the server has charged more than the meter here shows."""
        with suppress(LkError):
            record = run.record
            if record.billed is None or is_final(record.status) or not self._rate:
                return
            remaining = float((self._max_cost - record.billed) / self._rate) - _AHEAD - 1
            if remaining < LOOK_SECONDS and not self._stopping.is_set():
                self._stop_run(run, record.billed + self._rate * Decimal(str(max(remaining, 0.0))), max(remaining, 0.0))

    def _stop_run(self, run: Run, spent: Decimal, grace: float | None = None) -> None:
        """Abort the run, once, in the background: each second costs, and the server may be away."""
        if not self._stopping.is_set():
            self._stopping.set()
            run.stopped_because = (
                f"it had cost about {credits_label(spent)} of --max-cost {self._max_cost.normalize():f}, "
                "and the seconds until the machine stops are billed too"
            )
            run.abort_soon(self._grace if grace is None else grace)


#: A bill may differ by this factor from price times seconds, and by the price of this many seconds of rounding.
_BILL_FACTOR, _BILL_ROUNDING = 2, 60


class BillCheck(RunObserver):
    """Compare the bill of a run with the published price of its machine."""

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Report a bill that the price doesn't explain: the price can be old, or in another unit."""
        bill, price = run.bill(record), hourly_price(run.machine)
        if bill.cost_is != "billed" or bill.cost is None or bill.seconds is None or not price:
            return []
        seconds = max(bill.seconds, _compute_seconds_until_end(record))
        least = cost_at(price, bill.seconds) or Decimal(0)
        most = cost_at(price, seconds + _BILL_ROUNDING) or Decimal(0)
        if least / _BILL_FACTOR <= bill.cost + _SMALL and bill.cost <= most * _BILL_FACTOR + _SMALL:
            return []
        expected = f"{credits_label(least)}: {duration_label(bill.seconds)} at {price:f} credits/h"
        text = f"The bill is {bill.label}. At the published price, the run would cost {expected}."
        return [Notice(f"{text} Compare: %lk_pricing, %lk_billing", WARNING)]


#: Credits below which a difference is rounding.
_SMALL = Decimal("0.01")


def _compute_seconds_until_end(record: ExecutionRecord) -> float:
    """Return the seconds from the creation of a run to its end, including the wait for a machine; 0 if unknown."""
    end = record.end_time or record.job_end or record.finish_time
    return (end - record.created_at).total_seconds() if end and record.created_at else 0.0


#: Seconds after which the balance is read: by then the server counts the run.
_FIRST_LOOK = 1.0


class LowBalance(RunObserver):
    """Read the balance once a minute, in a thread, while the run is active."""

    def __init__(self, session: Connection) -> None:
        self._watch = balance_watch(session)
        self._has_looked = False
        self.notices = self._watch.warnings

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002
        """Update the balance in a thread; the status line shows nothing."""
        self.notices = self._watch.warnings
        if seconds is not None and seconds > _FIRST_LOOK:
            price, balance = hourly_price(run.machine), self._watch.left
            may_be_low = price and balance is not None and balance / price * 3600 < LOW_SECONDS
            self._watch.look(again=bool(may_be_low) and not self._has_looked)  # the bills now include this run
            self._has_looked = True
        return []

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return the warning, from the current balance if the balance may be low."""
        balance = self._watch.left
        price = balance is not None and hourly_price(run.machine)
        if balance is None or not price or (balance - (run.bill(record).cost or 0)) / price * 3600 >= LOW_SECONDS:
            return []
        balance = self._watch.read_after_end()
        if balance is None or balance / price * 3600 >= LOW_SECONDS:
            return []
        last = lasting_label(balance, price)
        where = f" on {machine_name(record.hardware_profile)}" if record.hardware_profile else ""
        return [Notice(f"{credits_label(balance)} left, enough for {last}{where}. {self._watch.advice}", WARNING)]


class ForecastLabel(RunObserver):
    """Show how long earlier runs of the same code took, once the run has been active for a second.

    A thread reads the earlier runs: a short run doesn't wait, and neither does the log of a long run.
    """

    def __init__(self, bundle: Bundle, base_url: str) -> None:
        self._bundle, self._base_url = bundle, base_url
        self._thread: threading.Thread | None = None
        self._labels: list[str] = []

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (as all observers)
        """Return the forecast, once it is read."""
        if self._thread is None and seconds is not None and seconds >= 1:
            self._thread = threading.Thread(target=self._read_label, name="lk-forecast", daemon=True)
            self._thread.start()
        return self._labels

    def _read_label(self) -> None:
        if forecast := forecast_run(self._bundle, self._base_url):
            self._labels = [forecast.label]
