"""Organizations: which one acts, and who is meant by an address or the beginning of an id."""

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


def acting(client: Client) -> UserOrg | None:
    """Return the organization that requests run as; None if the server doesn't report it."""
    with suppress(NotFound):
        return client.user.org()
    return None


def slug_of(client: Client, given: str | None) -> str:
    """Return the organization that is meant: the given one, else the one in use. Raises UsageError for none."""
    found = given or getattr(acting(client), "slug", None)
    if not found:
        raise UsageError("The server doesn't say which organization is in use. Name one: --org SLUG")
    return found


def team_slug(client: Client) -> str | None:
    """Return the slug of the organization in use, if it is more than the caller's own account."""
    org = acting(client)
    return org.slug if org and not org.is_personal else None


def member(client: Client, slug: str, who: str) -> OrgMember:
    """Return the member of this e-mail address or id. Raises UsageError."""
    found = [each for each in client.orgs.list_members(slug) if who in {each.email, each.user_id}]
    return _only(found, f"'{who}' isn't a member of {slug}. Members: %lk_org members --org {slug}")


def sent_invite(client: Client, slug: str, which: str) -> OrgInvite:
    """Return the invitation that an organization sent to this address, or of this id. Raises UsageError."""
    found = [each for each in client.orgs.list_invites(slug) if which == each.email or each.id.startswith(which)]
    return _only(found, f"{slug} has no open invitation for '{which}'. Invitations: %lk_org invites --org {slug}")


def own_invite(client: Client, which: str | None) -> MyInvite:
    """Return the only invitation to the caller, or the invitation with this organization or id. Raises UsageError."""
    waiting = list(client.invites.mine())
    found = [each for each in waiting if which is None or which == each.org_slug or each.id.startswith(which)]
    several = ", ".join(each.org_slug for each in found)
    if len(found) > 1:
        raise UsageError(f"You have several invitations: {several}. Name one: %lk_org accept {found[0].org_slug}")
    return _only(found, f"You have no invitation{f' to {which}' if which else ''}. Invitations: %lk_org invites")


def transactions(client: Client, slug: str, limit: int, kind: Kind | None, source: str | None) -> list[OrgTransaction]:
    """Return the newest entries of a ledger."""
    return list(islice(client.orgs.transactions(slug, limit=limit, kind=kind, source=source), limit))


def _only(found: Iterable[T], otherwise: str) -> T:
    first: Iterator[T] = iter(found)
    for each in first:
        return each
    raise UsageError(otherwise)
