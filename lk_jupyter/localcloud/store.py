"""State on disk: an SQLite database for documents and for the tables of the other modules.

Writes use a single connection, each thread reads through a separate connection, and the write-ahead log lets reads and
writes work at the same time. A committed transaction survives the death of the process.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Name of the database in a data folder.
DATABASE = "cloud.sqlite"

_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-512; PRAGMA busy_timeout=10000;"

_DOCUMENTS = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""


class Store:
    """The database of a data folder."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)  # SQLite gives the log files the same rights
        self._path = path
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._writer = self._connect()
        self.add_tables(_DOCUMENTS)

    def add_tables(self, script: str) -> None:
        """Create missing tables and indexes."""
        self._writer.executescript(script)

    def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        rows: list[sqlite3.Row] = self._choose_connection().execute(query, values).fetchall()
        return rows

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads of this thread see the same moment."""
        reader = self._choose_connection()  # in a thread that writes, the transaction is a snapshot already
        if reader.in_transaction:
            yield
            return
        reader.execute("BEGIN")
        try:
            yield
        finally:
            reader.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: all or none of its changes are stored. A nested call joins the outer transaction.

        Reads of this thread see the transaction's changes. Never wait inside a transaction.
        """
        with self._lock:
            if self._writer.in_transaction:
                yield self._writer
                return
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                self._threads.writes = True
                try:
                    yield self._writer
                finally:
                    self._threads.writes = False

    def get(self, kind: str, id: str) -> dict[str, Any] | None:  # noqa: A002 (its name in the table)
        """Return a document, or None."""
        rows = self.read("SELECT body FROM documents WHERE kind = ? AND id = ?", kind, id)
        return json.loads(rows[0]["body"]) if rows else None

    def put(self, kind: str, id: str, body: dict[str, Any]) -> None:  # noqa: A002
        """Store a document, and replace an older document with this id."""
        with self.write() as db:
            db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, id, json.dumps(body)))

    def take(self, kind: str, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Remove and return a document; of several concurrent callers, only one gets the document."""
        with self.write() as db:
            row = db.execute("DELETE FROM documents WHERE kind = ? AND id = ? RETURNING body", (kind, id)).fetchone()
        return json.loads(row["body"]) if row else None

    def list_documents(self, kind: str) -> list[dict[str, Any]]:
        """Return every document of a kind."""
        return [json.loads(row["body"]) for row in self.read("SELECT body FROM documents WHERE kind = ?", kind)]

    def close(self) -> None:
        """Close the database; nothing may use the store afterwards."""
        for connection in self._opened:
            connection.close()

    def _choose_connection(self) -> sqlite3.Connection:
        if getattr(self._threads, "writes", False):
            return self._writer
        if not hasattr(self._threads, "reader"):
            self._threads.reader = self._connect()
        reader: sqlite3.Connection = self._threads.reader
        return reader

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.executescript(_PRAGMAS)
        self._opened.append(connection)
        return connection
