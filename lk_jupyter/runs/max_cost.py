"""Stops a run before it costs more than it may: by the meter here, and by what the server has charged so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import LkError
from lk_jupyter.runs.companion import WARNING, Companion, Remark
from lk_jupyter.runs.cost import cost_of, credits_label, seconds_for

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

#: Seconds before its last one at which a run is stopped, so that the stop comes before the time limit.
_AHEAD = 0.5

#: Seconds between two looks at what the server has charged.
LOOK_SECONDS = 10.0


class MaxCost(Companion):
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

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:
        """Tell that it was the cost that ended the run, and what lets it go on longer."""
        if self._timer:
            self._timer.cancel()
        if not run.stopped_by_cost(record):
            return []
        return [
            Remark(f"Its maximum cost was reached. More: --max-cost {(2 * self._max_cost).normalize():f}", WARNING),
        ]

    def _stop_in(self, left: float, run: Run) -> None:
        if left <= 0:
            self._stop(run)
        elif left < 2 and self._timer is None:
            self._timer = threading.Timer(left, self._stop, [run])
            self._timer.daemon = True
            self._timer.start()

    def _look_at_the_charge(self, run: Run) -> None:
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            _in_background(self._compare, run)

    def _compare(self, run: Run) -> None:
        """Stop the run when the server has charged more than the meter here shows."""
        with suppress(LkError):
            record = run.record
            if record.billed is None or is_final(record.status) or not self._rate:
                return
            left = float((self._max_cost - record.billed) / self._rate) - _AHEAD - 1
            if left < LOOK_SECONDS and not self._stopping.wait(max(left, 0.0)):
                self._stop(run)

    def _stop(self, run: Run) -> None:
        """Abort the run, once, in the background: each second costs, and the server may be away."""
        if not self._stopping.is_set():
            self._stopping.set()
            run.stopped_because = f"its maximum cost of {credits_label(self._max_cost)} was reached"
            run.abort_soon()


def _in_background(work: Callable[[Run], None], run: Run) -> None:
    threading.Thread(target=work, args=(run,), name=f"lk-cost-{run.short_id}", daemon=True).start()
