"""The account that a session acts for, and its remaining credits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter._lazy import old_name
from lk_jupyter.account.active import ActiveList, ActiveResource, Rate
from lk_jupyter.api.user import UserOrg
from lk_jupyter.connection.credits import read_credits, read_organization
from lk_jupyter.text.units import budget_label, credits_label

if TYPE_CHECKING:
    from lk_jupyter.api.billing import GrantedBudget
    from lk_jupyter.connection.connection import Connection


#: An end that is further away is none: years do not fit a calendar.
_LONGEST_HOURS = 24 * 365 * 100

UNTOLD = "unknown"


@dataclass(frozen=True)
class Identity:
    """Who a session is, as ``Session.whoami`` returns it.

    ``account`` (e-mail or id), ``organization``, ``server``, and where each is set: ``organization_source``,
    ``server_source``, ``key_source``. All are texts.

    Example:
        >>> session.whoami().server == session.base_url
        True
    """

    account: str
    organization: str
    organization_source: str
    server: str
    server_source: str
    key_source: str


@dataclass(frozen=True)
class AccountBalance:
    """Remaining credits and what uses them now, as ``Session.balance`` returns it.

    ``credits`` is the balance, ``resources`` what is active and billed, ``suspended`` whether the account is suspended.
    ``budget`` is the budget of the key at a broker, and None elsewhere. ``problems`` are lists of active resources that
    couldn't be read, in words.

    Example:
        >>> balance = session.balance()
        >>> balance.credits > 0, balance.suspended
        (True, False)
        >>> balance.active_count == len(balance.resources)
        True
        >>> balance.per_hour == balance.rate.per_hour
        True
        >>> (balance.depleted_at is None) == (not balance.per_hour)
        True
    """

    credits: Decimal
    resources: tuple[ActiveResource, ...] = ()
    suspended: bool = False
    budget: GrantedBudget | None = None
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The remaining credits in words; of a budget, such as ``3.20 of 10 credits left this week``.

        Example:
            >>> session.balance().label.endswith(" credits left")
            True
        """
        if self.budget is None or self.budget.credits is None:
            return f"{credits_label(self.credits)} left"
        return budget_label(self.credits, self.budget.credits, self.budget.period)

    @property
    def active_count(self) -> int:
        """Number of active resources."""
        return len(self.resources)

    @property
    def rate(self) -> Rate:
        """Cost of all active resources per hour, as a Rate."""
        return ActiveList(self.resources, self.problems).rate

    @property
    def per_hour(self) -> Decimal:
        """Cost of all active resources with a known price, in credits per hour."""
        return self.rate.per_hour

    @property
    def depleted_at(self) -> datetime | None:
        """When the credits run out if everything keeps running (datetime, UTC); None if nothing costs credits."""
        if not self.per_hour:
            return None
        hours = float(max(self.credits, Decimal(0)) / self.per_hour)
        return datetime.now(timezone.utc) + timedelta(hours=min(hours, _LONGEST_HOURS))

    running = old_name("running", "active_count")
    runs_out = old_name("runs_out", "depleted_at")
    burning = old_name("burning", "resources")


def read_identity(session: Connection) -> Identity:
    """Return the identity of the session, as the server reports it."""
    status = session.client.user.status()
    organization = read_organization(session.client)
    target = session.target
    return Identity(
        account=status.email or status.user_id or UNTOLD,
        organization=_organization_name(organization),
        organization_source=_organization_reason(organization, target.org_source),
        server=session.base_url,
        server_source=target.server_source,
        key_source=target.key.source,
    )


def read_balance(session: Connection, active: ActiveList) -> AccountBalance:
    """Return the balance, of the organization's account if the session acts for a team."""
    amount, suspended, budget = read_credits(session.client)
    return AccountBalance(amount, active.billed, suspended, budget, active.problems)


def _organization_name(organization: UserOrg | None) -> str:
    if organization is None:
        return UNTOLD
    return organization.name or organization.slug or organization.org_id


def _organization_reason(organization: UserOrg | None, slug: str) -> str:
    if organization is not None and organization.is_key_scoped:
        return "the key belongs to that organization"
    return slug or "your default organization"
