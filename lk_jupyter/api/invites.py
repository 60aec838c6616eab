"""Invitations from the view of the invited user (``/invites``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Id, Model, Page, Text, Timestamp


class MyInvite(Model):
    """A pending invitation to the caller."""

    id: Id
    org_name: Text = ""
    org_slug: Text = ""
    role: Text = ""
    created_at: Timestamp | None = None


class Membership(Model):
    """The role in the joined organization."""

    role: Text = ""


class InvitePreview(Model):
    """The invitation behind a link; every field may be missing."""

    org_name: str | None = None
    org_slug: str | None = None
    email: str | None = None
    role: str | None = None


class Invites(Group):
    """Invitations to the caller.

    Example:
        >>> from lk_jupyter.api.orgs import OrgCreate, OrgMemberAdd
        >>> team = client.orgs.create(OrgCreate(name="Team"))
        >>> client.orgs.add_member(team.slug, OrgMemberAdd(email="lena@example.com", role="member")).status
        'invited'
        >>> [sent] = client.orgs.list_invites(team.slug)
        >>> client.invites.get(mailed_token(sent)).org_slug == team.slug
        True
        >>> lena = sign_up("lena@example.com")
        >>> [invite] = lena.invites.mine()
        >>> lena.invites.accept(invite.id).role
        'member'
    """

    is_audited = True

    @GET("/invites/mine", magic="%lk_org invites, %lk_org accept")
    def mine(self) -> Page[MyInvite]:
        """List the caller's pending invitations."""
        ...

    @POST("/invites/mine/{invite_id}/accept", effect="writes", magic="%lk_org accept")
    def accept(self, invite_id: str) -> Membership:
        """Join the organization. Raises NotFound if the caller has no such invitation."""
        ...

    @GET("/invites/{token}", magic="%lk_org invites")
    def get(self, token: str) -> InvitePreview:
        """Look up an invitation by the token of its link.

        Raises NotFound for a used or withdrawn invitation.
        """
        ...
