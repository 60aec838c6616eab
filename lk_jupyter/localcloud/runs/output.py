"""Kept output of runs: chunks in the order written, as text for records and as lines for logs."""

from __future__ import annotations

import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lk_jupyter.localcloud.store import Store

STDOUT, STDERR = "stdout", "stderr"

#: Maximum bytes of a stream in a record; the event stream and the logs have the complete output.
MOST_BYTES = 4 << 20

_TABLES = """
CREATE TABLE IF NOT EXISTS chunks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, stream TEXT NOT NULL, time REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS chunks_of_run ON chunks (run, seq);
"""

_USER_CLAUSE = "EXISTS (SELECT 1 FROM runs WHERE runs.id = chunks.run AND runs.user = ? AND runs.org = ?)"
_AFTER_ALL = (1 << 63) - 1


@dataclass
class OutputLine:
    """A line of output, without its line end."""

    run_id: str
    stream: str
    time: float
    text: str = ""


class RunOutput:
    """The kept output of runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.add_tables(_TABLES)

    def append(self, chunks: Sequence[Sequence[Any]]) -> None:
        """Keep chunks, each a run, a stream, a time and a text."""
        with self._store.write() as db:
            db.executemany("INSERT INTO chunks (run, stream, time, text) VALUES (?, ?, ?, ?)", chunks)

    def read_chunks_after(self, run_id: str, seq: int, limit: int = 16) -> list[tuple[int, str]]:
        """Return the next chunks of a run as (seq, text)."""
        query = "SELECT seq, text FROM chunks WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [(row["seq"], row["text"]) for row in self._store.read(query, run_id, seq, limit)]

    def read_last_time(self, run_id: str) -> float | None:
        """Return when a run last wrote something."""
        rows = self._store.read("SELECT time FROM chunks WHERE run = ? ORDER BY seq DESC LIMIT 1", run_id)
        return rows[0]["time"] if rows else None

    def read_texts(self, run_id: str) -> dict[str, str | None]:
        """Return the output of a run for its record: each stream and both together; None for text that is too long."""
        streams_by_name = {STDOUT: (STDOUT,), STDERR: (STDERR,), "combined_output": (STDOUT, STDERR)}
        return {name: self._read_text(run_id, streams) for name, streams in streams_by_name.items()}

    def _read_text(self, run_id: str, streams: tuple[str, ...]) -> str | None:
        """Return a text, and stop reading at the maximum size."""
        texts, size, seq = [], 0, 0
        query = "SELECT seq, text FROM chunks WHERE run = ? AND seq > ? AND stream IN (?, ?) ORDER BY seq LIMIT 16"
        while rows := self._store.read(query, run_id, seq, streams[0], streams[-1]):
            texts += [row["text"] for row in rows]
            size += sum(len(row["text"].encode()) for row in rows)
            seq = rows[-1]["seq"]
            if size > MOST_BYTES:
                return None
        return "".join(texts)

    def read_newest_lines(
        self, limit: int, hours: float, *, run_id: str | None = None, user_id: str = "", org_id: str = ""
    ) -> list[OutputLine]:
        """Return the newest lines of a run, or of all runs of a user, oldest first."""
        since, chunks, ends = time.time() - 3600 * hours, deque[sqlite3.Row](), 0
        rows = (
            self._iterate_newest_chunks("run = ?", run_id)
            if run_id
            else self._iterate_newest_chunks(_USER_CLAUSE, user_id, org_id)
        )
        for chunk in rows:
            if chunk["time"] < since or ends > limit:
                break
            chunks.appendleft(chunk)
            ends += chunk["text"].count("\n")
        return _join_lines(chunks)[-limit:]

    def delete(self, run_id: str) -> None:
        """Remove the output of a run."""
        with self._store.write() as db:
            db.execute("DELETE FROM chunks WHERE run = ?", (run_id,))

    def _iterate_newest_chunks(self, condition: str, *values: str | None) -> Iterator[sqlite3.Row]:
        """Read chunks from the newest to the oldest, a few at a time."""
        query = f"SELECT * FROM chunks WHERE {condition} AND seq < ? ORDER BY seq DESC LIMIT 16"  # noqa: S608
        rows = self._store.read(query, *values, _AFTER_ALL)
        while rows:
            yield from rows
            rows = self._store.read(query, *values, rows[-1]["seq"])


def _join_lines(chunks: Iterable[sqlite3.Row]) -> list[OutputLine]:
    """Join chunks to lines, ordered by their start; streams don't break each other's lines."""
    lines: list[OutputLine] = []
    unfinished: dict[tuple[str, str], OutputLine] = {}
    for chunk in chunks:
        key = (chunk["run"], chunk["stream"])
        for piece in _split_lines(chunk["text"]):
            line = unfinished.pop(key, None)
            if line is None:
                line = OutputLine(*key, chunk["time"])
                lines.append(line)
            line.text += piece.removesuffix("\n")
            if not piece.endswith("\n"):
                unfinished[key] = line
    return lines


def _split_lines(text: str) -> list[str]:
    """Cut text behind each line feed, and nowhere else."""
    return [piece for piece in re.split(r"(?<=\n)", text) if piece]
