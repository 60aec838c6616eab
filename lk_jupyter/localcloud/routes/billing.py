"""Credits, their use and their purchase, all from the same ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException

from lk_jupyter.api.billing import Billing, CheckoutRequest, ExecutionSummary
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.ledger import LedgerEntry, Standing
from lk_jupyter.localcloud.clock import now, to_text
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.options import MOST_CREDITS
from lk_jupyter.localcloud.pages import checkout as checkout_page
from lk_jupyter.localcloud.runs.records import Facts, add_cost

_MOST_ROWS = 2**31 - 1

#: Category of the ledger → type of an activity, where the API has a different word.
_TYPES = {"executions": "execution", "purchases": "purchase"}


@implements(Billing.credits)
def credits(ctx: Context) -> dict[str, Any]:  # noqa: A001 (the word of the API)
    """Read the balance; the starting credits count as free credits."""
    standing = ctx.cloud.ledger.read_standing(ctx.caller.org_id)
    grant = ctx.cloud.ledger.find_entry("grants", ctx.caller.org_id)
    return {
        **_build_sums(standing),
        "remaining_credits": standing.remaining,
        "signup_grant_claimed_at": grant and to_text(grant.time),
    }


@implements(Billing.credits_details)
def credits_details(ctx: Context) -> dict[str, Any]:
    """Read the balance with the account."""
    user = ctx.caller.user
    return {
        **_build_sums(ctx.cloud.ledger.read_standing(ctx.caller.org_id)),
        "user_id": user["id"],
        "email": user["email"],
        "created_at": user["created_at"],
        "last_updated": now(),
    }


@implements(Billing.history)
def history(ctx: Context, limit: int, offset: int) -> dict[str, Any]:
    """List runs with their cost, newest first."""
    check_window(limit=limit, offset=offset)
    counts = ctx.cloud.records.count_by_state(ctx.caller.org_id)
    return {
        "executions": [
            _build_summary(facts) for facts in ctx.cloud.records.list_page(ctx.caller.org_id, limit, offset)
        ],
        "total_executions": sum(counts.values()),
        "total_credits_spent": ctx.cloud.records.compute_spent(ctx.caller.org_id),
        "limit": limit,
        "offset": offset,
        "counts_by_status": counts,
    }


@implements(Billing.activities)
def activities(ctx: Context, limit: int, offset: int) -> dict[str, Any]:
    """List charges and top-ups, newest first."""
    check_window(limit=limit, offset=offset)
    entries = ctx.cloud.ledger.list_entries(ctx.caller.org_id, limit, offset)
    return {
        "activities": [_build_activity(entry) for entry in entries],
        "total_activities": ctx.cloud.ledger.count_entries(ctx.caller.org_id),
    }


@implements(Billing.invoices)
def invoices(ctx: Context, limit: int, offset: int) -> dict[str, Any]:
    """List purchases, newest first."""
    check_window(limit=limit, offset=offset)
    purchases = ctx.cloud.ledger.list_entries(ctx.caller.org_id, limit, offset, ["purchases"])
    return {
        "invoices": [_build_invoice(ctx, entry) for entry in purchases],
        "total_invoices": ctx.cloud.ledger.count_entries(ctx.caller.org_id, ["purchases"]),
    }


@implements(Billing.checkout)
def checkout(ctx: Context, request: CheckoutRequest) -> dict[str, str]:
    """Open a checkout. A page of this cloud replaces the payment provider's."""
    if not 1 <= request.credits_amount <= MOST_CREDITS:
        raise HTTPException(400, f"Buy 1 to {MOST_CREDITS} credits at a time")
    for field in ("success_url", "cancel_url"):
        if not _is_web_address(getattr(request, field)):
            raise HTTPException(400, f"{field} must be an http or https address")
    session = ctx.cloud.payments.open(ctx.caller.org_id, request)
    return {"session_id": session["id"], "checkout_url": checkout_page.build_url(ctx.cloud, session["id"])}


def check_window(**numbers: int) -> None:
    """Refuse a limit or an offset that no list has."""
    for name, value in numbers.items():
        if not 0 <= value <= _MOST_ROWS:
            raise invalid("query", name, f"Give 0 to {_MOST_ROWS}, not {value}")


def _is_web_address(address: str | None) -> bool:
    try:
        return address is None or urlsplit(address).scheme in {"http", "https"}
    except ValueError:
        return False


def _build_activity(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "activity_id": entry.id,
        "created_at": to_text(entry.time),
        "type": _TYPES.get(entry.category, entry.category),
        "amount": abs(entry.credits),
        "description": entry.facts.get("description") or entry.category,
        "status": entry.facts.get("status") or "completed",
        "hardware_profile": entry.facts.get("hardware_profile"),
    }


def _build_invoice(ctx: Context, entry: LedgerEntry) -> dict[str, Any]:
    """Return a purchase as an invoice; a credit costs one unit of money."""
    return {
        "id": f"in_{entry.id}",
        "created_at": to_text(entry.time),
        "amount": entry.credits,
        "credits": entry.credits,
        "status": "paid",
        "receipt_url": checkout_page.build_url(ctx.cloud, entry.source),
        "payment_intent_id": entry.facts["payment_intent_id"],
    }


def _build_summary(facts: Facts) -> Facts:
    facts = add_cost(facts)
    return {key: facts.get(key) for key in (*ExecutionSummary.model_fields, "run_name", "labels")}


def _build_sums(standing: Standing) -> dict[str, Decimal]:
    return {
        "available_credits": standing.credited,
        "used_credits": standing.used,
        "total_credits_used": standing.used,
        "monthly_free_credits": standing.free,
        "purchased_credits": standing.bought,
    }
