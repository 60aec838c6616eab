"""Simulated virtual machines: their names state the simulation, their address is a port of this machine."""

from __future__ import annotations

import time
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse

from lk_jupyter._extras import build_extra_command
from lk_jupyter.api._endpoint import endpoint_of
from lk_jupyter.api.vms import CreateVMRequest, RenameVMRequest, Vms
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.catalogue import GPU_COUNTS, GPUS
from lk_jupyter.localcloud.clock import to_text
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.vms.guests import HAS_SSH
from lk_jupyter.localcloud.vms.machines import LARGEST_VOLUME_GB, Machine, Volume

Json = dict[str, Any]

#: Reason why a local cloud without an SSH server rents no machine.
_NOTICE = (
    "This local cloud has no SSH server for VMs, because its Python lacks asyncssh. Install it, then restart the "
    f"local cloud: {build_extra_command('vm')}"
)

#: Priced, but not sold.
_NOT_SOLD = {("l40s", "spot")}

#: State → the filter of the list that includes the state.
_FILTERS = {
    "pending": "provisioning",
    "provisioning": "provisioning",
    "running": "provisioning",
    "terminated": "terminated",
}


@implements(Vms.create)
def create(ctx: Context, request: CreateVMRequest) -> JSONResponse:
    """Accept a machine that can be had and paid; answer as the real cloud does, with a time that has no zone."""
    if not HAS_SSH:
        raise HTTPException(400, _NOTICE)
    _check_shape(request)
    _check_storage(request)
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    if request.hardware_profile in ctx.cloud.options.no_capacity:
        raise HTTPException(500, "The instance could not be provisioned right now. Please try another shape.")
    machine = ctx.cloud.machines.create(ctx.caller.org_id, ctx.caller.user_id, request)
    answer = {
        **_build_vm(ctx, machine),
        **dict.fromkeys(("hardware_profile", "gpu_count", "billed", "croesus_billed")),
        "created_at": to_text(machine.created).partition("+")[0],
        "status_check_url": endpoint_of(Vms.status).call(vm_id=machine.id).path,
        "volume": _build_new_volume(ctx, machine) if request.new_volume else None,
    }
    return JSONResponse(answer)


@implements(Vms.list)
def list_vms(
    ctx: Context, *, include_provisioning: bool, include_ready: bool, include_failed: bool, include_terminated: bool
) -> Json:
    """List the machines in the wanted states."""
    chosen_states = {
        "provisioning": include_provisioning,
        "ready": include_ready,
        "failed": include_failed,
        "terminated": include_terminated,
    }
    views = [
        {**_build_vm(ctx, machine), "status_check_url": None}
        for machine in ctx.cloud.machines.list_machines(ctx.caller.org_id)
    ]
    visible = [view for view in views if chosen_states[_FILTERS[view["status"]]]]
    return {"vms": visible, "total": len(visible)}


@implements(Vms.availability)
def availability(ctx: Context) -> Json:
    """Offer every card except the cards that this cloud was started without."""
    variants = [
        _build_variant(ctx, card, instance_type, price)
        for card, prices in GPUS.items()
        for instance_type, price in zip(("on-demand", "spot"), prices, strict=True)
        if (card, instance_type) not in _NOT_SOLD
    ]
    omitted = {"instance_type", "block_storage_gpu_counts"}
    profiles = [
        {field: value for field, value in row.items() if field not in omitted}
        for row in variants
        if row["instance_type"] == "on-demand"
    ]
    notice = {} if HAS_SSH else {"notice": _NOTICE}
    return {"available_instance_variants": variants, "available_hardware_profiles": profiles, **notice}


@implements(Vms.status)
def status(ctx: Context, vm_id: str) -> Json:
    """Read a machine with its volumes."""
    machine = ctx.cloud.machines.get(ctx.caller.org_id, vm_id)
    view = {**_build_vm(ctx, machine), "croesus_billed": None}
    seconds = machine.uptime(time.time(), ctx.cloud.machines.speed)
    volumes = ctx.cloud.machines.list_volumes(ctx.caller.org_id, machine.id)
    return {**view, "uptime_seconds": int(seconds), "volumes": list(map(_build_attachment, volumes))}


@implements(Vms.rename)
def rename(ctx: Context, vm_id: str, request: RenameVMRequest) -> Json:
    """Change the display name."""
    machine = ctx.cloud.machines.rename(ctx.caller.org_id, vm_id, request.display_name or None)
    return {"vm_id": machine.id, "display_name": machine.display_name}


@implements(Vms.delete)
def delete(ctx: Context, vm_id: str) -> Json:
    """End a machine; its volumes stay."""
    released = ctx.cloud.machines.end(ctx.caller.org_id, vm_id)
    return {
        "vm_id": vm_id,
        "status": "terminated",
        "message": f"VM {vm_id} has been terminated",
        "detached_volumes": list(map(_build_attachment, released)),
    }


def _check_shape(request: CreateVMRequest) -> None:
    card, count = request.hardware_profile, request.instance_specs.gpu_count if request.instance_specs else 1
    if card not in GPUS:
        raise HTTPException(400, f"Unknown hardware_profile {card!r}. Valid options: {', '.join(sorted(GPUS))}")
    if count not in {0, *GPU_COUNTS}:  # 0 counts as 1
        raise HTTPException(400, "The instance request was invalid. Please check it and try again.")
    if (card, request.instance_type) in _NOT_SOLD:
        raise HTTPException(400, f"{card} is not available as {request.instance_type}: ask for on-demand")


def _check_storage(request: CreateVMRequest) -> None:
    if request.new_volume and request.volume_ids:
        raise HTTPException(400, "Give volume_ids or new_volume, not both")
    if request.volume_migration_allowed is not None and not request.volume_ids:
        raise HTTPException(400, "volume_migration_allowed needs volume_ids")
    if request.new_volume and request.new_volume.size_gb > LARGEST_VOLUME_GB:
        raise HTTPException(400, f"A volume can have at most {LARGEST_VOLUME_GB:,} GB")


def _build_variant(ctx: Context, card: str, instance_type: str, price: Any) -> Json:
    counts = [] if card in ctx.cloud.options.no_capacity else list(GPU_COUNTS)
    return {
        "hardware_profile": card,
        "gpu_type": card,
        "instance_type": instance_type,
        "price_per_hour": price,
        "allowed_gpus_per_instance": list(GPU_COUNTS),
        "available_gpus_per_instance": counts,
        "block_storage_gpu_counts": counts,
    }


def _build_vm(ctx: Context, machine: Machine) -> Json:
    moment, speed = time.time(), ctx.cloud.machines.speed
    state, cost = machine.state(moment, speed), machine.cost(moment, speed)
    return {
        "vm_id": machine.id,
        "status": state,
        "created_at": to_text(machine.created),
        "instance_specs": {"gpu_type": machine.card, "gpu_count": machine.count},
        "ip_address": ctx.cloud.guests.find_address(machine),
        "hardware_profile": machine.card,
        "gpu_count": machine.count,
        "instance_type": machine.instance_type,
        "name": machine.name,
        "display_name": machine.display_name,
        "billed": cost,
        "croesus_billed": cost,
        "polling_message": None,
        "user_id": machine.user_id,
        "org_id": machine.org_id,
    }


def _build_new_volume(ctx: Context, machine: Machine) -> Json:
    (volume,) = ctx.cloud.machines.list_volumes(machine.org_id, machine.id)
    return {"name": volume.name, "size_gb": volume.size_gb, "status": "pending"}


def _build_attachment(volume: Volume) -> Json:
    return {"volume_id": volume.id, "size_gb": volume.size_gb, "mount_path": volume.mount_path}
