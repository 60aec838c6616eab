"""The ledger: the credits that each organization received and used, exact to a billionth of a credit.

The transaction that changes a state books the entry of the change, once: a second entry of the same category, source
and start changes nothing. The meters report costs that still grow and aren't booked yet.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.store import Store

#: Categories of credits that organizations receive.
CreditCategory = Literal["grants", "vouchers", "purchases"]

#: Categories of use that organizations pay for; the words of the API, and ``volumes``.
DebitCategory = Literal[
    "executions",
    "vms",
    "volumes",
    "dedicated_inference",
    "inference_prompt_tokens",
    "inference_completion_tokens",
    "serverless_inference_prompt_tokens",
    "serverless_inference_completion_tokens",
]

CREDITS: tuple[str, ...] = get_args(CreditCategory)
DEBITS: tuple[str, ...] = get_args(DebitCategory)

#: A function that returns the unbooked costs of an organization so far.
Meter = Callable[[str], Decimal]

_BILLION = Decimal(10) ** 9

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, org TEXT NOT NULL, time REAL NOT NULL, category TEXT NOT NULL,
    source TEXT NOT NULL, since REAL NOT NULL, billionths INTEGER NOT NULL, free INTEGER NOT NULL, facts TEXT NOT NULL,
    UNIQUE (category, source, since)
);
CREATE INDEX IF NOT EXISTS entries_newest ON entries (org, seq DESC, category);
CREATE INDEX IF NOT EXISTS entries_newest_of_category ON entries (org, category, seq DESC);
CREATE TABLE IF NOT EXISTS entry_sums (
    org TEXT NOT NULL, category TEXT NOT NULL, entries INTEGER NOT NULL, billionths INTEGER NOT NULL,
    free INTEGER NOT NULL, PRIMARY KEY (org, category)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS entries_are_summed AFTER INSERT ON entries BEGIN
    INSERT INTO entry_sums VALUES (NEW.org, NEW.category, 1, NEW.billionths, NEW.free)
    ON CONFLICT (org, category) DO UPDATE SET
        entries = entries + 1, billionths = billionths + NEW.billionths, free = free + NEW.free;
END;
"""


@dataclass(frozen=True)
class LedgerEntry:
    """A booking: ``credits`` is positive for received credits and negative for used credits.

    ``free`` is the part of ``credits`` that moves free credits, which are used before bought credits.
    """

    id: str
    time: float
    category: str
    source: str
    credits: Decimal
    free: Decimal
    facts: dict[str, Any]


@dataclass(frozen=True)
class LedgerGroup:
    """The use of a category with a common fact, in credits."""

    value: str
    count: int
    credits: Decimal
    first: float
    last: float


@dataclass(frozen=True)
class Standing:
    """The credits that an organization had received and used at a moment."""

    free: Decimal
    bought: Decimal
    booked: Decimal
    accruing: Decimal

    @property
    def credited(self) -> Decimal:
        """All received and bought credits."""
        return self.free + self.bought

    @property
    def used(self) -> Decimal:
        """The cost of ended uses, and of active uses so far."""
        return self.booked + self.accruing

    @property
    def remaining(self) -> Decimal:
        """The credits that can still be spent."""
        return self.credited - self.used


class Ledger:
    """The credits that organizations received and used."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._meters: list[Meter] = []
        store.add_tables(_TABLES)
        with store.write() as db:
            _migrate_old_entries(db)

    def add_meter(self, meter: Meter) -> None:
        """Count the costs of active uses that aren't booked yet; ``meter`` reads from the store."""
        self._meters.append(meter)

    def grant(self, org_id: str, credits: Decimal) -> None:  # noqa: A002 (the word of the API)
        """Give an organization its starting credits, once."""
        with self._store.write() as db:
            self.credit(db, org_id, "grants", org_id, credits, description="Starting credits")

    def credit(
        self,
        db: sqlite3.Connection,
        org_id: str,
        category: CreditCategory,
        source: str,
        credits: Decimal,  # noqa: A002
        **facts: Any,
    ) -> bool:
        """Give credits; False when the source was booked before."""
        return _insert_entry(db, org_id, (category, source, 0.0), credits, facts)

    def charge(  # noqa: PLR0913 (one entry)
        self,
        db: sqlite3.Connection,
        org_id: str,
        category: DebitCategory,
        source: str,
        credits: Decimal,  # noqa: A002
        *,
        since: float = 0.0,
        **facts: Any,
    ) -> None:
        """Bill a use within the transaction that changes the state of the use.

        Bill an active use in stretches: ``since`` is the second at which the stretch starts, and the same transaction
        stores the start of the next stretch. ``facts`` are the groups of the entry, such as ``vm_id`` and
        ``hardware_profile``, with a ``description`` for people. A free use isn't booked.
        """
        if credits:
            _insert_entry(db, org_id, (category, source, since), -credits, facts)

    def require_credits(self, org_id: str) -> None:
        """Refuse a start with 402 if no credits remain."""
        if self.read_standing(org_id).remaining <= 0:
            raise HTTPException(402, "Insufficient credits: none are left")

    def read_standing(self, org_id: str) -> Standing:
        """Return received and used credits of an organization, all from the same moment."""
        with self._store.snapshot():
            sums = {row["category"]: _read_credits(row) for row in self._read_sums(org_id)}
            accruing = sum((meter(org_id) for meter in self._meters), Decimal(0))
        bought = sums.get("purchases", Decimal(0))
        free = sum((sums.get(category, Decimal(0)) for category in CREDITS), Decimal(0)) - bought
        booked = -sum((sums.get(category, Decimal(0)) for category in DEBITS), Decimal(0))
        return Standing(free, bought, booked, accruing)

    def sum_category(self, org_id: str, category: DebitCategory) -> Decimal:
        """Return the sum of the entries of a category, in credits."""
        return sum((-_read_credits(row) for row in self._read_sums(org_id) if row["category"] == category), Decimal(0))

    def count_entries(self, org_id: str, categories: Collection[str] = (*CREDITS, *DEBITS)) -> int:
        """Return the number of entries of some categories."""
        return sum(row["entries"] for row in self._read_sums(org_id) if row["category"] in categories)

    def list_entries(
        self, org_id: str, limit: int, offset: int = 0, categories: Collection[str] = (*CREDITS, *DEBITS)
    ) -> list[LedgerEntry]:
        """Return entries of some categories, newest first."""
        marks = ", ".join("?" * len(categories))
        query = f"SELECT * FROM entries WHERE org = ? AND category IN ({marks}) ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608
        return [_read_entry(row) for row in self._store.read(query, org_id, *categories, limit, offset)]

    def find_entry(self, category: CreditCategory, source: str) -> LedgerEntry | None:
        """Return the entry of a source, or None."""
        rows = self._store.read("SELECT * FROM entries WHERE category = ? AND source = ?", category, source)
        return _read_entry(rows[0]) if rows else None

    def sum_groups(self, org_id: str, category: str, fact: str) -> list[LedgerGroup]:
        """Sum the costs of a category for each value of a fact, most expensive first."""
        query = """
            SELECT json_extract(facts, ?) AS value, COUNT(*) AS count, -SUM(billionths) AS billionths,
                   MIN(time) AS first, MAX(time) AS last
            FROM entries WHERE org = ? AND category = ? AND value IS NOT NULL GROUP BY value ORDER BY billionths DESC
        """
        rows = self._store.read(query, f'$."{fact}"', org_id, category)
        return [
            LedgerGroup(str(row["value"]), row["count"], _read_credits(row), row["first"], row["last"]) for row in rows
        ]

    def _read_sums(self, org_id: str) -> list[sqlite3.Row]:
        return self._store.read("SELECT * FROM entry_sums WHERE org = ?", org_id)


def _read_credits(row: sqlite3.Row, column: str = "billionths") -> Decimal:
    return Decimal(row[column]) / _BILLION


def _read_entry(row: sqlite3.Row) -> LedgerEntry:
    amounts = _read_credits(row), _read_credits(row, "free")
    return LedgerEntry(row["id"], row["time"], row["category"], row["source"], *amounts, json.loads(row["facts"]))


def _insert_entry(
    db: sqlite3.Connection,
    org_id: str,
    key: tuple[str, str, float],
    credits: Decimal,  # noqa: A002
    facts: dict[str, Any],
) -> bool:
    billionths = int((credits * _BILLION).to_integral_value())
    free = _compute_free_part(db, org_id, key[0], billionths)
    entry = (str(uuid4()), org_id, time.time(), *key, billionths, free, json.dumps(facts))
    query = """
        INSERT INTO entries (id, org, time, category, source, since, billionths, free, facts)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
    """
    return db.execute(query, entry).rowcount == 1


def _migrate_old_entries(db: sqlite3.Connection) -> None:
    """Move the entries of data folders from before credits could be bought."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger'").fetchone():
        return
    for row in db.execute("SELECT * FROM ledger ORDER BY seq").fetchall():
        category, fact = ("grants", "org_id") if row["reason"] == "grant" else ("executions", "execution_id")
        _insert_entry(db, row["org"], (category, row["source"], 0.0), _read_credits(row), {fact: row["source"]})
    db.execute("DROP TABLE ledger")


def _compute_free_part(db: sqlite3.Connection, org_id: str, category: str, billionths: int) -> int:
    """Return the part of an amount that moves free credits: uses spend them first, debts reduce grants."""
    query = "SELECT COALESCE(SUM(free), 0), COALESCE(SUM(billionths - free), 0) FROM entry_sums WHERE org = ?"
    free, bought = map(int, db.execute(query, (org_id,)).fetchone())
    if billionths < 0:
        return -min(free, -billionths)
    return 0 if category == "purchases" else max(0, billionths + min(0, bought))
