"""The people of this cloud: e-mail address, password, default organization."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.accounts import passwords
from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, email TEXT NOT NULL UNIQUE COLLATE NOCASE, password TEXT,
    org_id TEXT NOT NULL, created_at TEXT NOT NULL
);
"""

#: Public columns of a user's row; never the password's hash.
_FIELDS = "id, email, org_id, created_at"

User = dict[str, Any]


class Users:
    """The users; the first user is the local user, who needs no password."""

    def __init__(self, store: Store, attempts: Attempts) -> None:
        self._store = store
        self._attempts = attempts
        store.add_tables(_TABLES)

    def add(self, email: str, org_id: str) -> str:
        """Keep a new user, who has no password yet, and return the id."""
        user_id = str(uuid4())
        row = (user_id, email, org_id, now())
        with self._store.write() as db:
            db.execute("INSERT INTO users (id, email, org_id, created_at) VALUES (?, ?, ?, ?)", row)
        return user_id

    def get(self, user_id: str) -> User | None:
        """Return a user, or None."""
        return self._find_user("id = ?", user_id)

    def find(self, email: str) -> User | None:
        """Return the user of an e-mail address, or None."""
        return self._find_user("email = ?", email)

    def find_local_user(self) -> User | None:
        """Return the first user, or None in a new data folder."""
        return self._find_user("number = (SELECT MIN(number) FROM users)")

    def list_users(self) -> list[User]:
        """Return all users, oldest first."""
        return [dict(row) for row in self._store.read(f"SELECT {_FIELDS} FROM users ORDER BY number")]  # noqa: S608

    def find_by_password(self, email: str, password: str) -> User:
        """Return the user with this e-mail address and password; 401 for a wrong password and for an unknown user.

        429 after too many wrong passwords. Both refusals take equally long.
        """
        with self._attempts.limit_attempts("password", email):
            user = self.find(email) if passwords.matches_hash(password, self._read_password_hash(email)) else None
            if user is None:
                raise HTTPException(401, "Wrong e-mail address or password")
        return user

    def needs_password(self, email: str) -> bool:
        """Whether this user was given a password."""
        return self._read_password_hash(email) is not None

    def set_password(self, user_id: str, password: str) -> None:
        """Set the password of a user, and replace an older password."""
        stored = passwords.hash_password(password)
        with self._store.write() as db:
            db.execute("UPDATE users SET password = ? WHERE id = ?", (stored, user_id))

    def delete(self, user_id: str) -> None:
        """Remove a user."""
        with self._store.write() as db:
            db.execute("DELETE FROM users WHERE id = ?", (user_id,))

    def _read_password_hash(self, email: str) -> str | None:
        rows = self._store.read("SELECT password FROM users WHERE email = ?", email)
        return rows[0]["password"] if rows else None

    def _find_user(self, condition: str, *values: str) -> User | None:
        rows = self._store.read(f"SELECT {_FIELDS} FROM users WHERE {condition}", *values)  # noqa: S608 (constants)
        return dict(rows[0]) if rows else None
