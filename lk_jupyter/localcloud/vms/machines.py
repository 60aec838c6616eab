"""Simulated machines and volumes: facts, start and cost.

No real machine exists. The state of a machine is a function of time, so a restart changes nothing. Machines stay
active, and cost credits, while the local cloud is down. ``guests`` gives a machine an SSH server.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.localcloud.billing.catalogue import VOLUME_GB_HOUR, compute_cost_by_hour, find_vm_price
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.store import Store

Json = dict[str, Any]

ADDRESS = "127.0.0.1"
LOCATION = "this-machine"

#: Seconds in the states before ``running``.
PENDING_SECONDS = 2.0
PROVISIONING_SECONDS = 8.0

LARGEST_VOLUME_GB = 100_000

_TABLES = """
CREATE TABLE IF NOT EXISTS vms (id TEXT PRIMARY KEY, org TEXT NOT NULL, ended REAL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS vms_of_org ON vms (org, ended);
CREATE TABLE IF NOT EXISTS volumes (id TEXT PRIMARY KEY, org TEXT NOT NULL, vm TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS volumes_of_org ON volumes (org, vm);
"""


@dataclass(frozen=True)
class Machine:
    """A stored machine; ``created`` and ``ended`` are seconds since 1970."""

    id: str
    org_id: str
    ended: float | None
    user_id: str
    created: float
    card: str
    count: int
    instance_type: str
    display_name: str | None
    key: str = ""

    @property
    def name(self) -> str:
        """The platform's name for the machine, which states the simulation."""
        return f"simulated-vm-{self.id[:8]}"

    def running_from(self, speed: float) -> float:
        """Return the second from which the machine is up, and costs credits."""
        return self.created + (PENDING_SECONDS + PROVISIONING_SECONDS) / speed

    def state(self, moment: float, speed: float) -> str:
        """Return the state at a moment, on a clock of this speed."""
        if self.ended is not None:
            return "terminated"
        if moment >= self.running_from(speed):
            return "running"
        return "pending" if moment < self.created + PENDING_SECONDS / speed else "provisioning"

    def uptime(self, moment: float, speed: float) -> float:
        """Return the seconds of service."""
        return max(0.0, (moment if self.ended is None else self.ended) - self.running_from(speed))

    def cost(self, moment: float, speed: float) -> Decimal:
        """Return the cost so far, in credits."""
        return compute_cost_by_hour(
            find_vm_price(self.instance_type, self.card, self.count), self.uptime(moment, speed)
        )


@dataclass(frozen=True)
class Volume:
    """A stored volume."""

    id: str
    org_id: str
    vm_id: str | None
    created: float
    size_gb: int
    folder: Path

    @property
    def name(self) -> str:
        """The permanent name of the volume."""
        return f"simulated-{self.id}"

    @property
    def mount_path(self) -> str:
        """The path of the volume on its machine, which is a process of this computer."""
        return str(self.folder / self.id)

    def cost(self, moment: float) -> Decimal:
        """Return the cost so far, in credits."""
        return compute_cost_by_hour(VOLUME_GB_HOUR * self.size_gb, moment - self.created)


class Machines:
    """All machines and volumes of this cloud; ``speed`` is the speed of the cloud's clock."""

    def __init__(self, store: Store, ledger: Ledger, speed: float, folder: Path) -> None:
        self._store = store
        self._ledger = ledger
        self._folder = folder
        self.speed = speed
        self.on_create: Callable[[Machine], object] = lambda _: None
        self.on_end: Callable[[str], object] = lambda _: None
        store.add_tables(_TABLES)
        ledger.add_meter(self.compute_active_cost)

    def create(self, org_id: str, user_id: str, request: CreateVMRequest) -> Machine:
        """Store a new machine with its volumes; 400 if a volume can't be attached."""
        count = request.instance_specs.gpu_count if request.instance_specs else 1
        body = {
            "user_id": user_id,
            "created": time.time(),
            "card": request.hardware_profile,
            "count": max(1, count),
            "instance_type": request.instance_type,
            "display_name": request.display_name or request.name,
            "key": request.user_public_key,
        }
        vm_id = uuid4().hex
        with self._store.write() as db:
            db.execute("INSERT INTO vms VALUES (?, ?, NULL, ?)", (vm_id, org_id, json.dumps(body)))
            for volume_id in request.volume_ids or ():
                _attach_volume(db, org_id, volume_id, vm_id)
            if request.new_volume:
                document = {"created": body["created"], "size_gb": request.new_volume.size_gb}
                row = (f"vol-{uuid4().hex[:12]}", org_id, vm_id, json.dumps(document))
                db.execute("INSERT INTO volumes VALUES (?, ?, ?, ?)", row)
        for volume in self.list_volumes(org_id, vm_id):
            Path(volume.mount_path).mkdir(mode=0o700, parents=True, exist_ok=True)
        machine = self.get(org_id, vm_id)
        self.on_create(machine)
        return machine

    def get(self, org_id: str, vm_id: str) -> Machine:
        """Return a machine; 404 for an unknown machine, or a machine of another organization."""
        rows = self._store.read("SELECT * FROM vms WHERE id = ? AND org = ?", vm_id.replace("-", ""), org_id)
        if not rows:
            raise HTTPException(404, "VM not found")
        return _read_machine(rows[0])

    def list_machines(self, org_id: str) -> list[Machine]:
        """Return the machines of an organization, newest first."""
        rows = map(_read_machine, self._store.read("SELECT * FROM vms WHERE org = ?", org_id))
        return sorted(rows, key=lambda machine: machine.created, reverse=True)

    def list_active(self) -> list[Machine]:
        """Return the machines of all organizations that haven't ended."""
        return list(map(_read_machine, self._store.read("SELECT * FROM vms WHERE ended IS NULL")))

    def rename(self, org_id: str, vm_id: str, display_name: str | None) -> Machine:
        """Change the display name of a machine."""
        machine = self.get(org_id, vm_id)
        with self._store.write() as db:
            query = "UPDATE vms SET body = json_set(body, '$.display_name', ?) WHERE id = ?"
            db.execute(query, (display_name, machine.id))
        return self.get(org_id, vm_id)

    def end(self, org_id: str, vm_id: str) -> list[Volume]:
        """End and bill a machine, and return the released volumes. An ended machine doesn't change."""
        machine, moment = self.get(org_id, vm_id), time.time()
        with self._store.write() as db:
            if db.execute("UPDATE vms SET ended = ? WHERE id = ? AND ended IS NULL", (moment, machine.id)).rowcount:
                self._ledger.charge(
                    db, org_id, "vms", machine.id, machine.cost(moment, self.speed), **_describe_machine(machine)
                )
            query = "UPDATE volumes SET vm = NULL WHERE vm = ? RETURNING *"
            released = list(map(self._read_volume, db.execute(query, (machine.id,)).fetchall()))
        self.on_end(machine.id)
        return released

    def list_volumes(self, org_id: str, vm_id: str | None = None) -> list[Volume]:
        """Return the volumes of an organization, or of a machine, oldest first."""
        rows = map(self._read_volume, self._store.read("SELECT * FROM volumes WHERE org = ?", org_id))
        matching = [volume for volume in rows if vm_id in {None, volume.vm_id}]
        return sorted(matching, key=lambda volume: volume.created)

    def delete_volume(self, org_id: str, volume_id: str) -> None:
        """Remove a detached volume and bill it; 404 for an unknown volume, 409 for an attached volume."""
        with self._store.write() as db:
            query = "DELETE FROM volumes WHERE id = ? AND org = ? RETURNING *"
            row = db.execute(query, (volume_id, org_id)).fetchone()
            if row is None:
                raise HTTPException(404, f"Volume {volume_id} not found")
            volume = self._read_volume(row)
            if volume.vm_id:
                raise HTTPException(409, f"Volume {volume_id} is attached to VM {volume.vm_id}: delete that VM first")
            description = f"{volume.size_gb} GB block volume"
            self._ledger.charge(db, org_id, "volumes", volume_id, volume.cost(time.time()), description=description)
        shutil.rmtree(volume.mount_path, ignore_errors=True)

    def _read_volume(self, row: sqlite3.Row) -> Volume:
        return Volume(row["id"], row["org"], row["vm"], **json.loads(row["body"]), folder=self._folder)

    def compute_active_cost(self, org_id: str) -> Decimal:
        """Return the cost of the active machines and volumes of an organization so far."""
        moment = time.time()
        live = map(_read_machine, self._store.read("SELECT * FROM vms WHERE org = ? AND ended IS NULL", org_id))
        machines = sum((machine.cost(moment, self.speed) for machine in live), Decimal(0))
        return machines + sum((volume.cost(moment) for volume in self.list_volumes(org_id)), Decimal(0))

    def forget(self, org_id: str) -> None:
        """End and remove all that an organization has."""
        for machine in self.list_machines(org_id):
            self.end(org_id, machine.id)
        for volume in self.list_volumes(org_id):
            self.delete_volume(org_id, volume.id)
        with self._store.write() as db:
            db.execute("DELETE FROM vms WHERE org = ?", (org_id,))


def _attach_volume(db: sqlite3.Connection, org_id: str, volume_id: str, vm_id: str) -> None:
    query = "UPDATE volumes SET vm = ? WHERE id = ? AND org = ? AND vm IS NULL"
    if not db.execute(query, (vm_id, volume_id, org_id)).rowcount:
        raise HTTPException(400, f"Volume {volume_id!r} is unknown, or attached to another VM")


def _read_machine(row: sqlite3.Row) -> Machine:
    return Machine(row["id"], row["org"], row["ended"], **json.loads(row["body"]))


def _describe_machine(machine: Machine) -> Json:
    return {
        "vm_id": machine.id,
        "hardware_profile": f"{machine.instance_type}.{machine.card}.{machine.count}x",
        "description": f"{machine.instance_type} VM with {machine.count} {machine.card}",
    }
