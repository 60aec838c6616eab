"""Facts of runs on VMs, in files of this machine: any later process can follow such a run, or delete its VM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lk_jupyter.config.files import is_locked
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.rental import BROKER, COMPUTER, end_label
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError
from lk_jupyter.protocol.vm_run import FOLDER, PREFIX, make_vm_key
from lk_jupyter.text.units import credits_label
from lk_jupyter.vms.ids import is_same_id, short_id
from lk_jupyter.vms.offers import VmOffer

#: Seconds after the planned end of a VM in which the VM may delete itself before a report.
RELEASE_SECONDS = 15.0

#: States of a run on a VM, as the VM reports them.
_STATES = frozenset({"running", "completed", "failed", "timeout", "aborted", "system_failure"})


class VmFacts(BaseModel):
    """The facts of a run on a VM that this machine stores; moments are in Unix seconds, by the clock of the cloud.

    ``request`` has the name, labels and metadata of the run, ``pinned`` is the host key, ``key_ids`` the ids of the API
    keys on the VM, ``has_key`` whether the VM gets an API key, ``is_guarded`` whether the VM deletes itself at its end,
    ``usable_state`` the state of the VM when it answered, ``is_started`` whether the code was sent, ``state`` the final
    state, ``is_deleted`` whether the cloud confirmed the end of the VM, or no VM was rented. ``other_machine`` is the
    machine if the cloud reports another GPU than the offer, empty otherwise. ``vm_id`` is the first VM, empty
    until the cloud has answered the request, ``current_id`` the VM that replaced it (both as the cloud wrote the
    ids) and ``rented_at`` its start; ``earlier_cost`` is the bill of the VMs before, ``is_counted`` whether it includes
    the current VM, ``reasons`` why each was replaced, ``cap`` the maximum cost, ``offer`` the shape and the price of
    the VM. ``has_volume`` is whether the run requested a volume, ``volume_id`` and ``volume_path`` the id and the
    folder of the volume. ``log_start`` is the size of the log at the checkpoint with which the current VM started; None
    for the first VM.
    """

    model_config = ConfigDict(extra="ignore")

    token: str
    vm_id: str = ""
    base_url: str
    machine: str
    created_at: float
    ttl: float
    per_hour: Decimal
    request: dict[str, Any] = {}
    address: str | None = None
    pinned: str | None = None
    usable_state: str = ""
    other_machine: str = ""
    key_ids: list[str] = []
    has_key: bool = False
    is_guarded: bool = False
    offer: VmOffer | None = None
    is_started: bool = False
    state: dict[str, Any] = {}
    billed: Decimal | None = None
    is_deleted: bool = False
    cap: Decimal | None = None
    retries: int = 0
    current_id: str = ""
    rented_at: float = 0.0
    earlier_cost: Decimal = Decimal(0)
    is_counted: bool = False
    reasons: list[str] = []
    log_start: int | None = None
    has_volume: bool = False
    volume_id: str | None = None
    volume_path: str | None = None

    @property
    def active_id(self) -> str:
        """The id of the VM that the run has now."""
        return self.current_id or self.vm_id

    @property
    def starts_at(self) -> float:
        """The moment at which the VM was rented."""
        return self.rented_at or self.created_at

    @property
    def ends_at(self) -> float:
        """The moment at which the VM must be deleted."""
        return self.starts_at + self.ttl

    @property
    def cost(self) -> Decimal:
        """The cost of all VMs of the run until now, at their price."""
        return self.billed or self.earlier_cost + self.cost_at(time.time())

    def cost_at(self, moment: float) -> Decimal:
        """Return the cost of the run's current VM until a moment."""
        seconds = 0.0 if self.is_counted else max(0.0, moment - self.starts_at)
        return self.per_hour * Decimal(str(seconds)) / 3600


def facts_folder() -> Path:
    """Return the folder of the facts, on this machine."""
    return Path(setting("journal")).parent / FOLDER


def read_facts(token: str) -> VmFacts:
    """Return the facts of the run with this token. Raises UsageError for a run without facts on this machine."""
    with suppress(OSError, ValueError):
        return VmFacts.model_validate_json((facts_folder() / f"{token}.json").read_text("utf-8"))
    raise UsageError(
        f"This machine has no record of run '{PREFIX}{token}', whose SSH key is on the machine that started it. See "
        "your VMs: %lk_vm list"
    )


def overdue_lines(now: float | None = None) -> list[str]:
    """Return a line for each VM of a run from this machine that should be deleted and may still be billed.

    ``now`` is the time in Unix seconds by the clock of the cloud; None means the clock of this machine.
    """
    return [overdue_line(facts) for facts in list_overdue(now)]


def overdue_line(facts: VmFacts) -> str:
    """Return the line about a VM that should be deleted, with the command that deletes it."""
    return (
        f"VM {short_id(facts.active_id)} should already be deleted, but may still be billed: about "
        f"{credits_label(facts.cost)} so far. "
        f"Delete it: %lk_vm delete {short_id(facts.active_id)}"
    )


def describe_end(facts: VmFacts) -> str:
    """Return when the VM of a run is deleted, and who deletes it."""
    if facts.offer is not None and facts.offer.is_leased:
        return f"{end_label(facts.ends_at)} by {BROKER}"
    return f"{end_label(facts.ends_at)} by {'the VM itself' if facts.is_guarded else COMPUTER}"


def has_active_owner(token: str) -> bool:
    """Return whether a process of this machine drives the run: only that process starts code."""
    with suppress(OSError):
        return is_locked(lock_path(token))
    return False


def lock_path(token: str) -> Path:
    """Return the file that the process that drives a run locks; the file exists until the run has ended."""
    return facts_folder() / f"{token}.lock"


def job_path(token: str) -> Path:
    """Return the file with the code of a run, without links; any process of this machine can send that code."""
    return facts_folder() / f"{token}.job"


def stop_path(token: str) -> Path:
    """Return the file that exists after the user has stopped a run, in any process."""
    return facts_folder() / f"{token}.stop"


def host_keys_path() -> Path:
    """Return the file with the host keys of VMs, which ssh adds at the first connection."""
    return facts_folder() / "known_hosts"


def forward_path(vm_id: str, name: str) -> Path:
    """Return the file with the place on this machine that leads to a port of a VM: a number, or ``dashboard``."""
    return facts_folder() / f"{make_vm_key(vm_id)}.{name}.forward"


def find_vm_facts(vm_id: str) -> VmFacts | None:
    """Return the facts of the run from this machine that has this VM now; None for another VM."""
    return next((facts for facts in iterate_facts() if is_same_id(facts.active_id, vm_id)), None)


def iterate_facts() -> Iterator[VmFacts]:
    """Yield the facts of all runs of this machine, without files that can't be read."""
    for path in sorted(facts_folder().glob("*.json")):
        with suppress(LkError):
            yield read_facts(path.stem)


def list_overdue(now: float | None = None) -> list[VmFacts]:
    """Return the VMs of runs from this machine that may exist although their run has ended or their time is over.

    A VM without code is overdue too, if no process can send the code. ``now`` is as for ``overdue_lines``.
    """
    latest = (time.time() if now is None else now) - RELEASE_SECONDS
    undeleted = (facts for facts in iterate_facts() if facts.vm_id and not facts.is_deleted)
    return [facts for facts in undeleted if _is_overdue(facts, latest)]


def _is_overdue(facts: VmFacts, latest: float) -> bool:
    ended = facts.state.get("ended", 0) if facts.state.get("is_final") else facts.ends_at
    can_start = job_path(facts.token).exists() or has_active_owner(facts.token)
    is_lost = not facts.is_started and facts.starts_at < latest and not can_start
    return (ended or 0) < latest or is_lost


def is_failure(state: dict[str, Any]) -> bool:
    """Return whether the platform failed, not the code."""
    return bool(state.get("is_final")) and state["status"] == "system_failure"


def final_state(status: str, details: str) -> dict[str, Any]:
    """Return the final state of a run that ended now."""
    return {"status": status, "is_final": True, "details": details, "ended": time.time()}


def check_state(state: Any) -> dict[str, Any]:
    """Return the known fields of a state, with their types. Raises ConnectionFailed for anything else."""
    if not isinstance(state, dict) or state.get("status") not in _STATES:
        raise ConnectionFailed("The VM sent an unreadable state.")
    types: dict[str, Any] = {
        "status": str,
        "is_final": bool,
        "return_code": int,
        "details": str,
        "started": (int, float),
        "ended": (int, float),
        "log_size": int,
        "install_log": str,
        "install_return_code": int,
        "checkpoint": dict,
    }
    return {name: state[name] for name, kind in types.items() if isinstance(state.get(name), kind)}


def moment(seconds: object) -> datetime | None:
    """Return a moment of a state."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(float(seconds), timezone.utc)  # type: ignore[arg-type]
    return None
