"""Organizations: their members, invitations and keys."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.orgs import (
    MyOrg,
    Org,
    OrgApiKey,
    OrgApiKeyCreate,
    OrgApiKeyCreated,
    OrgCreate,
    OrgInvite,
    OrgMemberAdd,
    OrgMemberRoleUpdate,
    Orgs,
    OrgUpdate,
)
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.accounts import members
from lk_jupyter.localcloud.accounts.accounts import ORGANIZATION_KEY
from lk_jupyter.localcloud.accounts.keys import Key
from lk_jupyter.localcloud.context import Context


@implements(Orgs.list)
def list_(ctx: Context) -> list[dict[str, Any]]:
    """List the caller's organizations; an organization's key only sees its organization."""
    default = ctx.caller.user["org_id"]
    orgs = [
        {**org, "is_default": org["id"] == default} for org in ctx.cloud.accounts.orgs.list_by_user(ctx.caller.user_id)
    ]
    if ctx.caller.via == ORGANIZATION_KEY:
        orgs = [{**ctx.caller.org, "role": ctx.caller.role, "is_default": True}]
    return [{field: org[field] for field in MyOrg.model_fields} for org in orgs]


@implements(Orgs.create)
def create(ctx: Context, request: OrgCreate) -> dict[str, Any]:
    """Make an organization of the caller."""
    org_id = ctx.cloud.accounts.create_org(ctx.person, **request.model_dump(include=set(OrgCreate.model_fields)))
    return _build_org_row(ctx.cloud.accounts.orgs.get(org_id) or {})


@implements(Orgs.get)
def get(ctx: Context, slug: str) -> dict[str, Any]:
    """Read an organization."""
    return _build_org_row(ctx.require_org(slug))


@implements(Orgs.update)
def update(ctx: Context, slug: str, request: OrgUpdate) -> dict[str, Any]:
    """Change the given fields; null clears a billing field, and doesn't change name and slug."""
    changes = request.model_dump(exclude_unset=True, include=set(OrgUpdate.model_fields))
    return _build_org_row(ctx.cloud.accounts.orgs.change(ctx.require_org(slug, "change"), **changes))


@implements(Orgs.delete)
async def delete(ctx: Context, slug: str) -> None:
    """Delete an organization and all contents; a personal organization is deleted with the account."""
    org = ctx.require_org(slug, "delete")
    if org["is_personal"]:
        raise HTTPException(400, "A personal organization is deleted with its account: DELETE /user/delete")
    ctx.cloud.accounts.delete_org(org["id"])
    ctx.cloud.forget(org["id"])


@implements(Orgs.list_members)
def list_members(ctx: Context, slug: str) -> list[dict[str, Any]]:
    """List the members."""
    return ctx.cloud.accounts.orgs.list_members(ctx.require_org(slug)["id"])


@implements(Orgs.add_member)
def add_member(ctx: Context, slug: str, request: OrgMemberAdd) -> dict[str, str]:
    """Add or invite a person; the caller can't grant more rights than the caller has."""
    org = ctx.require_org(slug, "manage members")
    _check_rank(ctx, org["slug"], request.role)
    return {"status": ctx.cloud.accounts.invite(org, request.email, request.role)}


@implements(Orgs.set_role)
def set_role(ctx: Context, slug: str, user_id: str, request: OrgMemberRoleUpdate) -> dict[str, Any]:
    """Give a member another role."""
    org_id = ctx.require_org(slug, "set roles")["id"]
    ctx.cloud.accounts.orgs.find_member(org_id, user_id)
    ctx.cloud.accounts.orgs.set_role(org_id, user_id, request.role)
    return ctx.cloud.accounts.orgs.find_member(org_id, user_id)


@implements(Orgs.remove_member)
def remove_member(ctx: Context, slug: str, user_id: str) -> None:
    """Remove a member of no higher role, or leave."""
    leaves = ctx.caller.via != ORGANIZATION_KEY and user_id == ctx.caller.user_id
    org_id = ctx.require_org(slug, "read" if leaves else "manage members")["id"]
    _check_rank(ctx, slug, ctx.cloud.accounts.orgs.find_member(org_id, user_id)["role"])
    ctx.cloud.accounts.orgs.leave(org_id, user_id)


@implements(Orgs.list_api_keys)
def list_api_keys(ctx: Context, slug: str) -> list[dict[str, Any]]:
    """List the keys."""
    keys = ctx.cloud.accounts.keys.list_by_owner(ctx.require_org(slug)["id"])
    return [{field: _build_key_row(key)[field] for field in OrgApiKey.model_fields} for key in keys]


@implements(Orgs.create_api_key)
def create_api_key(ctx: Context, slug: str, request: OrgApiKeyCreate) -> dict[str, Any]:
    """Make a key."""
    org_id = ctx.require_org(slug, "manage keys")["id"]
    return _build_key_row_with_secret(
        *ctx.cloud.accounts.keys.create(
            org_id, ctx.caller.user_id, request.name, org_id=org_id, expires_at=request.expires_at
        )
    )


@implements(Orgs.revoke_api_key)
def revoke_api_key(ctx: Context, slug: str, key_id: str) -> None:
    """Switch a key off."""
    ctx.cloud.accounts.keys.revoke(ctx.require_org(slug, "manage keys")["id"], key_id)


@implements(Orgs.regenerate_api_key)
def regenerate_api_key(ctx: Context, slug: str, key_id: str) -> dict[str, Any]:
    """Give a key a new secret."""
    return _build_key_row_with_secret(
        *ctx.cloud.accounts.keys.regenerate(ctx.require_org(slug, "manage keys")["id"], key_id)
    )


@implements(Orgs.delete_api_key)
def delete_api_key(ctx: Context, slug: str, key_id: str) -> None:
    """Remove a key."""
    ctx.cloud.accounts.keys.delete(ctx.require_org(slug, "manage keys")["id"], key_id)


@implements(Orgs.list_invites)
def list_invites(ctx: Context, slug: str) -> list[dict[str, Any]]:
    """List the invitations that were not accepted yet."""
    invitations = ctx.cloud.accounts.invitations.list_for_org(ctx.require_org(slug, "manage members")["id"])
    return [{field: invitation[field] for field in OrgInvite.model_fields} for invitation in invitations]


@implements(Orgs.revoke_invite)
def revoke_invite(ctx: Context, slug: str, invite_id: str) -> None:
    """Withdraw an invitation."""
    ctx.cloud.accounts.invitations.withdraw(ctx.require_org(slug, "manage members")["id"], invite_id)


def _check_rank(ctx: Context, slug: str, role: str) -> None:
    """Refuse with 403 to make or remove a member of a higher role than the caller's."""
    _, caller_role = ctx.cloud.accounts.require_right(ctx.caller, slug, "read")
    if not members.is_at_least(caller_role, role):
        raise HTTPException(403, f"Only an owner can change an {role}; your role in {slug} is {caller_role}")


def _build_org_row(org: members.Org) -> dict[str, Any]:
    return {field: org[field] for field in Org.model_fields}


def _build_key_row(key: Key) -> dict[str, Any]:
    """Return a key with the API's name of its organization field."""
    return {**key, "org_id": key["org"]}


def _build_key_row_with_secret(key: Key, secret: str) -> dict[str, Any]:
    row = {**_build_key_row(key), "plaintext_key": secret}
    return {field: row[field] for field in OrgApiKeyCreated.model_fields}
