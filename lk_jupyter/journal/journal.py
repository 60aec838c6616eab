"""The journal of runs: every run that this machine started, with the result.

Each user has a single file, shared by all kernels. An entry is written before its run is sent, under a token that is
part of the request: so a run can be found even if the answer is lost. A run never fails because the journal can't be
written; a single warning reports the failure. Apparent secrets aren't stored, so a request that contained a secret
can't be repeated from the journal.
"""

from __future__ import annotations

import atexit
import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lk_jupyter.api.states import STOP_SECONDS
from lk_jupyter.config.settings import setting
from lk_jupyter.journal import charges, texts
from lk_jupyter.journal.database import Database, Schema, Statement
from lk_jupyter.journal.entry import ENDED, FIELDS, JSON, LARGE, MONEY, TABLE, CellContext, parse_entry
from lk_jupyter.journal.entry import REFUSED as REFUSED  # noqa: PLC0414
from lk_jupyter.journal.entry import SUBMITTING as SUBMITTING  # noqa: PLC0414
from lk_jupyter.journal.entry import JournalEntry as JournalEntry  # noqa: PLC0414 (known by this place too)
from lk_jupyter.text.secrets import mask_secrets, redact_values

_log = logging.getLogger("lk_jupyter")


@dataclass(frozen=True)
class BudgetCharge:
    """The cost of a run, or the data of its maximum cost: price, and time limit in seconds."""

    token: str
    execution_id: str | None
    state: str
    cost: Decimal | None
    price_per_hour: Decimal | None
    timeout: float

    @property
    def going_on(self) -> bool:
        """Whether the last known state is active."""
        return self.state not in ENDED


@dataclass(frozen=True)
class ExpiredRun:
    """A run that is old enough to be deleted; ``cost`` is the bill, or the maximum cost."""

    token: str
    base_url: str
    notebook: str | None
    created_at: float
    cost: Decimal


_COLUMNS = {
    name: "PRIMARY KEY NOT NULL" if name == "token" else ""
    for name in [*(name for name in FIELDS if name not in LARGE), *LARGE]
}
#: Number of requests that are rewritten in a transaction.
_SPLIT_AT_ONCE = 100
#: The rest of a query for the run with an id or token; a cloud may give the id of an earlier run again.
_NEWEST = "WHERE token = ? OR execution_id = ? ORDER BY rowid DESC LIMIT 1"

_INDEXES = ("execution_id", "created_at", "code_hash")


class Journal:
    """The entries of a user, newest first. No method raises if the file can't be used: see ``trouble``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        tables = {TABLE: Schema(_COLUMNS, _INDEXES), texts.TABLE: Schema(texts.COLUMNS)}
        self._database = Database(path, tables, _log.warning)

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    def add(self, entry: JournalEntry) -> None:
        """Store a new run, and replace an entry with the same token; the run is on disk when this method returns."""
        with self._database.lock:  # a row copies the request: rows of many runs would wait for the file in memory
            row = convert_to_columns({name: getattr(entry, name) for name in FIELDS})
            row["request"], added = _split_long_texts(row["request"])
            names = ", ".join(f'"{name}"' for name in row)
            query = f"INSERT OR REPLACE INTO runs ({names}) VALUES ({_format_placeholders(row)})"  # noqa: S608
            self._execute_all([*added, (query, list(row.values()))])

    def update(self, name: str, **changes: Any) -> None:
        """Change fields of the newest run with this id or token: fields that the cloud can report again."""
        row = convert_to_columns(changes)
        assigned = ", ".join(f'"{key}" = ?' for key in row)
        query = f"UPDATE runs SET {assigned} WHERE rowid = (SELECT rowid FROM runs {_NEWEST})"  # noqa: S608
        self._execute(query, [*row.values(), name, name])

    def get(self, name: str) -> JournalEntry | None:
        """Return the newest run with this id or token, or None."""
        return next(self._select_entries(_NEWEST, name, name), None)

    def find(self, prefix: str) -> list[JournalEntry]:
        """Return the runs whose ids start with this text, newest first."""
        query = "WHERE execution_id >= ? AND substr(execution_id, 1, ?) = ? ORDER BY execution_id, rowid DESC"
        return list(self._select_entries(query, prefix, len(prefix), prefix))

    def entries(  # noqa: PLR0913 (independent conditions)
        self,
        *,
        limit: int | None = None,
        going_on: bool = False,
        base_url: str | None = None,
        notebook: str | None = None,
        since: float | None = None,
        code_hash: str | None = None,
        with_files: bool = True,
    ) -> list[JournalEntry]:
        """Return entries, newest first: of a server, a notebook or a code, created since a moment, still active.

        Requests include their files, which are large, only if ``code_hash`` is given, and ``with_files``.
        """
        conditions: dict[str, Any] = {
            "base_url = ?": base_url,
            "notebook = ?": notebook,
            "created_at >= ?": since,
            "code_hash = ?": code_hash,
        }
        chosen = {condition: value for condition, value in conditions.items() if value is not None}
        ended = sorted(ENDED) if going_on else []
        where = " AND ".join([*chosen, f"state NOT IN ({_format_placeholders(ended)})" if ended else "1"])
        query = f"WHERE {where} ORDER BY rowid DESC LIMIT ?"
        values = [*chosen.values(), *ended, -1 if limit is None else limit]
        return list(self._select_entries(query, *values, is_complete=with_files and code_hash is not None))

    def spent(self, since: float | None = None, notebook: str | None = None) -> Decimal:
        """Return the cost of the ended runs, in credits."""
        query = "SELECT cost FROM runs WHERE created_at >= ? AND (notebook = ? OR ?) AND cost IS NOT NULL"
        rows = self._execute(query, [since or 0.0, notebook, notebook is None])
        return sum((_parse_amount(row["cost"]) or Decimal(0) for row in rows), Decimal(0))

    def charges(
        self, base_url: str, *, since: float, place: CellContext | None = None, before: str = ""
    ) -> list[BudgetCharge]:
        """Return the costs or maximum costs of runs on a server; refused runs are free.

        ``place`` selects the runs of that notebook only, ``before`` the runs before the run with that token. The
        request, which is large, is only read for runs without a bill.
        """
        query = """
            SELECT token, execution_id, state, cost, price_per_hour,
                   CASE WHEN cost IS NOT NULL AND ended_at IS NOT NULL THEN 0
                        WHEN json_valid(request) THEN json_extract(request, '$.timeout') END AS timeout
            FROM runs
            WHERE base_url = ? AND created_at >= ? AND state <> ? AND (notebook IS ? OR NOT ?)
                  AND rowid < COALESCE((SELECT rowid FROM runs WHERE token = ?), 9223372036854775807)
        """
        rows = self._execute(query, [base_url, since, REFUSED, place and place.notebook, place is not None, before])
        return [
            BudgetCharge(
                row["token"],
                row["execution_id"],
                row["state"],
                _parse_amount(row["cost"]),
                _parse_amount(row["price_per_hour"]),
                row["timeout"] or 0.0,
            )
            for row in rows
        ]

    def expired(self, before: float) -> list[ExpiredRun]:
        """Return the runs that were created before a moment and have ended, or have no id."""
        query = f"""
            SELECT token, base_url, notebook, created_at, state, cost, price_per_hour,
                   CASE WHEN json_valid(request) THEN json_extract(request, '$.timeout') END AS timeout
            FROM runs
            WHERE created_at < ? AND (state IN ({_format_placeholders(ENDED)}) OR (state = ? AND execution_id IS NULL))
        """  # noqa: S608
        rows = self._execute(query, [before, *ENDED, SUBMITTING])
        return [
            ExpiredRun(row["token"], row["base_url"], row["notebook"], row["created_at"], _compute_highest_cost(row))
            for row in rows
        ]

    def remove(self, tokens: Sequence[str]) -> None:
        """Delete the runs with these tokens, and the texts that no request refers to any more."""
        if not tokens:
            return
        deleted = [("DELETE FROM runs WHERE token = ?", (token,)) for token in tokens]
        unused = f"DELETE FROM texts WHERE digest NOT IN ({texts.REFERENCES})"  # noqa: S608
        self._execute_all([*deleted, (unused, ())])

    def split_requests(self) -> None:
        """Store the long texts of requests of an older release once."""
        request = "CASE WHEN json_valid(request) THEN request ELSE '{}' END"
        query = f"SELECT token FROM runs WHERE json_type({request}, '$.import_files') = 'text'"  # noqa: S608
        tokens = [row["token"] for row in self._execute(query, ())]
        for start in range(0, len(tokens), _SPLIT_AT_ONCE):
            self._split_requests_of(tokens[start : start + _SPLIT_AT_ONCE])

    def _split_requests_of(self, tokens: Sequence[str]) -> None:
        statements: list[Statement] = []
        query = f"SELECT token, request FROM runs WHERE token IN ({_format_placeholders(tokens)})"  # noqa: S608
        for row in self._execute(query, tokens):
            request, added = _split_long_texts(row["request"])
            statements += [*added, ("UPDATE runs SET request = ? WHERE token = ?", (request, row["token"]))]
        self._execute_all(statements)

    def vacuum(self) -> None:
        """Give free space back to the disk, unless another process reads the file."""
        with suppress(sqlite3.Error, OSError):
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                self._database.execute(statement)

    def close(self) -> None:
        """Close the file; the next use opens the file again."""
        self._database.close()

    def _select_entries(self, rest: str, *values: Any, is_complete: bool = True) -> Iterator[JournalEntry]:
        rows = self._execute(f"SELECT * FROM runs {rest}", values)  # noqa: S608
        for entry in filter(None, map(parse_entry, rows)):
            entry.request = self._restore_files(entry.request) if is_complete else texts.remove_files(entry.request)
            yield entry

    def _restore_files(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with its files, as sent."""
        digests = texts.references_in(request)
        query = f"SELECT digest, text FROM texts WHERE digest IN ({_format_placeholders(digests)})"  # noqa: S608
        rows = self._execute(query, list(digests)) if digests else []
        return texts.join_request(request, {row["digest"]: row["text"] for row in rows})

    def _execute(self, statement: str, values: Any) -> list[sqlite3.Row]:
        with self._report_failure_once():
            return self._database.execute(statement, values)
        return []

    def _execute_all(self, statements: Sequence[Statement]) -> None:
        with self._report_failure_once():
            self._database.execute_all(statements, durable=True)

    @contextmanager
    def _report_failure_once(self) -> Iterator[None]:
        """Report once that the file can't be used, instead of an error."""
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError) as error:
            if not self.trouble:
                self.trouble = (
                    f"The journal {self.path} can't be used ({error}). Runs stay active, but aren't recorded."
                )
                _log.warning(self.trouble)


def _split_long_texts(request: str) -> tuple[str, list[Statement]]:
    """Return the JSON of a request without long texts, and the statements that store the texts."""
    short, long_texts = texts.split_request(request)
    return short, [("INSERT OR IGNORE INTO texts VALUES (?, ?)", text) for text in long_texts.items()]


def _compute_highest_cost(row: sqlite3.Row) -> Decimal:
    """Return the bill of a run, or the price of its time limit; a refused run is free."""
    if row["state"] == REFUSED:
        return Decimal(0)
    cost, price = _parse_amount(row["cost"]), _parse_amount(row["price_per_hour"])
    return cost if cost is not None else (price or Decimal(0)) * Decimal((row["timeout"] or 0) + STOP_SECONDS) / 3600


def _parse_amount(text: Any) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except (InvalidOperation, TypeError):
        return None


def _format_placeholders(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)


def convert_to_columns(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the values of fields in their stored form, without secrets."""
    row = dict(changes)
    for name, value in changes.items():
        if name == "request" and isinstance(value, dict):
            row[name] = json.dumps(texts.redact_request(value), default=str)
        elif name in JSON:
            row[name] = json.dumps(redact_values(value, mask_secrets), default=str)
        elif name in MONEY and value is not None:
            row[name] = str(value)
        elif isinstance(value, str):
            row[name] = mask_secrets(value).encode(errors="replace").decode()
    return row


_lock = threading.Lock()
_open: dict[Path, Journal] = {}


def journal() -> Journal:
    """Return the journal of this user, at the path of the setting ``journal``."""
    path: Path = setting("journal")
    with _lock:
        if path not in _open:
            _open[path] = Journal(path)
        return _open[path]


@atexit.register
def close_all() -> None:
    """Close every journal that was opened."""
    with _lock, suppress(sqlite3.Error):
        for opened in _open.values():
            opened.close()
        _open.clear()
        charges.close_all()
