"""Show credits: remaining credits, active resources, and past spending."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.account.active import ActiveResource, counts_label
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.account.spending import Spending, Sum, relative_shares
from lk_jupyter.api.billing import CreditsBalance, UserCredits
from lk_jupyter.api.orgs import OrgBalance
from lk_jupyter.text.units import count_label, credits_label, duration_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, Drawing, Table, join_tables, omitted_line

if TYPE_CHECKING:
    from lk_jupyter.stop import StopPlan

_RIGHT = frozenset({"Credits", "Per hour"})
_BAR = 20


def credits_balance(credit: CreditsBalance) -> StaticView:
    """Show the balance of an account."""
    return _build_amount_table(
        ("Left", credit.remaining_credits),
        ("Used", credit.used_credits),
        ("Bought", credit.purchased_credits),
        ("Free", credit.monthly_free_credits),
    )


def user_credits(credit: UserCredits) -> StaticView:
    """Show the balance of an account, and the account's address."""
    available = ("Available", credit.available_credits)
    return _build_amount_table(
        available, ("Used", credit.used_credits), ("Bought", credit.purchased_credits), caption=credit.email
    )


def org_balance(credit: OrgBalance) -> StaticView:
    """Show the balance of an organization."""
    return _build_amount_table(("Left", credit.balance), note=_format_suspension(credit.account_suspended))


def balance(account: AccountBalance) -> StaticView:
    """Show the remaining credits, how long they last, and the resources that spend them."""
    budget = account.budget
    rows = [("Left", credits_label(account.credits))] if budget is None else [("Budget", account.label)]
    if budget is not None:
        moments = (("Renews", budget.renews_at), ("Ends", budget.ends_at))
        rows += [(name, f"{moment.astimezone():%a %d %b %H:%M}") for name, moment in moments if moment]
    rows.append(("Running now", _format_active_resources(account)))
    if account.depleted_at:
        seconds = (account.depleted_at - datetime.now(timezone.utc)).total_seconds()
        most = "" if account.rate.complete else " at the latest"
        rows.append(("Lasts", f"{duration_label(seconds)}, until {account.depleted_at.astimezone():%d %b %H:%M}{most}"))
    note = "\n".join(filter(None, [_format_suspension(account.suspended), *account.problems]))
    table = Table(("Credits", "Amount"), rows, note=note)
    return join_tables(table, *([resources(account.resources)] if account.resources else []))


def resources(active: tuple[ActiveResource, ...]) -> Table:
    """Show the active resources that cost credits."""
    rows = [
        (thing.name or thing.id[:8], thing.kind, thing.hardware, _format_amount(thing.per_hour, "unknown"), thing.end)
        for thing in active[:MOST]
    ]
    note = omitted_line(len(active), MOST, "All of them: session.balance().resources")
    return Table(("What", "Kind", "Hardware", "Per hour", "Ends"), rows, note, _RIGHT, "Running now, in credits")


def stop_plan(plan: StopPlan) -> Table:
    """Show all resources that a stop of everything stops, and all excluded resources."""
    rows = [
        *((*_build_active_row(each), "stops") for each in plan.resources),
        *((*_build_active_row(each.resource), "stays") for each in plan.excluded),
    ]
    total = f"Cost per hour that ends: {plan.rate.label}." if plan.resources else "Nothing to stop."
    columns = ("What", "Kind", "Id", "Hardware", "State", "Per hour", "Stop")
    caption = "Active, in credits per hour"
    return Table(columns, rows, "\n".join([total, *plan.notes]), _RIGHT, caption)


def _build_active_row(active: ActiveResource) -> tuple[str, ...]:
    price = _format_amount(active.per_hour, "unknown")
    return (active.label, active.kind, active.id, active.hardware, active.state, price)


def spending(report: Spending) -> StaticView:
    """Show the spending by day, kind and hardware, with bars."""
    spent = [each for each in report.by_day() if each.amount]
    tables = [
        _build_sums_table(
            "Day",
            spent,
            "By day, in credits",
            omitted_line(len(report.by_day()), len(spent), "days without spending."),
        ),
        _build_sums_table("Kind", report.by_kind(), "By kind"),
        _build_sums_table("Hardware", report.by_hardware(), "By hardware"),
    ]
    total = Table(
        ("Spent", "Credits"), [(f"Last {count_label(report.days, 'day')}", _format_amount(report.total))], right=_RIGHT
    )
    return join_tables(total, *(tables if report.charges else []))


def _build_sums_table(what: str, sums: list[Sum], caption: str, note: str = "") -> Table:
    rows = [
        (each.label, _format_amount(each.amount), share_bar(share)) for each, share in relative_shares(sums)[-MOST:]
    ]
    return Table((what, "Credits", "Share"), rows, note, _RIGHT, caption)


def share_bar(share: float) -> Drawing:
    """Return a bar for a share from 0 to 1; every table has the figure next to the bar."""
    width = max(1, round(share * 120))
    svg = (
        f'<svg width="120" height="10" aria-hidden="true"><rect width="{width}" height="10" rx="2" '
        f'fill="currentColor"/></svg>'
    )
    return Drawing(svg, "█" * max(1, round(share * _BAR)))


def _build_amount_table(*rows: tuple[str, Decimal | None], note: str = "", caption: str = "") -> StaticView:
    cells = [(name, _format_amount(amount)) for name, amount in rows if amount is not None]
    return join_tables(Table(("What", "Credits"), cells, note, _RIGHT, caption or "Balance"))


def _format_active_resources(account: AccountBalance) -> str:
    if not account.active_count:
        return "nothing"
    return f"{counts_label(account.resources)}, {account.rate.label}"


def _format_amount(amount: Decimal | None, unknown: str = "") -> str:
    return unknown if amount is None else credits_label(amount).removesuffix(" credits")


def _format_suspension(suspended: bool) -> str:  # noqa: FBT001 (a word for it)
    return "The account is suspended." if suspended else ""
