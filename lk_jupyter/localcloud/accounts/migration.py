"""Accounts of data folders from before there were several users: documents become tables."""

from __future__ import annotations

import json
from uuid import uuid4

from lk_jupyter.localcloud.accounts.keys import THIS_CLOUD
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.store import Store

#: What a document becomes: kind → table and columns, filled from the fields of the document.
_ROWS = {
    "org": (
        "orgs (id, slug, name, is_personal, billing, created_at)",
        ":id, :slug, :name, :is_personal, '{}', :created_at",
    ),
    "user": ("users (id, email, org_id, created_at)", ":id, :email, :org_id, :created_at"),
    "key": (
        "keys (id, owner, user, hash, prefix, name, created_at)",
        ":new_id, :cloud, :user_id, :key, :prefix, 'local cloud', :now",
    ),
}


def migrate(store: Store) -> None:
    """Move the user, organization and key of an older data folder; its sessions end."""
    with store.write() as db:
        kinds = "('user', 'org', 'key', 'refresh')"
        rows = db.execute(f"DELETE FROM documents WHERE kind IN {kinds} RETURNING kind, id, body").fetchall()  # noqa: S608
        for kind, key, body in rows:
            facts = {**json.loads(body), "key": key, "new_id": str(uuid4()), "cloud": THIS_CLOUD, "now": now()}
            if kind in _ROWS:
                table, values = _ROWS[kind]
                db.execute(f"INSERT INTO {table} VALUES ({values})", facts)  # noqa: S608 (constants)
        db.execute(
            "INSERT OR IGNORE INTO members SELECT org_id, id, 'owner', created_at FROM users "
            "WHERE NOT EXISTS (SELECT 1 FROM members)"
        )
