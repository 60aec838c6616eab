"""The end of a VM: a state in the list, or several answers without the VM. No single answer proves an end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from weakref import WeakKeyDictionary

from lk_jupyter.api._client import Client
from lk_jupyter.api._lifecycle import ODD_SECONDS, EndProof, Sighting, StateDoubt, delete_until_ended
from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.vms import VM, AttachedVolume, TerminateVMResponse, VMStatus
from lk_jupyter.errors import ConnectionFailed, LkError, NotFound
from lk_jupyter.text.terminal import one_line, shorten_text
from lk_jupyter.vms.ids import select_vm, short_id

#: The most characters of an explanation of the cloud.
_MOST_REASON = 200

#: Seconds between two attempts in the background to delete a VM.
REPEAT_SECONDS = 10.0


@dataclass
class DeletedVm:
    """The facts of a deleted VM: its bill in credits, if known, and its volumes, which still cost credits."""

    billed: Decimal | None = None
    volumes: list[AttachedVolume] = field(default_factory=list)


def read_vm(client: Client, vm_id: str) -> VM | VMStatus | None:
    """Return a VM from its record, or from the list if the record is missing; None if both lack the VM."""
    try:
        return client.vms.status(vm_id)
    except NotFound:
        return select_vm(client.vms.list(), vm_id)


def describe_reason(vm: VM | VMStatus) -> str:
    """Return the cloud's explanation of a state, as a short line; empty without an explanation."""
    return shorten_text(one_line(vm.polling_message or ""), _MOST_REASON)


def find_sighting(vm: VM | VMStatus | None) -> Sighting:
    """Return what an answer shows about a VM."""
    if vm is None:
        return Sighting.ABSENT
    return Sighting.ENDED if vm.phase is LifecyclePhase.ENDED else Sighting.ACTIVE


class VmWatch:
    """Collect the states of a VM of a run: whether it has ended or was stopped, and a notice about an odd state.

    ``reason`` is the explanation of the cloud for the last state, ``gpu`` the GPU that the cloud reports, in lowercase.
    ``usable_state`` is the state in which the VM has answered, whatever the word means.
    """

    def __init__(self, client: Client, vm_id: str, usable_state: str = "") -> None:
        self.proof = EndProof()
        self.notice = ""
        self._client = client
        self._vm_id = vm_id
        self._usable_state = usable_state
        self.reason = self.gpu = ""
        self._state = ""
        self._doubt = StateDoubt()

    @property
    def has_failed(self) -> bool:
        """Whether the end of the VM is proven, or the VM was stopped."""
        return self.proof.is_complete or self.is_stopped

    @property
    def is_stopped(self) -> bool:
        """Whether the VM was in an odd state for 60 s, so that it counts as failed, and may be billed."""
        return self._doubt.is_over

    def read(self) -> VM | VMStatus | None:
        """Read and add the state of the VM; return None without the VM. Raises LkError."""
        vm = read_vm(self._client, self._vm_id)
        if vm is None:
            self.proof.add(Sighting.ABSENT)
        else:
            self.add(vm)
        return vm

    def add(self, vm: VM | VMStatus) -> None:
        """Add the state of the VM, and describe a state that is neither starting, running nor final in ``notice``."""
        self._state, self.reason = vm.status, describe_reason(vm)
        self.gpu = (vm.hardware_profile or vm.instance_specs.gpu_type or self.gpu).lower()
        self.proof.add(find_sighting(vm))
        self._doubt.add(LifecyclePhase.RUNNING if vm.status == self._usable_state else vm.phase)
        self.notice = ""
        if self._doubt.is_open:
            self.notice = (
                f"The cloud reports VM {short_id(vm.vm_id)} as '{vm.status}', and may bill it. "
                f"If the VM doesn't answer within {ODD_SECONDS:.0f} s, it is deleted."
            )

    def accept_state(self) -> str:
        """Return the current state as the state in which the VM answers."""
        self._usable_state, self._doubt, self.notice = self._state, StateDoubt(), ""
        return self._state

    def check_start(self) -> None:
        """Raise ConnectionFailed for a VM that will not start."""
        if self.is_stopped:
            raise ConnectionFailed(self.describe_failure())
        if self.proof.is_complete:
            raise ConnectionFailed(f"The VM is {self._state or 'deleted'}{self.cause}.")

    @property
    def cause(self) -> str:
        """The explanation of the cloud for the last state, for the end of a sentence; empty without one."""
        return f": {self.reason.rstrip('.')}" if self.reason else ""

    def describe_failure(self) -> str:
        """Return why the VM counts as ended."""
        if self.is_stopped:
            reported = f"the cloud reported it as '{self._state}' for {ODD_SECONDS:.0f} s"
            return f"The VM doesn't answer, and {reported}{self.cause}."
        return f"The VM ended ({self._state or 'deleted'}) before its results were saved."


class VmDeletion:
    """Delete a VM: ``run`` sends the deletion, repeatedly, until the end of the VM is proven."""

    def __init__(self, client: Client, vm_id: str) -> None:
        self.facts = DeletedVm()
        self.vm_id = vm_id
        self._client = client
        self._listed_id = vm_id

    def run(self, seconds: float | None = None, proof: EndProof | None = None) -> DeletedVm:
        """Return the facts of the deleted VM. Raises LkError after ``seconds`` (default: 20) without a proof."""
        try:
            delete_until_ended(self._send_deletion, self._look, seconds=seconds, proof=proof)
        except ConnectionFailed as problem:
            raise ConnectionFailed(describe_undeleted(self.vm_id, str(problem))) from None
        return self.facts

    def _send_deletion(self) -> None:
        answer: TerminateVMResponse | None = self._client.vms.delete(self._listed_id)
        self.facts.volumes = (answer and answer.detached_volumes) or self.facts.volumes

    def _look(self) -> Sighting:
        vm = select_vm(self._client.vms.list(), self.vm_id)
        if vm is None:
            return find_sighting(read_vm(self._client, self.vm_id))
        self._listed_id = vm.vm_id  # the list may write the id in another form, which the deletion needs
        self.facts.billed = vm.billed if vm.croesus_billed is None else vm.croesus_billed
        return find_sighting(vm)


def delete_vm(client: Client, vm_id: str, proof: EndProof | None = None) -> DeletedVm:
    """Delete a VM, repeatedly, until its end is proven; return its facts. Raises LkError after 20 s without a proof."""
    return VmDeletion(client, vm_id).run(proof=proof)


#: Deletions that are repeated in the background: client and id of the VM → thread.
_repeats: WeakKeyDictionary[Client, dict[str, threading.Thread]] = WeakKeyDictionary()


def is_repeated(client: Client, vm_id: str) -> bool:
    """Return whether the deletion of a VM is repeated in the background."""
    thread = _repeats.get(client, {}).get(vm_id)
    return thread is not None and thread.is_alive()


def repeat_deletion(client: Client, deletion: VmDeletion, on_end: Callable[[DeletedVm], object]) -> None:
    """Repeat a deletion in a thread until the end of the VM is proven, then call ``on_end``, which may raise.

    The thread ends with the connection: a closed client can't delete anything.
    """

    def work() -> None:
        while not client.wait_until_closed(REPEAT_SECONDS):
            with suppress(LkError):
                on_end(deletion.run())
                return

    if not is_repeated(client, deletion.vm_id):
        thread = threading.Thread(target=work, name=f"lk-delete-{deletion.vm_id[:8]}", daemon=True)
        _repeats.setdefault(client, {})[deletion.vm_id] = thread
        thread.start()


def describe_undeleted(vm_id: str, refusal: str) -> str:
    """Return the text about a VM whose deletion had no effect, with the command that repeats the deletion."""
    short = short_id(vm_id)
    reason = f"refused its deletion ({refusal})" if refusal else "accepted its deletion, but hasn't confirmed it"
    return f"VM {short} may still be active and billed: the cloud {reason}. Delete it: %lk_vm delete {short}"
