"""Refuse a run that might exceed the budget of a day or of a notebook, before the request is sent.

``connection/budget.py`` counts. This module adds the parts that only runs have: the highest cost of a bundle, and the
lookup of a run by its token.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.connection.budget import BudgetUsage as BudgetUsage  # noqa: PLC0414 (importable from this module too)
from lk_jupyter.connection.budget import CostRequest, refuse_over_budget
from lk_jupyter.connection.budget import budget_usage as budget_usage  # noqa: PLC0414 (the same)
from lk_jupyter.connection.budget import sum_charges as sum_charges  # noqa: PLC0414 (the same)
from lk_jupyter.errors import NotFound
from lk_jupyter.journal.journal import BudgetCharge, Journal, journal
from lk_jupyter.runs.outcome import journal_columns
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.start import find_marked

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def enforce_budgets(session: Connection, bundle: Bundle, *, run_journal: Journal | None = None) -> None:
    """Refuse a run that might exceed a budget; the journal must contain the run. Raises UsageError."""
    request = CostRequest("this run", bundle.worst_case, _explain_missing_price(bundle), run=bundle.token)
    refuse_over_budget(session, request, partial(_refresh_charge, session, run_journal or journal()))


def enforce_budgets_for_all(session: Connection, bundles: Sequence[Bundle], max_cost: Decimal | None) -> None:
    """Refuse runs that start together if all of them might exceed a budget.

    ``max_cost`` is the limit of all runs together, in credits. The journal must not contain these runs yet. Raises
    UsageError.
    """
    costs = [bundle.worst_case for bundle in bundles if bundle.worst_case is not None]
    unpriced = "".join(_explain_missing_price(bundle) for bundle in bundles if bundle.worst_case is None)
    total = sum(costs, Decimal(0)) if max_cost is None else min(sum(costs, Decimal(0)), max_cost)
    words = "this run" if len(bundles) == 1 else f"these {len(bundles)} runs"
    request = CostRequest(words, None if unpriced else total, unpriced)
    refuse_over_budget(session, request, partial(_refresh_charge, session, journal()))


def _explain_missing_price(bundle: Bundle) -> str:
    return f"{bundle.machine.hardware_profile} has no published price. Machines with a price: %lk_machines."


def _refresh_charge(session: Connection, run_journal: Journal, charge: BudgetCharge) -> None:
    """Read a run that was active at the last check from the server, and write its state to the journal."""
    execution_id = charge.execution_id or _find_run(session, run_journal, charge.token)
    if execution_id is None:
        return
    try:
        record = session.client.execution.get(execution_id)
    except NotFound:
        # Members can delete records: without a bill, the run counts with its highest cost.
        run_journal.update(charge.token, state="failed", cost=None, reason="The server no longer knows this run.")
        return
    if is_final(record.status):
        run_journal.update(charge.token, execution_id=execution_id, **journal_columns(record))


def _find_run(session: Connection, run_journal: Journal, token: str) -> str | None:
    """Return the id of a run whose start got no answer; None if no run is certainly the user's."""
    entry = run_journal.get(token)
    runs = find_marked(session.client, token, entry.request if entry else {})
    return runs.user_run.execution_id if runs.user_run else None
