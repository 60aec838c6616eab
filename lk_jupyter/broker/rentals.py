"""VMs of child keys: reserve a lease, rent under the broker's mark, and delete at the end of the lease.

A VM costs credits until someone deletes it. So the broker reserves the complete lease before it rents, and repeats the
deletion until the list of the cloud shows that the VM has ended, also after the broker was killed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from lk_jupyter.api.vms import DEFAULT_LEASE, ENDED_STATES, SHORTEST_LEASE, means_no_capacity
from lk_jupyter.broker.grants import Grant, RefusedCall, moment_text
from lk_jupyter.broker.ledger import ACTIVE, RENTAL, RESERVED, UNKNOWN, GrantLedger, RunRow
from lk_jupyter.broker.starts import MAX_TIMEOUT, REFUSED_STATUSES
from lk_jupyter.broker.upstream import Answer, OddAnswer, OrganizationClient, billionths, list_rows

#: Paths of a single VM.
VM_PATH = re.compile(r"/vms/([\w-]{1,100})(/status)?", re.ASCII)

#: Fields of a rental that are forwarded. Volumes cost credits until someone deletes them, so they are refused.
_FIELDS = ("user_public_key", "hardware_profile", "instance_specs", "instance_type")
_VOLUME_FIELDS = ("new_volume", "volume_ids", "volume_migration_allowed")
_GPU_COUNTS = frozenset({1, 2, 4, 8})

#: Seconds for the answer to a rental. Afterwards the VM is searched by its mark, and released if it stays missing.
_CREATE_SECONDS, _RELEASE_SECONDS = 300.0, 900.0

#: Seconds between two reads of the list without anything to end, for which refused rentals are compared with it, and
#: for the bill of an ended VM.
_LIST_SECONDS, _REFUSED_SECONDS, _BILL_SECONDS = 5.0, 600.0, 60.0

#: Successive reads after which a missing VM counts as ended.
_MISSING_READS = 20

#: The broker's mark at the end of a display name, which is the only field that a VM keeps.
_MARK = re.compile(r" ?lk-broker-([0-9a-f]{32})$")

#: Alarm for a VM of a refused rental.
_REVIVED = "The cloud refused to rent a VM, but rented the VM anyway."

_log = logging.getLogger("lk_jupyter.broker")


class Rentals:
    """Rent VMs for child keys. ``margin`` are the seconds that are reserved besides a lease."""

    def __init__(self, ledger: GrantLedger, upstream: OrganizationClient, margin: int, started_at: float) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._margin = margin
        self._started_at = started_at
        self._list_at = 0.0
        self._ended_at: dict[str, float] = {}
        self._missing: Counter[str] = Counter()

    async def create(self, grant: Grant, body: Any) -> Answer:
        """Rent a VM for a lease of ``timeout`` seconds, a field that only the broker knows. Raises RefusedCall."""
        fields, price_name, lease = read_rental(body, grant, time.time())
        grant.require("vms")
        try:
            price = await self._upstream.vm_price(price_name)
        except OddAnswer as problem:
            raise RefusedCall(502, f"{problem} Nothing was rented. Try again.") from None
        if not price:
            raise RefusedCall(403, f"{price_name[:100]} has no published price. Nothing was rented.")
        machine = f"gpu.{fields['hardware_profile']}"
        mark = self._ledger.reserve(
            grant, operation=RENTAL, machine=machine, price=price, timeout=lease, margin=self._margin
        )
        name = body.get("display_name") or body.get("name") or ""
        fields["display_name"] = _add_mark_to_name(name, mark)
        try:
            answer = await self._upstream.send("POST", RENTAL, body=fields, timeout=_CREATE_SECONDS)
        except OddAnswer as problem:
            self._ledger.doubt(mark, str(problem))
            raise RefusedCall(502, f"{problem} The VM may be active. List VMs before you rent another.") from None
        detail = str(answer.content.get("detail", "")) if isinstance(answer.content, dict) else ""
        if answer.status in REFUSED_STATUSES or (answer.status >= 500 and means_no_capacity(detail)):
            self._ledger.release(mark)
            return answer
        vm_id = (answer.fields or {}).get("vm_id")
        if is_vm_id(vm_id) and self._ledger.activate(mark, str(vm_id), None):
            return Answer(answer.status, _describe_vm(answer.fields or {}, self._find_rental(grant, vm_id)))
        self._ledger.doubt(
            mark, f"The cloud answered the request for a VM with HTTP {answer.status}, but without a usable id."
        )
        raise RefusedCall(
            502, "The cloud answered in an unknown form. The VM may be active. List VMs before you rent another."
        )

    async def list_vms(self, grant: Grant, query: str) -> Answer:
        """Return the VMs of a grant, also a VM whose rental had no usable answer. Raises OddAnswer."""
        answer = await self._upstream.send("GET", "/vms/list", query=query)
        if answer.fields is None:
            return answer
        by_mark = _map_marks_to_ids(answer)
        for row in self._ledger.open_runs():
            if row.state == UNKNOWN and (vm_id := by_mark.get(row.mark)):
                self._ledger.activate(row.mark, vm_id, None)
        rows = [
            _describe_vm(row, rental)
            for row in list_rows(answer.content)
            if (rental := self._find_rental(grant, row.get("vm_id")))
        ]
        return Answer(answer.status, {"vms": rows, "total": len(rows)})

    async def call(self, grant: Grant, method: str, path: str, vm_id: str, body: Any) -> Answer:
        """Read, rename or delete a VM of a grant. Raises RefusedCall, OddAnswer."""
        row = self._find_rental(grant, vm_id)
        if row is None:
            raise RefusedCall(404, f"This key has no VM {vm_id}.")
        if method == "PATCH":
            name = body.get("display_name") if isinstance(body, dict) else None
            body = {"display_name": _add_mark_to_name(name, row.mark)}
        answer = await self._upstream.send(method, path, body=body)
        if answer.fields is None:
            return answer
        reason = {"status_details": row.abort_reason} if row.abort_reason and _has_ended(answer.fields) else {}
        return Answer(answer.status, {**_describe_vm(answer.fields, row), **reason})

    def _find_rental(self, grant: Grant, vm_id: Any) -> RunRow | None:
        row = self._ledger.find_run(grant, vm_id) if isinstance(vm_id, str) else None
        return row if row and row.operation == RENTAL else None

    async def look(self) -> None:
        """Look at all VMs once: delete, settle, and find lost rentals. Raises OddAnswer."""
        now = time.time()
        rows = [row for row in self._ledger.open_runs() if row.operation == RENTAL]
        refused = [row for row in self._ledger.refused_since(now - _REFUSED_SECONDS) if row.operation == RENTAL]
        if not rows and not refused:
            return
        ends = {row: reason for row in rows if row.state == ACTIVE and (reason := self._read_end(row, now))}
        self._ledger.note_aborts(ends)
        ending = list(ends)
        await self.delete_all(ending)
        if not ending and time.monotonic() - self._list_at < _LIST_SECONDS:
            return
        answer = await self._upstream.send("GET", "/vms/list")
        if answer.fields is None or not isinstance(answer.fields.get("vms"), list):
            raise OddAnswer("The cloud doesn't list its VMs.")
        self._list_at = time.monotonic()
        listed = {row["vm_id"]: row for row in list_rows(answer.content) if is_vm_id(row.get("vm_id"))}
        by_mark = _map_marks_to_ids(answer)
        self._find_lost([row for row in rows if self._is_lost(row, now)], by_mark, now)
        self._find_revived(refused, by_mark, listed)
        await asyncio.gather(*(self._settle_rental(row, listed) for row in rows if row.state == ACTIVE))

    def _is_lost(self, row: RunRow, now: float) -> bool:
        """Return whether no request of this process can still answer for a rental."""
        is_late = row.created_at < self._started_at or now - row.created_at > _CREATE_SECONDS + 10
        return row.state == UNKNOWN or (row.state == RESERVED and is_late)

    def _read_end(self, row: RunRow, now: float) -> str:
        """Return why a VM must be deleted; empty if its lease hasn't ended."""
        if row.alarm == _REVIVED:
            return row.alarm
        lease_end = _compute_lease_end(row)
        lease_reason = f"the lease of the VM ended at {moment_text(lease_end)}" if now >= lease_end else ""
        return self._ledger.grant(row.grant_id).end_reason or lease_reason

    async def delete_all(self, rows: list[RunRow]) -> None:
        """Send the deletions of VMs at the same time."""
        await asyncio.gather(*map(self._delete_vm, rows))

    async def _delete_vm(self, row: RunRow) -> None:
        """Send the deletion of a VM; the next look repeats it until the VM has ended."""
        with suppress(OddAnswer):
            await self._upstream.send("DELETE", f"/vms/{row.execution_id}")

    def _find_lost(self, lost: list[RunRow], by_mark: Mapping[str, str], now: float) -> None:
        """Find the VMs of rentals without an answer by their marks."""
        for row in lost:
            if vm_id := by_mark.get(row.mark):
                self._ledger.activate(row.mark, vm_id, None)
            elif now - row.created_at > _RELEASE_SECONDS:
                self._ledger.release(row.mark)

    def _find_revived(
        self, refused: list[RunRow], by_mark: Mapping[str, str], listed: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Find the active VMs of refused rentals by their marks."""
        for row in refused:
            vm_id = by_mark.get(row.mark)
            if vm_id and not _has_ended(listed[vm_id]):
                self._ledger.revive(row.mark, vm_id, _REVIVED)
                self._block_grant(row, _REVIVED)

    async def _settle_rental(self, row: RunRow, listed: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the reservation of a VM that has ended by its bill."""
        view = listed.get(str(row.execution_id))
        if view is not None and not _has_ended(view):
            return
        try:
            record = await self._upstream.send("GET", f"/vms/{row.execution_id}/status")
        except OddAnswer:
            return
        fields = record.fields
        if fields is None:
            self._missing[row.mark] += 1
            if self._missing[row.mark] >= _MISSING_READS:
                self._ledger.settle(row.mark, row.reserved, row.timeout, "The cloud has no record of the VM.")
            return
        self._missing.pop(row.mark, None)
        if not _has_ended(fields):
            return
        uptime = fields.get("uptime_seconds")
        seconds = min(int(uptime), row.timeout) if isinstance(uptime, (int, float)) and uptime >= 0 else row.timeout
        amount = fields.get("billed") if fields.get("croesus_billed") is None else fields["croesus_billed"]
        billed = None if amount is None else billionths(amount)
        if billed is None:
            if time.monotonic() - self._ended_at.setdefault(row.mark, time.monotonic()) < _BILL_SECONDS:
                return
            billed = row.reserved
        self._ended_at.pop(row.mark, None)
        self._ledger.settle(row.mark, max(0, billed), seconds)
        if billed > row.reserved:
            self._block_grant(
                row, "A VM cost more than the reserved credits: it was active after the end of its lease."
            )

    def _block_grant(self, row: RunRow, reason: str) -> None:
        self._ledger.block(row.grant_id, reason)
        _log.error("ALARM VM %s of key %s: %s The key is blocked.", row.execution_id, row.grant_id, reason)


def read_rental(body: Any, grant: Grant, now: float) -> tuple[dict[str, Any], str, int]:
    """Return the forwarded fields, the name of the price, and the seconds of the lease. Raises RefusedCall."""
    if not isinstance(body, dict):
        raise RefusedCall(422, "Send a JSON object. Nothing was rented.")
    if any(body.get(name) for name in _VOLUME_FIELDS):
        raise RefusedCall(
            403, "A volume costs credits until someone deletes it. Nothing was rented. Omit the volume, or request a "
                "volume from the operator.",
        )  # fmt: skip
    fields = {name: body[name] for name in _FIELDS if body.get(name) is not None}
    kind = fields.setdefault("instance_type", "on-demand")
    profile, specs = fields.get("hardware_profile"), fields.get("instance_specs") or {}
    count = specs.get("gpu_count", 1) if isinstance(specs, dict) else None
    if not isinstance(profile, str) or not isinstance(kind, str) or not isinstance(fields.get("user_public_key"), str):
        raise RefusedCall(422, "A VM needs hardware_profile, instance_type and user_public_key. Nothing was rented.")
    if isinstance(count, bool) or count not in _GPU_COUNTS:
        raise RefusedCall(422, "instance_specs.gpu_count must be 1, 2, 4 or 8. Nothing was rented.")
    fields["instance_specs"] = {"gpu_count": count}
    rest = MAX_TIMEOUT if grant.limits.ends_at is None else int(grant.limits.ends_at - now)
    lease = body.get("timeout")
    lease = min(DEFAULT_LEASE, rest) if lease is None else lease
    if isinstance(lease, bool) or not isinstance(lease, int) or not SHORTEST_LEASE <= lease <= MAX_TIMEOUT:
        raise RefusedCall(
            422, f"timeout is the lease of the VM in seconds. It must be an integer from {SHORTEST_LEASE} to "
                f"{MAX_TIMEOUT}. "
            "Nothing was rented.",
        )  # fmt: skip
    return fields, f"{kind}.{profile}.{count}x", lease


def is_vm_id(value: Any) -> bool:
    """Return whether a value can be the id of a VM in a path."""
    return isinstance(value, str) and VM_PATH.fullmatch(f"/vms/{value}") is not None


def _map_marks_to_ids(answer: Answer) -> dict[str, str]:
    """Return the ids of listed VMs by the mark in their name."""
    return {
        match[1]: row["vm_id"]
        for row in list_rows(answer.content)
        if is_vm_id(row.get("vm_id")) and (match := _MARK.search(_read_display_name(row)))
    }


def _add_mark_to_name(name: Any, mark: str) -> str:
    return f"{name if isinstance(name, str) else ''} lk-broker-{mark}".strip()


def _read_display_name(row: Mapping[str, Any]) -> str:
    name = row.get("display_name")
    return name if isinstance(name, str) else ""


def _compute_lease_end(rental: RunRow) -> float:
    """Return when the broker deletes a VM, in Unix seconds."""
    return rental.created_at + rental.timeout


def _describe_vm(fields: Mapping[str, Any], rental: RunRow | None) -> dict[str, Any]:
    """Return a record of a VM as its key sees it: without the broker's mark, with the end of the lease."""
    name = _MARK.sub("", _read_display_name(fields)) or None
    end = rental and datetime.fromtimestamp(int(_compute_lease_end(rental)), timezone.utc).isoformat()
    return {**fields, "display_name": name, "lease_ends_at": end}


def _has_ended(row: Mapping[str, Any]) -> bool:
    state = row.get("status")
    return isinstance(state, str) and state.lower() in ENDED_STATES
