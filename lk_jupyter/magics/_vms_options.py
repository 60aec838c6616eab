"""What the verbs of ``%lk_vm`` and ``%lk_volumes`` take."""

from __future__ import annotations

from lk_jupyter.magics._fields import option, switch, word, yes
from lk_jupyter.options import Options


class ListOptions(Options):
    """Options of ``%lk_vm list``."""

    all: bool = switch("List those that have ended too.", "-a")


class CreateOptions(Options):
    """Options of ``%lk_vm create``."""

    gpu: str = option(..., "Card, such as A100. %lk_vm offers lists them.", metavar="NAME", completer="vm_gpus")
    count: int = option(1, "How many of it: 1, 2, 4 or 8.", metavar="N", ge=1)
    spot: bool = switch("Take it cheaper, and let the cloud reclaim it at any time.")
    name: str | None = option(None, "Name to find it by. Default: made up.")
    key: str | None = option(
        None, "File of the public key that may log in. Default: yours in ~/.ssh.", metavar="FILE", completer="paths"
    )
    new_volume: int | None = option(
        None,
        "Make a volume of this size and attach it. It outlives the VM, and costs until deleted.",
        metavar="GB",
        ge=1,
    )
    volume: list[str] = option([], "Volume to attach; may be repeated.", metavar="ID", completer="volumes")
    move: bool = switch("Let the volumes be copied to where the VM is, which takes hours and bills both copies.")
    plan: bool = switch("Show availability, price and key; ask for nothing.")
    yes: bool = yes()
    no_wait: bool = switch("Return as soon as it was asked for; do not wait until it is ready.")
    save: str | None = option(None, "Variable that receives the state of the VM.", metavar="VAR")


def _vm() -> str:
    name: str = word("Name or id of the VM, or how its id begins.", completer="vms", metavar="VM")
    return name


class VmOptions(Options):
    """Options of the verbs that take one VM."""

    vm: str = _vm()


class RenameOptions(Options):
    """Options of ``%lk_vm rename``."""

    vm: str = _vm()
    name: str = word("New name.")


class DeleteOptions(Options):
    """Options of ``%lk_vm delete``."""

    vms: list[str] = word("Names or ids of VMs.", completer="vms", metavar="VM")
    yes: bool = yes()


class VolumesOptions(Options):
    """Options of ``%lk_volumes delete``."""

    volumes: list[str] = word("Names or ids of volumes.", completer="volumes", metavar="VOLUME")
    yes: bool = yes()
