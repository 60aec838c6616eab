"""Virtual machines: made once, waited for, found again by a name or the beginning of an id."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

from lk_jupyter.api._client import Client
from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.vms import ENDED_STATES, VM, CreateVMRequest, InstanceSpecs, NewVolume, VMStatus
from lk_jupyter.errors import OutcomeUnknown, ServerError, UsageError
from lk_jupyter.runs.ssh_key import PublicKey
from lk_jupyter.runs.vm_offers import Offer, Wish, instead, offers

_NO_CAPACITY = "could not be provisioned"
_LOOK = "It may be there all the same: look with %lk_vm list before you ask again."
_LOOKS, _LOOK_PAUSE = 3, 1.0
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.5, 10.0, 1.5

#: Seconds after which a machine that does not come up is no longer waited for; 130 to 221 were measured.
PATIENCE = 900.0


def request_for(wish: Wish, key: PublicKey, name: str | None, volumes: list[str], *, move: bool) -> CreateVMRequest:
    """Return what asks for a machine. Its name tells it from others, should the answer be lost."""
    return CreateVMRequest(
        user_public_key=key.line,
        hardware_profile=wish.profile,
        instance_specs=InstanceSpecs(gpu_count=wish.count),
        instance_type=wish.instance_type,
        display_name=name or f"{wish.profile}-{uuid4().hex[:6]}",
        volume_ids=volumes or None,
        volume_migration_allowed=True if volumes and move else None,
        new_volume=NewVolume(size_gb=wish.volume_gb) if wish.volume_gb else None,
    )


def create_once(client: Client, request: CreateVMRequest, offer: Offer) -> VM:
    """Make a machine, and never two: a lost answer is looked up, not asked for again.

    Raises ServerError with what else is free when there is no capacity, OutcomeUnknown when nobody can tell.
    """
    before = {vm.vm_id for vm in client.vms.list()}
    try:
        return client.vms.create(request)
    except ServerError as refusal:
        has_none = _NO_CAPACITY in refusal.detail
        refusal.next_step = instead(offers(client.vms.availability()), offer) if has_none else _LOOK
        raise
    except OutcomeUnknown:
        return _looked_up(client, request, before)


def _looked_up(client: Client, request: CreateVMRequest, before: set[str]) -> VM:
    for attempt in range(_LOOKS):
        time.sleep(_LOOK_PAUSE * attempt)
        for vm in client.vms.list():
            if vm.vm_id not in before and vm.display_name == request.display_name:
                return vm
    raise OutcomeUnknown(
        f"The server took the request for {request.display_name} and did not answer, and lists no such VM yet. "
        "It was not asked again: look with %lk_vm list before you do."
    )


def states(client: Client, vm_id: str) -> Iterator[VMStatus]:
    """Iterate over the states of a machine as they are read, until it is usable or has ended."""
    pause, end = _FIRST_PAUSE, time.monotonic() + PATIENCE
    while True:
        status = client.vms.status(vm_id)
        yield status
        if status.usable or status.status in ENDED_STATES or time.monotonic() > end:
            return
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


def living(client: Client) -> list[VM]:
    """Return the machines that have not ended."""
    return [vm for vm in client.vms.list(include_failed=False, include_terminated=False) if not _is_over(vm)]


def _is_over(vm: VM) -> bool:
    return vm.status in ENDED_STATES


def named(client: Client, text: str) -> VM:
    """Return the machine of this name, id, or beginning of an id; those that live go first. Raises UsageError."""
    every = list(client.vms.list())
    for group in ([vm for vm in every if not _is_over(vm)], every):
        fitting = [vm for vm in group if text in {vm.vm_id, vm.display_name}]
        fitting = fitting or [vm for vm in group if vm.vm_id.startswith(text)]
        if len(fitting) > 1:
            raise UsageError(f"Several VMs are meant by {text}: {', '.join(vm.vm_id[:8] for vm in fitting)}.")
        if fitting:
            return fitting[0]
    raise UsageError(f"There is no VM {text}. %lk_vm list --all lists all.")


def volume(client: Client, text: str) -> BlockVolume:
    """Return the volume of this name, id, or beginning of one. Raises UsageError."""
    every = list(client.block.list())
    fitting = [each for each in every if text in {each.volume_id, each.name}]
    fitting = fitting or [each for each in every if each.volume_id.startswith(text)]
    if len(fitting) != 1:
        which = "Several volumes are" if fitting else "No volume is"
        raise UsageError(f"{which} meant by {text}. %lk_volumes lists them.")
    return fitting[0]
