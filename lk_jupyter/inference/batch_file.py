"""A batch on disk: its parts, and a single answer to each row; so a batch continues after the end of its process.

Each job has a file, whose name is a hash of the questions: the same questions about the same rows find the file again.
The file contains answers and no prompts.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from lk_jupyter.config.files import lock_beside
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError

#: Seconds for which the answers of a batch are kept.
RETENTION_SECONDS = 30 * 86_400

#: Value in place of a batch's id: the batch was requested, and the result is unknown.
REQUESTED = "requested"

#: Value in place of a batch's id: the row was sent as a chat, and its answer was not stored yet.
ACTIVE_CHAT = "chat"

_TABLES = """
CREATE TABLE IF NOT EXISTS parts (
    token TEXT PRIMARY KEY, rows TEXT NOT NULL, file TEXT, batch TEXT, is_read INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS answers (
    row INTEGER PRIMARY KEY, text TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER
);
CREATE TABLE IF NOT EXISTS failures (
    row INTEGER PRIMARY KEY, status INTEGER, message TEXT NOT NULL, tries INTEGER NOT NULL, is_unknown INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class BatchPart:
    """Rows that are sent as a batch of the cloud."""

    token: str
    rows: tuple[int, ...]
    file: str | None
    batch: str | None

    @property
    def batch_id(self) -> str | None:
        """The id of the batch in the cloud, if known."""
        return None if self.batch in {REQUESTED, ACTIVE_CHAT} else self.batch


@dataclass(frozen=True)
class RowAnswer:
    """The answer of a model to a row."""

    row: int
    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class RowFailure:
    """Why a row has no answer: refused, or ``is_unknown`` if the row may have been computed and billed.

    ``status`` is None if the server sent none.
    """

    row: int
    status: int | None
    message: str
    tries: int = 1
    is_unknown: bool = False


class LocalBatchFile:
    """The stored state of a job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def plan(self, rows: Sequence[int]) -> BatchPart:
        """Store rows before they are sent; the token is part of the request, so that the batch can be found again."""
        part = BatchPart(uuid4().hex, tuple(rows), None, None)
        self._execute("INSERT INTO parts (token, rows) VALUES (?, ?)", part.token, json.dumps(part.rows))
        return part

    def note(self, part: BatchPart, *, file: str | None = None, batch: str | None = None) -> BatchPart:
        """Note under which ids a part is known to the cloud."""
        updated = BatchPart(part.token, part.rows, file or part.file, batch or part.batch)
        self._execute(
            "UPDATE parts SET file = ?, batch = ? WHERE token = ?", updated.file, updated.batch, updated.token
        )
        return updated

    def clear_request(self, part: BatchPart) -> None:
        """Record that no batch was requested."""
        self._execute("UPDATE parts SET batch = NULL WHERE token = ?", part.token)

    def open_parts(self) -> list[BatchPart]:
        """Return the parts whose answers were not read."""
        rows = self._execute("SELECT token, rows, file, batch FROM parts WHERE NOT is_read ORDER BY rowid")
        return [BatchPart(token, tuple(json.loads(numbers)), file, batch) for token, numbers, file, batch in rows]

    def is_new(self) -> bool:
        """Whether nothing was ever sent."""
        return not self._execute("SELECT 1 FROM parts LIMIT 1")

    def keep(self, part: BatchPart, outcomes: Iterable[RowAnswer | RowFailure]) -> None:
        """Store the results of a part, all or nothing; a row with an answer keeps the first answer."""
        with self._transaction():
            for each in outcomes:
                (self._keep_answer if isinstance(each, RowAnswer) else self._keep_failure)(each)  # type: ignore[arg-type]
            self._database.execute("UPDATE parts SET is_read = 1 WHERE token = ?", (part.token,))

    def answers(self) -> dict[int, RowAnswer]:
        """Return the answers by row."""
        rows = self._execute("SELECT row, text, prompt_tokens, completion_tokens FROM answers")
        return {row[0]: RowAnswer(*row) for row in rows}

    def failures(self) -> dict[int, RowFailure]:
        """Return the failures of rows without an answer."""
        query = "SELECT * FROM failures WHERE row NOT IN (SELECT row FROM answers)"
        rows = self._execute(query)
        return {row: RowFailure(row, status, text, tries, bool(unknown)) for row, status, text, tries, unknown in rows}

    def forget(self) -> None:
        """Delete the stored state, to start again."""
        with self._transaction():
            for table in ("parts", "answers", "failures"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 (ours)

    def _keep_answer(self, answer: RowAnswer) -> None:
        row = (answer.row, answer.text, answer.prompt_tokens, answer.completion_tokens)
        self._database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row)

    def _keep_failure(self, failure: RowFailure) -> None:
        query = """
            INSERT INTO failures VALUES (?, ?, ?, 1, ?)
            ON CONFLICT (row) DO UPDATE SET
                status = excluded.status, message = excluded.message, tries = tries + 1,
                is_unknown = excluded.is_unknown
        """
        self._database.execute(query, (failure.row, failure.status, failure.message, failure.is_unknown))

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield


def folder() -> Path:
    """Return where batches are kept: next to the journal."""
    return Path(setting("journal")).with_name("batches")


def job_key(facts: Any, prompts: Iterable[str]) -> str:
    """Return the name of a job: the same for the same question about the same rows."""
    digest = sha256(json.dumps(facts, sort_keys=True).encode())
    for prompt in prompts:
        digest.update(len(prompt).to_bytes(8, "big") + prompt.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


@contextmanager
def open_batch_file(key: str) -> Iterator[LocalBatchFile]:
    """Open the file of a job for a single process, and delete expired files. Raises UsageError for a second process."""
    path = folder() / f"{key}.sqlite"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _delete_expired(path.parent)
    with lock_beside(path) as is_owner:
        if not is_owner:
            raise UsageError("Another kernel is working on this batch. Wait for it, or interrupt it there.")
        with closing(LocalBatchFile(path)) as file:
            yield file


def _delete_expired(folder: Path) -> None:
    for path in folder.glob("*.sqlite"):
        if time.time() - path.stat().st_mtime > RETENTION_SECONDS:
            path.unlink(missing_ok=True)
