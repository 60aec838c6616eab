"""Show credits: remaining credits, active resources, when the credits run out, and past spending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from traitlets import Bool, Int, List, Unicode

from lk_jupyter.account import balance
from lk_jupyter.account.active import counts_label
from lk_jupyter.account.spending import Spending, Sum, read_organizations, read_spending, relative_shares
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import count_label, credits_label
from lk_jupyter.views import credits as pictures
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.png import Part, draw_bars
from lk_jupyter.views.table import Table, join_tables
from lk_jupyter.widgets._view import View, user_action


class Balance(View):
    """Credits of an organization: remaining, used per hour, until when, and spent by day, kind and hardware.

    Args:
        org: Slug of another organization than the session's. Default: the session's.
        days: Days of spending to show. Default: 30.

    Example:
        >>> from lk_jupyter.widgets import Balance
        >>> balance = Balance(days=7)
        >>> balance.load()
        >>> balance.left
        '...'
        >>> balance.switch("")
        >>> balance.close()
    """

    component = "balance"

    org = Unicode(help="slug of the organization; empty for the organization of the session").tag(sync=True)
    orgs: List[Any] = List(help="slug and name of the organizations to switch to").tag(sync=True)
    days = Int(30, help="days of spending").tag(sync=True)
    left = Unicode(help="credits that are left").tag(sync=True)
    running = Unicode(help="what uses credits now").tag(sync=True)
    per_hour = Unicode(help="credits per hour for everything that is active").tag(sync=True)
    runs_out = Unicode(help="when the credits end, ISO 8601; empty when nothing runs").tag(sync=True)
    complete = Bool(default_value=True, help="whether all prices are known").tag(sync=True)
    burning: List[Any] = List(help="name, kind, hardware and price of each thing that runs").tag(sync=True)
    suspended = Bool(help="whether the account is").tag(sync=True)
    spent = Unicode(help="credits that were spent").tag(sync=True)
    by_day: List[Any] = List(
        help="each row of the chart: its label, its credits, and its share of the largest row"
    ).tag(sync=True)
    by_kind: List[Any] = List(
        help="each row of the chart: its label, its credits, and its share of the largest row"
    ).tag(sync=True)
    by_hardware: List[Any] = List(
        help="each row of the chart: its label, its credits, and its share of the largest row"
    ).tag(sync=True)

    def __init__(self, org: str = "", *, days: int = 30) -> None:
        super().__init__(every=30_000, org=org, days=days)
        self._other: Session | None = None

    def load(self) -> None:
        """Read the balance, the active resources, and the ledger."""
        session = self._session()
        current, past = session.balance(), read_spending(session, self.days)
        self.orgs = [list(each) for each in read_organizations(session)]
        self.org = self.org or past.organization
        self._show_now(current)
        self._show_past(past)
        self.suspended = current.suspended

    @user_action
    def switch(self, org: str) -> None:
        """Show another organization. The session of the notebook stays the same.

        Args:
            org: Slug of the organization; an empty text for the session's.
        """
        self.org = org
        self.refresh()

    def close(self) -> None:
        """End the connections of another organization."""
        if self._other:
            self._other.close()
        super().close()

    def picture(self) -> StaticView:
        """Show remaining and spent credits."""
        most = "" if self.complete else " at the latest"
        ends = [("Lasts until", self.runs_out[:16].replace("T", " ") + most)] if self.runs_out else []
        rows = [("Left", self.left), ("Running now", self.running), ("Per hour", self.per_hour), *ends]
        note = "The account is suspended." if self.suspended else ""
        now = Table(("Credits", "Amount"), rows, note, caption=f"Credits of {self.org}" if self.org else "Credits")
        total = Table(
            ("Spent", "Credits"), [(f"Last {count_label(self.days, 'day')}", self.spent)], right=frozenset({"Credits"})
        )
        parts = self._table_parts()
        view = join_tables(now, total, *(_sums_table(caption, rows) for caption, rows in parts))
        return replace(view, png=partial(draw_bars, parts, join_tables(now, total).text)) if parts else view

    def _table_parts(self) -> list[Part]:
        days = [row for row in self.by_day if row[2]]
        parts = (("By day", days), ("By kind", self.by_kind), ("By hardware", self.by_hardware))
        return [(caption, rows) for caption, rows in parts if rows]

    def _session(self) -> Session:
        """Return the session of the notebook, or a second session for another organization."""
        shared = current(start=False)
        if not self.org:
            return shared
        target = replace(shared.target, org=self.org)
        if self._other is None or self._other.target != target:
            if self._other:
                self._other.close()
            self._other = Session(target)
        return self._other

    def _show_now(self, current: balance.AccountBalance) -> None:
        self.left = current.label.removesuffix(" left")
        self.running = counts_label(current.resources)
        self.per_hour = current.rate.label if current.active_count else "nothing"
        self.complete = current.rate.complete
        self.runs_out = current.depleted_at.astimezone().isoformat(timespec="minutes") if current.depleted_at else ""
        self.burning = [
            [thing.name or thing.id[:8], thing.kind, thing.hardware, credits_label(thing.per_hour)]
            for thing in current.resources
        ]

    def _show_past(self, history: Spending) -> None:
        self.spent = credits_label(history.total)
        self.by_day, self.by_kind = _bar_rows(history.by_day()), _bar_rows(history.by_kind())
        self.by_hardware = _bar_rows(history.by_hardware())


def _bar_rows(sums: list[Sum]) -> list[list[Any]]:
    return [
        [each.label, credits_label(each.amount).removesuffix(" credits"), share]
        for each, share in relative_shares(sums)
    ]


def _sums_table(caption: str, rows: Sequence[Sequence[Any]]) -> Table:
    cells = [(label, amount, pictures.share_bar(share)) for label, amount, share in rows]
    return Table((caption[3:].capitalize(), "Credits", "Share"), cells, "", frozenset({"Credits"}), caption)
