"""Options of the subcommands of ``%lk_vm`` and ``%lk_volumes``."""

from __future__ import annotations

from lk_jupyter.api.vms import SHORTEST_LEASE
from lk_jupyter.options.fields import option, switch, word, yes
from lk_jupyter.options.runs import Options


class ListVmsOptions(Options):
    """Options of ``%lk_vm list``."""

    all: bool = switch("List deleted VMs too.", "-a")


class CreateVmOptions(Options):
    """Options of ``%lk_vm create``."""

    gpu: str = option(..., "GPU, such as A100. To list the GPUs: %lk_vm offers", metavar="NAME", completer="vm_gpus")
    count: int = option(1, "Number of GPUs: 1, 2, 4 or 8.", metavar="N", ge=1)
    spot: bool = switch("Pay less for a VM that the cloud may reclaim at any time.")
    name: str | None = option(None, "Name of the VM. Default: chosen automatically.")
    timeout: int | None = option(
        None,
        "Time after which the VM is deleted, such as 2h. Default: 8h; at a broker 1h.",
        metavar="DURATION",
        ge=SHORTEST_LEASE,
    )
    key: str | None = option(
        None, "Public key file for SSH. Default: your key in ~/.ssh.", metavar="FILE", completer="paths"
    )
    new_volume: int | None = option(
        None,
        "Create a volume of this size in GB and attach it. The volume stays after the VM is deleted, and costs "
        "credits until you delete it.",
        metavar="GB",
        ge=1,
    )
    volume_timeout: int | None = option(
        None,
        "Time after which this computer deletes the new volume with all data, such as 7d. Default: never.",
        metavar="DURATION",
        ge=SHORTEST_LEASE,
    )
    volume: list[str] = option([], "Volume to attach; may be repeated.", metavar="ID", completer="volumes")
    move: bool = switch(
        "Allow the cloud to copy volumes to the VM's location. Copying takes hours, and both copies are billed."
    )
    dry_run: bool = switch("Show availability, price and SSH key; rent nothing.")
    yes: bool = yes()
    no_wait: bool = switch("Return immediately; don't wait until the VM is ready.")
    save: str | None = option(None, "Variable for the state of the VM.", metavar="VAR")


def _declare_vm() -> str:
    name: str = word("Name or id of the VM, or the first characters of its id.", completer="vms", metavar="VM")
    return name


class VmOptions(Options):
    """Options of the subcommands for a VM."""

    vm: str = _declare_vm()


class RenameVmOptions(Options):
    """Options of ``%lk_vm rename``."""

    vm: str = _declare_vm()
    name: str = word("New name.")


class ExtendVmOptions(Options):
    """Options of ``%lk_vm extend``."""

    vm: str = _declare_vm()
    timeout: int = word("Time from now until the VM is deleted, such as 4h.", metavar="DURATION", ge=SHORTEST_LEASE)


class DeleteVmOptions(Options):
    """Options of ``%lk_vm delete``."""

    vms: list[str] = word("Names or ids of VMs.", completer="vms", metavar="VM")
    yes: bool = yes()


class VolumesOptions(Options):
    """Options of ``%lk_volumes delete``."""

    volumes: list[str] = word("Names or ids of volumes.", completer="volumes", metavar="VOLUME")
    yes: bool = yes()
