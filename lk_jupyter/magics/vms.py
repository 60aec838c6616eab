"""``%lk_vm`` and ``%lk_volumes``: machines of your own over SSH, and the disks that outlive them."""

from __future__ import annotations

import re
from decimal import Decimal

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.api.vms import VM, RenameVMRequest, VMInstanceVariant, VMStatus
from lk_jupyter.errors import UsageError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._line import Line, Note, Updated
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._views import Table, say
from lk_jupyter.magics._vms_options import (
    CreateOptions,
    DeleteOptions,
    ListOptions,
    RenameOptions,
    VmOptions,
    VolumesOptions,
)
from lk_jupyter.options import NoOptions
from lk_jupyter.runs import vm
from lk_jupyter.runs.burning import hardware_label
from lk_jupyter.runs.cost import credits_label, duration_label
from lk_jupyter.runs.session import current
from lk_jupyter.runs.ssh_key import Door, PublicKey, find_key
from lk_jupyter.runs.vm_offers import Offer, Wish, chosen, instead, offers

SHORT = 8

lk_vm = Verbs(
    "lk_vm",
    "Rent a machine with GPUs and log in over SSH.\n\nA VM costs from when it runs until %lk_vm delete: nothing else "
    "ends it, not even the end of the notebook.",
)
lk_volumes = Verbs(
    "lk_volumes",
    "Disks that outlive their VM. %lk_vm create --new-volume makes one, --volume attaches it; it costs until deleted.",
)


@lk_vm.verb("list", ListOptions)
def _list(options: ListOptions, _shell: InteractiveShell) -> None:
    """List your VMs that live, with what they have cost.

    Example: ``%lk_vm list --all``
    """
    client = current().client
    found = list(client.vms.list()) if options.all else vm.living(client)
    note = "" if found else "No VMs. %lk_vm offers shows what can be had, %lk_vm create --gpu A100 rents one."
    columns = ("VM", "Name", "State", "GPUs", "Address", "Started", "Cost so far")
    display(Table(columns, [_row(each) for each in found], note=note, right=frozenset({"Cost so far"})))


@lk_vm.verb("offers", NoOptions)
def _offers(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the VMs that are sold with their prices, and which of them are free now."""
    variants = current().client.vms.availability().available_instance_variants
    rows = [_offer_row(variant) for variant in sorted(variants, key=lambda variant: variant.price_per_hour)]
    columns = ("GPU", "Sold as", "Credits per GPU and hour", "GPUs sold", "Free now")
    display(Table(columns, rows, right=frozenset({"Credits per GPU and hour"})))


@lk_vm.verb("create", CreateOptions)
def _create(options: CreateOptions, shell: InteractiveShell) -> None:
    """Rent a machine, wait until it is ready, and tell how to log in. Shows the price and asks first.

    It has your public key from ~/.ssh. Interrupt the waiting: the VM goes on.

    Examples::

        %lk_vm create --gpu A100 --plan
        %lk_vm create --gpu H100 --count 2 --name train
        %lk_vm create --gpu L40S --new-volume 200 --yes
    """
    _check(options)
    client, key = current().client, find_key(options.key)
    wish = Wish(options.gpu.lower(), options.count, "spot" if options.spot else "on-demand", options.new_volume)
    found = offers(client.vms.availability())
    offer = chosen(found, wish)
    volumes = [vm.volume(client, text).volume_id for text in options.volume]
    display(_plan(offer, key, options, volumes))
    if offer.free is False:
        raise UsageError(f"No {offer} is free now; nothing was asked for. {instead(found, offer)}")
    if options.plan:
        return
    if not options.yes and not ask(f"Rent {offer}, until you delete it? [y/N] "):
        say("Nothing was rented. --yes rents without asking.")
        return
    made = vm.create_once(client, vm.request_for(wish, key, options.name, volumes, move=options.move), offer)
    if options.no_wait:
        display(_line(client.vms.status(made.vm_id), [f"%lk_vm ssh {made.vm_id[:SHORT]} tells how to log in"]))
        return
    status = _waited_for(client, made, offer, shell)
    if options.save:
        shell.user_ns[options.save] = status
    if status.usable:
        _tell_door(status, key)


@lk_vm.verb("status", VmOptions)
def _status(options: VmOptions, _shell: InteractiveShell) -> None:
    """Tell the state of a VM, its time and its cost.

    Example: ``%lk_vm status train``
    """
    client = current().client
    status = client.vms.status(vm.named(client, options.vm).vm_id)
    disks = [f"{disk.size_gb} GB at {disk.mount_path}" for disk in status.volumes or ()]
    display(_line(status, disks))


@lk_vm.verb("ssh", VmOptions)
def _ssh(options: VmOptions, _shell: InteractiveShell) -> None:
    """Tell how to log in: the ssh line, a block for ~/.ssh/config, and whether the VM answers.

    Example: ``%lk_vm ssh train``
    """
    client = current().client
    status = client.vms.status(vm.named(client, options.vm).vm_id)
    if not status.usable:
        name = _name(status)
        raise UsageError(f"{name} is {status.status}, and has no address yet. %lk_vm status {name} tells when it has.")
    _tell_door(status, _own_key())


@lk_vm.verb("rename", RenameOptions)
def _rename(options: RenameOptions, _shell: InteractiveShell) -> None:
    """Give a VM another name.

    Example: ``%lk_vm rename 3f0c train``
    """
    client = current().client
    found = vm.named(client, options.vm)
    client.vms.rename(found.vm_id, RenameVMRequest(display_name=options.name))
    display(Note(f"VM {found.vm_id[:SHORT]} is {options.name} now."))


@lk_vm.verb("delete", DeleteOptions)
def _delete(options: DeleteOptions, _shell: InteractiveShell) -> None:
    """End VMs for good: their disks are wiped, and cost no more. Asks first.

    Examples::

        %lk_vm delete train
        %lk_vm delete 3f0c 8a1b --yes
    """
    client = current().client
    found = [vm.named(client, text) for text in options.vms]
    names = ", ".join(map(_name, found))
    if not options.yes and not ask(f"End {names} for good, and wipe what is on its disk? [y/N] "):
        say("Nothing was ended. --yes ends without asking.")
        return
    for each in found:
        freed = client.vms.delete(each.vm_id).detached_volumes or []
        disks = f"; {len(freed)} of its volumes stay and cost: %lk_volumes" if freed else ""
        display(Note(f"Ended {_name(each)} after {credits_label(_cost(client.vms.status(each.vm_id)))}{disks}."))


@lk_volumes.verb("list", NoOptions)
def _list_volumes(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the volumes, and which VM has each."""
    rows = [
        (
            each.volume_id,
            f"{each.size_gb} GB",
            each.status or "",
            (each.attached_vm_id or "free")[:SHORT],
            each.location or "",
        )
        for each in current().client.block.list()
    ]
    note = "" if rows else "No volumes. %lk_vm create --gpu A100 --new-volume 200 makes one with its VM."
    display(Table(("Volume", "Size", "State", "VM", "Where"), rows, note=note, right=frozenset({"Size"})))


@lk_volumes.verb("delete", VolumesOptions)
def _delete_volumes(options: VolumesOptions, _shell: InteractiveShell) -> None:
    """Delete free volumes with all that is on them. Asks first.

    Example: ``%lk_volumes delete vol-3f0c``
    """
    client = current().client
    found = [vm.volume(client, text) for text in options.volumes]
    for each in found:
        if each.attached_vm_id:
            holder = each.attached_vm_id[:SHORT]
            raise UsageError(f"VM {holder} has {each.volume_id}; nothing was deleted. %lk_vm delete {holder} frees it.")
    what = ", ".join(f"{each.volume_id} ({each.size_gb} GB)" for each in found)
    if not options.yes and not ask(f"Delete {what} with all data? [y/N] "):
        say("Nothing was deleted. --yes deletes without asking.")
        return
    for each in found:
        client.block.delete(each.volume_id)
    display(Note(f"Deleted {what}."))


def _check(options: CreateOptions) -> None:
    if options.new_volume and options.volume:
        raise UsageError("%lk_vm create: give --new-volume or --volume, not both.")
    if options.move and not options.volume:
        raise UsageError("%lk_vm create: --move is for volumes that --volume names.")
    if options.save and not options.save.isidentifier():
        raise UsageError(f"--save: {options.save!r} is no name of a variable.")


def _plan(offer: Offer, key: PublicKey, options: CreateOptions, volumes: list[str]) -> Table:
    disk = f"{options.new_volume} GB, new; costs until %lk_volumes delete" if options.new_volume else ", ".join(volumes)
    rows = [
        ("Machine", str(offer)),
        ("Free now", _freedom(offer)),
        ("Cost", f"{offer.per_hour:.2f} credits an hour, {offer.per_hour * 24:.2f} a day, until %lk_vm delete"),
        ("Reclaimed", "at any time, without a warning" if offer.instance_type == "spot" else ""),
        ("Name", options.name or ""),
        ("Your key", f"{key.path} ({key.line.split(' ')[0]})"),
        ("Volume", disk),
    ]
    head = "Plan (nothing was asked for)" if options.plan else "Virtual machine"
    return Table((head, ""), [row for row in rows if row[1]])


def _waited_for(client: Client, made: VM, offer: Offer, shell: InteractiveShell) -> VMStatus:
    """Show the states of a machine until it is ready. An interrupt leaves it, and says so."""
    line, name = Updated(shell), made.display_name or made.vm_id[:SHORT]
    try:
        with true_interrupts():
            for status in vm.states(client, made.vm_id):
                shown = _line(status, [str(offer), "interrupt: it goes on"] if not status.usable else [str(offer)])
                line.show(shown)
    except KeyboardInterrupt:
        line.show(Line("running", [f"{name} goes on, and costs: %lk_vm status {name}, %lk_vm delete {name}"]), now=True)
        raise
    line.show(_line(status, [str(offer)]), now=True)
    if not status.usable:
        raise UsageError(
            f"{name} is {status.status} and has no address. %lk_vm status {name}, or %lk_vm delete {name}."
        )
    return status


def _tell_door(status: VMStatus, key: PublicKey | None) -> None:
    door, name = Door.of(status.ip_address or ""), _name(status)
    host = re.sub(r"[^\w.-]+", "-", name)
    simulated = getattr(status, "polling_message", None)
    ready = "yes" if door.answers() else "not yet: sshd may need a minute more, run %lk_vm ssh again"
    rows = [("Log in", door.line(key)), ("Port answers", simulated or ready), ("End it", f"%lk_vm delete {name}")]
    display(Table(("SSH", ""), rows))
    say(f"# for ~/.ssh/config, after which ssh {host} is enough\n{door.config(host, key)}")


def _own_key() -> PublicKey | None:
    try:
        return find_key()
    except UsageError:  # the machine may have another one
        return None


def _line(status: VMStatus, more: list[str]) -> Line:
    up = f"up {duration_label(status.uptime_seconds)}" if status.uptime_seconds else ""
    facts = [_name(status), _gpus(status), status.ip_address or "", up, credits_label(_cost(status)), *more]
    return Line(status.status, facts)


def _row(each: VM) -> tuple[str, ...]:
    started = f"{each.created_at.astimezone():%d %b %H:%M}"
    name, address = each.display_name or "", each.ip_address or ""
    return (each.vm_id[:SHORT], name, each.status, _gpus(each), address, started, credits_label(_cost(each)))


def _gpus(each: VM | VMStatus) -> str:
    count = each.gpu_count or each.instance_specs.gpu_count or 1
    profile = each.hardware_profile or each.instance_specs.gpu_type
    spot = " spot" if each.instance_type == "spot" else ""
    return f"{count} {hardware_label(profile)}{spot}"


def _cost(each: VM | VMStatus) -> Decimal | None:
    return each.billed if each.croesus_billed is None else each.croesus_billed


def _name(each: VM | VMStatus) -> str:
    return each.display_name or each.vm_id[:SHORT]


def _offer_row(variant: VMInstanceVariant) -> tuple[str, ...]:
    sold, free = variant.allowed_gpus_per_instance or [1], variant.available_gpus_per_instance
    counts = "not told" if free is None else ", ".join(map(str, free)) or "none"
    price = f"{variant.price_per_hour:.2f}"
    return (hardware_label(variant.hardware_profile), variant.instance_type, price, ", ".join(map(str, sold)), counts)


def _freedom(offer: Offer) -> str:
    return {True: "yes", False: "no", None: "not told"}[offer.free]
