"""The files that downloads have written: a later download of a folder replaces these alone."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path

from lk_jupyter.config.files import platform_path
from lk_jupyter.journal.database import Database, Schema

_log = logging.getLogger(__name__)

_COLUMNS = {"path": "TEXT PRIMARY KEY", "size": "INTEGER", "modified": "INTEGER"}

#: Rows of a transaction, and rows that are kept: the newest.
_AT_ONCE, _MOST = 10_000, 2_000_000


def record_written_files(paths: Iterable[Path]) -> None:
    """Record size and time (ns) of files that a download wrote. After a failure, later downloads keep the files."""
    rows = (_build_row(path) for path in paths)
    statement = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"
    try:
        while batch := [(statement, row) for row in islice(rows, _AT_ONCE) if row]:
            limit = ("DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?", (_MOST,))
            _database().execute_all([*batch, limit])
    except (sqlite3.Error, OSError) as error:
        _log.warning("The written files can't be recorded: %s", error)


def is_written_by_download(path: Path) -> bool:
    """Return whether a download wrote this file, and nothing has changed its size or time since."""
    row = _build_row(path)
    try:
        return row is not None and bool(
            _database().execute("SELECT 1 FROM files WHERE path = ? AND size = ? AND modified = ?", row)
        )
    except (sqlite3.Error, OSError) as error:
        _log.warning("The written files can't be read: %s", error)
        return False


def _build_row(path: Path) -> tuple[str, int, int] | None:
    """Return the columns of a file; None without a regular file, or for a name that isn't text."""
    try:
        facts = path.lstat()
        name = os.fspath(path.parent.resolve() / path.name)
        name.encode()
    except (OSError, UnicodeEncodeError):
        return None
    return (name, facts.st_size, facts.st_mtime_ns) if path.is_file() else None


def _database() -> Database:
    return _open_database(platform_path("data", "downloads.sqlite"))


@lru_cache(4)
def _open_database(path: Path) -> Database:
    return Database(path, {"files": Schema(_COLUMNS)}, _log.warning)
