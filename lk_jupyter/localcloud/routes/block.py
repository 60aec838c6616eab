"""Block volumes: list and delete. They are made with a machine."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.block import Block
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.vms.machines import LOCATION, Volume


@implements(Block.list)
def list_volumes(ctx: Context) -> dict[str, Any]:
    """List the volumes, attached or free."""
    return {"volumes": list(map(_build_volume, ctx.cloud.machines.list_volumes(ctx.caller.org_id)))}


@implements(Block.delete)
def delete_volume(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Delete a free volume."""
    ctx.cloud.machines.delete_volume(ctx.caller.org_id, volume_id)
    return {"volume_id": volume_id, "message": f"Volume {volume_id} deleted"}


def _build_volume(volume: Volume) -> dict[str, Any]:
    return {
        "volume_id": volume.id,
        "name": volume.name,
        "size_gb": volume.size_gb,
        "status": "active",
        "location": LOCATION,
        "attached_vm_id": volume.vm_id,
        "mount_path": volume.mount_path,
    }
