"""Batches: kept, checked, worked off in the background, ended; each line is answered once and billed once."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.api.batches import FINAL_STATES
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.models import batch_lines, models
from lk_jupyter.localcloud.models.batch_files import BatchFiles, find_seq_after
from lk_jupyter.localcloud.models.batch_lines import BatchLine, LineAnswer, LineFault
from lk_jupyter.localcloud.store import Store

Json = dict[str, Any]

WINDOW_SECONDS = 86_400.0

#: Lines that are answered at the same time.
AT_ONCE = 8

#: Faults in a batch's list; the file of errors contains all faults.
_LISTED_FAULTS = 100

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, org TEXT NOT NULL, deadline REAL NOT NULL, status TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS batches_newest ON batches (org, seq DESC);
CREATE TABLE IF NOT EXISTS batch_lines (
    batch TEXT NOT NULL, line INTEGER NOT NULL, custom_id TEXT NOT NULL, url TEXT NOT NULL, request TEXT NOT NULL,
    status INTEGER, answer TEXT, PRIMARY KEY (batch, line)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_lines_by_status ON batch_lines (batch, status);
"""


class BatchWork:
    """All batches of this cloud; ``speed`` is the speed of the cloud's clock."""

    def __init__(self, store: Store, ledger: Ledger, files: BatchFiles, catalogue: models.Models, speed: float) -> None:
        self._store = store
        self._ledger = ledger
        self._files = files
        self._models = catalogue
        self._speed = speed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: dict[str, asyncio.Event] = {}
        store.add_tables(_TABLES)

    def create(self, org_id: str, fields: Json) -> Json:
        """Store a new batch and start to work."""
        created = time.time()
        deadline = created + WINDOW_SECONDS / self._speed
        batch = {
            **fields,
            "id": f"batch_{uuid4().hex}",
            "object": "batch",
            "status": "validating",
            "created_at": int(created),
            "expires_at": int(deadline),
            **dict.fromkeys(("output_file_id", "error_file_id", "completed_at", "errors")),
        }
        row = (batch["id"], org_id, deadline, batch["status"], json.dumps(batch))
        with self._store.write() as db:
            db.execute("INSERT INTO batches (id, org, deadline, status, body) VALUES (?, ?, ?, ?, ?)", row)
        self._start_task(str(batch["id"]))
        return self._build_view(batch)

    def get(self, org_id: str, batch_id: str) -> Json:
        """Return a batch; 404 for an unknown batch, or a batch of another organization."""
        rows = self._store.read("SELECT body FROM batches WHERE id = ? AND org = ?", batch_id, org_id)
        if not rows:
            raise HTTPException(404, f"Batch {batch_id} not found")
        return self._build_view(json.loads(rows[0]["body"]))

    def page(self, org_id: str, limit: int, after: str | None) -> list[Json]:
        """Return batches, newest first, plus an extra batch if more exist."""
        before = find_seq_after(self._store, "batches", org_id, after)
        query = "SELECT body FROM batches WHERE org = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return [self._build_view(json.loads(row["body"])) for row in self._store.read(query, org_id, before, limit + 1)]

    def cancel(self, org_id: str, batch_id: str) -> Json:
        """End a batch early, and keep its answers; 400 for a batch that has ended in another way."""
        batch = self.get(org_id, batch_id)
        if batch["status"] in FINAL_STATES - {"cancelled"}:
            raise HTTPException(400, f"Batch {batch_id} is {batch['status']}: it cannot be cancelled any more")
        if batch["status"] != "cancelled":
            self._set_status(batch_id, "cancelling")
            if event := self._cancelled.get(batch_id):
                event.set()
        return self.get(org_id, batch_id)

    def forget(self, org_id: str) -> None:
        """End and remove all batches of an organization; called in the event loop."""
        for row in self._store.read("SELECT id FROM batches WHERE org = ?", org_id):
            if task := self._tasks.get(row["id"]):
                task.cancel()
            with self._store.write() as db:
                db.execute("DELETE FROM batch_lines WHERE batch = ?", (row["id"],))
                db.execute("DELETE FROM batches WHERE id = ?", (row["id"],))

    def recover(self) -> None:
        """Continue the batches that the last server left."""
        marks = ", ".join("?" * len(FINAL_STATES))
        for row in self._store.read(f"SELECT id FROM batches WHERE status NOT IN ({marks})", *FINAL_STATES):  # noqa: S608
            self._start_task(row["id"])

    async def close(self) -> None:
        """Stop working. Open requests continue after the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start_task(self, batch_id: str) -> None:
        self._cancelled[batch_id] = asyncio.Event()
        task = self._tasks[batch_id] = asyncio.create_task(self._process_batch(batch_id))
        task.add_done_callback(lambda _: (self._tasks.pop(batch_id), self._cancelled.pop(batch_id)))

    async def _process_batch(self, batch_id: str) -> None:
        """Process a batch to its end; an exception is a fault of this cloud."""
        try:
            await self._run_steps(batch_id)
        except Exception as problem:
            logging.getLogger("uvicorn.error").exception("batch %s", batch_id)
            reason = problem.detail if isinstance(problem, HTTPException) else type(problem).__name__
            fault = LineFault(0, "", "server_error", f"The local cloud failed: {reason}")
            self._set_status(batch_id, "failed", errors={"object": "list", "data": [fault.row()]})

    async def _run_steps(self, batch_id: str) -> None:
        """Process a batch from the present state to the end."""
        row = self._read_batch_row(batch_id)
        if row["status"] == "validating" and not await asyncio.to_thread(self._store_lines_or_fail, batch_id):
            return
        await self._answer_all(batch_id, row["org"], row["deadline"])
        await asyncio.to_thread(self._finish_batch, batch_id)

    def _store_lines_or_fail(self, batch_id: str) -> bool:
        """Read the file of a batch: store its lines, or end the batch with a list of faults."""
        row = self._read_batch_row(batch_id)
        batch = json.loads(row["body"])
        try:
            with self._files.path(row["org"], batch["input_file_id"]).open("rb") as file:
                lines = list(batch_lines.iterate_lines(file, batch["endpoint"]))
        except (OSError, HTTPException):
            lines = [LineFault(0, "", "file_gone", "The file was deleted before it was read")]
        faults = [fault for fault in lines if isinstance(fault, LineFault)]
        if faults:
            self._fail_batch(row["org"], batch_id, faults)
            return False
        rows = [(batch_id, x.number, x.custom_id, x.url, json.dumps(x.body)) for x in lines if isinstance(x, BatchLine)]
        with self._store.write() as db:
            fields = "batch, line, custom_id, url, request"
            db.executemany(f"INSERT OR REPLACE INTO batch_lines ({fields}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608
            self._set_status(batch_id, "in_progress")
        return True

    def _fail_batch(self, org_id: str, batch_id: str, faults: list[LineFault]) -> None:
        file_id = _build_file_id(batch_id, "errors")
        self._files.write(org_id, file_id, "batch_errors", (fault.line() for fault in faults))
        listed = {"object": "list", "data": [fault.row() for fault in faults[:_LISTED_FAULTS]]}
        self._set_status(batch_id, "failed", errors=listed, error_file_id=file_id)

    async def _answer_all(self, batch_id: str, org_id: str, deadline: float) -> None:
        """Answer lines until none remains, the batch is cancelled, or its time is up."""
        while self._read_batch_row(batch_id)["status"] == "in_progress" and (lines := self._read_open_lines(batch_id)):
            work = asyncio.create_task(self._answer_together(batch_id, org_id, lines))
            cancelled = asyncio.create_task(self._cancelled[batch_id].wait())
            ends = {work, cancelled}
            try:
                await asyncio.wait(ends, timeout=deadline - time.time(), return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    return
                work.result()
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.wait(ends)

    async def _answer_together(self, batch_id: str, org_id: str, lines: list[BatchLine]) -> None:
        await asyncio.gather(*(self._answer_line(batch_id, org_id, line) for line in lines))

    async def _answer_line(self, batch_id: str, org_id: str, line: BatchLine) -> None:
        """Answer a line; store answer and bill in the same transaction, once."""
        model = json.loads(self._read_batch_row(batch_id)["body"])["model"]
        try:
            self._ledger.require_credits(org_id)
            answer = await batch_lines.answer_line(line, self._models, model)
        except HTTPException as problem:
            answer = batch_lines.build_unpaid_answer(problem)
        self._store_answer(batch_id, org_id, line, answer)
        await asyncio.sleep(0)  # let other tasks run

    def _store_answer(self, batch_id: str, org_id: str, line: BatchLine, answer: LineAnswer) -> None:
        query = "UPDATE batch_lines SET status = ?, answer = ? WHERE batch = ? AND line = ? AND status IS NULL"
        with self._store.write() as db:
            count = db.execute(query, (answer.status, json.dumps(answer.body), batch_id, line.number)).rowcount
            if count and answer.model and answer.usage:
                source = f"{batch_id}:{line.number}"
                models.charge(db, self._ledger, org_id, source=source, model=answer.model, usage=answer.usage)

    def _finish_batch(self, batch_id: str) -> None:
        """Write the files of a batch and end the batch; a repetition writes the same files."""
        row = self._read_batch_row(batch_id)
        before = row["status"]
        if before == "in_progress":
            self._set_status(batch_id, "finalizing")
        counts = self._count_lines(batch_id)
        expired = before != "cancelling" and counts["total"] > counts["completed"] + counts["failed"]
        changes: Json = {"request_counts": counts}
        if counts["completed"]:
            changes["output_file_id"] = _build_file_id(batch_id, "output")
            self._files.write(
                row["org"], changes["output_file_id"], "batch_output", self._iterate_answer_lines(batch_id, "= 200")
            )
        if counts["failed"] or expired:
            changes["error_file_id"] = _build_file_id(batch_id, "errors")
            self._files.write(
                row["org"], changes["error_file_id"], "batch_errors", self._iterate_error_lines(batch_id, expired)
            )
        self._set_status(
            batch_id, "cancelled" if before == "cancelling" else "expired" if expired else "completed", **changes
        )

    def _iterate_error_lines(self, batch_id: str, expired: bool) -> Iterator[str]:  # noqa: FBT001
        yield from self._iterate_answer_lines(batch_id, "!= 200")
        if expired:
            query = "SELECT line, custom_id FROM batch_lines WHERE batch = ? AND status IS NULL ORDER BY line"
            for row in self._store.read(query, batch_id):
                yield LineFault(
                    row["line"], row["custom_id"], "batch_expired", "The batch has reached its time limit"
                ).line()

    def _iterate_answer_lines(self, batch_id: str, status: str) -> Iterator[str]:
        query = f"SELECT * FROM batch_lines WHERE batch = ? AND status {status} ORDER BY line"  # noqa: S608 (ours)
        return map(batch_lines.format_line, map(dict, self._store.read(query, batch_id)))

    def _read_open_lines(self, batch_id: str) -> list[BatchLine]:
        query = "SELECT * FROM batch_lines WHERE batch = ? AND status IS NULL ORDER BY line LIMIT ?"
        rows = self._store.read(query, batch_id, AT_ONCE)
        return [BatchLine(row["line"], row["custom_id"], row["url"], json.loads(row["request"])) for row in rows]

    def _count_lines(self, batch_id: str) -> dict[str, int]:
        query = """
            SELECT COUNT(*) AS total, COALESCE(SUM(status = 200), 0) AS completed,
                   COALESCE(SUM(status != 200), 0) AS failed
            FROM batch_lines WHERE batch = ?
        """
        return dict(self._store.read(query, batch_id)[0])

    def _build_view(self, batch: Json) -> Json:
        """Return a batch in the form of the API, with present counts."""
        return {"request_counts": self._count_lines(batch["id"]), **batch}

    def _read_batch_row(self, batch_id: str) -> sqlite3.Row:
        (row,) = self._store.read("SELECT * FROM batches WHERE id = ?", batch_id)
        return row

    def _set_status(self, batch_id: str, status: str, **changes: Any) -> None:
        """Set the state of a batch, with the time. A batch that is being canceled can only end."""
        with self._store.write() as db:
            row = db.execute("SELECT status, body FROM batches WHERE id = ?", (batch_id,)).fetchone()
            if (
                row is None
                or row["status"] in FINAL_STATES
                or (row["status"] == "cancelling" and status not in FINAL_STATES)
            ):
                return
            batch = {**json.loads(row["body"]), **changes, "status": status, f"{status}_at": int(time.time())}
            db.execute("UPDATE batches SET status = ?, body = ? WHERE id = ?", (status, json.dumps(batch), batch_id))


def _build_file_id(batch_id: str, kind: str) -> str:
    """Return the id of a file that a batch writes, the same each time."""
    return f"file-{batch_id.removeprefix('batch_')}-{kind}"
