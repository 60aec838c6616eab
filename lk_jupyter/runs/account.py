"""Whose account a session acts for, and what is left on it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api._client import Client
from lk_jupyter.api.user import UserOrg
from lk_jupyter.errors import NotFound
from lk_jupyter.runs.burning import Burning, burning, rate

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session


UNTOLD = "not told by the server"


@dataclass(frozen=True)
class Identity:
    """Who a session is: account (e-mail or id), organization, server, and where each comes from."""

    account: str
    organization: str
    organization_source: str
    server: str
    server_source: str
    key_source: str


@dataclass(frozen=True)
class Balance:
    """Credits that are left, how many things use them now, and what those cost an hour.

    ``per_hour`` is None when the price of one of them is not known; ``burning`` names them.
    """

    credits: Decimal
    running: int
    per_hour: Decimal | None
    suspended: bool = False
    burning: tuple[Burning, ...] = ()

    @property
    def runs_out(self) -> datetime | None:
        """When the credits end if all that runs now goes on; None when nothing runs or a price is unknown."""
        if not self.per_hour:
            return None
        return datetime.now(timezone.utc) + timedelta(hours=float(max(self.credits, Decimal(0)) / self.per_hour))


def identity(session: Session) -> Identity:
    """Ask the server who the session is."""
    status = session.client.user.status()
    organization = _organization(session.client)
    target = session.target
    return Identity(
        account=status.email or status.user_id or UNTOLD,
        organization=_named(organization),
        organization_source=_why(organization, target.org_source),
        server=session.base_url,
        server_source=target.server_source,
        key_source=target.key.source,
    )


def balance(session: Session) -> Balance:
    """Ask what is left, on the organization's account when the session acts for a team."""
    left, suspended = _credits(session.client)
    found = burning(session)
    return Balance(left, len(found), rate(found), suspended, found)


def _credits(client: Client) -> tuple[Decimal, bool]:
    organization = _organization(client)
    if organization is None or organization.is_personal or not organization.slug:
        return client.billing.credits().remaining_credits, False
    ledger = client.orgs.balance(organization.slug)
    return ledger.balance, ledger.account_suspended


def _organization(client: Client) -> UserOrg | None:
    """Return the organization that requests run as; None from a server that does not tell."""
    with suppress(NotFound):
        return client.user.org()
    return None


def _named(organization: UserOrg | None) -> str:
    if organization is None:
        return UNTOLD
    return organization.name or organization.slug or organization.org_id


def _why(organization: UserOrg | None, asked: str) -> str:
    if organization is not None and organization.is_key_scoped:
        return "the key belongs to it"
    return asked or "your default organization"
