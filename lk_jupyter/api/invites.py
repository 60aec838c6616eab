"""Invitations as the invited user sees them (``/invites``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Model, Page, Timestamp


class MyInvite(Model):
    """A pending invitation to the caller."""

    id: str
    org_name: str
    org_slug: str
    role: str
    created_at: Timestamp


class Membership(Model):
    """The role in the organization that was joined."""

    role: str


class InvitePreview(Model):
    """What the link in an invitation stands for; every field may be missing."""

    org_name: str | None = None
    org_slug: str | None = None
    email: str | None = None
    role: str | None = None


class Invites(Group):
    """Invitations to the caller."""

    @GET("/invites/mine")
    def mine(self) -> Page[MyInvite]:
        """List the invitations that wait for the caller."""
        ...

    @POST("/invites/mine/{invite_id}/accept")
    def accept(self, invite_id: str) -> Membership:
        """Join the organization. Raises NotFound when the caller has no such invitation."""
        ...

    @GET("/invites/{token}")
    def get(self, token: str) -> InvitePreview:
        """Look up an invitation by the token of its link. Raises NotFound for one that was used or withdrawn."""
        ...
