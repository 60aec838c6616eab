"""Virtual machines with GPUs, reached over SSH (``/vms``)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from lk_jupyter.api._endpoint import DELETE, GET, PATCH, POST, Group
from lk_jupyter.api._models import (
    Cost,
    GpuCount,
    Items,
    Listing,
    Model,
    State,
    Timestamp,
    count_problem,
    unless_null,
)
from lk_jupyter.api.states import UNKNOWN

#: States of a machine that can be used once it has an address.
UP_STATES = frozenset({"running", "ready", "active", "up"})

#: States of a machine that comes up.
COMING_STATES = frozenset({"pending", "provisioning", "queued", "creating", "starting", "booting", "initializing"})

#: States of a machine that has ended. Every other word, known or not, means that it lives and costs.
ENDED_STATES = frozenset({"terminated", "failed", "error", "deleted", "destroyed", "errored"})

#: The id of a machine, whatever the server calls it.
VmId = Annotated[
    str, Field(validation_alias=AliasChoices("vm_id", "vmId", "id", "instance_id"), coerce_numbers_to_str=True)
]

InstanceType = Literal["on-demand", "spot"]


class InstanceSpecs(Model):
    """The shape of a machine: 1, 2, 4 or 8 GPUs."""

    gpu_count: Annotated[GpuCount, unless_null(1)] = 1
    gpu_type: str | None = Field(None, description="Given in answers.")
    cpu: int | None = Field(None, description="CPU cores, in older answers.")
    memory: int | None = Field(None, description="GB, in older answers.")
    disk: int | None = Field(None, description="GB, in older answers.")


Specs = Annotated[InstanceSpecs, unless_null(InstanceSpecs())]


class NewVolume(Model):
    """A volume to make."""

    size_gb: int = Field(ge=1)


class CreateVMRequest(Model):
    """A machine to start. ``volume_ids`` and ``new_volume`` exclude each other."""

    user_public_key: str = Field(min_length=1, description="OpenSSH public key line.")
    hardware_profile: str = Field(description="Card, such as a100.")
    instance_specs: InstanceSpecs | None = None
    display_name: str | None = Field(None, description="Label; need not be unique.")
    instance_type: InstanceType = Field("on-demand", description="Picks the price; spot may be reclaimed at any time.")
    name: str | None = Field(None, description="Older label; display_name is used.")
    volume_ids: list[str] | None = Field(None, description="Volumes to attach.")
    volume_migration_allowed: bool | None = Field(
        None, description="With volume_ids only: they may be copied to where the machine is, which takes hours."
    )
    new_volume: NewVolume | None = Field(None, description="A volume to make and attach.")

    def problem(self) -> str:
        """Return why a machine must not be asked for: the service rents another shape than a wrong count means."""
        if (self.model_extra or {}).get("gpu_count") is not None:
            return "A gpu_count outside instance_specs is ignored. Use instance_specs={'gpu_count': N}."
        return count_problem("instance_specs.gpu_count", self.instance_specs.gpu_count if self.instance_specs else None)


class PendingVolume(Model):
    """A volume that is made with a machine; it has no id yet."""

    name: str | None = None
    size_gb: int | None = None
    status: Annotated[str, unless_null("pending")] = "pending"


class AttachedVolume(Model):
    """A volume as its machine sees it."""

    volume_id: str | None = None
    size_gb: int | None = None
    mount_path: str | None = None


_NO_CAPACITY = re.compile("could not be provisioned|no capacity|out of (?:stock|capacity)|sold out", re.IGNORECASE)


def means_no_capacity(detail: str) -> bool:
    """Whether the server refused a machine because none is free: nothing was rented."""
    return _NO_CAPACITY.search(detail) is not None


def is_usable(status: str, ip_address: str | None) -> bool:
    """Whether a machine can be reached: ``ready`` comes before its address, and an address before ``ready``."""
    return bool(ip_address) and status not in COMING_STATES | ENDED_STATES


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
    croesus_billed: Cost | None = Field(None, description="Credits so far; prefer this to ``billed``.")
    status_check_url: str | None = None
    polling_message: str | None = None
    user_id: str | None = None
    org_id: str | None = None
    volume: PendingVolume | None = None
    volume_notice: str | None = None
    volume_migration_in_progress: bool | None = None

    @property
    def usable(self) -> bool:
        """Whether it is up and has an address."""
        return is_usable(self.status, self.ip_address)


class VMList(Listing[VM]):
    """Machines of the acting organization."""

    _key = "vms"
    vms: Items[VM]
    total: int | None = None


class VMStatus(Model):
    """The present state of a machine, with its volumes; ``uptime_seconds`` counts from when it was up."""

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

    @property
    def usable(self) -> bool:
        """Whether it is up and has an address."""
        return is_usable(self.status, self.ip_address)


class VMHardwareProfile(Model):
    """A card with its price in credits for one GPU and hour; spot and on demand may be mixed in it."""

    hardware_profile: str
    gpu_type: str | None = None
    price_per_hour: Cost | None = None
    allowed_gpus_per_instance: list[int] | None = None
    available_gpus_per_instance: list[int] | None = None


class VMInstanceVariant(Model):
    """What is sold; no available counts means that nothing is free now. Price in credits for one GPU and hour."""

    hardware_profile: str
    gpu_type: str | None = None
    instance_type: str
    price_per_hour: Cost | None = None
    allowed_gpus_per_instance: list[int] | None = None
    available_gpus_per_instance: list[int] | None = None
    block_storage_gpu_counts: list[int] | None = Field(None, description="GPU counts that can take a new volume.")


class VMAvailability(Model):
    """The present offer; it ages within minutes."""

    available_instance_variants: Items[VMInstanceVariant] = []
    available_hardware_profiles: list[VMHardwareProfile] | None = None


class RenameVMRequest(Model):
    """A new display name; empty text clears it."""

    display_name: str


class RenameVMResponse(Model):
    """The name that a machine has now."""

    vm_id: str | None = None
    display_name: str | None = None


class TerminateVMResponse(Model):
    """A machine that has ended; its volumes are free and keep costing credits."""

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

    @POST("/vms/create", effect="spends", timeout=300, magic="%lk_vm create")
    def create(self, request: CreateVMRequest) -> VM:
        """Ask for a machine; it comes up while you poll ``status``.

        Raises BadRequest for a profile or a shape that is not sold, PaymentRequired without credits,
        ServerError when the cloud has none left: ask for another shape then.
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
        """List machines, ended ones too; active ones count as provisioning."""
        ...

    @GET("/vms/availability", magic="%lk_vm offers, %lk_vm create")
    def availability(self) -> VMAvailability:
        """Read which machines are sold, their prices and what is free now."""
        ...

    @GET("/vms/{vm_id}/status", magic="%lk_vm create, %lk_vm status, %lk_vm ssh")
    def status(self, vm_id: str) -> VMStatus:
        """Read the state of one machine."""
        ...

    @PATCH("/vms/{vm_id}", effect="writes", repeatable=True, magic="%lk_vm rename")
    def rename(self, vm_id: str, request: RenameVMRequest) -> RenameVMResponse:
        """Set or clear the display name."""
        ...

    @DELETE("/vms/{vm_id}", magic="%lk_vm delete")
    def delete(self, vm_id: str) -> TerminateVMResponse | None:
        """End a machine permanently: its disk is wiped, its volumes are released."""
        ...
