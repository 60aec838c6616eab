"""Deployments: kept, started, scaled, paused, woken up, stopped, billed by the second of each replica."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.clock import now as now_text
from lk_jupyter.localcloud.models import replicas
from lk_jupyter.localcloud.models.scaling import Demand
from lk_jupyter.localcloud.store import Store

Json = dict[str, Any]

#: Seconds without a request after which a deployment is paused.
IDLE_SECONDS = 3600.0

_TABLES = """
CREATE TABLE IF NOT EXISTS deployments (
    id TEXT PRIMARY KEY, org TEXT NOT NULL, is_live INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS deployments_live ON deployments (org, is_live);
"""

_MOST_ENDED = 10
_TICK_SECONDS = 1.0
_FASTEST_TICK = 0.02


class Deployments:
    """All deployments of this cloud; ``speed`` is the speed of the cloud's clock."""

    def __init__(self, store: Store, ledger: Ledger, speed: float) -> None:
        self._store = store
        self._ledger = ledger
        self.speed = speed
        self.demand = Demand(speed)
        self._news = asyncio.Event()
        store.add_tables(_TABLES)
        ledger.add_meter(self.compute_active_cost)

    def create(self, org_id: str, fields: Json) -> Json:
        """Store a new deployment and request its first replicas; called in the event loop."""
        moment = time.time()
        deployment = {
            **fields,
            "deployment_id": str(uuid4()),
            "created_at": now_text(),
            "asked": moment,
            "calm_since": moment,
            "is_paused": False,
            "is_stopped": False,
            "desired_replicas": fields["min_replicas"],
            "replicas": [replicas.create_replica(moment) for _ in range(fields["min_replicas"])],
        }
        with self._store.write() as db:
            row = (deployment["deployment_id"], org_id, True, json.dumps(deployment))
            db.execute("INSERT INTO deployments VALUES (?, ?, ?, ?)", row)
        self._news.set()
        return deployment

    def get(self, org_id: str, deployment_id: str) -> Json:
        """Return a deployment; 404 for an unknown deployment, or a deployment of another organization."""
        rows = self._store.read("SELECT body FROM deployments WHERE id = ? AND org = ?", deployment_id, org_id)
        if not rows:
            raise HTTPException(404, f"Deployment {deployment_id} not found")
        return _read_deployment(rows[0])

    def list_deployments(self, org_id: str, *, with_stopped: bool = False) -> list[Json]:
        """Return the deployments of an organization, oldest first."""
        query = "SELECT body FROM deployments WHERE org = ? AND is_live >= ?"
        rows = self._store.read(query, org_id, not with_stopped)
        return sorted(map(_read_deployment, rows), key=lambda deployment: str(deployment["created_at"]))

    def find_by_name(self, org_id: str, name: str) -> Json | None:
        """Return the live deployment with this id, or the first deployment that serves this model."""
        live = self.list_deployments(org_id)
        by_id = (d for d in live if d["deployment_id"] == name)
        by_model = (d for d in live if name in {d["serving_name"], d["hf_model_id"]})
        return next(by_id, None) or next(by_model, None)

    def find_replica(self, org_id: str, replica_id: str) -> tuple[Json, Json]:
        """Return a replica and its deployment; 404 for an unknown replica, or a replica of another organization."""
        for deployment in self.list_deployments(org_id, with_stopped=True):
            for replica in deployment["replicas"]:
                if replica["replica_id"] == replica_id:
                    return deployment, replica
        raise HTTPException(404, f"Replica {replica_id} not found")

    def read_latest(self, deployment: Json) -> Json:
        """Return the present facts of a deployment, stopped if its organization was deleted."""
        rows = self._store.read("SELECT body FROM deployments WHERE id = ?", deployment["deployment_id"])
        return _read_deployment(rows[0]) if rows else {**deployment, "is_stopped": True}

    def stop(self, org_id: str, deployment_id: str) -> Json:
        """End a deployment permanently. An ended deployment doesn't change."""
        self.get(org_id, deployment_id)
        return self._change_and_bill(deployment_id, _stop_deployment)

    def forget(self, org_id: str) -> None:
        """End and remove all deployments of an organization."""
        for deployment in self.list_deployments(org_id):
            self._change_and_bill(deployment["deployment_id"], _stop_deployment)
        with self._store.write() as db:
            db.execute("DELETE FROM deployments WHERE org = ?", (org_id,))

    def wake(self, deployment: Json) -> Json:
        """Record a request; a paused deployment gets replicas again, if the organization has credits."""
        if deployment["is_paused"]:
            self._ledger.require_credits(self._read_org_id(deployment))
        return self._change_and_bill(deployment["deployment_id"], _wake_deployment)

    def compute_status(self, deployment: Json) -> str:
        """Return the state of a deployment."""
        if deployment["is_stopped"]:
            return "stopped"
        if deployment["is_paused"]:
            return "paused"
        states = self.list_replica_states(deployment)
        if "running" in states:
            return "created"
        return "failed" if states and set(states) == {"failed"} else "pending"

    def list_replica_states(self, deployment: Json) -> list[str]:
        """Return the states of the replicas that were not ended."""
        moment, model = time.time(), deployment["serving_name"]
        return [
            replicas.compute_state(replica, model, moment, self.speed) for replica in _list_open_replicas(deployment)
        ]

    def compute_active_cost(self, org_id: str) -> Decimal:
        """Return the cost of the active replicas of an organization so far."""
        moment = time.time()
        return sum(
            (
                self._compute_cost(d, replica, moment)
                for d in self.list_deployments(org_id)
                for replica in _list_open_replicas(d)
            ),
            Decimal(0),
        )

    async def scale_forever(self) -> None:
        """Scale and pause deployments by the clock; sleep without active deployments."""
        while True:
            self._news.clear()
            live = self._store.read("SELECT id, org, body FROM deployments WHERE is_live")
            for row in live:
                try:
                    self._scale_or_pause(_read_deployment(row), row["org"])
                except Exception:  # the next tick may succeed, and other deployments must continue
                    logging.getLogger("uvicorn.error").exception("deployment %s", row["id"])
            await (asyncio.sleep(max(_TICK_SECONDS / self.speed, _FASTEST_TICK)) if live else self._news.wait())

    def _scale_or_pause(self, deployment: Json, org_id: str) -> None:
        if deployment["is_paused"] or "running" not in self.list_replica_states(deployment):
            return
        moment, deployment_id = time.time(), deployment["deployment_id"]
        idle_from = max(deployment["asked"], self._compute_up_since(deployment)) + IDLE_SECONDS / self.speed
        if moment > idle_from:
            self._change_and_bill(deployment_id, lambda d, _: _pause_deployment(d, idle_from))
        elif self._ledger.read_standing(org_id).remaining <= 0:
            self._change_and_bill(deployment_id, _pause_deployment)
        elif (replica_count := self._compute_replica_count(deployment, moment)) != deployment["desired_replicas"]:
            self._change_and_bill(deployment_id, lambda d, now: _set_replica_count(d, now, replica_count))
        elif self.demand.count_needed_replicas(deployment, moment) == replica_count > deployment["min_replicas"]:
            self._change_and_bill(deployment_id, _record_full_use)

    def _compute_replica_count(self, deployment: Json, moment: float) -> int:
        """Return the target number of replicas: increase immediately, decrease by steps of one after a calm period."""
        replica_count, have = self.demand.count_needed_replicas(deployment, moment), int(deployment["desired_replicas"])
        if replica_count >= have:
            return replica_count
        calm = (moment - deployment["calm_since"]) * self.speed
        return have - 1 if calm >= deployment["stabilisation_window"] else have

    def _read_org_id(self, deployment: Json) -> str:
        (row,) = self._store.read("SELECT org FROM deployments WHERE id = ?", deployment["deployment_id"])
        return str(row["org"])

    def _compute_up_since(self, deployment: Json) -> float:
        return min(replicas.compute_service_start(replica, self.speed) for replica in _list_open_replicas(deployment))

    def _change_and_bill(self, deployment_id: str, change: Callable[[Json, float], None]) -> Json:
        """Change a live deployment, and bill the replicas that ended, together."""
        with self._store.write() as db:
            row = db.execute("SELECT org, is_live, body FROM deployments WHERE id = ?", (deployment_id,)).fetchone()
            deployment = _read_deployment(row)
            if not row["is_live"]:
                return deployment
            change(deployment, time.time())
            self._bill_ended(db, row["org"], deployment)
            deployment["replicas"] = _list_recent_replicas(deployment)
            body = json.dumps(deployment)
            db.execute(
                "UPDATE deployments SET is_live = ?, body = ? WHERE id = ?",
                (not deployment["is_stopped"], body, deployment_id),
            )
        return deployment

    def _bill_ended(self, db: sqlite3.Connection, org_id: str, deployment: Json) -> None:
        """Bill each ended replica; earlier bills aren't repeated."""
        for replica in deployment["replicas"]:
            if replica["until"] is not None:
                self._ledger.charge(
                    db,
                    org_id,
                    "dedicated_inference",
                    replica["replica_id"],
                    self._compute_cost(deployment, replica, replica["until"]),
                    deployment_id=deployment["deployment_id"],
                    hardware_profile=deployment["hardware_profile"],
                    description=f"{deployment['serving_name']} on {deployment['hardware_profile']}",
                )

    def _compute_cost(self, deployment: Json, replica: Json, moment: float) -> Decimal:
        return replicas.compute_cost(
            replica, deployment["serving_name"], price_per_hour(deployment), moment, self.speed
        )


def price_per_hour(deployment: Json) -> Decimal:
    """Return the price of a replica in credits per hour."""
    return catalogue.find_vm_price("on-demand", deployment["gpu_type"], deployment["gpu_count"])


def _stop_deployment(deployment: Json, moment: float) -> None:
    deployment["is_stopped"] = True
    deployment["desired_replicas"] = 0
    _end_replicas(_list_open_replicas(deployment), moment)


def _pause_deployment(deployment: Json, moment: float) -> None:
    deployment["is_paused"] = True
    deployment["desired_replicas"] = 0
    _end_replicas(_list_open_replicas(deployment), moment)


def _wake_deployment(deployment: Json, moment: float) -> None:
    deployment["asked"] = moment
    if deployment["is_paused"]:
        deployment["is_paused"] = False
        _set_replica_count(deployment, moment, deployment["min_replicas"])


def _set_replica_count(deployment: Json, moment: float, replica_count: int) -> None:
    """Set the number of replicas. The newest end first."""
    deployment["desired_replicas"] = replica_count
    _record_full_use(deployment, moment)
    have = _list_open_replicas(deployment)
    _end_replicas(have[replica_count:], moment)
    deployment["replicas"] += [replicas.create_replica(moment) for _ in range(replica_count - len(have))]


def _record_full_use(deployment: Json, moment: float) -> None:
    """Note that all replicas are needed."""
    deployment["calm_since"] = moment


def _end_replicas(ending: list[Json], moment: float) -> None:
    for replica in ending:
        replica["until"] = moment


def _list_open_replicas(deployment: Json) -> list[Json]:
    return [replica for replica in deployment["replicas"] if replica["until"] is None]


def _list_recent_replicas(deployment: Json) -> list[Json]:
    """Return the replicas, except replicas that ended long ago."""
    ended = [replica for replica in deployment["replicas"] if replica["until"] is not None]
    return [*ended[-_MOST_ENDED:], *_list_open_replicas(deployment)]


def _read_deployment(row: sqlite3.Row) -> Json:
    deployment: Json = json.loads(row["body"])
    return deployment
