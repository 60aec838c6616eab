"""Runs on VMs of this computer, listed like runs of the cloud: the cloud knows only their VMs."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.vm_run import PREFIX, parse_run_key
from lk_jupyter.runs.clock import Bill
from lk_jupyter.vms.facts import VmFacts, describe_end, iterate_facts, moment, read_facts

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


class VmRunSummary(ExecutionSummary):
    """A run on a VM. ``cost`` is the cost until now, and ``ends_at`` the end of an active VM, by ``end_label``."""

    run_name: str = ""
    cost: Decimal = Decimal(0)
    ends_at: datetime | None = None
    end_label: str = ""

    @property
    def bill(self) -> Bill:
        """The time of the code and the cost of the VMs."""
        seconds = (self.end_time - self.start_time).total_seconds() if self.start_time and self.end_time else None
        return Bill(seconds, self.cost, "estimated" if self.billed is None else "billed")


def list_vm_runs(connection: Connection) -> list[VmRunSummary]:
    """Return the runs on VMs of this computer and this server, newest first."""
    rows = [facts for facts in iterate_facts() if connection.speaks_to(facts.base_url)]
    rows.sort(key=lambda facts: facts.created_at, reverse=True)
    return [_summarize(facts, connection.client.now()) for facts in rows]


def _summarize(facts: VmFacts, now: float) -> VmRunSummary:
    ended = facts.state.get("ended")
    default = "aborted" if facts.is_deleted else "running" if facts.is_started else "pending"
    last = float(ended) if facts.is_deleted and ended else now
    return VmRunSummary(
        execution_id=PREFIX + facts.token,
        status=facts.state.get("status") or default,
        created_at=moment(facts.created_at),
        start_time=moment(facts.state.get("started")),
        end_time=moment(ended),
        execution_type="vm",
        hardware_profile=facts.machine,
        file_name=facts.request.get("file_name"),
        run_name=facts.request.get("run_name") or "",
        billed=facts.billed,
        cost=facts.earlier_cost + facts.cost_at(last) if facts.billed is None else facts.billed,
        ends_at=None if facts.is_deleted else datetime.fromtimestamp(facts.ends_at, timezone.utc),
        end_label="" if facts.is_deleted else describe_end(facts),
    )


def find_vm_end(execution_id: str) -> datetime | None:
    """Return when the VM of a run of this computer is deleted; None for another run, and after the end of the VM."""
    token = parse_run_key(execution_id)
    facts = None
    with suppress(UsageError):
        facts = read_facts(token) if token else None
    return None if facts is None or facts.is_deleted else datetime.fromtimestamp(facts.ends_at, timezone.utc)
