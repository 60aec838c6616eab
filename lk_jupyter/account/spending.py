"""Spending by resource and day, from the ledger of an organization."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lk_jupyter.account.active import hardware_label
from lk_jupyter.api.billing import BillingActivity
from lk_jupyter.api.orgs import OrgTransaction
from lk_jupyter.errors import Forbidden, NotFound, UsageError
from lk_jupyter.text.terminal import one_line

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Source of an entry → usual name.
KINDS = {
    "executions": "Runs",
    "execution": "Runs",
    "vms": "VMs",
    "volumes": "Volumes",
    "dedicated_inference": "Deployments",
    "inference_prompt_tokens": "Tokens",
    "inference_completion_tokens": "Tokens",
    "serverless_inference_prompt_tokens": "Tokens",
    "serverless_inference_completion_tokens": "Tokens",
}

#: Types of an activity that give credits.
_CREDIT_KINDS = frozenset({"purchase", "purchases", "grants", "grant", "vouchers", "voucher", "bonus", "credit"})

#: Number of entries in the first request; each further request has four times as many: the ledger has no pages.
_FIRST, _GROWTH = 100, 4

#: Days of a report where no number is set.
DAYS = 30
_LONGEST_DAYS = 3660


@dataclass(frozen=True)
class Charge:
    """One charge.

    ``id``, ``time`` (datetime, UTC), ``kind`` such as Runs, ``hardware``, ``amount`` in credits, ``description``.

    Example:
        >>> _ = session.run("print(1)").result()
        >>> session.spending().charges[0].day
        datetime.date(...)
    """

    id: str
    time: datetime
    kind: str
    hardware: str
    amount: Decimal
    description: str = ""

    @property
    def day(self) -> date:
        """The day of the charge in the time zone of this machine."""
        return self.time.astimezone().date()


@dataclass(frozen=True)
class Sum:
    """The sum of several charges.

    ``label`` is what they have in common, ``count`` their number, ``amount`` the sum in credits.

    Example:
        >>> _ = session.run("print(1)").result()
        >>> session.spending().by_kind()[0].count > 0
        True
    """

    label: str
    count: int
    amount: Decimal


@dataclass(frozen=True)
class Spending:
    """The ``charges`` of the last ``days`` days, newest first, and their sums in credits.

    ``organization`` is whose charges they are, ``today`` the last day (None: the present day).

    Example:
        >>> _ = session.run("print(1)").result()
        >>> spending = session.spending(days=7)
        >>> spending.total == sum(day.amount for day in spending.by_day())
        True
        >>> [kind.label for kind in spending.by_kind()]
        [...'Runs'...]
        >>> spending.by_hardware()[0].amount > 0
        True
        >>> list(spending.df.columns)
        ['credits', 'kind', 'hardware', 'description']
    """

    charges: tuple[Charge, ...]
    days: int
    organization: str = ""
    today: date | None = None

    @property
    def total(self) -> Decimal:
        """The sum of all charges, in credits."""
        return sum((charge.amount for charge in self.charges), Decimal(0))

    def by_day(self) -> list[Sum]:
        """Return the sum of each day in credits, oldest first; a day without a charge is 0."""
        last = self.today or datetime.now(timezone.utc).astimezone().date()
        sums = {each.label: each for each in self._sum_by(lambda charge: charge.day.isoformat())}
        labels = ((last - timedelta(days=ago)).isoformat() for ago in reversed(range(self.days)))
        return [sums.get(label, Sum(label, 0, Decimal(0))) for label in labels]

    def by_kind(self) -> list[Sum]:
        """Return the sum of each kind in credits, such as Runs and VMs, largest first."""
        return self._sum_by(lambda charge: charge.kind)

    def by_hardware(self) -> list[Sum]:
        """Return the sum of each GPU in credits, largest first; ``none`` needs no machine."""
        return self._sum_by(lambda charge: charge.hardware)

    @property
    def df(self) -> Any:
        """A pandas DataFrame with a row for each charge, newest first.

        Index ``time`` (datetime64, UTC). Columns: ``credits`` (float64), ``kind`` (str), ``hardware`` (str),
        ``description`` (str).

        Raises:
            UsageError: pandas is missing.
        """
        from lk_jupyter.text.pandas import import_pandas  # noqa: PLC0415 (for those who ask for a table)

        columns = {
            name: [one_line(getattr(charge, name)) for charge in self.charges]
            for name in ("kind", "hardware", "description")
        }
        amounts = [float(charge.amount) for charge in self.charges]
        index = import_pandas().DatetimeIndex([charge.time for charge in self.charges], tz="UTC", name="time")
        frame = import_pandas().DataFrame({"credits": amounts, **columns}, index=index)
        return frame.astype({"credits": "float64", **dict.fromkeys(columns, "str")})

    def _sum_by(self, label: Callable[[Charge], str]) -> list[Sum]:
        by_label: dict[str, list[Decimal]] = defaultdict(list)
        for charge in self.charges:
            by_label[label(charge)].append(charge.amount)
        sums = [Sum(name, len(amounts), sum(amounts, Decimal(0))) for name, amounts in by_label.items()]
        return sorted(sums, key=lambda each: (-each.amount, each.label))


def __getattr__(name: str) -> Callable[..., Spending]:
    """Return ``read_spending`` for its old name ``spending``, with a warning."""
    if name != "spending":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "lk_jupyter.account.spending.spending(session) is now session.spending().", FutureWarning, stacklevel=2
    )
    return read_spending


def read_spending(session: Connection, days: int = DAYS) -> Spending:
    """Return what the organization has spent in the last days, today included. Raises UsageError for other days."""
    if not isinstance(days, int) or not 1 <= days <= _LONGEST_DAYS:
        raise UsageError(f"Spending can be read for 1 to {_LONGEST_DAYS} days, but you requested {days!r}.")
    today = datetime.now(timezone.utc).astimezone().date()
    first = today - timedelta(days=days - 1)
    recent = takewhile(lambda charge: charge.day >= first, read_charges(session))
    return Spending(tuple(recent), days, _organization_slug(session) or "", today)


def read_charges(session: Connection) -> Iterator[Charge]:
    """Iterate over all charges, newest first, and request more on demand."""
    slug = _organization_slug(session)
    if slug:
        with suppress(NotFound, Forbidden):  # then the personal account, as before organizations existed
            yield from filter(None, map(_transaction_charge, _read_transactions(session, slug)))
            return
    activities = session.client.billing.activities(limit=_FIRST).all()
    yield from filter(None, (_activity_charge(each) for each in activities if each.type not in _CREDIT_KINDS))


def _read_transactions(session: Connection, slug: str) -> Iterator[OrgTransaction]:
    limit, ids = _FIRST, set[str]()
    while True:
        page = session.client.orgs.transactions(slug, limit=limit, kind="debit")
        yield from (entry for entry in page if entry.id not in ids)
        ids.update(entry.id for entry in page)
        if len(page) < limit:
            return
        limit *= _GROWTH


def _organization_slug(session: Connection) -> str | None:
    with suppress(NotFound):
        return session.client.user.org().slug
    return None


def _transaction_charge(entry: OrgTransaction) -> Charge | None:
    if entry.created_at is None or entry.amount is None:
        return None
    facts = entry.metadata or {}
    kind, hardware = _kind_label(facts.get("source")), hardware_label(_text_or_empty(facts.get("hardware_profile")))
    return Charge(
        entry.id, entry.created_at, kind, hardware, abs(entry.amount), _text_or_empty(facts.get("description"))
    )


def _activity_charge(entry: BillingActivity) -> Charge | None:
    if entry.created_at is None:
        return None
    amount = abs(entry.amount or Decimal(0))
    hardware = hardware_label(entry.hardware_profile)
    return Charge(entry.activity_id, entry.created_at, _kind_label(entry.type), hardware, amount, entry.description)


def _kind_label(source: object) -> str:
    name = _text_or_empty(source)
    return KINDS.get(name, name.replace("_", " ").capitalize() or "Other")


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def read_organizations(session: Connection) -> list[tuple[str, str]]:
    """Return slug and name of the organizations that the caller may switch to; none where the server has none."""
    with suppress(NotFound, Forbidden):
        return [(org.slug, org.name) for org in session.client.orgs.list()]
    return []


def relative_shares(sums: Iterable[Sum]) -> list[tuple[Sum, float]]:
    """Return sums with their share of the largest, from 0 to 1, for bars."""
    all_sums = list(sums)
    most = max((each.amount for each in all_sums), default=Decimal(0))
    return [(each, float(each.amount / most) if most else 0.0) for each in all_sums]
