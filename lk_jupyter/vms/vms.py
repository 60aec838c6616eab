"""Virtual machines: create a VM once, wait for a VM, and find a VM by a name or the beginning of an id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import uuid4

from lk_jupyter.api import _creation
from lk_jupyter.api._client import Client
from lk_jupyter.api._creation import Candidates
from lk_jupyter.api._lifecycle import StateDoubt
from lk_jupyter.api._polling import poll
from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.user import is_same_user
from lk_jupyter.api.vms import VM, CreateVMRequest, InstanceSpecs, NewVolume, VMStatus, means_no_capacity
from lk_jupyter.errors import LkError, ServerError, UsageError
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.vms.ids import is_same_id, short_id
from lk_jupyter.vms.offers import VmOffer, VmShape, alternatives_line, list_offers

#: Seconds between two checks of a starting machine; the last pause repeats.
PAUSES = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)

#: Seconds after which a machine that does not come up is no longer waited for; 130 to 221 were measured.
PATIENCE = 900.0


#: Start of the display names of VMs that were rented for a run.
NAME_PREFIX = "lk-run-"


def request_for(
    wish: VmShape, public_key: str, name: str | None = None, volumes: Sequence[str] = (), *, move: bool = False
) -> CreateVMRequest:
    """Return the request for a machine. If the answer is lost, the name identifies the machine."""
    return CreateVMRequest(
        user_public_key=public_key,
        hardware_profile=wish.profile,
        instance_specs=InstanceSpecs(gpu_count=wish.count),
        instance_type=wish.instance_type,
        display_name=name or f"{wish.profile}-{uuid4().hex[:6]}",
        volume_ids=list(volumes) or None,
        volume_migration_allowed=True if volumes and move else None,
        new_volume=NewVolume(size_gb=wish.volume_gb) if wish.volume_gb else None,
        timeout=wish.lease,
    )


def create_once(client: Client, request: CreateVMRequest, offer: VmOffer) -> VM:
    """Create a machine, and never two: after any failure, look for the machine, without a second request.

    Raises ServerError with alternatives if there is no capacity, OutcomeUnknown if the result stays unknown.
    """
    search = _VmSearch(client, request)

    try:
        return _creation.create_once(
            lambda: client.vms.create(request),
            search.find,
            search.describe_loss,
            trusts_failure=lambda error: means_no_capacity(error.detail),
        )
    except ServerError as refusal:
        refusal.next_step = f"Nothing was rented or charged. {_suggest_alternatives(client, offer)}"
        raise


def _suggest_alternatives(client: Client, offer: VmOffer) -> str:
    try:
        return alternatives_line(list_offers(client.vms.availability()), offer)
    except LkError:
        return "Other VMs: %lk_vm offers"


class _VmSearch:
    """Search the machine of a request among the machines that are new since then, and its new volume.

    Members can rent a machine of the same name, so a machine whose user the cloud doesn't show is only reported.
    """

    def __init__(self, client: Client, request: CreateVMRequest) -> None:
        self._client = client
        self._request = request
        self._earlier_vms = {vm.vm_id for vm in client.vms.list()}
        self._earlier_volumes = self._list_volumes() if request.new_volume else {}
        self._new: list[VM] = []

    def _list_volumes(self) -> dict[str, BlockVolume]:
        return {volume.volume_id: volume for volume in self._client.block.list()}

    def find(self) -> Candidates[VM]:
        """Return the machine of the request, or advice about machines with its name and about a new volume."""
        rows = self._client.vms.list()
        self._new = [vm for vm in rows if vm.vm_id not in self._earlier_vms and vm.phase is not LifecyclePhase.ENDED]
        fitting = [vm for vm in self._new if self._request.display_name in {vm.display_name, vm.name}]
        user_id = self._client.user.status().user_id if fitting else None
        for vm in fitting:
            if is_same_user(vm.user_id, user_id) and self._has_requested_shape(vm):
                return Candidates(vm)
        lines = [
            f"VM {short_id(vm.vm_id)} has the requested name, and may be yours and billed. Delete it: %lk_vm delete "
            f"{short_id(vm.vm_id)}"
            for vm in fitting
        ]
        if self._request.new_volume:
            lines += [
                f"Volume {volume_id} is new since then, and may be yours and billed. Delete it: %lk_volumes delete "
                f"{volume_id}"
                for volume_id in self._list_volumes()
                if volume_id not in self._earlier_volumes
            ]
        return Candidates(advice="".join(f"\n{line}" for line in lines))

    def _has_requested_shape(self, vm: VM) -> bool:
        """Return whether a machine has the GPU of the request, as far as the machine shows it."""
        profile = vm.hardware_profile or vm.instance_specs.gpu_type or ""
        return self._request.hardware_profile.lower() in profile.lower() or not profile

    def describe_loss(self) -> str:
        """Return the text of an error after a lost answer."""
        ids = f" New since then: {', '.join(vm.vm_id for vm in self._new)}." if self._new else ""
        return (
            f"The VM {self._request.display_name!r} may exist and be billed. The server doesn't list a VM of yours "
            f"with this name yet.{ids}\nThe request was not sent again. Check first: %lk_vm list"
        )


def poll_states(client: Client, vm_id: str, advice: str = "") -> Iterator[VMStatus]:
    """Iterate over the states of a machine, until the machine is usable or has ended, or the time is up.

    A state that is neither starting, usable nor final ends the iteration after 60 s: the machine was stopped.

    ``advice`` is the text that an error adds: the resources that still cost, and the command that ends the cost.
    """
    doubt = StateDoubt()
    for status in poll(lambda: client.vms.status(vm_id), PATIENCE, PAUSES, advice):
        yield status
        if status.usable or status.phase is LifecyclePhase.ENDED or doubt.add(status.phase):
            return


def active_vms(client: Client) -> list[VM]:
    """Return the machines that have not ended."""
    return [vm for vm in client.vms.list(include_failed=False, include_terminated=False) if not _has_ended(vm)]


def _has_ended(vm: VM) -> bool:
    return vm.phase is LifecyclePhase.ENDED


def find_vm(client: Client, text: str) -> VM:
    """Return the machine with this name, id, or beginning of an id; active machines come first. Raises UsageError."""
    every, start = list({vm.vm_id: vm for vm in client.vms.list()}.values()), normalize_id(text)
    for group in ([vm for vm in every if not _has_ended(vm)], every):
        fitting = [vm for vm in group if text == vm.vm_id]
        fitting = fitting or [vm for vm in group if text == vm.display_name or is_same_id(text, vm.vm_id)]
        fitting = fitting or [vm for vm in group if start and normalize_id(vm.vm_id).startswith(start)]
        if len(fitting) > 1:
            ids = ", ".join(short_id(vm.vm_id) for vm in fitting)
            raise UsageError(f"'{text}' matches several VMs: {ids}. Nothing was changed. Use an id.")
        if fitting:
            return fitting[0]
    raise UsageError(f"Unknown VM '{text}'. Nothing was changed. See your VMs: %lk_vm list --all")


def find_volume(client: Client, text: str) -> BlockVolume:
    """Return the volume with this name, id, or beginning of an id. Raises UsageError."""
    every = {each.volume_id: each for each in client.block.list()}.values()  # a list may repeat a row
    fitting = [each for each in every if text in {each.volume_id, each.name}]
    fitting = fitting or [each for each in every if each.volume_id.startswith(text)]
    if len(fitting) != 1:
        what = f"'{text}' matches several volumes" if fitting else f"Unknown volume '{text}'"
        raise UsageError(f"{what}. Nothing was changed. See your volumes: %lk_volumes")
    return fitting[0]
