"""The ends of VMs, volumes and deployments: a final state, or several answers without the object.

No single answer proves an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from lk_jupyter.api._client import Client
from lk_jupyter.api._lifecycle import ODD_SECONDS, Deletion, EndProof, Sighting, StateDoubt
from lk_jupyter.api.inference import StopDeploymentRequest
from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.vms import VM, AttachedVolume, TerminateVMResponse, VMStatus
from lk_jupyter.errors import ConnectionFailed, NotFound
from lk_jupyter.text.terminal import one_line, shorten_text
from lk_jupyter.vms.ids import select_vm, short_id

#: The least seconds between the first and the last list without a volume whose deletion the cloud accepted.
VOLUME_ABSENCE_SECONDS = 3.0

#: The most characters of an explanation of the cloud.
_MOST_REASON = 200


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


class VmDeletion(Deletion):
    """Delete a VM; ``facts`` has its bill and its volumes."""

    kind = "VM"

    def __init__(self, client: Client, vm_id: str) -> None:
        super().__init__(client, vm_id)
        self.facts = DeletedVm()
        self._listed_id = vm_id

    def describe_remainder(self, refusal: str) -> str:
        """Return the text about a VM that may still be active, with the command that deletes it."""
        short = short_id(self.object_id)
        reason = f"refused its deletion ({refusal})" if refusal else "accepted its deletion, but hasn't confirmed it"
        return f"VM {short} may still be active and billed: the cloud {reason}. Delete it: %lk_vm delete {short}"

    def _send_deletion(self) -> None:
        answer: TerminateVMResponse | None = self._client.vms.delete(self._listed_id)
        self.facts.volumes = (answer and answer.detached_volumes) or self.facts.volumes

    def _look(self) -> Sighting:
        vm = select_vm(self._client.vms.list(), self.object_id)
        if vm is None:
            return find_sighting(read_vm(self._client, self.object_id))
        self._listed_id = vm.vm_id  # the list may write the id in another form, which the deletion needs
        self.facts.billed = vm.billed if vm.croesus_billed is None else vm.croesus_billed
        return find_sighting(vm)


class VolumeDeletion(Deletion):
    """Delete a volume with its data."""

    kind = "volume"

    def run(self, seconds: float | None = None, proof: EndProof | None = None) -> None:
        """Delete the volume. Its list is the only evidence, because a deleted volume has no final state."""
        super().run(seconds, proof or EndProof(VOLUME_ABSENCE_SECONDS))

    def describe_remainder(self, refusal: str) -> str:
        """Return the text about a volume that may still exist, with the command that deletes it."""
        reason = f"refused its deletion ({refusal})" if refusal else "accepted its deletion, but hasn't confirmed it"
        return (
            f"Volume {self.object_id} may still exist and be billed: the cloud {reason}. Delete it: "
            f"%lk_volumes delete {self.object_id}"
        )

    def _send_deletion(self) -> None:
        self._client.block.delete(self.object_id)

    def _look(self) -> Sighting:
        row = next((each for each in self._client.block.list() if each.volume_id == self.object_id), None)
        if row is None:
            return Sighting.ABSENT
        return Sighting.ENDED if row.has_ended else Sighting.ACTIVE


class DeploymentDeletion(Deletion):
    """Stop a deployment; ``state`` is its last state."""

    kind = "deployment"

    def __init__(self, client: Client, deployment_id: str) -> None:
        super().__init__(client, deployment_id)
        self.state = ""

    def describe_remainder(self, refusal: str) -> str:
        """Return the text about a deployment that may still be active, with the command that stops it."""
        short = short_id(self.object_id)
        reported = (
            f"still reports it as '{self.state}'" if self.state else "doesn't list it, but hasn't confirmed its end"
        )
        reason = f"refused to stop it ({refusal})" if refusal else reported
        return f"Deployment {short} may still be active and billed: the cloud {reason}. Stop it: %lk_undeploy {short}"

    def _send_deletion(self) -> None:
        self._client.inference.stop(StopDeploymentRequest(deployment_id=self.object_id))

    def _look(self) -> Sighting:
        every = self._client.inference.list(include_terminated=True)
        row = next((each for each in every if each.deployment_id == self.object_id), None)
        if row is None:
            return Sighting.ABSENT
        self.state = row.status
        return Sighting.ENDED if row.phase is LifecyclePhase.ENDED else Sighting.ACTIVE


def delete_vm(client: Client, vm_id: str, proof: EndProof | None = None) -> DeletedVm:
    """Delete a VM, repeatedly, until its end is proven; return its facts. Raises LkError after 20 s without a proof."""
    deletion = VmDeletion(client, vm_id)
    deletion.run(proof=proof)
    return deletion.facts
