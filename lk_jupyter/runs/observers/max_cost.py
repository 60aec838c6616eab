"""Stops a run before it costs more than it may: by the meter here, and by what the server has charged so far."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import LkError
from lk_jupyter.machines.cost import cost_of, credits_label, seconds_for
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.observers.base import RunObserver

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

#: Seconds before its last one at which a run is stopped, so that the stop comes before the time limit.
_AHEAD = 0.5

#: Seconds between two looks at what the server has charged.
LOOK_SECONDS = 10.0


class MaxCost(RunObserver):
    """Aborts its run just before the cost is reached.

    The time limit that was sent ends it at about the same moment, also when this kernel is gone.
    """

    def __init__(self, machine: MachineType, max_cost: Decimal) -> None:
        self._rate = cost_of(machine, 1) or Decimal(0)
        self._max_cost = max_cost
        self._stop_at = seconds_for(machine, max_cost) - _AHEAD
        self._stopping = threading.Event()
        self._timer: threading.Timer | None = None
        self._looked_at = time.monotonic()

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (what it wrote costs nothing)
        """Stop the run when its time has come; tell the limit."""
        if seconds is not None:
            self._stop_in(self._stop_at - seconds, run)
            self._look_at_the_charge(run)
        return [f"of {credits_label(self._max_cost)} at most"]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Tell that it was the cost that ended the run, and what lets it go on longer."""
        if self._timer:
            self._timer.cancel()
        if not run.stopped_by_cost(record):
            return []
        bill = run.bill(record)
        limit, more = f"{self._max_cost.normalize():f}", f"{(2 * self._max_cost).normalize():f}"
        if bill.cost is not None and bill.cost > self._max_cost:
            why = "its machine took longer to stop than expected"
        else:
            why = "the rest was reserved for the seconds until its machine stops, which are billed too"
        return [Notice(f"Stopped at {bill.label} of --max-cost {limit}: {why}. Run longer: --max-cost {more}", WARNING)]

    def _stop_in(self, left: float, run: Run) -> None:
        spent = self._rate * Decimal(str(self._stop_at))
        if left <= 0:
            self._stop(run, spent)
        elif left < 2 and self._timer is None:
            self._timer = threading.Timer(left, self._stop, [run, spent])
            self._timer.daemon = True
            self._timer.start()

    def _look_at_the_charge(self, run: Run) -> None:
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            name = f"lk-cost-{run.short_id}"
            threading.Thread(target=self._compare, args=(run,), name=name, daemon=True).start()

    def _compare(self, run: Run) -> None:
        """Stop the run when the server has charged more than the meter here shows."""
        with suppress(LkError):
            record = run.record
            if record.billed is None or is_final(record.status) or not self._rate:
                return
            left = float((self._max_cost - record.billed) / self._rate) - _AHEAD - 1
            if left < LOOK_SECONDS and not self._stopping.wait(max(left, 0.0)):
                self._stop(run, record.billed + self._rate * Decimal(str(max(left, 0.0))))

    def _stop(self, run: Run, spent: Decimal) -> None:
        """Abort the run, once, in the background: each second costs, and the server may be away."""
        if not self._stopping.is_set():
            self._stopping.set()
            run.stopped_because = (
                f"it had cost about {credits_label(spent)} of --max-cost {self._max_cost.normalize():f}, "
                "and the seconds until its machine stops are billed too"
            )
            run.abort_soon()
