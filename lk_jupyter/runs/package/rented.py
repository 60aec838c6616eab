"""Choose the VM for a run: by ``--on vm``, or in a cell by a time limit above the limit of runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import split_count
from lk_jupyter.machines.default import default_machine
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.vm_run import LONGEST_SECONDS, SETUP_SECONDS, parse_run_key
from lk_jupyter.runs.ids import resolve
from lk_jupyter.runs.package.bundle import Limits

if TYPE_CHECKING:
    from lk_jupyter.api.vms import InstanceType
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.vms.offers import VmOffer
    from lk_jupyter.vms.volumes import RunVolume


def needs_vm(session: Connection, source: Source, options: RunOptions, count: int = 1) -> bool:
    """Return whether the options request a VM: by name, or in a single cell by a limit or GPUs that no run has."""
    if options.on is None:
        if options.relay or not source.is_cell or options.session or options.image or count > 1:
            return False
        is_long = options.timeout is not None and options.timeout > setting("max_timeout")
        wish = options.gpu or options.machine or ""
        return is_long or (split_count(wish)[0] > 1 and not session.machines().offers_run(wish))
    return options.on == "vm"


def choose_run_volume(session: Connection, options: RunOptions, *, on_vm: bool) -> RunVolume | None:
    """Return the volume of a run on a VM. Raises UsageError for a run without a VM, and for an attached volume."""
    if options.volume is None:
        return None
    if not on_vm:
        raise UsageError("--volume needs a VM, because other runs can't use volumes. Nothing was sent. Add --on vm.")
    from lk_jupyter.vms.volumes import choose_volume  # noqa: PLC0415 (few runs are on VMs)

    return choose_volume(session.client, options.volume)


def choose_vm(session: Connection, options: RunOptions, count: int = 1) -> VmOffer:
    """Return the VM for a run. Raises UsageError for a machine that isn't sold, or isn't free."""
    if count > 1:
        raise UsageError("--on vm rents a VM for a single run. Nothing was rented. Leave out --sweep and commas.")
    if options.session:
        raise UsageError("--on vm doesn't work with --session. Nothing was rented. Leave one of them out.")
    if options.resume:
        find_vm_checkpoint(session, options.resume)
    from lk_jupyter.vms.offers import (  # noqa: PLC0415 (few runs are on VMs)
        VmShape,
        alternatives_line,
        choose_offer,
        list_offers,
        require_rentable,
    )

    availability = session.client.vms.availability()
    require_rentable(availability)
    offers = list_offers(availability)
    kind: InstanceType = "spot" if options.spot else "on-demand"
    name = options.gpu or options.machine
    if name is None:
        name = default_machine(session.machines(), session.refused_machines)
        single = [offer.profile for offer in offers if (offer.instance_type, offer.count) == (kind, 1)]
        if setting("machine") is None and single and name.removeprefix("gpu.") not in single:
            name = single[0]  # the cheapest
    gpus, name = split_count(name.partition("|")[0].strip().lower())
    profile = name.removeprefix("gpu.").removeprefix("vm.")
    offer = choose_offer(offers, VmShape(profile, gpus, kind))
    if offer.free is False:
        raise UsageError(
            f"No {offer} is free now. Nothing was rented. {alternatives_line(offers, offer)} Code that saves "
            "checkpoints can also run without a VM, as several runs in turn: --relay"
        )
    return replace(offer, is_leased=session.client.has_broker)


def find_vm_checkpoint(session: Connection, name: str) -> dict[str, Any]:
    """Return the files of the checkpoint of a run on a VM. Raises UsageError for a run without a checkpoint."""
    from lk_jupyter.vms.checkpoints import read_checkpoint  # noqa: PLC0415 (few runs are on VMs)

    key = parse_run_key(resolve(session, name))
    if key is None:
        raise UsageError(
            f"--resume: run {name} wasn't on a VM, so a VM can't use its checkpoint. Nothing was rented. Leave out "
            "--on vm."
        )
    listing = read_checkpoint(session.storage, key)
    if listing is None:
        raise UsageError(
            f"--resume: run {name} has no checkpoint. Nothing was rented. Its code must save files in "
            "lk_jupyter.checkpoint_folder()."
        )
    return {**listing, "log": []}


def machine_type_for(offer: VmOffer) -> MachineType:
    """Return the machine type of a VM, for header, receipt and history."""
    return MachineType(hardware_profile=offer.machine, price_per_hour=offer.per_hour)


def vm_limits(limits: Limits) -> Limits:
    """Return the limits of a run on a VM, whose start and end are billed too."""
    return replace(limits, max_timeout=LONGEST_SECONDS, setup=SETUP_SECONDS)
