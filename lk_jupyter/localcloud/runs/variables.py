"""Secrets of an organization: encrypted on disk, read by runs, never given back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.store import Store

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "variables_key"

#: Maximum bytes of a value, and of all values of an organization: limits of the system's process start.
MOST_BYTES = 32 * 1024
MOST_BYTES_IN_ALL = 512 * 1024

_TABLE = """
CREATE TABLE IF NOT EXISTS variables (
    org_id TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL UNIQUE, value BLOB NOT NULL, size INTEGER NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (org_id, name)
) WITHOUT ROWID;
"""


class Variables:
    """The variables of all organizations of a data folder, with a key that only the folder's owner can read."""

    def __init__(self, store: Store, data: Path) -> None:
        self._store = store
        self._key_file = data / KEY_FILE
        store.add_tables(_TABLE)

    def list(self, org_id: str) -> list[dict[str, Any]]:
        """Return the variables without their values."""
        rows = self._store.read(
            "SELECT id, name, created_at, updated_at FROM variables WHERE org_id = ? ORDER BY name", org_id
        )
        return [dict(row) for row in rows]

    def upsert(self, org_id: str, values: Sequence[tuple[str, str]]) -> None:
        """Create or replace variables: all of them, or none if any is refused (400)."""
        names = [name for name, _ in values]
        if twice := {name for name in names if names.count(name) > 1}:
            raise HTTPException(400, f"{min(twice)[:100]} is given twice: send each name once")
        encoded = [(name, _encode_value(name, value)) for name, value in values]
        rows = [(name, self._fernet.encrypt(value), len(value)) for name, value in encoded]
        with self._store.write() as db:
            for name, token, size in rows:
                db.execute(
                    "INSERT INTO variables VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (org_id, name) "
                    "DO UPDATE SET value = ?4, size = ?5, updated_at = ?6",
                    (org_id, name, str(uuid4()), token, size, now()),
                )
            _check_size(db, org_id)

    def delete(self, org_id: str, id: str | None = None) -> int:  # noqa: A002 (its name in the table)
        """Delete a variable, or all; return the number of deleted variables."""
        with self._store.write() as db:
            return db.execute(
                "DELETE FROM variables WHERE org_id = ?1 AND (?2 IS NULL OR id = ?2)", (org_id, id)
            ).rowcount

    def forget(self, org_id: str) -> None:
        """Remove the variables of an organization that is deleted."""
        self.delete(org_id)

    def read_values(self, org_id: str) -> dict[str, str]:
        """Return name and value of each, for the environment of a run."""
        rows = self._store.read("SELECT name, value FROM variables WHERE org_id = ?", org_id)
        return {row["name"]: self._fernet.decrypt(row["value"]).decode() for row in rows}

    @cached_property
    def _fernet(self) -> Fernet:
        from cryptography.fernet import Fernet  # noqa: PLC0415 (most starts of a cloud never need it)

        if not self._key_file.exists():
            write_private(self._key_file, Fernet.generate_key().decode())
        return Fernet(self._key_file.read_text())


def _encode_value(name: str, value: str) -> bytes:
    """Return a value in the form of an environment variable; 400 for an unfit value."""
    encoded = value.encode("utf-8", "surrogatepass")
    if "\0" in value or encoded.decode("utf-8", "replace") != value:
        raise HTTPException(400, f"The value of {name[:100]} can't be stored in an environment variable")
    if len(encoded) > MOST_BYTES:
        raise HTTPException(400, f"The value of {name[:100]} has more than {MOST_BYTES} bytes: store it in the bucket")
    return encoded


def _check_size(db: sqlite3.Connection, org_id: str) -> None:
    row = db.execute("SELECT sum(size + length(name)) FROM variables WHERE org_id = ?", (org_id,)).fetchone()
    if (row[0] or 0) > MOST_BYTES_IN_ALL:
        raise HTTPException(400, f"All variables together have more than {MOST_BYTES_IN_ALL} bytes: delete some first")
