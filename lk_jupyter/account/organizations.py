"""Organizations: the organization in use, and the members that an address or the beginning of an id identifies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Literal, TypeVar

from lk_jupyter.api._client import Client
from lk_jupyter.api.invites import MyInvite
from lk_jupyter.api.orgs import OrgInvite, OrgMember, OrgTransaction
from lk_jupyter.api.user import UserOrg
from lk_jupyter.errors import NotFound, UsageError

T = TypeVar("T")
Kind = Literal["credit", "debit"]


def read_acting_organization(client: Client) -> UserOrg | None:
    """Return the organization of requests; None if the server doesn't report it."""
    with suppress(NotFound):
        return client.user.org()
    return None


def chosen_slug(client: Client, argument: str | None) -> str:
    """Return the slug of the argument, else of the organization in use. Raises UsageError without a slug."""
    slug = argument or getattr(read_acting_organization(client), "slug", None)
    if not slug:
        raise UsageError("The server didn't return your organization. Choose one: --org SLUG")
    return slug


def read_team_slug(client: Client) -> str | None:
    """Return the slug of the organization in use, unless the organization is the caller's personal account."""
    org = read_acting_organization(client)
    return org.slug if org and not org.is_personal else None


def find_member(client: Client, slug: str, who: str) -> OrgMember:
    """Return the member of this e-mail address or id. Raises UsageError."""
    matches = [each for each in client.orgs.list_members(slug) if who in {each.email, each.user_id}]
    return _require_first(matches, f"'{who}' isn't a member of {slug}. Members: %lk_org members --org {slug}")


def find_outgoing_invite(client: Client, slug: str, which: str) -> OrgInvite:
    """Return the invitation that an organization sent to this address, or of this id. Raises UsageError."""
    matches = [each for each in client.orgs.list_invites(slug) if which == each.email or each.id.startswith(which)]
    return _require_first(
        matches, f"{slug} has no open invitation for '{which}'. Invitations: %lk_org invites --org {slug}"
    )


def find_incoming_invite(client: Client, which: str | None) -> MyInvite:
    """Return the only invitation to the caller, or the invitation with this organization or id. Raises UsageError."""
    waiting = list(client.invites.mine())
    matches = [each for each in waiting if which is None or which == each.org_slug or each.id.startswith(which)]
    several = ", ".join(each.org_slug for each in matches)
    if len(matches) > 1:
        raise UsageError(
            f"You have several invitations: {several}. Accept one of them: %lk_org accept {matches[0].org_slug}"
        )
    return _require_first(
        matches, f"You have no invitation{f' to {which}' if which else ''}. Invitations: %lk_org invites"
    )


def read_transactions(
    client: Client, slug: str, limit: int, kind: Kind | None, source: str | None
) -> list[OrgTransaction]:
    """Return the newest entries of a ledger."""
    return list(islice(client.orgs.transactions(slug, limit=limit, kind=kind, source=source), limit))


def _require_first(matches: Iterable[T], otherwise: str) -> T:
    first: Iterator[T] = iter(matches)
    for each in first:
        return each
    raise UsageError(otherwise)
