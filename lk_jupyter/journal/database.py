"""Store tables in an SQLite file that many processes share and a crash may have damaged.

SQLite guarantees that the end of a process loses nothing, and that the end of the machine only loses statements after
the last durable statement. A damaged file is set aside, and the readable entries are saved in a new file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lk_jupyter.config.files import lock_beside

_BUSY_SECONDS = 10.0
_SUFFIXES = ("", "-wal", "-shm")
_FAILURES = (sqlite3.Error, UnicodeDecodeError)  # SQLite's messages may quote bytes that aren't text

_DAMAGE = ("malformed", "not a database", "disk I/O error", "encrypted")

T = TypeVar("T")
Statement = tuple[str, Sequence[Any]]


class Schema(NamedTuple):
    """A table's columns: their SQLite declarations by name, and the indexed columns."""

    columns: Mapping[str, str]
    indexes: Sequence[str] = ()


class Database:
    """Tables by name; the report of a repair counts the entries of the first table.

    ``say`` receives a line about a repair.

    The connection is opened on first use, and again after a fork or a replacement of the file. Raises sqlite3.Error and
    OSError.
    """

    def __init__(
        self,
        path: Path,
        tables: Mapping[str, Schema],
        say: Callable[[str], None],
    ) -> None:
        self.path = path
        self._tables = tables
        self._say = say
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened_as: tuple[int, ...] = ()

    def execute(self, statement: str, values: Sequence[Any] = (), *, durable: bool = False) -> list[sqlite3.Row]:
        """Execute a statement as a separate transaction, and return its rows.

        A ``durable`` statement, and all statements before, also survive the end of the machine; this takes time.
        """
        return self._call_with_repair(partial(self._execute, statement, values, durable=durable))

    def execute_all(self, statements: Sequence[Statement], *, durable: bool = False) -> None:
        """Execute statements in a single transaction."""
        self._call_with_repair(partial(self._execute_all, statements, durable=durable))

    def _call_with_repair(self, act: Callable[[], T]) -> T:
        """Return the result of an act; repair a damaged file and try again."""
        with self.lock:
            try:
                return act()
            except _FAILURES as error:
                if not _is_damage(error):
                    raise
            self._repair_file()
            return act()

    def _execute(self, statement: str, values: Sequence[Any], *, durable: bool) -> list[sqlite3.Row]:
        connection = self._ensure_connection()
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        return connection.execute(statement, values).fetchall()

    def _execute_all(self, statements: Sequence[Statement], *, durable: bool) -> None:
        connection = self._ensure_connection()
        try:
            self._execute("BEGIN IMMEDIATE", (), durable=durable)
            for statement, values in statements:
                connection.execute(statement, values)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection; the next statement opens a new connection."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _ensure_connection(self) -> sqlite3.Connection:
        if self._connection is not None and self._opened_as != self._read_file_identity():
            self.close()
        if self._connection is None:
            self._connection = self._open_connection()
            self._opened_as = self._read_file_identity()
        return self._connection

    def _read_file_identity(self) -> tuple[int, ...]:
        with suppress(OSError):
            stat = self.path.stat()
            return os.getpid(), stat.st_dev, stat.st_ino
        return ()

    def _open_connection(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.touch(mode=0o600)  # SQLite gives the log files the same rights
        connection = _connect(self.path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            for name, table in self._tables.items():
                _add_table(connection, name, table)
        except BaseException:
            connection.close()
            raise
        return connection

    def _repair_file(self) -> None:
        """Set the damaged file aside, unless another process has done so, and save the readable entries."""
        self.close()
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            with lock_beside(self.path) as is_owner:
                if is_owner or time.monotonic() > end:
                    if self._is_damaged():
                        self._say(self._replace_damaged_file())
                    return
            time.sleep(0.05)

    def _replace_damaged_file(self) -> str:
        """Replace the damaged file by a new file; return a message about the result."""
        aside = self._set_aside()
        saved = self._take_over(aside)
        return f"The damaged file {self.path} was renamed to {aside.name}, and {saved} entries were recovered."

    def _is_damaged(self) -> bool:
        try:
            with closing(_connect(self.path)) as connection:
                answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except _FAILURES as error:
            return _is_damage(error)
        return bool(answer != "ok")

    def _set_aside(self) -> Path:
        aside = self.path.with_name(f"{self.path.stem}-damaged-{time.time_ns()}{self.path.suffix}")
        for part in _SUFFIXES:
            with suppress(FileNotFoundError):
                Path(f"{self.path}{part}").replace(f"{aside}{part}")
        return aside

    def _take_over(self, aside: Path) -> int:
        copied = [_copy_rows(aside, self._ensure_connection(), name, table) for name, table in self._tables.items()]
        return copied[0]


def _add_table(connection: sqlite3.Connection, name: str, table: Schema) -> None:
    """Create a table, or add the columns that an older release did not have."""
    declared = ", ".join(f'"{column}" {kind}' for column, kind in table.columns.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({declared})")
    present = {row["name"] for row in connection.execute(f"PRAGMA table_info({name})")}
    for column in table.columns:
        if column not in present:
            with suppress(sqlite3.OperationalError):  # another process was faster
                connection.execute(f'ALTER TABLE {name} ADD COLUMN "{column}"')
    for column in table.indexes:
        connection.execute(f'CREATE INDEX IF NOT EXISTS {name}_by_{column} ON {name} ("{column}")')


def _copy_rows(aside: Path, target: sqlite3.Connection, name: str, table: Schema) -> int:
    """Copy the rows of a damaged file that can be read; return their number."""
    copied = 0
    for row in _iterate_readable_rows(aside, name):
        values = {column: row[column] for column in row.keys() if column in table.columns}  # noqa: SIM118 (a Row is no dict)
        columns = ", ".join(f'"{column}"' for column in values)
        with suppress(sqlite3.IntegrityError):
            target.execute(
                f"INSERT INTO {name} ({columns}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
                list(values.values()),
            )
            copied += 1
    return copied


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


def _iterate_readable_rows(path: Path, table: str) -> Iterator[sqlite3.Row]:
    """Yield the rows of a damaged file from its start to the damage, then the rows after the damage."""
    with suppress(*_FAILURES), closing(_connect(path)) as connection:
        connection.execute("PRAGMA writable_schema=ON")  # a truncated file is still readable
        last = -1
        with suppress(*_FAILURES):
            for row in connection.execute(f"SELECT rowid AS _row, * FROM {table} ORDER BY rowid"):  # noqa: S608
                last = row["_row"]
                yield row
        behind: list[sqlite3.Row] = []
        with suppress(*_FAILURES):
            query = f"SELECT rowid AS _row, * FROM {table} WHERE rowid > ? ORDER BY rowid DESC"  # noqa: S608
            behind.extend(connection.execute(query, (last,)))
        yield from reversed(behind)


def _is_damage(error: Exception) -> bool:
    words = str(error)  # empty on Python 3.10 if the message quotes bytes that aren't text
    return isinstance(error, UnicodeDecodeError) or not words or any(word in words for word in _DAMAGE)
