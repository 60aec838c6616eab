"""Read the remaining credits of the account that a client acts for."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.user import UserOrg
from lk_jupyter.errors import NotFound

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.api.billing import GrantedBudget


def available_credits(client: Client) -> tuple[Decimal, bool]:
    """Return the available credits (of the organization's account for a team), and whether the account is suspended."""
    return read_credits(client)[:2]


def read_credits(client: Client) -> tuple[Decimal, bool, GrantedBudget | None]:
    """Return the available credits, whether the account is suspended, and the budget of the key at a broker."""
    organization = read_organization(client)
    if organization is not None and not organization.is_personal and organization.slug:
        with suppress(NotFound):  # some servers have a single balance for all organizations
            ledger = client.orgs.balance(organization.slug)
            return ledger.balance, ledger.account_suspended, None
    answer = client.billing.credits()
    budget = answer.budget if answer.budget and answer.budget.credits is not None else None
    return answer.remaining_credits, False, budget


def read_organization(client: Client) -> UserOrg | None:
    """Return the organization of requests; None if the server doesn't report it."""
    with suppress(NotFound):
        return client.user.org()
    return None
