"""Record all spending besides runs: VMs, deployments, batches, chats, and starts by the raw client.

Each row is a reservation, written before its request is sent. Each user has a single file, next to the journal of runs
and shared by all kernels: two kernels can't both reserve the last credits.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.journal.database import Database, Schema
from lk_jupyter.text.secrets import mask_secrets

_log = logging.getLogger("lk_jupyter")

_TABLE = "charges"

#: The kind of the costs of runs.
RUN = "run"
_HOUR = 3600


@dataclass(frozen=True)
class RecordedCharge:
    """A reservation of credits.

    ``kind`` is a word for people, such as ``VM``. ``resource`` is the id from the server. ``rate`` is in credits per
    hour, for resources that are billed until they are deleted; ``most`` is the reserved amount in credits, and ``cost``
    the billed amount. Moments are Unix seconds: ``unclear_at`` is when the answer to the request was lost, and
    ``deadline`` the stated end by the clock of the cloud, at which this computer deletes the resource; None without an
    end, and for a resource that has certainly ended. ``account`` is the user and the organization that pay.
    """

    token: str
    base_url: str
    kind: str
    name: str
    begins: float
    notebook: str | None = None
    resource: str | None = None
    rate: Decimal | None = None
    most: Decimal | None = None
    cost: Decimal | None = None
    ends: float | None = None
    unclear_at: float | None = None
    deadline: float | None = None
    account: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether more may be billed."""
        return self.ends is None

    def spent(self, since: float, now: float) -> Decimal:
        """Return the credits billed between two moments."""
        if self.rate is None:
            return self.cost or Decimal(0) if self.begins >= since else Decimal(0)
        end = now if self.ends is None else self.ends
        seconds, within = max(0.0, end - self.begins), max(0.0, end - max(self.begins, since))
        if self.cost is not None and self.ends is not None and seconds:
            return self.cost * Decimal(within / seconds)
        return self.rate * Decimal(within) / _HOUR

    def open(self, since: float, now: float) -> Decimal:
        """Return the credits that are reserved and not spent yet."""
        if not self.is_active or self.most is None or (self.rate is None and self.begins < since):
            return Decimal(0)
        return max(Decimal(0), self.most - self.spent(0.0, now))


_FIELDS = tuple(field.name for field in fields(RecordedCharge))
_MONEY = ("rate", "most", "cost")
_MOMENTS = ("begins", "ends", "deadline")
_COLUMNS = {name: "PRIMARY KEY NOT NULL" if name == "token" else "" for name in _FIELDS}


class ChargeBook:
    """The charges of a user. No method raises if the file can't be used: see ``trouble``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._database = Database(path, {_TABLE: Schema(_COLUMNS, ("begins", "resource"))}, _log.warning)

    def add(self, charge: RecordedCharge) -> None:
        """Record a charge, which is on disk when this method returns."""
        row = _convert_to_columns({name: getattr(charge, name) for name in _FIELDS})
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self._execute(
            f"INSERT OR REPLACE INTO {_TABLE} ({names}) VALUES ({marks})",  # noqa: S608
            list(row.values()),
            durable=True,
        )

    def update(self, token: str, **changes: Any) -> None:
        """Change fields of the charge with this token."""
        row = _convert_to_columns(changes)
        assigned = ", ".join(f"{name} = ?" for name in row)
        self._execute(f"UPDATE {_TABLE} SET {assigned} WHERE token = ?", [*row.values(), token])  # noqa: S608

    def remove(self, token: str) -> None:
        """Remove a charge whose request was refused or never sent."""
        self._execute(f"DELETE FROM {_TABLE} WHERE token = ?", [token])  # noqa: S608

    def charges(self, base_url: str, *, since: float = 0.0, before: str = "") -> list[RecordedCharge]:
        """Return the charges on a server that may count since a moment, oldest first.

        ``before`` is a token: the charge with this token and all later charges are left out.
        """
        query = f"""
            SELECT * FROM {_TABLE} WHERE base_url = ? AND (ends IS NULL OR ends >= ?)
                AND rowid < COALESCE((SELECT rowid FROM {_TABLE} WHERE token = ?), 9223372036854775807)
            ORDER BY rowid
        """  # noqa: S608
        return [charge for row in self._execute(query, [base_url, since, before]) if (charge := _read_charge(row))]

    def overdue(self, now: float) -> list[RecordedCharge]:
        """Return the charges, on all servers, whose stated end has passed and whose resource may exist."""
        query = f"SELECT * FROM {_TABLE} WHERE deadline < ? ORDER BY rowid"  # noqa: S608
        return [charge for row in self._execute(query, [now]) if (charge := _read_charge(row))]

    def close(self) -> None:
        """Close the file; the next use opens the file again."""
        self._database.close()

    def _execute(self, statement: str, values: Sequence[Any], *, durable: bool = False) -> list[sqlite3.Row]:
        try:
            return self._database.execute(statement, values, durable=durable)
        except (sqlite3.Error, OSError, UnicodeError) as error:
            if not self.trouble:
                self.trouble = f"The file {self.path}, which records charges, can't be used ({error})."
                _log.warning(self.trouble)
        return []


def _convert_to_columns(changes: dict[str, Any]) -> dict[str, Any]:
    """Return values in their stored form, without secrets."""
    row = dict(changes)
    for name, value in changes.items():
        if name in _MONEY and value is not None:
            row[name] = str(value)
        elif isinstance(value, str):
            row[name] = mask_secrets(value).encode(errors="replace").decode()
    return row


def _read_charge(row: sqlite3.Row) -> RecordedCharge | None:
    """Return the charge of a row; None if the row is damaged."""
    values = {name: row[name] for name in _FIELDS}
    try:
        amounts = {name: None if values[name] is None else Decimal(values[name]) for name in _MONEY}
        if any(amount is not None and not amount.is_finite() for amount in amounts.values()):
            return None
        moments = {name: None if values[name] is None else float(values[name]) for name in _MOMENTS}
        return RecordedCharge(**{**values, **amounts, **moments})
    except (InvalidOperation, TypeError, ValueError):
        return None


_lock = threading.Lock()
_opened: dict[Path, ChargeBook] = {}


def charge_book() -> ChargeBook:
    """Return the charges of this user: the file is next to the journal."""
    journal: Path = setting("journal")
    path = journal.with_name(f"{journal.stem}-charges.sqlite")
    with _lock:
        if path not in _opened:
            _opened[path] = ChargeBook(path)
        return _opened[path]


def has_overdue_charges(ahead: float = 0.0) -> bool:
    """Return whether a stated end has passed, by the clock of this computer plus ``ahead`` seconds."""
    book = charge_book()
    return book.path.exists() and bool(book.overdue(time.time() + ahead))


def close_all() -> None:
    """Close every file that was opened."""
    with _lock:
        for book in _opened.values():
            book.close()
        _opened.clear()
