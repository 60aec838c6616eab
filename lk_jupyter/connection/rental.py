"""State an end for everything that is rented by time without a limit of the cloud: VMs and deployments.

``plan_rental`` computes the end before the question. The gate stores it with the charge of the request, so that the
cost until the end counts against the budgets. ``vms/rentals.py`` deletes what has reached its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.vms import DEFAULT_LEASE, SHORTEST_LEASE
from lk_jupyter.connection.budget import (
    VOLUME,
    CostRequest,
    active_budgets,
    read_usage,
    record_ends,
    refresh_charges,
    refuse_over_budget,
)
from lk_jupyter.connection.credits import available_credits
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.charges import charge_book
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.text.units import credits_label, limit_label, moment_label

if TYPE_CHECKING:
    from lk_jupyter.connection.budget import Spender

#: Seconds of a rental without a chosen time.
DEFAULT_SECONDS = 8 * 3600.0

#: The shortest rental in seconds: a VM needs minutes to start.
SHORTEST_SECONDS = 600.0

#: Seconds of a volume without an end for which a budget reserves credits.
VOLUME_SECONDS = 24 * 3600.0

BROKER, COMPUTER = "the broker", "this computer"

#: Who ends a rental of this computer, for questions and help.
ENFORCEMENT = (
    "this computer deletes it: its Jupyter server, or the next lk_jupyter command. While this computer is off, "
    "billing continues."
)


@dataclass(frozen=True)
class RentalPlan:
    """The end of a rental that is about to start.

    ``seconds`` is the time until the end, ``per_hour`` the price in credits (None if unknown), ``ends_at`` the end in
    Unix seconds by the clock of the cloud, and ``enforcer`` who deletes the resource then. ``limit`` is what made the
    default time shorter, such as ``the day budget``. ``volume_seconds`` is the time until a new volume is deleted with
    its data; None for a volume without an end.
    """

    seconds: float
    per_hour: Decimal | None
    ends_at: float
    enforcer: str = COMPUTER
    limit: str = ""
    volume_seconds: float | None = None

    @property
    def cost(self) -> Decimal | None:
        """The cost until the end, in credits; None without a price."""
        return _compute_cost(self.per_hour, self.seconds)

    @property
    def end_label(self) -> str:
        """The end in local time."""
        return end_label(self.ends_at)

    @property
    def time_label(self) -> str:
        """The time and the end in words: ``for 8 h, until 17:30``."""
        reason = f" (as long as {self.limit} pays)" if self.limit else ""
        return f"for {limit_label(self.seconds)}{reason}, until {self.end_label}"


def end_label(moment: float) -> str:
    """Return an end in local time, with the day unless it is today."""
    end = datetime.fromtimestamp(moment, timezone.utc)
    is_today = end.astimezone().date() == datetime.now().astimezone().date()
    return moment_label(end, "%H:%M" if is_today else "%d %b %H:%M")


@dataclass(frozen=True)
class Rental:
    """A resource to rent: its name in words, and its price per hour in credits; None if unknown.

    ``unpriced`` is the reason of a missing price, ``saves`` an option that reduces the cost, and ``is_leased`` whether
    a broker deletes the resource. ``extra`` are the credits that a new volume reserves.
    """

    name: str
    per_hour: Decimal | None
    unpriced: str = ""
    saves: str = ""
    is_leased: bool = False
    extra: Decimal = Decimal(0)


def plan_rental(connection: Spender, rental: Rental, seconds: float | None = None) -> RentalPlan:
    """Return the end of a rental: after the chosen time, otherwise after 8 hours, or less if a budget pays for less.

    Raises UsageError if a budget or the balance doesn't pay until the end.
    """
    rests = {name: rest - rental.extra for name, rest in read_rests(connection, rental.per_hour).items()}
    plan = compute_plan(connection, rental, rests, seconds)
    words = f"{rental.name} for {limit_label(plan.seconds)}"
    affordable = min(_convert_to_seconds(rests, rental.per_hour).values(), default=0.0)
    shorter = f"--timeout {int(affordable // 60)}m" if affordable >= SHORTEST_SECONDS else ""
    saves = ", ".join(filter(None, [shorter, rental.saves]))
    cost = None if plan.cost is None else plan.cost + rental.extra
    refuse_over_budget(connection, CostRequest(words, cost, rental.unpriced, saves=saves))
    if plan.cost is not None and rests.get(BALANCE, plan.cost) < plan.cost:
        broker = "Request credits from the operator of the broker."
        more = broker if connection.client.has_broker else "Buy credits: %lk_billing checkout 50."
        raise UsageError(
            f"{credits_label(rests[BALANCE])} are left, and {words} may cost {credits_label(plan.cost)}. "
            f"Nothing was sent. {more}{f' Or use less: {saves}' if saves else ''}"
        )
    return plan


def compute_plan(
    connection: Spender, rental: Rental, rests: dict[str, Decimal], seconds: float | None = None
) -> RentalPlan:
    """Return the end of a rental without a check; ``rests`` are the credits that the budgets and the balance have."""
    client, limit = connection.client, ""
    if seconds is None and rental.is_leased:
        end = client.lease_end
        seconds = max(SHORTEST_LEASE, int(min(DEFAULT_LEASE, DEFAULT_LEASE if end is None else end - client.now())))
    elif seconds is None:
        affordable = _convert_to_seconds(rests, rental.per_hour)
        shortest = min(affordable, key=lambda name: affordable[name], default="")
        seconds = DEFAULT_SECONDS
        if shortest and affordable[shortest] < seconds:
            seconds, limit = max(SHORTEST_SECONDS, affordable[shortest] // 60 * 60), shortest
    enforcer = BROKER if rental.is_leased else COMPUTER
    return RentalPlan(seconds, rental.per_hour, client.now() + seconds, enforcer, limit)


#: The name of the balance among the rests.
BALANCE = "the balance"


def read_rests(connection: Spender, per_hour: Decimal | None) -> dict[str, Decimal]:
    """Return the credits that each budget and the balance have for a rental at this price, by name."""
    if not per_hour:
        return {}
    rests: dict[str, Decimal] = {}
    for budget, limit in active_budgets():
        use = read_usage(connection, budget)
        if (limit - use.spent - use.open) * 3600 < per_hour * Decimal(DEFAULT_SECONDS):
            refresh_charges(connection, budget)  # resources that have ended since may have cost less
            use = read_usage(connection, budget)
        rests[budget.name] = limit - use.spent - use.open
    with suppress(LkError):  # some servers don't report the balance to every key
        rests[BALANCE] = available_credits(connection.client)[0]
    return rests


def _convert_to_seconds(rests: dict[str, Decimal], per_hour: Decimal | None) -> dict[str, float]:
    """Return the seconds that credits pay for."""
    return {name: max(0.0, float(rest * 3600 / per_hour)) for name, rest in rests.items()} if per_hour else {}


def _compute_cost(per_hour: Decimal | None, seconds: float) -> Decimal | None:
    return None if per_hour is None else per_hour * Decimal(str(seconds)) / 3600


_stated_plan: ContextVar[RentalPlan | None] = ContextVar("_stated_plan", default=None)


@contextmanager
def state_end(plan: RentalPlan) -> Iterator[None]:
    """Send the request in this block that rents a resource until the end of the plan."""
    token = _stated_plan.set(plan)
    try:
        yield
    finally:
        _stated_plan.reset(token)


def stated_plan(connection: Spender) -> RentalPlan | None:
    """Return the plan of the block; None outside of a block. Raises UsageError if its end is too close by now."""
    plan = _stated_plan.get()
    if plan and plan.ends_at - connection.client.now() < min(plan.seconds, SHORTEST_SECONDS) / 2:
        raise UsageError(
            f"The end of the rental, {plan.end_label}, is too close. Nothing was sent. Run the line again."
        )
    return plan


def find_stated_ends(base_url: str) -> dict[str, float]:
    """Return the stated ends of resources by id, in Unix seconds by the clock of the cloud."""
    ends = {charge.resource: charge.deadline for charge in charge_book().charges(base_url)}
    return {normalize_id(resource): end for resource, end in ends.items() if resource and end is not None}


def find_volume_ends(connection: Spender) -> dict[str, float]:
    """Return the stated ends of volumes by id, after reading the ids of new volumes."""
    charges = charge_book().charges(connection.base_url)
    record_ends(connection, [each for each in charges if each.kind == VOLUME and each.resource is None])
    charges = charge_book().charges(connection.base_url)
    return {each.resource: each.deadline for each in charges if each.resource and each.deadline is not None}


def extend_rental(connection: Spender, resource: str, name: str, seconds: float) -> RentalPlan:
    """Move the end of a resource of this computer to this many seconds from now.

    Raises UsageError for a resource without a stated end, and if a budget doesn't pay for the additional time.
    """
    charges = charge_book().charges(connection.base_url)
    charge = next(
        (each for each in charges if each.is_active and normalize_id(each.resource or "") == normalize_id(resource)),
        None,
    )
    if charge is None or charge.deadline is None:
        raise UsageError(f"{name} has no end on this computer: it was rented elsewhere. Nothing was changed.")
    now = connection.client.now()
    plan = RentalPlan(seconds, charge.rate, now + seconds)
    added = _compute_cost(charge.rate, max(0.0, plan.ends_at - max(now, charge.deadline)))
    refuse_over_budget(connection, CostRequest(f"{name} until {plan.end_label}", added, saves="a shorter time"))
    most = None if charge.most is None or added is None else charge.most + added
    charge_book().update(charge.token, deadline=plan.ends_at, most=most)
    return plan
