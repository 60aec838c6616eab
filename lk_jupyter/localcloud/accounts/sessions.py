"""Signed-in sessions: access tokens that expire, refresh tokens that work once.

All tokens of a sign-in belong to the same session. A refresh token that arrives a second time was copied, so the
session ends for every holder of its tokens.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.secret import digest, new_secret
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, is_verified INTEGER NOT NULL, expires REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_of_user ON sessions (user);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash TEXT PRIMARY KEY, session TEXT NOT NULL, expires REAL NOT NULL, is_spent INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS refresh_tokens_of_session ON refresh_tokens (session);
"""


@dataclass(frozen=True)
class SessionTokens:
    """A pair of tokens; ``expires_in`` seconds is the life of the access token."""

    access: str
    refresh: str
    expires_in: int


@dataclass(frozen=True)
class LoginSession:
    """A sign-in of a user; not ``verified`` while a second factor is missing."""

    id: str
    user_id: str
    verified: bool


class Sessions:
    """Tokens of this cloud."""

    def __init__(self, store: Store, options: CloudOptions, attempts: Attempts) -> None:
        self._store = store
        self._attempts = attempts
        self._options = options
        store.add_tables(_TABLES)

    def open(self, user_id: str, *, verified: bool = True) -> SessionTokens:
        """Sign a user in."""
        session = LoginSession(str(uuid4()), user_id, verified)
        with self._store.write() as db:
            _delete_expired(db)
            db.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)", (session.id, user_id, verified, self._compute_end_time())
            )
            return self._issue_tokens(db, session)

    def renew(self, refresh_token: str) -> SessionTokens:
        """Exchange a refresh token for a new pair of tokens; 401 for an unknown, expired or used token."""
        query = """
            SELECT sessions.*, is_spent FROM refresh_tokens JOIN sessions ON session = id
            WHERE hash = ? AND refresh_tokens.expires > ?
        """
        with self._store.write() as db:
            row = db.execute(query, (digest(refresh_token), time.time())).fetchone()
            if row and not row["is_spent"]:
                db.execute("UPDATE refresh_tokens SET is_spent = 1 WHERE hash = ?", (digest(refresh_token),))
                db.execute("UPDATE sessions SET expires = ? WHERE id = ?", (self._compute_end_time(), row["id"]))
                return self._issue_tokens(db, _read_session(row))
            if row:
                _delete_sessions(db, "id = ?", row["id"])
        self._attempts.count_invalid_token("refresh token", refresh_token)
        raise HTTPException(401, "Invalid, expired or used refresh token: sign in again")

    def find_by_token(self, access_token: str) -> LoginSession | None:
        """Return the session of an access token, or None for an invalid token."""
        import jwt  # noqa: PLC0415 (loads slowly, and most starts of a cloud never need it)

        try:
            claims = jwt.decode(access_token, self._secret, algorithms=["HS256"], options={"require": ["exp", "sid"]})
        except jwt.InvalidTokenError:
            return None
        rows = self._store.read("SELECT * FROM sessions WHERE id = ?", str(claims["sid"]))
        return _read_session(rows[0]) if rows else None

    def mark_verified(self, session_id: str) -> None:
        """Note that the second factor was given."""
        with self._store.write() as db:
            db.execute("UPDATE sessions SET is_verified = 1 WHERE id = ?", (session_id,))

    def end_all(self, user_id: str) -> None:
        """End all sessions of a user."""
        with self._store.write() as db:
            _delete_sessions(db, "user = ?", user_id)

    def _issue_tokens(self, db: sqlite3.Connection, session: LoginSession) -> SessionTokens:
        import jwt  # noqa: PLC0415

        now = int(time.time())
        life = self._options.access_seconds
        claims = {"sub": session.user_id, "sid": session.id, "iat": now, "exp": now + life, "jti": secrets.token_hex(8)}
        refresh = new_secret()
        db.execute(
            "INSERT INTO refresh_tokens VALUES (?, ?, ?, 0)", (digest(refresh), session.id, self._compute_end_time())
        )
        return SessionTokens(jwt.encode(claims, self._secret, algorithm="HS256"), refresh, life)

    def _compute_end_time(self) -> float:
        return time.time() + self._options.refresh_seconds

    @cached_property
    def _secret(self) -> str:
        """Return the secret that signs access tokens; several processes on a data folder create a single secret."""
        document = f'{{"value": "{secrets.token_urlsafe(48)}"}}'
        with self._store.write() as db:
            db.execute("INSERT OR IGNORE INTO documents VALUES ('secret', 'jwt', ?)", (document,))
        stored = self._store.get("secret", "jwt")
        assert stored  # noqa: S101 (just written)
        return str(stored["value"])


def _read_session(row: sqlite3.Row) -> LoginSession:
    return LoginSession(row["id"], row["user"], bool(row["is_verified"]))


def _delete_sessions(db: sqlite3.Connection, condition: str, value: str) -> None:
    chosen = f"SELECT id FROM sessions WHERE {condition}"  # noqa: S608 (constants)
    db.execute(f"DELETE FROM refresh_tokens WHERE session IN ({chosen})", (value,))  # noqa: S608
    db.execute(f"DELETE FROM sessions WHERE {condition}", (value,))  # noqa: S608


def _delete_expired(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM refresh_tokens WHERE expires < ?", (time.time(),))
    db.execute("DELETE FROM sessions WHERE expires < ?", (time.time(),))
