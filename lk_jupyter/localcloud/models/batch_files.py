"""Files of batches: their bytes in a folder, their facts in a table."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.store import Store

Json = dict[str, Any]

#: Maximum size of a file, in bytes.
MOST_BYTES = 100 * 1024 * 1024
MOST_ROWS = 10_000

_PIECE = 1024 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS batch_files (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, org TEXT NOT NULL, purpose TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS batch_files_newest ON batch_files (org, seq DESC);
"""


class BatchFiles:
    """All files of batches of this cloud."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        store.add_tables(_TABLES)

    def upload(self, org_id: str, name: str, source: BinaryIO) -> Json:
        """Store a file of requests; 400 for a file that is too large, and on a full disk."""
        return self._store_file(
            org_id, f"file-{uuid4().hex}", "batch", name, lambda file: _copy_up_to_limit(source, file)
        )

    def write(self, org_id: str, file_id: str, purpose: str, lines: Iterable[str]) -> Json:
        """Store a file of answers, and replace a file with the same id."""
        text = (f"{line}\n".encode() for line in lines)
        return self._store_file(org_id, file_id, purpose, f"{file_id}.jsonl", lambda file: file.writelines(text))

    def get(self, org_id: str, file_id: str) -> Json:
        """Return the facts of a file; 404 for an unknown file, or a file of another organization."""
        rows = self._store.read("SELECT body FROM batch_files WHERE id = ? AND org = ?", file_id, org_id)
        if not rows:
            raise HTTPException(404, f"File {file_id} not found")
        return _read_file_facts(rows[0])

    def path(self, org_id: str, file_id: str) -> Path:
        """Return where the bytes of a file are; 404 as for ``get``."""
        return self._folder / str(self.get(org_id, file_id)["id"])

    def page(self, org_id: str, limit: int, after: str | None, purpose: str | None) -> list[Json]:
        """Return files, newest first, plus an extra file if more exist."""
        query = """
            SELECT body FROM batch_files WHERE org = ? AND seq < ? AND purpose = COALESCE(?, purpose)
            ORDER BY seq DESC LIMIT ?
        """
        before = find_seq_after(self._store, "batch_files", org_id, after)
        return [_read_file_facts(row) for row in self._store.read(query, org_id, before, purpose, limit + 1)]

    def delete(self, org_id: str, file_id: str) -> None:
        """Remove a file; 404 as for ``get``."""
        path = self.path(org_id, file_id)
        with self._store.write() as db:
            db.execute("DELETE FROM batch_files WHERE id = ?", (file_id,))
        path.unlink(missing_ok=True)

    def forget(self, org_id: str) -> None:
        """Remove all files of an organization."""
        for row in self._store.read("SELECT id FROM batch_files WHERE org = ?", org_id):
            self.delete(org_id, row["id"])

    def clear_up(self) -> None:
        """Remove the bytes of uploads that a crash cut short."""
        ids = {row["id"] for row in self._store.read("SELECT id FROM batch_files")}
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if path.name not in ids:
                path.unlink()

    def _store_file(self, org_id: str, file_id: str, purpose: str, name: str, fill: Callable[[BinaryIO], Any]) -> Json:
        """Write the bytes, then list the file: a listed file is complete."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f"{file_id}.{uuid4().hex}.part"
        try:
            with draft.open("xb") as file:
                fill(file)
            draft.replace(self._folder / file_id)
        except OSError as problem:
            raise HTTPException(400, f"The file cannot be stored: {problem.strerror}. Free some disk space") from None
        finally:
            draft.unlink(missing_ok=True)
        facts = {
            "id": file_id,
            "object": "file",
            "bytes": (self._folder / file_id).stat().st_size,
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        row = (file_id, org_id, purpose, json.dumps(facts))
        with self._store.write() as db:
            db.execute("INSERT OR REPLACE INTO batch_files (id, org, purpose, body) VALUES (?, ?, ?, ?)", row)
        return facts


def find_seq_after(store: Store, table: str, org_id: str, after: str | None) -> int:
    """Return the sequence number of the row with this id, or a number beyond all rows; 422 for an unknown id."""
    if after is None:
        return 2**62
    rows = store.read(f"SELECT seq FROM {table} WHERE id = ? AND org = ?", after, org_id)  # noqa: S608 (our own name)
    if not rows:
        raise invalid("query", "after", "No entry of the list has this id")
    return int(rows[0]["seq"])


def _copy_up_to_limit(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a file piece by piece, up to the most bytes."""
    room = MOST_BYTES
    while data := source.read(_PIECE):
        room -= len(data)
        if room < 0:
            raise HTTPException(400, f"The file is too large: at most {MOST_BYTES // 1024**2} MiB")
        target.write(data)


def _read_file_facts(row: sqlite3.Row) -> Json:
    facts: Json = json.loads(row["body"])
    return facts
