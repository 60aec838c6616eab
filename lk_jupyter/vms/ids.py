"""Ids of VMs: sent to the cloud exactly as the cloud wrote them, and normalized only for comparison."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from lk_jupyter.api.vms import VM
from lk_jupyter.protocol.vm_run import normalize_id

_SHORT = 8

#: An id whose first characters identify it.
_RANDOM_ID = re.compile(r"[0-9a-fA-F]{8}[0-9a-fA-F-]{8,}")


def short_id(vm_id: str) -> str:
    """Return an id as messages and commands contain it: the start of a random id, any other id in full."""
    return vm_id[:_SHORT] if _RANDOM_ID.fullmatch(vm_id) else shlex.quote(vm_id)


def select_vm(vms: Iterable[VM], vm_id: str) -> VM | None:
    """Return the VM with this id; some servers write dashes into an id in some answers only."""
    candidates = [vm for vm in vms if normalize_id(vm.vm_id) == normalize_id(vm_id)]
    return next((vm for vm in candidates if vm.vm_id == vm_id), candidates[0] if candidates else None)


def is_same_id(one: str, other: str) -> bool:
    """Return whether two ids may be of the same VM."""
    return normalize_id(one) == normalize_id(other)
