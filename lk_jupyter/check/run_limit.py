"""A run with a long time limit, aborted immediately: whether the account allows the limit. Needs consent.

The code of the run ends after some seconds, so that a run is short even if its abort gets lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lk_jupyter.account.active import hardware_label
from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.check.findings import Report
from lk_jupyter.check.spending import Probe, SpendingPlan, find_cheapest_machine
from lk_jupyter.connection.budget import CostRequest, refuse_over_budget
from lk_jupyter.connection.credits import available_credits
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.runs.submit.start import longest_named
from lk_jupyter.session import Session
from lk_jupyter.text.units import credits_label, limit_label

#: Seconds after which the code of the run ends.
_CODE_SECONDS = 20

#: Fields of an answer that may have the time limit of a run.
_LIMIT_FIELDS = ("timeout", "timeout_seconds", "time_limit")


@dataclass(frozen=True)
class LimitPlan:
    """The run of a check: its time limit in seconds, machine and highest cost."""

    seconds: int
    spends: SpendingPlan

    @property
    def question(self) -> str:
        """The question before the run."""
        limit, machine = limit_label(self.seconds), hardware_label(self.spends.machine.hardware_profile)
        return (
            f"Start a run with a time limit of {limit} on {machine}, and abort it immediately? The code ends after "
            f"{_CODE_SECONDS} s. If the cloud ignores the limit and the abort, the run costs at most "
            f"{credits_label(self.spends.worst)}."
        )


def plan(session: Session, seconds: int) -> LimitPlan:
    """Return the plan of a run. Raises UsageError if its cost is unknown, or exceeds a budget."""
    machine = find_cheapest_machine(session, "--run-limit")
    worst = cost_at_limit(machine.price_per_hour, seconds) or Decimal(0)
    refuse_over_budget(session, CostRequest("this check", worst, saves=""))
    return LimitPlan(seconds, SpendingPlan(machine, None, worst))


def check_run_limit(session: Session, report: Report, limit: LimitPlan) -> None:
    """Start and abort the run, and record the longest time limit of the account."""
    before, _ = available_credits(session.client)
    _LimitProbe(session, report, limit.spends, before, limit.seconds).run_and_clean_up()


class _LimitProbe(Probe):
    """The run of a check of the time limit."""

    def __init__(self, session: Session, report: Report, spends: SpendingPlan, balance: Decimal, seconds: int) -> None:
        super().__init__(session, report, spends, balance)
        self._seconds = seconds

    def run_steps(self) -> None:
        started = self._start_run(f"import time\ntime.sleep({_CODE_SECONDS})\n", self._seconds)
        if started is None:
            return
        answer = self._report.exchanges[-1].body
        record = self._abort_run(started)
        limits = [seconds for source in (answer, record) if (seconds := _read_limit(source)) is not None]
        limit = limit_label(self._seconds)
        if not limits:
            self._add_note(
                f"The cloud accepted a time limit of {limit}. The cloud doesn't report the limit of the run. Only a "
                "long run shows whether the cloud ends runs earlier."
            )
        elif min(limits) < self._seconds:
            self._add_note(f"The cloud accepted and shortened the time limit of {limit} to {limit_label(min(limits))}.")
        else:
            self._add_note(f"The cloud accepted a time limit of {limit}.")
        # An earlier check may have shown a longer limit.
        stored = int(self._client.assumptions["longest_run"])
        self._set_limit(min(limits, default=max(self._seconds, stored)))

    def _add_refusal(self, answer: RawAnswer) -> None:
        longest = longest_named(answer.content.decode(errors="replace"))
        if longest and longest < self._seconds:
            self._set_limit(longest)
            self._add_note(
                f"The cloud refused a time limit of {limit_label(self._seconds)}. It allows at most "
                f"{limit_label(longest)}. To run code for longer, rent a VM: --on vm"
            )
        else:
            super()._add_refusal(answer)

    def _add_note(self, text: str) -> None:
        self._report.notes.append(text)

    def _set_limit(self, seconds: int) -> None:
        self._report.set_assumption("longest_run", str(seconds))


def _read_limit(answer: Any) -> int | None:
    """Return the time limit in an answer, in seconds; None without a limit."""
    values = [answer.get(name) for name in _LIMIT_FIELDS] if isinstance(answer, dict) else []
    return next((value for value in values if isinstance(value, int) and value > 0), None)
