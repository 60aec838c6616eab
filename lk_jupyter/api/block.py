"""Block volumes of virtual machines (``/storage/block``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import DELETE, GET, Group
from lk_jupyter.api._models import Listing, Model


class BlockVolume(Model):
    """A volume; it outlives its machine and costs until it is deleted."""

    volume_id: str
    name: str | None = None
    size_gb: int | None = None
    status: str | None = None
    location: str | None = None
    attached_vm_id: str | None = None
    mount_path: str | None = None


class BlockVolumeList(Listing[BlockVolume]):
    """Volumes, attached or free."""

    _key = "volumes"
    volumes: list[BlockVolume] = []


class DeleteVolumeResponse(Model):
    """A volume that is gone."""

    volume_id: str | None = None
    message: str | None = None


class Block(Group):
    """Block volumes; ``vms.create`` makes and attaches them."""

    @GET("/storage/block")
    def list(self) -> BlockVolumeList:
        """List the volumes, attached to a machine or free."""
        ...

    @DELETE("/storage/block/{volume_id}")
    def delete(self, volume_id: str) -> DeleteVolumeResponse:
        """Delete a free volume and its data. Raises Conflict while a machine has it."""
        ...
