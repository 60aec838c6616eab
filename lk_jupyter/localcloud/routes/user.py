"""The caller: profile, organization, machines that may be used."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.user import User
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.accounts.accounts import ORGANIZATION_KEY
from lk_jupyter.localcloud.billing.catalogue import PRICES
from lk_jupyter.localcloud.context import Context


@implements(User.status)
def status(ctx: Context) -> dict[str, Any]:
    """Read the profile."""
    user = ctx.caller.user
    return {
        "user_id": ctx.caller.user_id,
        "org_id": ctx.caller.org_id,
        "email": user["email"],
        "full_name": None,
        "created_at": user["created_at"],
        "is_active": True,
        "active_api_keys_count": sum(
            key["is_active"] for key in ctx.cloud.accounts.keys.list_by_owner(ctx.caller.user_id)
        ),
        "credit_balance": ctx.cloud.ledger.read_standing(ctx.caller.org_id).remaining,
        "status": "authenticated",
    }


@implements(User.org)
def org(ctx: Context) -> dict[str, Any]:
    """Return the organization. Only keys of an organization are bound to their organization."""
    fields = {key: ctx.caller.org[key] for key in ("slug", "name", "is_personal")}
    return {"org_id": ctx.caller.org_id, **fields, "is_key_scoped": ctx.caller.via == ORGANIZATION_KEY}


@implements(User.delete)
async def delete(ctx: Context) -> dict[str, str]:
    """Delete the account with all data that only this user has."""
    for org_id in ctx.cloud.accounts.delete_user(ctx.person):
        ctx.cloud.forget(org_id)
    return {"message": "Account deleted"}


@implements(User.quotas)
def quotas(ctx: Context) -> dict[str, bool]:
    """Return for each machine type whether runs may use it."""
    return {profile: profile in ctx.cloud.options.quota for profile in PRICES}


@implements(User.available_hardware)
def available_hardware(ctx: Context) -> dict[str, list[str]]:
    """List the machines that may be used."""
    return {"available_hardware_profiles": [profile for profile, allowed in quotas(ctx).items() if allowed]}
