"""Invitations to the caller."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.invites import InvitePreview, Invites, MyInvite
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context


@implements(Invites.mine)
def mine(ctx: Context) -> list[dict[str, Any]]:
    """List the invitations to the caller's e-mail address."""
    invitations = ctx.cloud.accounts.invitations.list_for_email(ctx.person["email"])
    return [{field: invitation[field] for field in MyInvite.model_fields} for invitation in invitations]


@implements(Invites.accept)
def accept(ctx: Context, invite_id: str) -> dict[str, str]:
    """Join the organization."""
    return {"role": ctx.cloud.accounts.accept(ctx.person, invite_id)}


@implements(Invites.get)
def get(ctx: Context, token: str) -> dict[str, str]:
    """Look up an invitation; the token is the secret that opens the invitation."""
    invitation = ctx.cloud.accounts.invitations.find_by_token(token)
    return {field: invitation[field] for field in InvitePreview.model_fields}
