"""Manage the members of an organization, invitations and roles."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.organizations import chosen_slug, find_incoming_invite, find_member, find_outgoing_invite
from lk_jupyter.api._client import Client
from lk_jupyter.api.orgs import OrgInvite, OrgMemberAdd, OrgMemberRoleUpdate
from lk_jupyter.errors import Conflict, Forbidden, UsageError
from lk_jupyter.magics._engine.ask import ask_hidden, is_sure
from lk_jupyter.magics._engine.permissions import explain_missing_role
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics.orgs._verbs import lk_org
from lk_jupyter.options.orgs import (
    AcceptOptions,
    InviteOptions,
    InvitesOptions,
    LeaveOptions,
    MemberOptions,
    OrgOptions,
    RoleOptions,
    WithdrawOptions,
)
from lk_jupyter.options.runs import check_model
from lk_jupyter.session import current
from lk_jupyter.text.units import moment_label


@lk_org.verb("members", OrgOptions)
def _members(options: OrgOptions, _shell: InteractiveShell) -> None:
    """List the members of an organization and their roles."""
    client = current().client
    slug = chosen_slug(client, options.org)
    rows = [
        (each.email or each.user_id, each.role, moment_label(each.created_at, "%d %b %Y"), each.user_id[:8])
        for each in client.orgs.list_members(slug)
    ]
    display(Table((f"Members of {slug}", "Role", "Since", "Id"), rows))


@lk_org.verb("invite", InviteOptions)
def _invite(options: InviteOptions, _shell: InteractiveShell) -> None:
    """Add a member by e-mail address; people without an account get an invitation by mail.

    Example: ``%lk_org invite mira@example.com --role admin``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    request = check_model(OrgMemberAdd, {"email": options.email, "role": options.role})
    try:
        with explain_missing_role(slug, "members"):
            status = client.orgs.add_member(slug, request).status
    except Conflict:
        raise UsageError(f"{options.email} is already a member of {slug}. Change the role: %lk_org role") from None
    if status == "added":
        display(Note(f"Added {options.email} to {slug} as {options.role}."))
    else:
        display(Note(f"Invited {options.email} to {slug} as {options.role}. Open invitations: %lk_org invites"))


@lk_org.verb("invites", InvitesOptions)
def _invites(options: InvitesOptions, _shell: InteractiveShell) -> None:
    """List invitations that you can accept, and open invitations of your organization.

    Examples::

        %lk_org invites
        %lk_org invites --link
    """
    client = current().client
    if options.link:
        _preview_invite(client)
        return
    slug = chosen_slug(client, options.org)
    rows = [("you", each.org_slug, each.role, f"%lk_org accept {each.org_slug}") for each in client.invites.mine()]
    rows += [
        (each.email, slug, each.role, f"%lk_org withdraw {each.email}") for each in _list_sent_invites(client, slug)
    ]
    display(Table(("Who", "To", "As", "To do"), rows, note="" if rows else "No invitations."))


def _list_sent_invites(client: Client, slug: str) -> list[OrgInvite]:
    try:
        return list(client.orgs.list_invites(slug))
    except Forbidden:  # members see only invitations to their own address
        return []


def _preview_invite(client: Client) -> None:
    """Show the purpose of an invitation link, never the link: anyone who has the link may use it."""
    link = ask_hidden(
        "Link of the invitation (it is not shown): ", "%lk_org invites lists the invitations to your address"
    )
    invitation = client.invites.get(link.rstrip("/").rpartition("/")[2].rpartition("=")[2])
    show_text(
        f"{invitation.org_name or invitation.org_slug} invites {invitation.email or 'you'} "
        f"as {invitation.role or 'member'}."
    )


@lk_org.verb("accept", AcceptOptions)
def _accept(options: AcceptOptions, _shell: InteractiveShell) -> None:
    """Join the organization that invited you.

    Example: ``%lk_org accept my-team``
    """
    client = current().client
    invite = find_incoming_invite(client, options.invite)
    role = client.invites.accept(invite.id).role
    display(Note(f"You joined {invite.org_name} as {role}. Act for it: %lk_org use {invite.org_slug}"))


@lk_org.verb("withdraw", WithdrawOptions)
def _withdraw(options: WithdrawOptions, _shell: InteractiveShell) -> None:
    """Withdraw an invitation. Its link stops working.

    Example: ``%lk_org withdraw mira@example.com``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    with explain_missing_role(slug, "members"):
        invite = find_outgoing_invite(client, slug, options.invite)
        client.orgs.revoke_invite(slug, invite.id)
    display(Note(f"Withdrew the invitation of {invite.email} to {slug}."))


@lk_org.verb("role", RoleOptions)
def _role(options: RoleOptions, _shell: InteractiveShell) -> None:
    """Change the role of a member. Only an owner can do this.

    Example: ``%lk_org role mira@example.com admin``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    person = find_member(client, slug, options.member)
    with explain_missing_role(slug, "roles"):
        changed = client.orgs.set_role(slug, person.user_id, OrgMemberRoleUpdate(role=options.role))
    display(Note(f"{person.email or person.user_id} now has the role {changed.role} in {slug}."))


@lk_org.verb("remove", MemberOptions)
def _remove(options: MemberOptions, _shell: InteractiveShell) -> None:
    """Remove a member, after your confirmation. The member's runs stay active, but the member can't see them anymore.

    Example: ``%lk_org remove mira@example.com``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    person = find_member(client, slug, options.member)
    if not is_sure(options, f"Remove {person.email or person.user_id} from {slug}?", "No member was removed."):
        return
    with explain_missing_role(slug, "members"):
        client.orgs.remove_member(slug, person.user_id)
    display(Note(f"Removed {person.email or person.user_id} from {slug}."))


@lk_org.verb("leave", LeaveOptions)
def _leave(options: LeaveOptions, _shell: InteractiveShell) -> None:
    """Leave an organization, after your confirmation. The last owner can't leave.

    Example: ``%lk_org leave --org old-team``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    me = client.user.status()
    person = find_member(client, slug, me.user_id or me.email or "")
    if not is_sure(options, f"Leave {slug}?", "You didn't leave."):
        return
    client.orgs.remove_member(slug, person.user_id)
    display(Note(f"You left {slug}."))
