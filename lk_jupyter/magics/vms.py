"""``%lk_vm`` and ``%lk_volumes``: rent VMs with SSH access, and disks that outlive the VMs."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.account.active import hardware_label
from lk_jupyter.api._client import Client
from lk_jupyter.api._lifecycle import delete_or_repeat
from lk_jupyter.api._polling import add_advice
from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.vms import (
    ENDED_STATES,
    VM,
    AttachedVolume,
    RenameVMRequest,
    VMInstanceVariant,
    VMStatus,
)
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.budget import list_exceeded_budgets
from lk_jupyter.connection.preconditions import require_preconditions
from lk_jupyter.connection.rental import (
    BROKER,
    COMPUTER,
    ENFORCEMENT,
    VOLUME_SECONDS,
    Rental,
    RentalPlan,
    end_label,
    extend_rental,
    find_stated_ends,
    find_volume_ends,
    plan_rental,
    state_end,
)
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.magics._engine.ask import ask, is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.several import apply_to_each, find_each
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.interrupt import advise_on_interrupt, build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, Note, StatusLine
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.options.vms import (
    CreateVmOptions,
    DeleteVmOptions,
    ExtendVmOptions,
    ListVmsOptions,
    RenameVmOptions,
    VmOptions,
    VolumesOptions,
)
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.session import current
from lk_jupyter.text.units import credits_label, disk_label, duration_label, limit_label, moment_label
from lk_jupyter.vms import ssh_config
from lk_jupyter.vms import vms as vm
from lk_jupyter.vms.ends import VmDeletion, VolumeDeletion, describe_reason
from lk_jupyter.vms.facts import VmFacts, describe_end, facts_folder, find_vm_facts
from lk_jupyter.vms.ids import short_id
from lk_jupyter.vms.jump import ADVICE, jump_command
from lk_jupyter.vms.offers import VmOffer, VmShape, alternatives_line, choose_offer, list_offers, require_rentable
from lk_jupyter.vms.shell import read_host_key
from lk_jupyter.vms.ssh import (
    USER,
    PublicKey,
    SshEndpoint,
    find_key,
    home_relative,
    list_public_keys,
    make_key,
)
from lk_jupyter.vms.volumes import read_volume_price

_REMAINING_VMS = "VMs that may still be active and billed: {0}. Check: %lk_vm list. Delete them: %lk_vm delete {0}"
_REMAINING_VOLUMES = (
    "Volumes that may still exist and be billed: {0}. Check: %lk_volumes. Delete them: %lk_volumes delete {0}"
)

lk_vm = Subcommands(
    "lk_vm",
    "Rent a VM with GPUs and log in over SSH.\n\nA VM costs credits until it is deleted: by %lk_vm delete, or at its "
    "stated end. The VM stays active if you close the notebook. At the end, this computer deletes the VM and its disk: "
    "its Jupyter server, or the next lk_jupyter command. While this computer is off, billing continues. At a broker, "
    "the broker deletes the VM.",
)
lk_volumes = Subcommands(
    "lk_volumes",
    "List and delete volumes, which are disks that outlive their VM. To create a volume, use %lk_vm create "
    "--new-volume. --volume attaches a volume. A volume costs credits until it is deleted.",
)


@lk_vm.verb("list", ListVmsOptions)
def _list(options: ListVmsOptions, _shell: InteractiveShell) -> None:
    """List your VMs with the cost so far.

    Example: ``%lk_vm list --all``
    """
    session = current()
    client = session.client
    vms = list(client.vms.list()) if options.all else vm.active_vms(client)
    empty = "" if vms else "No VMs. Prices: %lk_vm offers. Rent one: %lk_vm create --gpu A100"
    note = "\n".join(filter(None, [empty, *list_exceeded_budgets(session)]))
    ends = find_stated_ends(session.base_url)
    columns = ("VM", "Name", "State", "GPUs", "Address", "Started", "Cost so far", "Ends")
    rows = [(*vm_row(each), _format_vm_end(each, ends)) for each in vms]
    display(Table(columns, rows, note=note, right=frozenset({"Cost so far"})))


@lk_vm.verb("offers", NoOptions)
def _offers(_: NoOptions, _shell: InteractiveShell) -> None:
    """List VM types with prices and current availability."""
    sold = current().client.vms.availability()
    unavailable = sold.available_hardware_profiles or []
    variants = sold.available_instance_variants or [
        VMInstanceVariant(**{**each.model_dump(), "instance_type": "unknown"}) for each in unavailable
    ]
    rows = [_build_offer_row(variant) for variant in sorted(variants, key=lambda variant: variant.price_per_hour or 0)]
    columns = ("GPU", "Sold as", "Credits per GPU and hour", "GPUs sold", "Free now")
    display(Table(columns, rows, right=frozenset({"Credits per GPU and hour"})))


@lk_vm.verb("create", CreateVmOptions)
def _create(options: CreateVmOptions, shell: InteractiveShell) -> None:
    """Rent a VM after your confirmation, wait until the VM is ready, and show how to log in.

    Shows the price before you confirm. You log in with your SSH key from ~/.ssh. If you have no key, lk_jupyter offers
    to create a key. If you interrupt the waiting, the VM keeps running. Without --timeout, the VM ends after 8 hours,
    or earlier if a budget or the balance pays for less. %lk_vm extend moves the end.

    Examples::

        %lk_vm create --gpu A100 --dry-run
        %lk_vm create --gpu H100 --count 2 --name train
        %lk_vm create --gpu L40S --new-volume 200 --yes
        %lk_vm create --gpu A100 --timeout 2h
    """
    _check_options(options)
    session = current()
    client = session.client
    availability = client.vms.availability()
    require_rentable(availability)
    free = list_offers(availability)
    wish = VmShape(options.gpu.lower(), options.count, "spot" if options.spot else "on-demand", options.new_volume)
    offer = choose_offer(free, wish)
    key = _choose_key(options)
    volumes = [vm.find_volume(client, text).volume_id for text in options.volume]
    disk_price = read_volume_price(client, options.new_volume) if options.new_volume else Decimal(0)
    disk = ", ".join(volumes) or _describe_new_volume(options, disk_price)
    disk_cost = (disk_price or Decimal(0)) * Decimal(options.volume_timeout or VOLUME_SECONDS) / 3600
    wish_words = f"{offer} with a volume of {options.new_volume} GB" if options.new_volume else str(offer)
    rental = Rental(wish_words, offer.per_hour, is_leased=client.has_broker, extra=disk_cost)
    plan = replace(plan_rental(session, rental, options.timeout), volume_seconds=options.volume_timeout)
    display(_build_plan(offer, key, options, disk, plan))
    if offer.free is False:
        raise UsageError(f"No {offer} is free now. Nothing was rented. {alternatives_line(free, offer)}")
    if options.dry_run:
        return
    require_preconditions(session, "VM")
    if not is_sure(options, _format_question(offer, plan), "Nothing was rented."):
        return
    lease = options.timeout if plan.enforcer == BROKER else None
    request = vm.request_for(replace(wish, lease=lease), key.line, options.name, volumes, move=options.move)
    name = request.display_name
    with (
        advise_on_interrupt(
            f"VM {name!r} may exist and be billed. Check: %lk_vm list. Delete it: %lk_vm delete {name}"
        ),
        state_end(plan),
    ):
        created = vm.create_once(client, request, offer)
    if plan.enforcer == BROKER and (created.lease_ends_at is None or created.lease_ends_at <= client.utc_now):
        display(Note(f"The broker didn't report when it deletes VM {short_id(created.vm_id)}. Check: %lk_vm list"))
    if options.no_wait:
        display(_build_line(_build_initial_status(created), [f"SSH login: %lk_vm ssh {short_id(created.vm_id)}"]))
        return
    status = _wait_for_vm(client, created, offer, shell)
    if options.save:
        shell.user_ns[options.save] = status
    if status.usable:
        try:
            _show_login(status, key)
        except LkError as error:  # the login is unclear, but the VM costs credits
            raise add_advice(error, _format_unattended_note(created)) from None


@lk_vm.verb("status", VmOptions)
def _status(options: VmOptions, _shell: InteractiveShell) -> None:
    """Show state, time and cost of a VM.

    Example: ``%lk_vm status train``
    """
    client = current().client
    status = client.vms.status(vm.find_vm(client, options.vm).vm_id)
    disks = [_format_disk(disk) for disk in status.volumes or ()]
    display(_build_line(status, disks))


@lk_vm.verb("ssh", VmOptions)
def _ssh(options: VmOptions, _shell: InteractiveShell) -> None:
    """Show how to log in to a VM: the ssh command, a block for ~/.ssh/config, and whether the VM answers.

    The VM's host key is stored at the first use. Later connections to a different host key are refused. The ssh command
    and the block use the stored host key.

    Example: ``%lk_vm ssh train``
    """
    status = _find_usable_vm(options.vm)
    facts = _read_run_facts(status)
    _show_login(status, _find_login_key(facts), facts)


@lk_vm.verb("code", VmOptions)
def _code(options: VmOptions, _shell: InteractiveShell) -> None:
    """Open VS Code on a VM over SSH.

    Adds the VM to a file that ~/.ssh/config includes. %lk_vm delete removes the VM from the file. The VM's host key is
    stored at the first connection. Later connections to a different host key are refused.

    Example: ``%lk_vm code train``
    """
    status = _find_usable_vm(options.vm)
    endpoint, host = SshEndpoint.of(status.ip_address or ""), ssh_config.host_name(_choose_name(status))
    facts = _read_run_facts(status)
    _pin_host_key(status, endpoint, facts)
    key = _find_login_key(facts)
    block = ssh_config.host_block(host, endpoint, status.vm_id, key)
    path = ssh_config.add_host(host, block)
    command = ["code", "--remote", f"ssh-remote+{host}", f"/home/{USER}"]
    program = find_program("code")
    is_open = program is not None and _run_program([program, *command[1:]])
    rows = [
        ("VS Code", "opened" if is_open else f"couldn't be started automatically. Run: {shlex.join(command)}"),
        ("Kernel", "in a notebook on the VM, choose Select Kernel, then Python Environments, then python3"),
        ("Log in", f"ssh {host}"),
        ("Hosts", home_relative(path)),
    ]
    display(Table((_choose_name(status), ""), rows))


def _run_program(command: list[str]) -> bool:
    """Run a program in the home folder, and return whether it succeeded."""
    return subprocess.run(command, check=False, cwd=Path.home(), env=child_environment()).returncode == 0


def _find_usable_vm(text: str) -> VMStatus:
    """Return a VM that has an address. Raises UsageError."""
    client = current().client
    status = client.vms.status(vm.find_vm(client, text).vm_id)
    if not status.usable:
        name = _choose_name(status)
        raise UsageError(f"{name} is {status.status} and has no address yet. Check: %lk_vm status {name}")
    return status


def _read_run_facts(status: VMStatus) -> VmFacts | None:
    """Return the facts of the run that rented the VM; None for a VM of the user."""
    return find_vm_facts(status.vm_id)


def _find_login_key(facts: VmFacts | None) -> PublicKey | None:
    """Return the key that may log in: the key of the run that rented the VM, or the user's."""
    return PublicKey(facts_folder() / "ssh_key.pub", "") if facts else _find_default_key()


@lk_vm.verb("rename", RenameVmOptions)
def _rename(options: RenameVmOptions, _shell: InteractiveShell) -> None:
    """Rename a VM.

    Example: ``%lk_vm rename 3f0c train``
    """
    client = current().client
    machine = vm.find_vm(client, options.vm)
    client.vms.rename(machine.vm_id, RenameVMRequest(display_name=options.name))
    display(Note(f"VM {short_id(machine.vm_id)} is now named {options.name}."))


@lk_vm.verb("extend", ExtendVmOptions)
def _extend(options: ExtendVmOptions, _shell: InteractiveShell) -> None:
    """Move the end of a VM that this computer rented, if the budgets pay for the time.

    Example: ``%lk_vm extend train 4h``
    """
    session = current()
    machine = vm.find_vm(session.client, options.vm)
    plan = extend_rental(session, machine.vm_id, f"VM {_choose_name(machine)}", options.timeout)
    display(Note(f"VM {_choose_name(machine)} ends at {plan.end_label} now, by {COMPUTER}."))


@lk_vm.verb("delete", DeleteVmOptions)
def _delete(options: DeleteVmOptions, _shell: InteractiveShell) -> None:
    """Delete VMs and their disks permanently, after your confirmation. Billing ends.

    Examples::

        %lk_vm delete train
        %lk_vm delete 3f0c 8a1b --yes
    """
    client = current().client
    vms = find_each(options.vms, lambda text: vm.find_vm(client, text), _REMAINING_VMS)
    names = ", ".join(map(_choose_name, vms))
    if not is_sure(options, f"Delete {names} permanently, with everything on its disk?", "Nothing was deleted."):
        return
    apply_to_each(
        vms,
        lambda each: display(Note(_delete_vm(client, each))),
        lambda each: short_id(each.vm_id),
        _REMAINING_VMS,
    )


def _delete_vm(client: Client, each: VM) -> str:
    """Delete a VM, and return a message about its end. Raises LkError if the VM may still be active."""
    deletion = VmDeletion(client, each.vm_id)
    delete_or_repeat(client, deletion, lambda: _forget_host(each))
    count = len(deletion.facts.volumes)
    disks = f"; {count} of its volumes remain and cost credits: %lk_volumes" if count else ""
    cost = "" if deletion.facts.billed is None else f" after {credits_label(deletion.facts.billed)}"
    return f"Deleted {_choose_name(each)}{cost}{disks}."


def _forget_host(each: VM) -> None:
    ssh_config.remove_host(ssh_config.host_name(_choose_name(each)))
    ssh_config.forget_host_key(each.vm_id)


def _format_disk(disk: AttachedVolume) -> str:
    place = f"at {disk.mount_path}" if disk.mount_path else ""
    return " ".join(filter(None, [disk_label(disk.size_gb) or "volume", place]))


@lk_volumes.verb("list", NoOptions)
def _list_volumes(_: NoOptions, _shell: InteractiveShell) -> None:
    """List volumes, each with the VM that uses it."""
    session = current()
    volumes, ends = list(session.client.block.list()), find_volume_ends(session)
    rows = [
        (
            each.volume_id,
            disk_label(each.size_gb),
            each.status or "",
            short_id(each.attached_vm_id) if each.attached_vm_id else "free",
            each.location or "",
            f"{end_label(ends[each.volume_id])} by {COMPUTER}" if each.volume_id in ends else "none here",
        )
        for each in volumes
    ]
    note = "" if rows else "No volumes. Create one with a VM: %lk_vm create --gpu A100 --new-volume 200"
    display(Table(("Volume", "Size", "State", "VM", "Where", "Ends"), rows, note=note, right=frozenset({"Size"})))


@lk_volumes.verb("delete", VolumesOptions)
def _delete_volumes(options: VolumesOptions, _shell: InteractiveShell) -> None:
    """Delete detached volumes with all data, after your confirmation.

    Example: ``%lk_volumes delete vol-3f0c``
    """
    client = current().client
    volumes = find_each(options.volumes, lambda text: vm.find_volume(client, text), _REMAINING_VOLUMES)
    for each in volumes:
        if each.attached_vm_id:
            holder = short_id(each.attached_vm_id)
            raise UsageError(
                f"Volume {each.volume_id} is attached to VM {holder}. Nothing was deleted. Delete "
                f"the VM first: %lk_vm delete {holder}"
            )
    what = ", ".join(map(_describe_volume, volumes))
    if not is_sure(options, f"Delete {what} permanently, with all data?", "Nothing was deleted."):
        return
    apply_to_each(volumes, lambda each: _delete_volume(client, each), lambda each: each.volume_id, _REMAINING_VOLUMES)


def _delete_volume(client: Client, each: BlockVolume) -> None:
    """Delete a volume, and show its end. Raises ConnectionFailed if the volume may still exist."""
    delete_or_repeat(client, VolumeDeletion(client, each.volume_id))
    display(Note(f"Deleted {_describe_volume(each)}."))


def _describe_volume(each: BlockVolume) -> str:
    return f"{each.volume_id} ({disk_label(each.size_gb) or 'size unknown'})"


def _check_options(options: CreateVmOptions) -> None:
    if options.new_volume and options.volume:
        raise UsageError("%lk_vm create takes --new-volume or --volume, not both. Nothing was sent.")
    if options.volume_timeout and not options.new_volume:
        raise UsageError("%lk_vm create: --volume-timeout needs --new-volume. Nothing was sent.")
    if options.move and not options.volume:
        raise UsageError("%lk_vm create: --move needs --volume. Nothing was sent.")


def _format_question(offer: VmOffer, plan: RentalPlan) -> str:
    """Return the question before a VM is rented: price, highest cost, and who deletes the VM at its end."""
    if plan.enforcer == BROKER:
        return f"Rent {offer} for at most {credits_label(plan.cost)}? The broker deletes the VM at {plan.end_label}."
    return f"Rent {offer} {plan.time_label}, for {credits_label(plan.cost)}? At {plan.end_label}, {ENFORCEMENT}"


def _format_vm_end(each: VM | VMStatus, ends: dict[str, float]) -> str:
    """Return when a VM is deleted and who deletes it; empty for a VM that has ended.

    ``ends`` are the stated ends of this computer, by id.
    """
    if each.status in ENDED_STATES:
        return ""
    if each.lease_ends_at is not None:
        return f"{end_label(each.lease_ends_at.timestamp())} by {BROKER}"
    if (facts := find_vm_facts(each.vm_id)) is not None:
        return describe_end(facts)
    end = ends.get(normalize_id(each.vm_id))
    return "none here" if end is None else f"{end_label(end)} by {COMPUTER}"


def _describe_new_volume(options: CreateVmOptions, per_hour: Decimal | None) -> str:
    """Return size, price and end of a new volume; empty without one."""
    if not options.new_volume:
        return ""
    price = f"{options.new_volume} GB, new; {credits_label(per_hour)}{'/h' if per_hour is not None else ''}"
    if options.volume_timeout:
        return f"{price} for {limit_label(options.volume_timeout)}; then this computer deletes it with all data"
    return f"{price} until you delete it with %lk_volumes delete; it has no end without --volume-timeout 7d"


def _build_plan(offer: VmOffer, key: PublicKey, options: CreateVmOptions, disk: str, plan: RentalPlan) -> Table:
    cost = f"{credits_label(plan.cost)} {plan.time_label}"
    if plan.enforcer == BROKER:
        cost = f"at most {credits_label(plan.cost)} in the lease of {limit_label(plan.seconds)}"
    rows = [
        ("Machine", str(offer)),
        ("Free now", {True: "yes", False: "no", None: "unknown"}[offer.free]),
        ("Cost", f"{offer.per_hour:.2f} credits per hour, {cost}"),
        ("Deleted", f"at {plan.end_label} by {plan.enforcer}. To change the end: --timeout"),
        ("Reclaimed", "at any time, without warning" if offer.instance_type == "spot" else ""),
        ("Name", options.name or ""),
        ("Your key", f"{key.path} ({key.line.split(' ')[0]})"),
        ("Volume", disk),
    ]
    head = "Plan (nothing was sent)" if options.dry_run else "Virtual machine"
    return Table((head, ""), [row for row in rows if row[1]])


def _wait_for_vm(client: Client, created: VM, offer: VmOffer, shell: InteractiveShell) -> VMStatus:
    """Show the states of a machine until the machine is ready. An interrupt leaves the machine active."""
    line, name, status = (
        LiveOutput(shell),
        created.display_name or short_id(created.vm_id),
        _build_initial_status(created),
    )
    line.show(_build_line(status, [str(offer), _STAYS]))
    try:
        with true_interrupts():
            for status in vm.poll_states(client, created.vm_id, _format_unattended_note(created)):
                line.show(_build_line(status, [str(offer), *([] if status.usable else [_STAYS])]))
    except KeyboardInterrupt:
        line.show(_build_line(status, [str(offer)]), now=True)
        raise build_interrupt(f"stopped waiting. {_format_unattended_note(created)}") from None
    line.show(_build_line(status, [str(offer)]), now=True)
    if status.usable:
        return status
    if status.status in ENDED_STATES:
        raise LkError(
            f"VM {name!r} is {status.status}: it ended before it was ready.{_format_reason(status)} Check that it "
            "isn't billed: %lk_vm list --all. Other VMs: %lk_vm offers"
        )
    minutes = f"{vm.PATIENCE / 60:.0f} minutes"
    raise LkError(
        f"VM {name!r} is {status.status} and has no address after {minutes}.{_format_reason(status)} "
        f"{_format_unattended_note(created)}"
    )


def _format_reason(status: VMStatus) -> str:
    """Return the cloud's explanation of a state as a sentence; empty without an explanation."""
    reason = describe_reason(status)
    return f" The cloud's message: {reason.rstrip('.')}." if reason else ""


_STAYS = "if you interrupt, the VM stays active"


def _build_initial_status(created: VM) -> VMStatus:
    """Return the state of a machine from the answer to the request."""
    return VMStatus.model_validate(created.model_dump(include=set(VMStatus.model_fields)))


def _format_unattended_note(created: VM) -> str:
    """Return a message: the VM is still active and costs credits, with the commands that check and delete the VM."""
    name = created.display_name or short_id(created.vm_id)
    means = short_id(created.vm_id) if " " in name else name
    return f"VM {name!r} is still active and costs credits. Check: %lk_vm status {means}. Delete: %lk_vm delete {means}"


def _show_login(status: VMStatus, key: PublicKey | None, facts: VmFacts | None = None) -> None:
    endpoint, name = SshEndpoint.of(status.ip_address or ""), _choose_name(status)
    is_pinned = _pin_host_key(status, endpoint, facts)
    jump = setting("ssh_jump")
    answers = is_pinned or (not jump and endpoint.answers())
    advice = "Check the jump host with the login command above." if jump else ADVICE
    ready = "yes" if answers else f"not yet: sshd may need another minute. Run %lk_vm ssh again. {advice}"
    rows = [
        ("Log in", ssh_config.ssh_command(endpoint, status.vm_id, key)),
        ("Port answers", ready),
        (
            "Host key",
            "stored; ssh refuses a VM with another host key" if is_pinned else "will be stored at the first login",
        ),
        ("Jump", jump or ""),
        ("Delete", f"%lk_vm delete {name}"),
        ("Ends", _format_vm_end(status, find_stated_ends(current().base_url))),
    ]
    display(Table(("SSH", ""), [row for row in rows if row[1]]))
    host = re.sub(r"[^\w.-]+", "-", name)
    block = ssh_config.host_block(host, endpoint, status.vm_id, key)
    show_text(f"# Copy this block to ~/.ssh/config. Then log in with: ssh {host}\n{block}")


def _pin_host_key(status: VMStatus, endpoint: SshEndpoint, facts: VmFacts | None) -> bool:
    """Store the host key of a VM, if it answers and asyncssh is installed. Raises HostKeyChanged for another key."""
    if facts and facts.pinned:
        ssh_config.pin_host_key(status.vm_id, facts.pinned)
    line = read_host_key(endpoint, jump_command(status.vm_id, endpoint)) if find_spec("asyncssh") else None
    if line:
        ssh_config.pin_host_key(status.vm_id, line)
    return line is not None


def _choose_key(options: CreateVmOptions) -> PublicKey:
    """Return the key that may log in; create a key if none exists and the user agrees."""
    asks = not (options.key or options.dry_run or list_public_keys())
    if not asks or not (options.yes or ask("No SSH key in ~/.ssh. Create ~/.ssh/id_ed25519? [y/N] ")):
        return find_key(options.key)
    key = make_key()
    display(Note(f"Created the SSH key {key.private}, without a passphrase."))
    return key


def _find_default_key() -> PublicKey | None:
    try:
        return find_key()
    except UsageError:  # the VM may accept another key
        return None


def _build_line(status: VMStatus, more: list[str]) -> StatusLine:
    up = f"up {duration_label(status.uptime_seconds)}" if status.uptime_seconds else ""
    end = _format_vm_end(status, find_stated_ends(current().base_url))
    facts = [
        _choose_name(status),
        _format_gpus(status),
        status.ip_address or "",
        up,
        credits_label(_find_cost(status)),
        f"ends at {end}" if end else "",
        "" if status.usable else describe_reason(status),
        *more,
    ]
    return StatusLine(status.status, facts)


def vm_row(each: VM) -> tuple[str, ...]:
    """Return the row of a VM in the table."""
    started = moment_label(each.created_at, "%d %b %H:%M")
    name, address = each.display_name or "", each.ip_address or ""
    return (
        short_id(each.vm_id),
        name,
        " ".join(filter(None, [each.status, "" if each.usable else describe_reason(each)])),
        _format_gpus(each),
        address,
        started,
        credits_label(_find_cost(each)),
    )


def _format_gpus(each: VM | VMStatus) -> str:
    count = each.gpu_count or each.instance_specs.gpu_count or 1
    profile = each.hardware_profile or each.instance_specs.gpu_type
    spot = " spot" if each.instance_type == "spot" else ""
    return f"{count} {hardware_label(profile)}{spot}"


def _find_cost(each: VM | VMStatus) -> Decimal | None:
    return each.billed if each.croesus_billed is None else each.croesus_billed


def _choose_name(each: VM | VMStatus) -> str:
    return each.display_name or short_id(each.vm_id)


def _build_offer_row(variant: VMInstanceVariant) -> tuple[str, ...]:
    sold, free = variant.allowed_gpus_per_instance or [1], variant.available_gpus_per_instance
    counts = "unknown" if free is None else ", ".join(map(str, free)) or "none"
    price = "" if variant.price_per_hour is None else f"{variant.price_per_hour:.2f}"
    return (hardware_label(variant.hardware_profile), variant.instance_type, price, ", ".join(map(str, sold)), counts)
