"""The ledger of a broker: grants, reservations and bills, in a file that survives the death of the process.

A reservation is on disk before its start is forwarded, and stays until the bill of the run replaces it. All amounts are
billionths of a credit, without fractions. A grant counts its own runs and the runs of all grants below it.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lk_jupyter.broker.grants import BILLION, SCOPES, Grant, GrantLimits, RefusedCall
from lk_jupyter.protocol.metadata import SAME_KEY

#: The grant of the operator, without limits.
ROOT = "root"

#: States of a run in the ledger. RESERVED: on disk, perhaps sent. UNKNOWN: sent without a usable answer. The last two
#: are final: ENDED has a bill, REFUSED was never started.
RESERVED, UNKNOWN, ACTIVE, ENDED, REFUSED = "reserved", "unknown", "active", "ended", "refused"

#: Operation of a rented VM in the ledger, and start of the operations of models, whose answers the broker waits for.
RENTAL, MODEL_CALLS = "/vms/create", "/serverless/"

#: Start of the alarm of a run that the broker aborts; the reason follows, as a part of a sentence.
_ABORTED = "Aborted: "

_TABLES = """
CREATE TABLE IF NOT EXISTS grants (
    id TEXT PRIMARY KEY, parent TEXT REFERENCES grants (id), digest TEXT NOT NULL UNIQUE, limits TEXT NOT NULL,
    created_at REAL NOT NULL, revoked_at REAL, blocked TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS runs (
    mark TEXT PRIMARY KEY, grant_id TEXT NOT NULL REFERENCES grants (id), operation TEXT NOT NULL,
    machine TEXT NOT NULL, price INTEGER NOT NULL, timeout INTEGER NOT NULL, reserved INTEGER NOT NULL,
    state TEXT NOT NULL, execution_id TEXT UNIQUE, stream TEXT, created_at REAL NOT NULL, running_at REAL,
    ended_at REAL, billed INTEGER, seconds INTEGER, alarm TEXT NOT NULL DEFAULT '', start_key TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS uploads (
    grant_id TEXT NOT NULL REFERENCES grants (id), month TEXT NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (grant_id, month)
) STRICT;
CREATE TABLE IF NOT EXISTS named_grants (name TEXT PRIMARY KEY, grant_id TEXT NOT NULL REFERENCES grants (id)) STRICT;
CREATE INDEX IF NOT EXISTS runs_of_grant ON runs (grant_id);
CREATE INDEX IF NOT EXISTS refused_runs ON runs (ended_at) WHERE state = 'refused';
CREATE INDEX IF NOT EXISTS open_runs ON runs (state) WHERE state IN ('reserved', 'unknown', 'active');
CREATE TABLE IF NOT EXISTS day_sums (
    grant_id TEXT NOT NULL REFERENCES grants (id), day INTEGER NOT NULL, credits INTEGER NOT NULL,
    seconds INTEGER NOT NULL, PRIMARY KEY (grant_id, day)
) STRICT, WITHOUT ROWID;
"""

#: Adds the column of start keys to the ledger of an earlier version.
_ADD_START_KEY = "ALTER TABLE runs ADD COLUMN start_key TEXT"

#: Refuses the second run of a start key. A released start has no key: the key may start another run.
_START_KEYS = "CREATE UNIQUE INDEX IF NOT EXISTS start_keys ON runs (grant_id, start_key) WHERE start_key IS NOT NULL"

#: Adds up ended runs by grant and day, in UTC.
_ADD_UP = """
INSERT INTO day_sums
SELECT grant_id, CAST(created_at / 86400 AS INTEGER), SUM(COALESCE(billed, reserved)), SUM(COALESCE(seconds, timeout))
FROM runs WHERE state = 'ended' AND {} GROUP BY 1, 2
ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, seconds = seconds + excluded.seconds
"""

#: The grants below a grant, and the grant.
_BELOW = """
WITH RECURSIVE below (id) AS (
    SELECT ? UNION SELECT grants.id FROM grants JOIN below ON grants.parent = below.id
)
"""

#: Sums of the bills of ended runs since a day, and of the reservations of open runs. A broker reads them before each
#: start: ended runs are added up when they end, by day in UTC, as periods start with a day.
_USAGE = f"""
{_BELOW} SELECT SUM(credits), SUM(seconds), SUM(active) FROM (
    SELECT COALESCE(SUM(credits), 0) AS credits, COALESCE(SUM(seconds), 0) AS seconds, 0 AS active
    FROM day_sums WHERE grant_id IN below AND day >= ?
    UNION ALL
    SELECT COALESCE(SUM(reserved), 0), COALESCE(SUM(timeout), 0), COUNT(*) FROM runs INDEXED BY open_runs
    WHERE state IN ('reserved', 'unknown', 'active') AND grant_id IN below
)
"""  # noqa: S608 (constants)


@dataclass(frozen=True)
class GrantUsage:
    """What the runs of a grant count: ``credits`` in billionths, ``seconds``, and the number of ``active`` runs."""

    credits: int
    seconds: int
    active: int


@dataclass(frozen=True)
class RunRow:
    """A run in the ledger; ``price`` in billionths per hour, ``reserved`` and ``billed`` in billionths."""

    mark: str
    grant_id: str
    operation: str
    machine: str
    price: int
    timeout: int
    reserved: int
    state: str
    execution_id: str | None
    stream: str | None
    created_at: float
    running_at: float | None
    ended_at: float | None
    billed: int | None
    seconds: int | None
    alarm: str

    @property
    def abort_reason(self) -> str:
        """Why the broker aborted the run, as a part of a sentence; empty if the broker didn't abort the run."""
        return self.alarm.removeprefix(_ABORTED) if self.alarm.startswith(_ABORTED) else ""

    @property
    def is_reserved(self) -> bool:
        """Whether the reservation counts, because the bill is missing."""
        return self.billed is None and self.state != REFUSED

    @property
    def amount(self) -> int:
        """The reservation until the bill, then the bill, in billionths; 0 for a refused start."""
        return self.reserved if self.is_reserved else self.billed or 0


class GrantLedger:
    """The file of a broker. Used by one thread; each change is on disk when its method returns."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("PRAGMA foreign_keys=ON")
        self._database.executescript(_TABLES)
        if "start_key" not in {row[1] for row in self._database.execute("PRAGMA table_info(runs)")}:
            self._database.execute(_ADD_START_KEY)
        self._database.execute(_START_KEYS)
        self._database.execute(_ADD_UP.format("NOT EXISTS (SELECT 1 FROM day_sums)"))  # of an earlier version

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add_root(self, key: str) -> None:
        """Store the key of the operator, in place of an earlier one."""
        limits = json.dumps(vars(GrantLimits(scopes=tuple(SCOPES))))
        with self._transaction():
            self._database.execute(
                "INSERT INTO grants (id, digest, limits, created_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, limits = excluded.limits",
                (ROOT, _hash_key(key), limits, time.time()),
            )

    def add_grant(self, parent: Grant, limits: GrantLimits) -> tuple[Grant, str]:
        """Store a grant below another grant, and return it with its key, which isn't stored."""
        grant_id, key = secrets.token_hex(8), f"lk_{secrets.token_urlsafe(32)}"
        with self._transaction():
            self._database.execute(
                "INSERT INTO grants (id, parent, digest, limits, created_at) VALUES (?, ?, ?, ?, ?)",
                (grant_id, parent.id, _hash_key(key), json.dumps(vars(limits)), time.time()),
            )
        return self.grant(grant_id), key

    def named_grant(self, parent: Grant, name: str, limits: GrantLimits) -> Grant:
        """Return the grant of a user or a group, whose key isn't used; create or update the grant."""
        row = self._database.execute("SELECT grant_id FROM named_grants WHERE name = ?", (name,)).fetchone()
        if row is None:
            grant, _ = self.add_grant(parent, limits)
            with self._transaction():
                self._database.execute("INSERT INTO named_grants VALUES (?, ?)", (name, grant.id))
            return grant
        grant = self.grant(row[0])
        if grant.limits == limits and grant.chain[1:] == parent.chain:
            return grant
        with self._transaction():
            self._database.execute(
                "UPDATE grants SET parent = ?, limits = ? WHERE id = ?",
                (parent.id, json.dumps(vars(limits)), grant.id),
            )
        return self.grant(grant.id)

    def find_grant(self, key: str) -> Grant | None:
        """Return the grant of a key, also if it is revoked; None for a key that wasn't issued."""
        row = self._database.execute("SELECT id FROM grants WHERE digest = ?", (_hash_key(key),)).fetchone()
        return self.grant(row[0]) if row else None

    def has_grant(self, grant_id: str) -> bool:
        """Return whether a grant has this id."""
        return self._database.execute("SELECT 1 FROM grants WHERE id = ?", (grant_id,)).fetchone() is not None

    def grant(self, grant_id: str) -> Grant:
        """Return a grant, with the state of the grants above it: revoked, or blocked, if one of them is."""
        chain: list[str] = []
        next_id: str | None = grant_id
        limits: list[GrantLimits] = []
        revoked_at, blocked = None, ""
        while next_id is not None:
            chain.append(next_id)
            row = self._database.execute(
                "SELECT parent, limits, revoked_at, blocked FROM grants WHERE id = ?", (next_id,)
            ).fetchone()
            next_id = row[0]
            limits.append(_read_limits(row[1]))
            revoked_at, blocked = revoked_at or row[2], blocked or row[3]
        ends_at = min((each.ends_at for each in limits if each.ends_at is not None), default=None)
        return Grant(grant_id, tuple(chain), limits[0], revoked_at, blocked, ends_at)

    def grants_below(self, grant_id: str) -> list[Grant]:
        """Return the grants below a grant, oldest first, without the grant."""
        query = f"{_BELOW} SELECT id FROM grants WHERE id IN below AND id <> ? ORDER BY created_at"  # noqa: S608
        return [self.grant(row[0]) for row in self._database.execute(query, (grant_id, grant_id)).fetchall()]

    def usage(self, grant: Grant) -> GrantUsage:
        """Return what the runs of a grant, and of the grants below it, count in its period; open runs always count."""
        first_day = int(grant.limits.period_start(datetime.now(timezone.utc)) // 86400)
        return GrantUsage(*self._database.execute(_USAGE, (grant.id, first_day)).fetchone())

    def sum_runs(self, grant_id: str, start: float, end: float) -> list[tuple[str, str, int, int, int, int]]:
        """Return sums of the runs, VMs and calls of models of a grant and the grants below it between two moments.

        A row has the id of the grant, the operation, the number, and the seconds, bills and reservations without a
        bill, in billionths.
        """
        query = (
            f"{_BELOW} SELECT grant_id, operation, COUNT(*), COALESCE(SUM(seconds), 0), "  # noqa: S608
            "COALESCE(SUM(billed), 0), COALESCE(SUM(CASE WHEN billed IS NULL THEN reserved ELSE 0 END), 0) FROM runs "
            "WHERE grant_id IN below AND state <> 'refused' AND created_at >= ? AND created_at < ? GROUP BY 1, 2"
        )
        return self._database.execute(query, (grant_id, start, end)).fetchall()

    def sum_uploads(self, grant_id: str, month: str) -> list[tuple[str, int]]:
        """Return the bytes that a grant and each grant below it uploaded in a month such as 2026-11."""
        query = f"{_BELOW} SELECT grant_id, bytes FROM uploads WHERE grant_id IN below AND month = ?"  # noqa: S608
        return self._database.execute(query, (grant_id, month)).fetchall()

    def grant_names(self) -> dict[str, str]:
        """Return the users and groups of a hub by the id of their grant, such as ``user ana``."""
        return dict(self._database.execute("SELECT grant_id, name FROM named_grants"))

    def uploaded_bytes(self, grant_id: str) -> int:
        """Return the bytes that a grant, and the grants below it, have uploaded; deleted files count too."""
        query = f"{_BELOW} SELECT COALESCE(SUM(bytes), 0) FROM uploads WHERE grant_id IN below"  # noqa: S608
        return int(self._database.execute(query, (grant_id,)).fetchone()[0])

    def reserve_upload(self, grant: Grant, size: int) -> None:
        """Count the bytes of an upload before it is sent. Raises RefusedCall if a limit doesn't allow it."""
        with self._transaction():
            for grant_id in grant.chain:
                self._require_upload_room(self.grant(grant_id), size)
            self._add_upload(grant, size)

    def release_upload(self, grant: Grant, size: int) -> None:
        """Subtract the bytes of an upload that the cloud refused."""
        with self._transaction():
            self._add_upload(grant, -size)

    def _add_upload(self, grant: Grant, size: int) -> None:
        self._database.execute(
            "INSERT INTO uploads VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
            (grant.id, f"{datetime.now(timezone.utc):%Y-%m}", size),
        )

    def _require_upload_room(self, grant: Grant, size: int) -> None:
        _require_usable(grant, "stored")
        limit, used = grant.limits.upload_bytes, self.uploaded_bytes(grant.id)
        if limit is not None and used + size > limit:
            rest = max(0, limit - used) / (1 << 30)
            raise RefusedCall(
                402, f"The upload has {size / (1 << 30):.2f} GiB, but this key may upload only {rest:.2f} GiB. "
                "Nothing was stored.",
            )  # fmt: skip

    def revoke(self, grant_id: str) -> None:
        """Revoke a grant, and with it all grants below it."""
        with self._transaction():
            self._database.execute(
                "UPDATE grants SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?", (time.time(), grant_id)
            )

    def block(self, grant_id: str, reason: str) -> None:
        """Refuse further starts of a grant."""
        with self._transaction():
            self._database.execute("UPDATE grants SET blocked = ? WHERE id = ?", (reason, grant_id))

    def reserve(  # noqa: PLR0913 (the facts of a start)
        self,
        grant: Grant,
        *,
        operation: str,
        machine: str,
        price: int,
        timeout: int,
        margin: int,
        tokens: int = 0,
        start_key: str | None = None,
    ) -> str:
        """Reserve the highest bill of a run in the grant and all grants above it, and return the mark of the run.

        ``price`` is in billionths per hour; ``timeout`` and ``margin`` are in seconds; ``tokens`` is the price of the
        tokens of a model's answer, in billionths. Raises RefusedCall if a limit doesn't allow the run, or if the grant
        has started a run with the same ``start_key``. The checks and the reservation are one transaction, so parallel
        starts can't overspend.
        """
        reserved = tokens + -(-price * (timeout + margin) // 3600)
        mark, digest = secrets.token_hex(16), None if start_key is None else _hash_key(start_key)
        with self._transaction():
            self._require_unused_key(grant, digest)
            for grant_id in grant.chain:
                self._require_room(self.grant(grant_id), machine, timeout, reserved)
            self._database.execute(
                "INSERT INTO runs (mark, grant_id, operation, machine, price, timeout, reserved, state, created_at, "
                "start_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (mark, grant.id, operation, machine, price, timeout, reserved, RESERVED, time.time(), digest),
            )
        return mark

    def _require_unused_key(self, grant: Grant, digest: str | None) -> None:
        """Raise RefusedCall if a run of a grant has the start key with this digest, with the id of the run."""
        query = "SELECT execution_id FROM runs WHERE grant_id = ? AND start_key = ?"
        row = self._database.execute(query, (grant.id, digest)).fetchone()
        if row is not None:
            run = "A run" if row[0] is None else f"Run {row[0]}"
            state = "is being started" if row[0] is None else "was started"
            raise RefusedCall(409, f"{run} {state} with {SAME_KEY}. Nothing was started.", {"execution_id": row[0]})

    def _require_room(self, grant: Grant, machine: str, timeout: int, reserved: int) -> None:
        """Raise RefusedCall if the limits of a grant don't allow another run."""
        limits, now = grant.limits, time.time()
        _require_usable(grant, "started")
        if limits.ends_at is not None and now + timeout > limits.ends_at:
            seconds = int(limits.ends_at - now)
            raise RefusedCall(
                422,
                f"timeout must be at most {seconds} s, because this key expires after that time. Nothing was started.",
            )
        if limits.machines is not None and machine not in limits.machines:
            raise RefusedCall(403, f"This key doesn't allow {machine}. It allows: {', '.join(limits.machines)}.")
        if limits.parallel is None and limits.seconds is None and limits.credits is None:
            return  # the operator: the sums of all runs would take time before each start
        usage = self.usage(grant)
        if limits.parallel is not None and usage.active >= limits.parallel:
            raise RefusedCall(403, f"{usage.active} runs are active, and this key allows {limits.parallel} at a time.")
        if limits.seconds is not None and usage.seconds + timeout > limits.seconds:
            rest = max(0, limits.seconds - usage.seconds)
            raise RefusedCall(
                402, f"The run may take {timeout} s, but this key has only {rest} s left. Nothing was started."
            )
        if limits.credits is not None and usage.credits + reserved > limits.credits:
            rest = max(0, limits.credits - usage.credits)
            raise RefusedCall(
                402,
                f"The run may cost {_format_credits(reserved)} credits, but this key has only {_format_credits(rest)} "
                "credits left. Nothing was started. Use a shorter timeout or another machine.",
            )

    def activate(self, mark: str, execution_id: str, stream: str | None) -> bool:
        """Store the id of a started run; return False if another run has this id already."""
        try:
            with self._transaction():
                changed = self._database.execute(
                    "UPDATE runs SET state = ?, execution_id = ?, stream = ? WHERE mark = ? AND execution_id IS NULL",
                    (ACTIVE, execution_id, stream, mark),
                ).rowcount
        except sqlite3.IntegrityError:
            return False
        return changed == 1

    def release(self, mark: str) -> None:
        """Release a reservation whose run was certainly not started, and its start key."""
        self._commit_run_update(mark, state=REFUSED, ended_at=time.time(), start_key=None)

    def doubt(self, mark: str, reason: str) -> None:
        """Mark a start without a usable answer: its reservation stays until the run is found."""
        self._commit_run_update(mark, state=UNKNOWN, alarm=reason)

    def note_running(self, mark: str) -> None:
        """Store when a run was first seen running."""
        self._commit_run_update(mark, running_at=time.time())

    def note_aborts(self, ends: Mapping[RunRow, str]) -> None:
        """Store why runs are aborted, before the cloud ends them; an earlier reason or alarm stays."""
        for row, reason in ends.items():
            if not row.alarm:
                self._commit_run_update(row.mark, alarm=f"{_ABORTED}{reason}")

    def settle(self, mark: str, billed: int, seconds: int, alarm: str = "") -> None:
        """Replace the reservation of an ended run by its bill, in billionths."""
        changes: dict[str, Any] = {"alarm": alarm} if alarm else {}
        changes |= {"state": ENDED, "billed": billed, "seconds": seconds, "ended_at": time.time()}
        with self._transaction():
            if self._update_run(mark, **changes):
                self._database.execute(_ADD_UP.format("mark = ?"), (mark,))

    def _commit_run_update(self, mark: str, **changes: Any) -> None:
        with self._transaction():
            self._update_run(mark, **changes)

    def _update_run(self, mark: str, **changes: Any) -> bool:
        """Change a run in a transaction; return False for a run whose state is final."""
        assigned = ", ".join(f"{name} = ?" for name in changes)
        condition = "mark = ? AND state NOT IN ('ended', 'refused')"
        query = f"UPDATE runs SET {assigned} WHERE {condition}"  # noqa: S608 (constants)
        return self._database.execute(query, (*changes.values(), mark)).rowcount == 1

    def open_runs(self) -> list[RunRow]:
        """Return the runs that may be active."""
        return self._select_runs("WHERE state IN ('reserved', 'unknown', 'active') ORDER BY created_at")

    def refused_since(self, moment: float) -> list[RunRow]:
        """Return the starts that the cloud refused since a moment, in Unix seconds."""
        return self._select_runs("WHERE state = 'refused' AND ended_at >= ?", moment)

    def revive(self, mark: str, execution_id: str, alarm: str) -> None:
        """Store that a refused start has started a run anyway: it counts, and must be aborted."""
        with self._transaction():
            self._database.execute(
                "UPDATE runs SET state = ?, execution_id = ?, alarm = ?, ended_at = NULL "
                "WHERE mark = ? AND state = 'refused'",
                (ACTIVE, execution_id, alarm, mark),
            )

    def run(self, execution_id: str) -> RunRow | None:
        """Return the run with this id, or None."""
        return next(iter(self._select_runs("WHERE execution_id = ?", execution_id)), None)

    def runs_below(self, grant_id: str, start: float = 0, end: float = math.inf) -> list[RunRow]:
        """Return the runs of a grant, and of the grants below it, between two moments in Unix seconds, oldest first."""
        condition = "WHERE grant_id IN below AND created_at >= ? AND created_at < ? ORDER BY created_at"
        return self._select_runs(condition, grant_id, start, end, head=_BELOW)

    def find_run(self, grant: Grant, execution_id: str) -> RunRow | None:
        """Return the run with this id if it belongs to the grant or to a grant below it, otherwise None."""
        row = self.run(execution_id)
        return row if row and grant.id in self.grant(row.grant_id).chain else None

    def _select_runs(self, condition: str, *values: Any, head: str = "") -> list[RunRow]:
        names = ", ".join(RunRow.__dataclass_fields__)
        query = f"{head} SELECT {names} FROM runs {condition}"  # noqa: S608 (constants)
        return [RunRow(*row) for row in self._database.execute(query, values).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _require_usable(grant: Grant, participle: str) -> None:
    """Raise RefusedCall if a grant was revoked, is blocked or has ended."""
    if grant.blocked:
        raise RefusedCall(403, f"This key is blocked: {grant.blocked} Nothing was {participle}.")
    if reason := grant.end_reason:
        raise RefusedCall(
            401 if grant.is_revoked else 403, f"This key can't be used: {reason}. Nothing was {participle}."
        )


def _hash_key(key: str) -> str:
    """Return the stored form of a key or a start key. Lookups use this form: no comparison shows a close guess."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _read_limits(text: str) -> GrantLimits:
    fields = json.loads(text)
    for name in ("machines", "scopes"):
        fields[name] = None if fields[name] is None else tuple(fields[name])
    return GrantLimits(**fields)


def _format_credits(billionths: int) -> str:
    return f"{billionths / BILLION:.4f}"
