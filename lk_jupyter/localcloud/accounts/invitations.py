"""Invite people into organizations, by mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.accounts.members import Org
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.secret import digest, new_secret
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS invitations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, org TEXT NOT NULL, email TEXT NOT NULL COLLATE NOCASE,
    role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, UNIQUE (org, email)
);
"""

_WITH_ORG = """
    SELECT invitations.id, org, email, role, invitations.created_at, orgs.name AS org_name, orgs.slug AS org_slug
    FROM invitations JOIN orgs ON orgs.id = org
"""

_MAIL = """To: {email}
Subject: Join {name} on the local cloud

You are invited to join {name} ({slug}) as {role}.

The invitation's token: {token}

No account yet? Make one with
    python -m lk_jupyter.localcloud --data {data} --add-user {email}
sign in, and accept the invitation.
"""

Invitation = dict[str, Any]


class Invitations:
    """Pending invitations. Instead of sending mail, the local cloud writes text files into the folder ``mail``."""

    def __init__(self, store: Store, data: Path) -> None:
        self._store = store
        self._data = data
        store.add_tables(_TABLES)

    def send(self, org: Org, email: str, role: str) -> None:
        """Invite a person; an older invitation of the same address is void."""
        invitation_id, token = str(uuid4()), new_secret()
        row = (invitation_id, org["id"], email, role, digest(token), now())
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO invitations (id, org, email, role, hash, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        mail = self._data / "mail"
        mail.mkdir(mode=0o700, exist_ok=True)
        facts = {"email": email, "role": role, "name": org["name"], "slug": org["slug"]}
        write_private(mail / f"{invitation_id}.txt", _MAIL.format(**facts, token=token, data=self._data))

    def list_for_org(self, org_id: str) -> list[Invitation]:
        """Return the invitations of an organization, oldest first."""
        return self._read_invitations("org = ?", org_id)

    def list_for_email(self, email: str) -> list[Invitation]:
        """Return the invitations to an address, oldest first."""
        return self._read_invitations("email = ?", email)

    def find_by_token(self, token: str) -> Invitation:
        """Return the invitation of a mail; 404 for an accepted or withdrawn invitation."""
        matches = self._read_invitations("hash = ?", digest(token))
        if not matches:
            raise HTTPException(
                404, "No such invitation: it was accepted or withdrawn, or its organization was deleted"
            )
        return matches[0]

    def withdraw(self, org_id: str, invitation_id: str) -> None:
        """Remove an invitation; 404 when the organization has sent none of this id."""
        self._delete_invitation("id = ? AND org = ?", invitation_id, org_id)

    def accept(self, email: str, invitation_id: str) -> Invitation:
        """Remove an invitation to an address and return the invitation; 404 for an unknown invitation."""
        return self._delete_invitation("id = ? AND email = ?", invitation_id, email)

    def delete_for_email(self, org_id: str, email: str) -> None:
        """Remove the invitation of a person who has become a member in another way."""
        with self._store.write() as db:
            db.execute("DELETE FROM invitations WHERE org = ? AND email = ?", (org_id, email))

    def forget(self, org_id: str) -> None:
        """Remove all invitations of an organization."""
        with self._store.write() as db:
            db.execute("DELETE FROM invitations WHERE org = ?", (org_id,))

    def _read_invitations(self, condition: str, value: str) -> list[Invitation]:
        query = f"{_WITH_ORG} WHERE {condition} ORDER BY number"
        return [dict(row) for row in self._store.read(query, value)]

    def _delete_invitation(self, condition: str, invitation_id: str, owner: str) -> Invitation:
        query = f"DELETE FROM invitations WHERE {condition} RETURNING org, role"  # noqa: S608 (constants)
        with self._store.write() as db:
            row = db.execute(query, (invitation_id, owner)).fetchone()
        if row is None:
            raise HTTPException(404, f"No invitation {invitation_id}")
        return dict(row)
