"""Block volumes of virtual machines (``/storage/block``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import DELETE, GET, Group
from lk_jupyter.api._models import Items, Listing, Model

#: States of a deleted volume.
_ENDED_STATES = frozenset({"deleted", "destroyed", "terminated"})


class BlockVolume(Model):
    """A volume; a volume outlives its machine and costs credits until deleted."""

    volume_id: str
    name: str | None = None
    size_gb: int | None = None
    status: str | None = None
    location: str | None = None
    attached_vm_id: str | None = None
    mount_path: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the volume was deleted."""
        return (self.status or "").lower() in _ENDED_STATES


class BlockVolumeList(Listing[BlockVolume]):
    """Volumes, attached or free."""

    _key = "volumes"
    volumes: Items[BlockVolume] = []


class DeleteVolumeResponse(Model):
    """A deleted volume."""

    volume_id: str | None = None
    message: str | None = None


class Block(Group):
    """Block volumes; ``vms.create`` makes and attaches them.

    Example:
        >>> from lk_jupyter.api.vms import CreateVMRequest
        >>> shape = CreateVMRequest(user_public_key=public_key, hardware_profile="l40s", new_volume={"size_gb": 10})
        >>> vm = client.vms.create(shape)
        >>> [volume] = client.vms.delete(vm.vm_id).detached_volumes
        >>> [row.size_gb for row in client.block.list() if row.volume_id == volume.volume_id]
        [10]
        >>> _ = client.block.delete(volume.volume_id)
    """

    @GET("/storage/block", magic="%lk_volumes list")
    def list(self) -> BlockVolumeList:
        """List the volumes, attached to a machine or free."""
        ...

    @DELETE("/storage/block/{volume_id}", magic="%lk_volumes delete")
    def delete(self, volume_id: str) -> DeleteVolumeResponse | None:
        """Delete a free volume and its data. Raises Conflict while the volume is attached."""
        ...
