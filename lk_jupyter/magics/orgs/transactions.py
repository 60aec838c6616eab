"""List income and spending of an organization."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.organizations import chosen_slug, read_transactions
from lk_jupyter.api.orgs import OrgTransaction
from lk_jupyter.magics._engine.tables import build_data_frame
from lk_jupyter.magics.orgs._verbs import lk_org
from lk_jupyter.options.orgs import SpendingOptions, TransactionsOptions
from lk_jupyter.session import current


@lk_org.verb("transactions", TransactionsOptions)
def _transactions(options: TransactionsOptions, _shell: InteractiveShell) -> Any:
    """List the transactions of an organization as a DataFrame, newest first. Amounts of received credits are positive.

    Examples::

        %lk_org transactions --plot
        spent = %lk_org transactions -n 1000 --kind debit
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    entries = read_transactions(client, slug, options.limit, options.kind, options.source)
    if options.plot:
        from lk_jupyter.account.spending_plot import draw_spending  # noqa: PLC0415 (matplotlib is loaded for a plot)

        display(draw_spending(entries, slug))
    return build_data_frame(
        [_build_transaction_row(entry) for entry in entries],
        ("time", "credits", "source", "hardware", "description", "id"),
    )


@lk_org.verb("spending", SpendingOptions)
def _spending(options: SpendingOptions, _shell: InteractiveShell) -> Any:
    """Sum the costs of a category, such as VMs, as a DataFrame.

    Examples::

        %lk_org spending
        %lk_org spending vms --by vm_id
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    sums = client.orgs.aggregate_transactions(slug, category=options.category, group_by=options.by)
    rows = [
        {
            options.by: each.group_by_value,
            "count": each.count,
            "credits": None if each.total_amount is None else float(each.total_amount),
            "first": each.first_created_at,
            "last": each.last_created_at,
        }
        for each in sums
    ]
    return build_data_frame(rows, (options.by, "count", "credits", "first", "last"))


def _build_transaction_row(entry: OrgTransaction) -> dict[str, Any]:
    facts = entry.metadata or {}
    return {
        "time": entry.created_at,
        "credits": None if entry.amount is None else float(abs(entry.amount)) * (-1 if entry.kind == "debit" else 1),
        "source": facts.get("source") or "",
        "hardware": facts.get("hardware_profile") or "",
        "description": facts.get("description") or "",
        "id": entry.id,
    }
