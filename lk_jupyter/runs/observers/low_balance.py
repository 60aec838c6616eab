"""Warns when the credits do not reach: for what is about to start, and at the rate at which all that runs uses them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.account.low_balance import LOW_SECONDS, TOP_UP, balance_watch
from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.machines.cost import credits_label, duration_label, price_of
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.observers.base import RunObserver

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.run import Run


#: Seconds that a run goes on before the balance is asked for: by then it counts itself.
_FIRST_LOOK = 1.0


class LowBalance(RunObserver):
    """Looks at the balance once a minute, in a thread, while its run goes on."""

    def __init__(self, session: Connection) -> None:
        self._watch = balance_watch(session)
        self._has_looked = False

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002
        """Have the balance looked at; it says nothing in the status line."""
        if seconds is not None and seconds > _FIRST_LOOK:
            price, left = price_of(run.machine), self._watch.left
            may_be_low = price and left is not None and left / price * 3600 < LOW_SECONDS
            self._watch.look(again=bool(may_be_low) and not self._has_looked)  # with this run among what is billed
            self._has_looked = True
        return []

    def remarks(self) -> list[Notice]:
        """Return the warning, when there is one."""
        return self._watch.warnings

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return the warning, from a balance that is read now where it may be low."""
        price, cost = price_of(run.machine), run.bill(record).cost or Decimal(0)
        left = self._watch.left
        if left is None or not price or (left - cost) / price * 3600 >= LOW_SECONDS:
            return []
        left = self._watch.read_after_end()
        if left is None or left / price * 3600 >= LOW_SECONDS:
            return []
        last = duration_label(max(0.0, float(left / price) * 3600))
        return [Notice(f"{credits_label(left)} left, {last} on {record.hardware_profile}. {TOP_UP}", WARNING)]
