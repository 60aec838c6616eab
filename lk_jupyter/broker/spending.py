"""The use of grants in a month: by key, user, group and project, and as CSV.

A run and a VM count in the month of their start, in UTC. Amounts are in billionths of a credit, as in the ledger.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any
from unicodedata import normalize

from lk_jupyter.broker.grants import BILLION, Grant, RefusedCall
from lk_jupyter.broker.ledger import MODEL_CALLS, RENTAL, ROOT, GrantLedger, GrantUsage, RunRow

#: Columns of the CSV of a month. The cloud reports neither volumes nor the price of storage for a key: these columns
#: are empty.
MONTH_COLUMNS = (
    "month", "user", "group", "project", "key", "name", "runs", "run_hours", "run_credits", "vms", "vm_hours",
    "vm_credits", "model_calls", "model_credits", "reserved_credits", "volumes", "volume_credits",
    "uploaded_gib", "storage_credits",
)  # fmt: skip

#: Columns of the CSV of single runs.
RUN_COLUMNS = ("key", "name", "run", "state", "machine", "started", "seconds", "credits", "alarm")

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")

#: First characters of a cell that a spreadsheet executes.
_FORMULA_SIGNS = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Use:
    """The use of a grant: amounts in billionths, times in seconds. ``reserved`` has no bill yet."""

    runs: int = 0
    run_seconds: int = 0
    run_credits: int = 0
    vms: int = 0
    vm_seconds: int = 0
    vm_credits: int = 0
    model_calls: int = 0
    model_credits: int = 0
    reserved: int = 0
    uploaded_bytes: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Use)))

    @property
    def credits(self) -> int:
        """Billed and reserved credits together, in billionths."""
        return self.run_credits + self.vm_credits + self.model_credits + self.reserved


@dataclass(frozen=True)
class GrantUse:
    """The use of one key in a month, with its user, group and project; texts are empty if there is none."""

    grant: Grant
    user: str
    group: str
    project: str
    use: Use


@dataclass(frozen=True)
class Month:
    """A month in UTC, such as 2026-11; ``start`` and ``end`` in Unix seconds."""

    label: str
    start: float
    end: float

    @classmethod
    def parse(cls, text: str | None) -> Month:
        """Return a month; the current month without a text. Raises RefusedCall."""
        match = _MONTH.fullmatch(text or f"{datetime.now(timezone.utc):%Y-%m}")
        if match is None:
            raise RefusedCall(422, f"A month has the form 2026-11, got {str(text)[:20]!r}.")
        year, number = int(match[1]), int(match[2])
        start = datetime(year, number, 1, tzinfo=timezone.utc)
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
        return cls(match[0], start.timestamp(), end.timestamp())


@dataclass(frozen=True)
class GrantBudget:
    """The budget of a grant, or of a grant above it, with its use in the current period; ``credits`` in billionths."""

    grant: Grant
    credits: int
    usage: GrantUsage

    @property
    def remaining(self) -> int:
        """Billionths that may still be reserved."""
        return max(0, self.credits - self.usage.credits)

    @property
    def is_exceeded(self) -> bool:
        """Whether bills and reservations exceed the budget: a bill was higher than its reservation."""
        return self.usage.credits > self.credits

    @property
    def renews_at(self) -> datetime | None:
        """When the budget counts from 0 again, in UTC; None without a period."""
        return self.grant.limits.period_end(datetime.now(timezone.utc))

    def describe(self) -> dict[str, Any]:
        """Return the budget as JSON: credits, and times in ISO format."""
        limits = self.grant.limits
        ends_at = None if limits.ends_at is None else datetime.fromtimestamp(limits.ends_at, timezone.utc)
        return {
            "name": limits.name,
            "credits": self.credits / BILLION,
            "period": limits.period or None,
            "renews_at": _format_iso(self.renews_at),
            "ends_at": _format_iso(ends_at),
        }


def _format_iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def read_budgets(ledger: GrantLedger, grant: Grant) -> Iterator[GrantBudget]:
    """Iterate over the budgets that a grant spends from, its own first; none for the operator.

    The use of a budget is read when the iterator reaches it: the use of a group takes time.
    """
    for payer in map(ledger.grant, grant.chain):
        if payer.limits.credits is not None:
            yield GrantBudget(payer, payer.limits.credits, ledger.usage(payer))


def read_uses(ledger: GrantLedger, grant_id: str, month: Month) -> list[GrantUse]:
    """Return the use of a grant and of all grants below it, largest first; grants without use are left out."""
    uses: dict[str, Use] = {}
    for owner, operation, count, seconds, billed, reserved in ledger.sum_runs(grant_id, month.start, month.end):
        if operation == RENTAL:
            use = Use(vms=count, vm_seconds=seconds, vm_credits=billed)
        elif operation.startswith(MODEL_CALLS):
            use = Use(model_calls=count, model_credits=billed)
        else:
            use = Use(runs=count, run_seconds=seconds, run_credits=billed)
        uses[owner] = uses.get(owner, Use()) + use + Use(reserved=reserved)
    for owner, size in ledger.sum_uploads(grant_id, month.label):
        uses[owner] = uses.get(owner, Use()) + Use(uploaded_bytes=size)
    names = ledger.grant_names()
    rows = [
        GrantUse(grant, *read_affiliation(ledger, grant, names), uses[grant.id]) for grant in map(ledger.grant, uses)
    ]
    return sorted(rows, key=lambda row: (-row.use.credits, row.user, row.grant.id))


def read_affiliation(ledger: GrantLedger, grant: Grant, names: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the user, group and project of a grant; empty texts if there is none.

    The user is the user of the hub, or the name of the key that the operator issued. A project counts for the keys
    below its key too.
    """
    user = group = project = ""
    for payer in map(ledger.grant, grant.chain):
        kind, _, name = names.get(payer.id, "").partition(" ")
        project = project or payer.limits.project
        if kind == "group":
            group = name
        elif payer.id != ROOT:  # the outermost key decides
            user = name or payer.limits.name or payer.id
    return user, group, project


def sum_uses(rows: Iterable[GrantUse], label: Callable[[GrantUse], str]) -> dict[str, Use]:
    """Return the sums of rows by a label, largest first; rows with an empty label are left out."""
    sums: dict[str, Use] = {}
    for row in rows:
        if name := label(row):
            sums[name] = sums.get(name, Use()) + row.use
    return dict(sorted(sums.items(), key=lambda item: (-item[1].credits, item[0])))


def month_csv(rows: Iterable[GrantUse], month: Month) -> str:
    """Return the use of a month as CSV, a row for each key."""
    return write_csv(MONTH_COLUMNS, (_build_month_row(row, month) for row in rows))


def _build_month_row(row: GrantUse, month: Month) -> dict[str, Any]:
    use = row.use
    return {
        "month": month.label,
        "user": row.user,
        "group": row.group,
        "project": row.project,
        "key": row.grant.id,
        "name": row.grant.limits.name,
        **asdict(use),
        "run_hours": f"{use.run_seconds / 3600:.4f}",
        "run_credits": decimal_text(use.run_credits),
        "vm_hours": f"{use.vm_seconds / 3600:.4f}",
        "vm_credits": decimal_text(use.vm_credits),
        "model_credits": decimal_text(use.model_credits),
        "reserved_credits": decimal_text(use.reserved),
        "uploaded_gib": f"{use.uploaded_bytes / (1 << 30):.6f}",
    }


def runs_csv(ledger: GrantLedger, grant_id: str, month: Month) -> str:
    """Return the runs of a grant, and of the grants below it, in a month as CSV."""
    rows = ledger.runs_below(grant_id, month.start, month.end)
    return write_csv(RUN_COLUMNS, (describe_run(ledger, row) for row in rows))


def describe_run(ledger: GrantLedger, row: RunRow) -> dict[str, Any]:
    """Return a run in the ledger: its key, state, time in seconds and credits; the reservation before the bill."""
    return {
        "key": row.grant_id,
        "name": ledger.grant(row.grant_id).limits.name,
        "run": row.execution_id,
        "state": row.state,
        "machine": row.machine,
        "started": datetime.fromtimestamp(row.created_at, timezone.utc).isoformat(timespec="seconds"),
        "seconds": row.seconds,
        "credits": row.amount / BILLION,
        "alarm": row.alarm,
    }


def write_csv(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV. Texts that a spreadsheet would execute start with an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _escape_formula(value) for name, value in row.items()})
    return text.getvalue()


def _escape_formula(value: Any) -> Any:
    """Return a value so that no spreadsheet executes it as a formula; numbers stay."""
    # spreadsheets ignore space before a sign, and read the signs in full width too
    is_formula = isinstance(value, str) and normalize("NFKC", value).lstrip().startswith(_FORMULA_SIGNS)
    return f"'{value}" if is_formula else value


def decimal_text(amount: int) -> str:
    """Return billionths of a credit as credits with all decimals, without a float."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    return f"{sign}{amount // BILLION}.{amount % BILLION:09d}"
