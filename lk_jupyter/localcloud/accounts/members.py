"""Organizations, their members, and the rights of each role."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.api.orgs import OrgBillingDetails
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS orgs (
    id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL, is_personal INTEGER NOT NULL,
    billing TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS members (
    org TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE (org, user)
);
CREATE INDEX IF NOT EXISTS members_orgs ON members (user);
"""

#: Roles: each role includes the rights of the roles before.
MEMBER, ADMIN, OWNER = ROLES = ("member", "admin", "owner")

#: Right in an organization → the least role with this right.
RIGHTS = {
    "read": MEMBER,
    "change": ADMIN,
    "manage members": ADMIN,
    "manage keys": ADMIN,
    "set roles": OWNER,
    "delete": OWNER,
}

_SLUG_LENGTH = 64

Org = dict[str, Any]


def is_at_least(role: str, least: str) -> bool:
    """Return whether a role has all rights of another role."""
    return ROLES.index(role) >= ROLES.index(least)


class Organizations:
    """Organizations and their members."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.add_tables(_TABLES)

    def create(self, name: str, *, slug: str | None = None, personal: bool = False, **billing: Any) -> str:
        """Store a new organization without members and return its id; 409 for an existing slug."""
        org_id = str(uuid4())
        try:
            with self._store.write() as db:
                row = (org_id, slug or _choose_free_slug(db, name), name, personal, json.dumps(billing), now())
                db.execute("INSERT INTO orgs VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise _slug_conflict_error(slug) from None
        return org_id

    def get(self, org_id: str) -> Org | None:
        """Return an organization, or None."""
        return self._find_org("id = ?", org_id)

    def find(self, slug: str) -> Org | None:
        """Return the organization of a slug, or None."""
        return self._find_org("slug = ?", slug)

    def change(self, org: Org, name: str | None = None, slug: str | None = None, **billing: Any) -> Org:
        """Change the given fields and return the organization; 409 for an existing slug."""
        details = {**org["billing_details"], "billing_email": org["billing_email"], **billing}
        row = (name or org["name"], slug or org["slug"], json.dumps(details), org["id"])
        try:
            with self._store.write() as db:
                db.execute("UPDATE orgs SET name = ?, slug = ?, billing = ? WHERE id = ?", row)
        except sqlite3.IntegrityError:
            raise _slug_conflict_error(slug) from None
        changed = self.get(org["id"])
        if changed is None:
            raise HTTPException(404, "The organization was deleted")
        return changed

    def delete(self, org_id: str) -> None:
        """Remove an organization and all memberships."""
        with self._store.write() as db:
            db.execute("DELETE FROM orgs WHERE id = ?", (org_id,))
            db.execute("DELETE FROM members WHERE org = ?", (org_id,))

    def list_by_user(self, user_id: str) -> list[Org]:
        """Return the organizations of a user with the role in each, in the order of joining."""
        query = "SELECT orgs.*, role FROM orgs JOIN members ON org = orgs.id WHERE user = ? ORDER BY members.rowid"
        return [_read_org(row) for row in self._store.read(query, user_id)]

    def find_role(self, org_id: str, user_id: str) -> str | None:
        """Return the role of a user in an organization, or None."""
        rows = self._store.read("SELECT role FROM members WHERE org = ? AND user = ?", org_id, user_id)
        return str(rows[0]["role"]) if rows else None

    def list_members(self, org_id: str) -> list[dict[str, Any]]:
        """Return the members of an organization, in the order of joining."""
        query = """
            SELECT users.id AS user_id, email, role, members.created_at FROM members JOIN users ON users.id = user
            WHERE org = ? ORDER BY members.rowid
        """
        return [dict(row) for row in self._store.read(query, org_id)]

    def find_member(self, org_id: str, user_id: str) -> dict[str, Any]:
        """Return a member; 404 for a user who isn't a member."""
        for member in self.list_members(org_id):
            if member["user_id"] == user_id:
                return member
        raise HTTPException(404, f"No member {user_id} in this organization")

    def join(self, org_id: str, user_id: str, role: str) -> None:
        """Add a user as a member; 409 for a user who is a member already."""
        try:
            with self._store.write() as db:
                db.execute("INSERT INTO members VALUES (?, ?, ?, ?)", (org_id, user_id, role, now()))
        except sqlite3.IntegrityError:
            raise HTTPException(409, "This user is a member already") from None

    def set_role(self, org_id: str, user_id: str, role: str) -> None:
        """Give a member another role; 400 when no owner would be left."""
        with self._store.write() as db:
            if role != OWNER:
                _check_other_owner(db, org_id, user_id)
            db.execute("UPDATE members SET role = ? WHERE org = ? AND user = ?", (role, org_id, user_id))

    def leave(self, org_id: str, user_id: str) -> None:
        """End a membership; 400 for the last owner, and in the user's personal organization."""
        with self._store.write() as db:
            if db.execute("SELECT 1 FROM users WHERE id = ? AND org_id = ?", (user_id, org_id)).fetchone():
                raise HTTPException(
                    400, "This personal organization belongs to the account: delete the account instead"
                )
            _check_other_owner(db, org_id, user_id)
            db.execute("DELETE FROM members WHERE org = ? AND user = ?", (org_id, user_id))

    def leave_all(self, user_id: str) -> None:
        """End all memberships of a user whose account ends."""
        with self._store.write() as db:
            db.execute("DELETE FROM members WHERE user = ?", (user_id,))

    def _find_org(self, condition: str, value: str) -> Org | None:
        rows = self._store.read(f"SELECT * FROM orgs WHERE {condition}", value)  # noqa: S608 (constants)
        return _read_org(rows[0]) if rows else None


def _check_other_owner(db: sqlite3.Connection, org_id: str, user_id: str) -> None:
    query = "SELECT 1 FROM members WHERE org = ? AND user != ? AND role = 'owner'"
    if not db.execute(query, (org_id, user_id)).fetchone():
        raise HTTPException(400, "An organization needs an owner: make another member owner first")


def _choose_free_slug(db: sqlite3.Connection, name: str) -> str:
    """Return a free slug for a name, with a random ending if necessary."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: _SLUG_LENGTH - 9] or "org"
    existing = db.execute("SELECT 1 FROM orgs WHERE slug = ?", (slug,)).fetchone()
    return f"{slug}-{secrets.token_hex(4)}" if existing else slug


def _slug_conflict_error(slug: str | None) -> HTTPException:
    return HTTPException(409, f"The slug {slug!r} is taken: choose another one")


def _read_org(row: sqlite3.Row) -> Org:
    """Return an organization in the form of the API, with additional fields of this cloud."""
    org = dict(row)
    billing = json.loads(org.pop("billing"))
    return {
        **org,
        "is_personal": bool(org["is_personal"]),
        "billing_email": billing.get("billing_email"),
        "billing_details": {field: billing.get(field) for field in OrgBillingDetails.model_fields},
    }
