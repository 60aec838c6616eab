"""Machines and block volumes, as somebody of another organization tries them."""

from __future__ import annotations

from localcloud.foreign import MARK, own, refused, until

from lk_jupyter.api.block import Block
from lk_jupyter.api.vms import Vms

MACHINE = {"user_public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host", "hardware_profile": "l40s"}


def machine(mira):
    return {"vm_id": mira.machine}


def volume(mira):
    return {"volume_id": mira.volume}


ROWS = {
    Block.delete: refused(volume),
    Block.list: own(),
    Vms.availability: own(),
    Vms.create: refused(lambda mira: {"request": {**MACHINE, "volume_ids": [mira.volume]}}, 400),
    Vms.delete: refused(machine),
    Vms.list: own(),
    Vms.rename: refused(lambda mira: {**machine(mira), "request": {"display_name": "jons"}}),
    Vms.status: refused(machine),
}


def made(mira):
    """Make a machine that is up, and a volume that is free."""
    first = mira.vms.create({**MACHINE, "new_volume": {"size_gb": 10}}).vm_id
    until(lambda: mira.vms.status(first).usable)
    mira.vms.delete(first)
    second = mira.vms.create({**MACHINE, "display_name": MARK}).vm_id
    until(lambda: mira.vms.status(second).usable)
    return {"machine": second, "volume": mira.block.list()[0].volume_id}
