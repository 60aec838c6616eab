"""Refuse a run that might exceed the budget of a day or of a notebook, before it is sent.

``connection/budget.py`` counts; here is what only runs have: a bundle with its worst case, and a token to look up.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.connection.budget import BudgetUsage as BudgetUsage  # noqa: PLC0414 (known by this place too)
from lk_jupyter.connection.budget import CostRequest, enforce
from lk_jupyter.connection.budget import budget_usage as budget_usage  # noqa: PLC0414 (the same)
from lk_jupyter.connection.budget import sum_charges as sum_charges  # noqa: PLC0414 (the same)
from lk_jupyter.errors import NotFound
from lk_jupyter.journal.journal import BudgetCharge, Journal, journal
from lk_jupyter.runs.outcome import end_of_entry
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.start import find_marked

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def enforce_budgets(session: Connection, package: Bundle, *, kept: Journal | None = None) -> None:
    """Refuse a run that might exceed a budget; its entry is in the journal. Raises UsageError."""
    request = CostRequest("this run", package.worst_case, _unpriced(package), run=package.token)
    enforce(session, request, partial(_look_again, session, kept or journal()))


def enforce_budgets_for_all(session: Connection, packages: Sequence[Bundle], max_cost: Decimal | None) -> None:
    """Refuse runs that start together if all of them might exceed a budget.

    ``max_cost`` is their common limit, in credits. None of them is in the journal yet. Raises UsageError.
    """
    costs = [package.worst_case for package in packages if package.worst_case is not None]
    unpriced = "".join(_unpriced(package) for package in packages if package.worst_case is None)
    total = sum(costs, Decimal(0)) if max_cost is None else min(sum(costs, Decimal(0)), max_cost)
    request = CostRequest(f"these {len(packages)} runs", None if unpriced else total, unpriced)
    enforce(session, request, partial(_look_again, session, journal()))


def _unpriced(package: Bundle) -> str:
    return f"{package.machine.hardware_profile} has no published price. Machines with a price: %lk_machines."


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
