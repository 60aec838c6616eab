"""Calls to addresses that subscribe to the end of a run; stored on disk until delivered or given up.

Only addresses of this machine are called: no request leaves the machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sqlite3
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.store import Store

if TYPE_CHECKING:
    import httpx

_TABLES = """
CREATE TABLE IF NOT EXISTS callbacks (
    seq INTEGER PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL
);
"""

MOST_TRIES = 10
MOST_CALLBACKS = 20
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


def check_callbacks(urls: list[str] | None) -> None:
    """Refuse addresses that would not be called."""
    if len(urls or ()) > MOST_CALLBACKS:
        raise invalid("body", "user_callback_urls", f"Give {MOST_CALLBACKS} addresses at most")
    for url in urls or ():
        if not _is_local(url):
            raise invalid(
                "body",
                "user_callback_urls",
                "The local cloud sends requests only to this machine: "
                "give addresses such as http://127.0.0.1:8000/done or http://localhost:8000/done",
            )


def _is_local(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and is_loopback and url.isascii() and url.isprintable()


class Webhooks:
    """The calls that have not arrived."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news = asyncio.Event()
        store.add_tables(_TABLES)

    def queue(self, db: sqlite3.Connection, urls: list[str], body: dict[str, str]) -> None:
        """Store calls within the transaction that makes the calls due."""
        db.executemany(
            "INSERT INTO callbacks (url, body, tries, due) VALUES (?, ?, 0, 0)",
            [(url, json.dumps(body)) for url in urls],
        )

    def wake(self) -> None:
        """Report that calls were queued."""
        self._news.set()

    async def deliver_forever(self) -> None:
        """Make the calls when they are due."""
        while True:
            self._news.clear()
            rows = self._store.read("SELECT * FROM callbacks ORDER BY due")
            due = [row for row in rows if row["due"] <= time.time()]
            if due:
                await self._deliver_calls(due)
            elif rows:
                await self._wait_for_news(rows[0]["due"] - time.time())
            else:
                await self._news.wait()

    async def _wait_for_news(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), max(0.0, seconds))
        except asyncio.TimeoutError:
            return

    async def _deliver_calls(self, rows: list[sqlite3.Row]) -> None:
        import httpx  # noqa: PLC0415 (most clouds never call anybody)

        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, follow_redirects=False) as client:
            arrived = await asyncio.gather(*(_call_address(client, row) for row in rows))
        with self._store.write() as db:
            for row, is_done in zip(rows, arrived, strict=True):
                _record_attempt(db, row, is_done=is_done)


async def _call_address(client: httpx.AsyncClient, row: sqlite3.Row) -> bool:
    """Call an address, and return whether the call was delivered."""
    try:
        answer = await client.post(row["url"], content=row["body"], headers={"Content-Type": "application/json"})
    except Exception:  # noqa: BLE001 (an address that cannot be used is one that does not answer)
        return False
    return answer.is_success


def _record_attempt(db: sqlite3.Connection, row: sqlite3.Row, *, is_done: bool) -> None:
    tries = row["tries"] + 1
    if is_done or tries >= MOST_TRIES:
        db.execute("DELETE FROM callbacks WHERE seq = ?", (row["seq"],))
    else:
        due = time.time() + min(_FIRST_PAUSE_SECONDS * 2 ** row["tries"], _LONGEST_PAUSE_SECONDS)
        db.execute("UPDATE callbacks SET tries = ?, due = ? WHERE seq = ?", (tries, due, row["seq"]))
