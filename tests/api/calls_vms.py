"""Machines, called by the client on a local cloud."""

from __future__ import annotations

import pytest
from api.calls import calls

from lk_jupyter.api.block import Block
from lk_jupyter.api.vms import CreateVMRequest, RenameVMRequest, Vms
from lk_jupyter.errors import BadRequest, Conflict, NotFound

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host"


def create(client, **fields):
    return client.vms.create(CreateVMRequest(user_public_key=KEY, **{"hardware_profile": "l40s", **fields}))


@calls(Vms.create)
def creating(client, _):
    vm = create(client, display_name="box", instance_specs={"gpu_count": 2})
    assert (vm.status, vm.instance_specs.gpu_count, vm.display_name, vm.usable) == ("pending", 2, "box", False)
    client.vms.delete(vm.vm_id)
    with pytest.raises(BadRequest, match="Valid options: a100"):
        create(client, hardware_profile="a1000")


@calls(Vms.list)
def listing(client, _):
    vm = create(client)
    assert vm.vm_id in {row.vm_id for row in client.vms.list()}
    client.vms.delete(vm.vm_id)
    assert vm.vm_id in {row.vm_id for row in client.vms.list()}
    assert vm.vm_id not in {row.vm_id for row in client.vms.list(include_terminated=False)}


@calls(Vms.availability)
def availability(client, _):
    offer = {
        (row.hardware_profile, row.instance_type): row for row in client.vms.availability().available_instance_variants
    }
    assert str(offer["h100", "spot"].price_per_hour) == "1.1"
    assert ("l40s", "spot") not in offer


@calls(Vms.status)
def status(client, _):
    vm = create(client)
    assert client.vms.status(vm.vm_id).hardware_profile == "l40s"
    client.vms.delete(vm.vm_id)
    with pytest.raises(NotFound):
        client.vms.status("none")


@calls(Vms.rename)
def rename(client, _):
    vm = create(client)
    assert client.vms.rename(vm.vm_id, RenameVMRequest(display_name="new")).display_name == "new"
    assert client.vms.rename(vm.vm_id, RenameVMRequest(display_name="")).display_name is None
    client.vms.delete(vm.vm_id)


@calls(Vms.delete)
def delete(client, _):
    vm = create(client)
    assert client.vms.delete(vm.vm_id).status == "terminated"
    assert client.vms.status(vm.vm_id).status == "terminated"


def new_volume(client):
    """Make a volume and return its id, free again."""
    vm = create(client, new_volume={"size_gb": 1})
    (volume,) = client.vms.delete(vm.vm_id).detached_volumes
    return volume.volume_id


@calls(Block.list)
def list_volumes(client, _):
    volume = new_volume(client)
    assert volume in {row.volume_id for row in client.block.list()}
    client.block.delete(volume)


@calls(Block.delete)
def delete_volume(client, _):
    vm = create(client, new_volume={"size_gb": 1})
    (volume,) = client.vms.status(vm.vm_id).volumes
    with pytest.raises(Conflict, match="attached"):
        client.block.delete(volume.volume_id)
    client.vms.delete(vm.vm_id)
    assert client.block.delete(volume.volume_id).volume_id == volume.volume_id
