"""Refuse a run that might exceed the budget of a day or of a notebook, before it is sent.

A budget counts the runs that were started on this machine: the cost of ended runs, and the most that active runs
may still cost. Two kernels can't both take the last credits: the run that comes first in the journal gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import partial
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.config import settings
from lk_jupyter.config.files import CONFIG_FILE
from lk_jupyter.errors import NotFound, UsageError
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import BudgetCharge, Journal, journal
from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.runs.outcome import end_of_entry
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.start import find_marked
from lk_jupyter.text.units import credits_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


@dataclass(frozen=True)
class Budget:
    """One budget: its setting, what it is called, when it begins (Unix seconds), whose runs it counts."""

    setting: str
    name: str
    spent: str
    begins: Callable[[], float]
    of_notebook: bool = False


def _midnight() -> float:
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


BUDGETS = (
    Budget("day_budget", "The day budget", "spent since midnight", _midnight),
    Budget("notebook_budget", "The notebook budget", "spent by its runs", lambda: 0.0, of_notebook=True),
)


@dataclass(frozen=True)
class BudgetUsage:
    """The used part of a budget, in credits: by ended runs, and at most by active runs."""

    spent: Decimal
    open: Decimal


@dataclass(frozen=True)
class CostEstimate:
    """The most that the new runs may cost, in credits, and the name of that limit."""

    amount: Decimal
    words: str = "this run"


def enforce_budgets(session: Connection, package: Bundle, *, kept: Journal | None = None) -> None:
    """Refuse a run that might go beyond a budget; its entry is in the journal. Raises UsageError."""
    kept = kept or journal()
    for budget, limit in _set():
        wanted = CostEstimate(_priced(package, budget))
        _keep(
            budget,
            limit,
            wanted,
            partial(_charges, session, kept, budget, package.token),
            partial(_look_again, session, kept),
        )


def enforce_budgets_for_all(session: Connection, packages: Sequence[Bundle], max_cost: Decimal | None) -> None:
    """Refuse runs that start together if all of them might exceed a budget.

    ``max_cost`` is their common limit, in credits. None of them is in the journal yet. Raises UsageError.
    """
    kept = journal()
    for budget, limit in _set():
        wanted = sum((_priced(package, budget) for package in packages), Decimal(0))
        wanted = wanted if max_cost is None else min(wanted, max_cost)
        total = CostEstimate(wanted, f"these {len(packages)} runs")
        _keep(budget, limit, total, partial(_charges, session, kept, budget), partial(_look_again, session, kept))


def budget_usage(session: Connection) -> list[str]:
    """Return for each budget that is set how much of it is used, in words."""
    kept = journal()
    uses = [(use_of(_charges(session, kept, budget)), budget, limit) for budget, limit in _set()]
    return [f"{credits_label(use.spent)} of {limit:f} {budget.spent}{_open(use)}" for use, budget, limit in uses]


def _open(use: BudgetUsage) -> str:
    return f", {credits_label(use.open)} may be used by active runs" if use.open else ""


def _set() -> list[tuple[Budget, Decimal]]:
    """Return the budgets that are set, with their limits."""
    limits = {budget: settings.setting(budget.setting) for budget in BUDGETS}
    return [(budget, limit) for budget, limit in limits.items() if limit is not None]


def _priced(package: Bundle, budget: Budget) -> Decimal:
    if package.worst_case is None:
        raise UsageError(
            f"{budget.name} can't be enforced: {package.machine.hardware_profile} has no published price. "
            "Nothing was sent. Machines with a price: %lk_machines. Without the budget: %lk_config "
            f"{budget.setting} --unset"
        )
    return package.worst_case


def _keep(
    budget: Budget,
    limit: Decimal,
    wanted: CostEstimate,
    charges_now: Callable[[], list[BudgetCharge]],
    look_again: Callable[[BudgetCharge], None],
) -> None:
    charges = charges_now()
    if _fits(use_of(charges), wanted, limit):
        return
    for charge in charges:  # before a refusal: what ended while nobody looked has cost less than it might have
        if charge.going_on:
            look_again(charge)
    use = use_of(charges_now())
    if not _fits(use, wanted, limit):
        raise UsageError(_refusal(budget, limit, use, wanted))


def _charges(session: Connection, kept: Journal, budget: Budget, before: str = "") -> list[BudgetCharge]:
    """Return what counts for a budget: all there is, or what stands before the run with a token."""
    entry = kept.get(before) if before else None
    place = CellContext(entry.notebook) if entry else current_cell()
    of = place if budget.of_notebook else None
    found = kept.charges(session.base_url, since=budget.begins(), of=of, before=before)
    if kept.trouble:
        raise UsageError(f"{budget.name} can't be enforced, so nothing was sent. {kept.trouble}")
    return found


def use_of(charges: Iterable[BudgetCharge]) -> BudgetUsage:
    """Sum up charges. A run that ended without a bill counts with the most that it may have cost."""
    spent, open_ = Decimal(0), Decimal(0)
    for charge in charges:
        if charge.cost is not None and not charge.going_on:
            spent += charge.cost
        else:
            open_ += cost_at(charge.price_per_hour, charge.timeout) or Decimal(0)
    return BudgetUsage(spent, open_)


def _fits(use: BudgetUsage, wanted: CostEstimate, limit: Decimal) -> bool:
    return use.spent + use.open + wanted.amount <= limit


def _look_again(session: Connection, kept: Journal, charge: BudgetCharge) -> None:
    """Read a run from the server that was active when it was last seen, and write its state to the journal."""
    execution_id = charge.execution_id or _find_lost(session, kept, charge.token)
    if execution_id is None:
        return
    try:
        record = session.client.execution.get(execution_id)
    except NotFound:
        # Members can delete records: without a bill, the run counts with its highest cost.
        kept.update(charge.token, state="failed", cost=None, reason="The server no longer knows this run.")
        return
    if is_final(record.status):
        kept.update(charge.token, execution_id=execution_id, **end_of_entry(record))


def _find_lost(session: Connection, kept: Journal, token: str) -> str | None:
    """Return the id of a run whose start was not answered; None if no run is certainly the user's."""
    entry = kept.get(token)
    runs = find_marked(session.client, token, entry.request if entry else {})
    return runs.own.execution_id if runs.own else None


def _refusal(budget: Budget, limit: Decimal, use: BudgetUsage, wanted: CostEstimate) -> str:
    enough = (use.spent + use.open + wanted.amount).quantize(Decimal("0.01"), ROUND_UP)
    source = settings.resolve(budget.setting).source
    how = f"%lk_config {budget.setting} {enough:f}" if source == CONFIG_FILE else f"%env {source}={enough:f}"
    return (
        f"{budget.name} is {credits_label(limit)}: {credits_label(use.spent)} were {budget.spent}{_open(use)}, "
        f"and {wanted.words} may cost {credits_label(wanted.amount)}. Nothing was sent.\nRaise it: {how}. Or use "
        "less: --timeout SECONDS, --max-cost CREDITS."
    )
