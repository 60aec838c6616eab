"""Records of runs on disk: small facts for lists, and the request for the record."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.execution import FINAL_STATES
from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.clock import now, to_seconds
from lk_jupyter.localcloud.runs.webhooks import Webhooks
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, user TEXT NOT NULL, status TEXT NOT NULL, created REAL NOT NULL,
    facts TEXT NOT NULL, request TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_newest ON runs (org, created DESC);
DROP INDEX IF EXISTS runs_active;
CREATE INDEX IF NOT EXISTS runs_unfinished ON runs (created) WHERE {active};

CREATE TABLE IF NOT EXISTS run_counts (
    org TEXT NOT NULL, status TEXT NOT NULL, runs INTEGER NOT NULL, PRIMARY KEY (org, status)
) WITHOUT ROWID;
INSERT INTO run_counts SELECT org, status, COUNT(*) FROM runs WHERE NOT EXISTS (SELECT * FROM run_counts)
    GROUP BY org, status;
CREATE TRIGGER IF NOT EXISTS runs_are_counted AFTER INSERT ON runs BEGIN
    INSERT INTO run_counts VALUES (NEW.org, NEW.status, 1) ON CONFLICT (org, status) DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER IF NOT EXISTS runs_are_recounted AFTER UPDATE OF status ON runs WHEN OLD.status <> NEW.status BEGIN
    UPDATE run_counts SET runs = runs - 1 WHERE org = OLD.org AND status = OLD.status;
    INSERT INTO run_counts VALUES (NEW.org, NEW.status, 1) ON CONFLICT (org, status) DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER IF NOT EXISTS runs_are_discounted AFTER DELETE ON runs BEGIN
    UPDATE run_counts SET runs = runs - 1 WHERE org = OLD.org AND status = OLD.status;
END;
"""

_STATES = ("pending", "starting", "running", "initializing", "extracting", "profiling", "processing")
_ACTIVE = f"status IN {_STATES}"

Facts = dict[str, Any]


def is_active(facts: Facts) -> bool:
    """Whether a run is active."""
    return facts["status"] not in FINAL_STATES


def compute_run_seconds(facts: Facts) -> float:
    """Return the seconds for which the code has run, up to its end or to now."""
    start, end = facts.get("start_time"), facts.get("end_time") or now()
    return round(to_seconds(end) - to_seconds(start), 6) if start else 0.0


def add_cost(facts: Facts) -> Facts:
    """Add the cost so far to the facts of an active run."""
    if not is_active(facts):
        return facts
    return {**facts, "billed": str(catalogue.compute_run_cost(facts["hardware_profile"], compute_run_seconds(facts)))}


class Records:
    """All runs of this cloud."""

    def __init__(self, store: Store, ledger: Ledger, webhooks: Webhooks) -> None:
        self._store = store
        self._ledger = ledger
        self._webhooks = webhooks
        store.add_tables(_TABLES.format(active=_ACTIVE))
        ledger.add_meter(self.compute_active_cost)

    def create(self, facts: Facts, request: dict[str, Any], org_id: str) -> None:
        """Keep a new run."""
        created = to_seconds(facts["created_at"])
        row = (facts["execution_id"], org_id, facts["user_id"], facts["status"], created)
        with self._store.write() as db:
            db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(facts), json.dumps(request)))

    def update(self, run_id: str, **changes: Any) -> Facts:
        """Change facts of an active run."""
        with self._store.write() as db:
            row = db.execute("SELECT facts FROM runs WHERE id = ?", (run_id,)).fetchone()
            facts: Facts = {**json.loads(row["facts"]), **changes}
            db.execute(
                "UPDATE runs SET status = ?, facts = ? WHERE id = ?", (facts["status"], json.dumps(facts), run_id)
            )
        return facts

    def finish(self, run_id: str, **changes: Any) -> None:
        """Set the final facts of a run, bill the run, queue its callbacks: in the same transaction, once."""
        with self._store.write() as db:
            row = db.execute(f"SELECT org, facts, request FROM runs WHERE id = ? AND {_ACTIVE}", (run_id,)).fetchone()  # noqa: S608
            if row is None:
                return
            facts: Facts = {**json.loads(row["facts"]), **changes}
            billed = catalogue.compute_run_cost(facts["hardware_profile"], compute_run_seconds(facts))
            facts |= {"billed": str(billed), "finish_time": now()}
            db.execute(
                "UPDATE runs SET status = ?, facts = ? WHERE id = ?", (facts["status"], json.dumps(facts), run_id)
            )
            self._ledger.charge(db, row["org"], "executions", run_id, billed, **_select_ledger_facts(facts))
            urls = json.loads(row["request"]).get("user_callback_urls", [])
            self._webhooks.queue(db, urls, {"execution_id": run_id, "status": facts["status"]})

    def read_facts(self, run_id: str, org_id: str | None = None) -> Facts:
        """Return the facts of a run; 404 for an unknown run, or a run of another organization."""
        rows = self._store.read("SELECT org, facts FROM runs WHERE id = ?", run_id)
        if not rows or org_id not in {None, rows[0]["org"]}:
            raise HTTPException(404, f"Execution {run_id} not found")
        facts: Facts = json.loads(rows[0]["facts"])
        return facts

    def read_request(self, run_id: str) -> dict[str, Any]:
        """Return the start request of a run."""
        request: dict[str, Any] = json.loads(
            self._store.read("SELECT request FROM runs WHERE id = ?", run_id)[0]["request"]
        )
        return request

    def list_active(self, org_id: str | None = None) -> list[Facts]:
        """Return the active runs, of an organization or of all, oldest first."""
        query = f"SELECT org, facts FROM runs WHERE {_ACTIVE} ORDER BY created"  # noqa: S608 (a constant)
        return [json.loads(row["facts"]) for row in self._store.read(query) if org_id in {None, row["org"]}]

    def list_page(self, org_id: str, limit: int, offset: int) -> list[Facts]:
        """Return runs of an organization, newest first."""
        query = "SELECT facts FROM runs WHERE org = ? ORDER BY created DESC LIMIT ? OFFSET ?"
        return [json.loads(row["facts"]) for row in self._store.read(query, org_id, limit, offset)]

    def count_by_state(self, org_id: str) -> dict[str, int]:
        """Return how many runs an organization has in each state."""
        query = "SELECT status, runs FROM run_counts WHERE org = ? AND runs > 0"
        return {row["status"]: row["runs"] for row in self._store.read(query, org_id)}

    def compute_spent(self, org_id: str) -> Decimal:
        """Return the cost of an organization's runs, in credits: ended runs, and active runs so far."""
        with self._store.snapshot():
            return self._ledger.sum_category(org_id, "executions") + self.compute_active_cost(org_id)

    def compute_active_cost(self, org_id: str) -> Decimal:
        """Return the cost of an organization's active runs so far, in credits."""
        return sum((Decimal(add_cost(facts)["billed"]) for facts in self.list_active(org_id)), Decimal(0))

    def delete(self, run_id: str) -> None:
        """Delete the record of a run; its charge stays in the ledger."""
        with self._store.write() as db:
            db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def _select_ledger_facts(facts: Facts) -> Facts:
    """Return the facts of a run that the ledger keeps after the record is deleted."""
    return {
        "execution_id": facts["execution_id"],
        "hardware_profile": facts["hardware_profile"],
        "description": facts.get("run_name") or facts.get("file_name") or facts["execution_type"],
        "status": facts["status"],
    }
