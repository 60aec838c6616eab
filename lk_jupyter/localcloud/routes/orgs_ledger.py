"""The ledger of an organization: balance, entries, sums."""

from __future__ import annotations

import re
from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.orgs import Orgs
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.ledger import CREDITS, DEBITS, LedgerEntry, LedgerGroup
from lk_jupyter.localcloud.clock import to_text
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.routes.billing import check_window

_DEFAULT_ROWS = 100


@implements(Orgs.balance)
def balance(ctx: Context, slug: str) -> dict[str, Any]:
    """Read the remaining credits."""
    org_id = ctx.require_org(slug)["id"]
    remaining = ctx.cloud.ledger.read_standing(org_id).remaining
    return {"org_id": org_id, "balance": remaining, "account_suspended": False}


@implements(Orgs.transactions)
def transactions(ctx: Context, slug: str, limit: int | None, kind: str | None, source: str | None) -> dict[str, Any]:
    """List entries, newest first."""
    org_id = ctx.require_org(slug)["id"]
    limit = _DEFAULT_ROWS if limit is None else limit
    check_window(limit=limit)
    kinds = {"credit": CREDITS, "debit": DEBITS}.get(kind or "", (*CREDITS, *DEBITS))
    categories = [category for category in kinds if source in {None, category}]
    return {
        "transactions": [
            _build_transaction(entry) for entry in ctx.cloud.ledger.list_entries(org_id, limit, 0, categories)
        ]
    }


@implements(Orgs.aggregate_transactions)
def aggregate(ctx: Context, slug: str, category: str, group_by: str) -> dict[str, Any]:
    """Sum up a category."""
    org_id = ctx.require_org(slug)["id"]
    if category not in DEBITS:
        raise invalid("query", "category", f"Give one of {', '.join(DEBITS)}")
    if not re.fullmatch(r"\w{1,64}", group_by):
        raise HTTPException(400, "group_by must be a key of the metadata, such as hardware_profile")
    groups = ctx.cloud.ledger.sum_groups(org_id, category, group_by)
    return {"category": category, "aggregates": [_build_aggregate(group) for group in groups]}


def _build_transaction(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": "credit" if entry.credits > 0 else "debit",
        "amount": abs(entry.credits),
        "created_at": to_text(entry.time),
        "metadata": {"source": entry.category, **entry.facts, "free_credits": f"{abs(entry.free):f}"},
    }


def _build_aggregate(group: LedgerGroup) -> dict[str, Any]:
    return {
        "group_by_value": group.value,
        "count": group.count,
        "total_amount": group.credits,
        "first_created_at": to_text(group.first),
        "last_created_at": to_text(group.last),
    }
