"""API keys of users and organizations: their hashes, never their secrets."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.clock import now, to_seconds
from lk_jupyter.localcloud.secret import digest, new_secret
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, user TEXT NOT NULL, org TEXT,
    hash TEXT NOT NULL UNIQUE, prefix TEXT NOT NULL, name TEXT NOT NULL, is_active INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL, expires_at TEXT, last_used_at TEXT
);
CREATE INDEX IF NOT EXISTS keys_of_owner ON keys (owner);
CREATE UNIQUE INDEX IF NOT EXISTS keys_names ON keys (org, name) WHERE org IS NOT NULL;
"""

PREFIX = "lk_"
PREFIX_LENGTH = 8

#: Owner of the data folder's key, which no list shows: the key exists as long as the folder.
THIS_CLOUD = "this cloud"

#: Seconds between two updates of the last use, so that most reads need no write.
_USE_SECONDS = 60

Key = dict[str, Any]


class Keys:
    """Keys, listed by owner: a user, or an organization for which a user created the key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.add_tables(_TABLES)

    def create(
        self, owner: str, user_id: str, name: str, *, org_id: str | None = None, expires_at: datetime | None = None
    ) -> tuple[Key, str]:
        """Store a new key; return the key and its secret. 400 for an expiry in the past, or an existing name."""
        if expires_at and expires_at <= datetime.now(timezone.utc):
            raise HTTPException(400, f"expires_at is in the past: {expires_at.isoformat()}")
        secret = new_secret(PREFIX)
        row = (str(uuid4()), owner, user_id, org_id, digest(secret), secret[:PREFIX_LENGTH], name, now())
        query = """
            INSERT INTO keys (id, owner, user, org, hash, prefix, name, created_at, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
        """
        try:
            with self._store.write() as db:
                return _read_key(db.execute(query, (*row, expires_at and expires_at.isoformat())).fetchone()), secret
        except sqlite3.IntegrityError:
            raise HTTPException(400, f"A key {name!r} already exists: delete it, or choose another name") from None

    def find(self, secret: str) -> Key | None:
        """Return the key of a secret, or None if the key is unknown, switched off or expired."""
        rows = self._store.read("SELECT * FROM keys WHERE hash = ?", digest(secret))
        return _read_key(rows[0]) if rows and _is_valid(rows[0]) else None

    def use(self, secret: str) -> Key | None:
        """Find a key and record its use."""
        key = self.find(secret)
        if key and (to_seconds(key["last_used_at"]) or 0) < time.time() - _USE_SECONDS:
            with self._store.write() as db:
                db.execute("UPDATE keys SET last_used_at = ? WHERE id = ?", (now(), key["id"]))
        return key

    def list_by_owner(self, owner: str) -> list[Key]:
        """Return the keys of an owner, oldest first."""
        return [_read_key(row) for row in self._store.read("SELECT * FROM keys WHERE owner = ? ORDER BY number", owner)]

    def get(self, owner: str, key_id: str) -> Key:
        """Return a key; 404 if the owner has no key with this id."""
        rows = self._store.read("SELECT * FROM keys WHERE owner = ? AND id = ?", owner, key_id)
        if not rows:
            raise _unknown_key_error(key_id)
        return _read_key(rows[0])

    def toggle(self, owner: str, key_id: str) -> bool:
        """Switch a key on or off and return which; 404 when the owner has none of this id."""
        self._update_key(owner, key_id, "is_active = NOT is_active")
        return bool(self.get(owner, key_id)["is_active"])

    def revoke(self, owner: str, key_id: str) -> None:
        """Switch a key off; 404 when the owner has none of this id."""
        self._update_key(owner, key_id, "is_active = 0")

    def regenerate(self, owner: str, key_id: str) -> tuple[Key, str]:
        """Give a key a new secret and switch the key on; 404 if the owner has no key with this id."""
        secret = new_secret(PREFIX)
        changes = "hash = ?, prefix = ?, is_active = 1, last_used_at = NULL"
        self._update_key(owner, key_id, changes, digest(secret), secret[:PREFIX_LENGTH])
        return self.get(owner, key_id), secret

    def delete(self, owner: str, key_id: str) -> None:
        """Remove a key; 404 when the owner has none of this id."""
        with self._store.write() as db:
            removed = db.execute("DELETE FROM keys WHERE owner = ? AND id = ?", (owner, key_id)).rowcount
        if not removed:
            raise _unknown_key_error(key_id)

    def delete_all(self, owner: str) -> None:
        """Remove all keys of an owner."""
        with self._store.write() as db:
            db.execute("DELETE FROM keys WHERE owner = ?", (owner,))

    def transfer_org_keys(self, user_id: str) -> None:
        """Transfer the organization keys of a leaving user to another owner of each organization."""
        heir = "SELECT user FROM members WHERE org = keys.org AND role = 'owner' AND user != ?"
        with self._store.write() as db:
            db.execute(f"UPDATE keys SET user = ({heir}) WHERE org IS NOT NULL AND user = ?", (user_id, user_id))  # noqa: S608

    def _update_key(self, owner: str, key_id: str, changes: str, *values: str) -> None:
        with self._store.write() as db:
            query = f"UPDATE keys SET {changes} WHERE owner = ? AND id = ?"  # noqa: S608 (constants)
            changed = db.execute(query, (*values, owner, key_id)).rowcount
        if not changed:
            raise _unknown_key_error(key_id)


def _is_valid(row: sqlite3.Row) -> bool:
    ends = row["expires_at"]
    return bool(row["is_active"]) and not (ends and datetime.fromisoformat(ends) <= datetime.now(timezone.utc))


def _read_key(row: sqlite3.Row) -> Key:
    return {**dict(row), "is_active": bool(row["is_active"])}


def _unknown_key_error(key_id: str) -> HTTPException:
    return HTTPException(404, f"No key {key_id}")
