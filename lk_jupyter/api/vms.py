"""Virtual machines with GPUs, reached over SSH (``/vms``)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import SkipJsonSchema

from lk_jupyter.api._endpoint import DELETE, GET, PATCH, POST, Group
from lk_jupyter.api._models import (
    Cost,
    GpuCount,
    GpuPrice,
    Items,
    Listing,
    Model,
    State,
    Timestamp,
    count_problem,
    unless_null,
)
from lk_jupyter.api.states import UNKNOWN, VM_PHASES, LifecyclePhase, list_states, read_phase

#: States of a machine that is usable once the machine has an address.
UP_STATES = list_states(LifecyclePhase.RUNNING, VM_PHASES)

#: States of a starting machine.
COMING_STATES = list_states(LifecyclePhase.STARTING, VM_PHASES)

#: States of an ended machine. Any other word means that the machine is active and costs credits.
ENDED_STATES = list_states(LifecyclePhase.ENDED, VM_PHASES)


def _require_text(vm_id: str) -> str:
    """Return an id that isn't empty. Raises ValueError: no request could name the machine."""
    if not vm_id:
        raise ValueError("the id is empty")
    return vm_id


#: The id of a machine, under any name of a server.
VmId = Annotated[
    str,
    Field(validation_alias=AliasChoices("vm_id", "vmId", "id", "instance_id"), coerce_numbers_to_str=True),
    AfterValidator(_require_text),
]

InstanceType = Literal["on-demand", "spot"]

#: Seconds of a lease at a broker whose request has no ``timeout``, and of the shortest lease.
DEFAULT_LEASE, SHORTEST_LEASE = 3600, 60


def _read_lease_end(value: Any, read: ValidatorFunctionWrapHandler) -> datetime | None:
    """Return the end of a lease; None for a value that isn't a moment. The VM is rented, whatever its answer has."""
    with suppress(ValueError, OverflowError):
        moment: datetime | None = read(value)
        return moment and moment.astimezone() and moment
    return None


#: The moment at which a broker deletes a machine; None without a broker.
LeaseEnd = Annotated[Timestamp | None, WrapValidator(_read_lease_end)]


class InstanceSpecs(Model):
    """The shape of a machine: 1, 2, 4 or 8 GPUs."""

    gpu_count: Annotated[GpuCount, unless_null(1)] = 1
    gpu_type: str | None = Field(None, description="Given in answers.")
    cpu: int | None = Field(None, description="Number of CPU cores. Only older answers contain it.")
    memory: int | None = Field(None, description="GB, in older answers.")
    disk: int | None = Field(None, description="GB, in older answers.")


Specs = Annotated[InstanceSpecs, unless_null(InstanceSpecs())]


class NewVolume(Model):
    """A volume to create."""

    size_gb: int = Field(ge=1)


class CreateVMRequest(Model):
    """A machine to start. ``volume_ids`` and ``new_volume`` exclude each other."""

    user_public_key: str = Field(min_length=1, description="OpenSSH public key line.")
    hardware_profile: str = Field(description="Card, such as a100.")
    instance_specs: InstanceSpecs | None = None
    display_name: str | None = Field(None, description="Label of the VM. Several VMs may have the same label.")
    instance_type: InstanceType = Field(
        "on-demand", description="Kind of price. The cloud may reclaim a spot VM at any time."
    )
    name: str | None = Field(None, description="Older field for the label. Use display_name.")
    volume_ids: list[str] | None = Field(None, description="Volumes to attach.")
    volume_migration_allowed: bool | None = Field(
        None,
        description="Allow the cloud to copy the volumes of volume_ids to the location of the VM. This takes hours.",
    )
    new_volume: NewVolume | None = Field(None, description="New volume to create and attach.")
    timeout: SkipJsonSchema[int | None] = Field(
        None,
        ge=SHORTEST_LEASE,
        description="Only at a broker: seconds of the lease, after which the broker deletes the VM. Default: 3600.",
    )

    def broker_reason(self) -> str:
        """Return why only a broker may get a lease: a cloud ignores it, and bills the VM until someone deletes it."""
        return "" if self.timeout is None else "timeout, the lease of a VM, needs a broker, which deletes the VM."

    def problem(self) -> str:
        """Return why a machine must not be requested: the service rents another shape than a wrong count suggests."""
        if (self.model_extra or {}).get("gpu_count") is not None:
            return "A gpu_count outside instance_specs is ignored. Use instance_specs={'gpu_count': N}."
        return count_problem("instance_specs.gpu_count", self.instance_specs.gpu_count if self.instance_specs else None)


class PendingVolume(Model):
    """A volume created with a machine; the volume has no id yet."""

    name: str | None = None
    size_gb: int | None = None
    status: Annotated[str, unless_null("pending")] = "pending"


class AttachedVolume(Model):
    """A volume as the machine reports the volume."""

    volume_id: str | None = None
    size_gb: int | None = None
    mount_path: str | None = None


_NO_CAPACITY = re.compile("could not be provisioned|no capacity|out of (?:stock|capacity)|sold out", re.IGNORECASE)


def means_no_capacity(detail: str) -> bool:
    """Return whether the server refused a machine because none is free: nothing was rented."""
    return _NO_CAPACITY.search(detail) is not None


def is_usable(status: str, ip_address: str | None) -> bool:
    """Return whether a machine may be reachable: ``ready`` can precede the address, and the reverse."""
    return bool(ip_address) and read_phase(status, VM_PHASES) in {LifecyclePhase.RUNNING, LifecyclePhase.UNKNOWN}


class VM(Model):
    """A machine. ``ip_address`` is ``host`` or ``host:port``; the SSH user is ``lyceum``."""

    vm_id: VmId
    status: State = UNKNOWN
    created_at: Timestamp | None = None
    instance_specs: Specs = InstanceSpecs()
    ip_address: str | None = None
    hardware_profile: str | None = None
    gpu_count: int | None = None
    instance_type: str | None = None
    name: str | None = None
    display_name: str | None = None
    billed: Cost | None = None
    croesus_billed: Cost | None = Field(
        None, description="Credits that the VM has cost so far. Use this field, not ``billed``."
    )
    status_check_url: str | None = None
    polling_message: str | None = None
    user_id: str | None = None
    org_id: str | None = None
    lease_ends_at: SkipJsonSchema[LeaseEnd] = Field(None, description="Only at a broker: when it deletes the VM.")
    volume: PendingVolume | None = None
    volume_notice: str | None = None
    volume_migration_in_progress: bool | None = None

    @property
    def phase(self) -> LifecyclePhase:
        """The meaning of the state."""
        return read_phase(self.status, VM_PHASES)

    @property
    def usable(self) -> bool:
        """Whether the machine is ready and has an address."""
        return is_usable(self.status, self.ip_address)


class VMList(Listing[VM]):
    """Machines of the acting organization."""

    _key = "vms"
    vms: Items[VM]
    total: int | None = None


class VMStatus(Model):
    """The current state of a machine, with all volumes; ``uptime_seconds`` counts from ``ready``."""

    vm_id: VmId
    status: State = UNKNOWN
    instance_specs: Specs = InstanceSpecs()
    created_at: Timestamp | None = None
    ip_address: str | None = None
    uptime_seconds: int | None = None
    billed: Cost | None = None
    croesus_billed: Cost | None = None
    hardware_profile: str | None = None
    gpu_count: int | None = None
    instance_type: str | None = None
    name: str | None = None
    display_name: str | None = None
    volumes: list[AttachedVolume] | None = None
    polling_message: SkipJsonSchema[str | None] = None
    lease_ends_at: SkipJsonSchema[LeaseEnd] = Field(None, description="Only at a broker: when it deletes the VM.")

    @property
    def phase(self) -> LifecyclePhase:
        """The meaning of the state."""
        return read_phase(self.status, VM_PHASES)

    @property
    def usable(self) -> bool:
        """Whether the machine is ready and has an address."""
        return is_usable(self.status, self.ip_address)


class VMHardwareProfile(Model):
    """A GPU with its price in credits for one GPU and hour; spot and on demand may be mixed."""

    hardware_profile: str
    gpu_type: str | None = None
    price_per_hour: GpuPrice = None
    allowed_gpus_per_instance: list[int] | None = None
    available_gpus_per_instance: list[int] | None = None


class VMInstanceVariant(Model):
    """The offered machines; without counts, nothing is free now. Prices are in credits for one GPU and hour."""

    hardware_profile: str
    gpu_type: str | None = None
    instance_type: str
    price_per_hour: GpuPrice = None
    allowed_gpus_per_instance: list[int] | None = None
    available_gpus_per_instance: list[int] | None = None
    block_storage_gpu_counts: list[int] | None = Field(
        None, description="Numbers of GPUs with which a VM can get a new volume."
    )


class VMAvailability(Model):
    """The current offer, valid for minutes."""

    available_instance_variants: Items[VMInstanceVariant] = []
    notice: SkipJsonSchema[str | None] = Field(None, description="Only a local cloud: why it rents no VM.")
    available_hardware_profiles: list[VMHardwareProfile] | None = None


class RenameVMRequest(Model):
    """A new display name; empty text clears it."""

    display_name: str


class RenameVMResponse(Model):
    """The current name of a machine."""

    vm_id: str | None = None
    display_name: str | None = None


class TerminateVMResponse(Model):
    """An ended machine; its volumes are free and keep costing credits."""

    vm_id: str | None = None
    status: str | None = None
    message: str | None = None
    detached_volumes: list[AttachedVolume] | None = None


class Vms(Group):
    """Virtual machines. They cost from ``running`` on until ``delete``.

    Example:
        >>> from lk_jupyter.api.vms import CreateVMRequest, RenameVMRequest
        >>> [offer.price_per_hour for offer in client.vms.availability().available_instance_variants]
        [Decimal(...)...]
        >>> vm = client.vms.create(CreateVMRequest(user_public_key=public_key, hardware_profile="l40s"))
        >>> client.vms.status(vm.vm_id).hardware_profile
        'l40s'
        >>> client.vms.rename(vm.vm_id, RenameVMRequest(display_name="box")).display_name
        'box'
        >>> client.vms.delete(vm.vm_id).status
        'terminated'
        >>> vm.vm_id in {row.vm_id for row in client.vms.list(include_terminated=False)}
        False
    """

    is_audited = True

    @POST("/vms/create", effect="spends", creates=True, timeout=300, magic="%lk_vm create")
    def create(self, request: CreateVMRequest) -> VM:
        """Request a machine, which starts while you poll ``status``.

        Raises BadRequest for a profile or a shape that isn't sold, PaymentRequired without credits, ServerError
        if the cloud has no such machine left: request another shape then.
        """
        ...

    @GET("/vms/list", magic="%lk_vm list, %lk_vm create")
    def list(
        self,
        include_provisioning: bool = True,  # noqa: FBT001, FBT002 (filters as the API names them)
        include_ready: bool = True,  # noqa: FBT001, FBT002
        include_failed: bool = True,  # noqa: FBT001, FBT002
        include_terminated: bool = True,  # noqa: FBT001, FBT002
    ) -> VMList:
        """List machines, including ended machines. The status of an active machine is provisioning here."""
        ...

    @GET("/vms/availability", magic="%lk_vm offers, %lk_vm create")
    def availability(self) -> VMAvailability:
        """Read the offered machines, their prices and their availability."""
        ...

    @GET("/vms/{vm_id}/status", magic="%lk_vm create, %lk_vm status, %lk_vm ssh")
    def status(self, vm_id: str) -> VMStatus:
        """Read the state of a machine."""
        ...

    @PATCH("/vms/{vm_id}", effect="writes", repeatable=True, magic="%lk_vm rename")
    def rename(self, vm_id: str, request: RenameVMRequest) -> RenameVMResponse:
        """Set or clear the display name."""
        ...

    @DELETE("/vms/{vm_id}", magic="%lk_vm delete")
    def delete(self, vm_id: str) -> TerminateVMResponse | None:
        """End a machine permanently: wipe the disk, release the volumes."""
        ...
