"""What is active now and costs by the hour: runs, virtual machines, volumes, deployments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.inference import DedicatedModel, Deployment
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.pricing import PriceEntry
from lk_jupyter.api.vms import UP_STATES, VM, VMAvailability
from lk_jupyter.api.workloads import Workload
from lk_jupyter.errors import ApiError, InvalidResponse
from lk_jupyter.protocol.parts import plain_name
from lk_jupyter.text.units import disk_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

T = TypeVar("T")

_HOUR = 3600

#: A profile of the price book, such as ``spot.a100.2x``.
_SHAPE = re.compile(r"(?:(on-demand|spot)\.)?(?:gpu\.)?([a-z0-9]+)(?:\.(\d+)x)?.*")


@dataclass(frozen=True)
class BillableResource:
    """Something active that is billed by time: a run, a VM, a volume or a deployment.

    ``kind``, ``id``, ``name``, ``hardware``, ``per_hour`` in credits (None if its price is unknown).

    Example:
        >>> run = session.run("import time; print('begun', flush=True); time.sleep(600)", gpu="A100")
        >>> next(run.follow()).content.strip()
        'begun'
        >>> [each.hardware for each in session.balance().resources if each.id == run.execution_id]
        ['A100']
        >>> run.abort()
    """

    kind: str
    id: str
    name: str
    hardware: str
    per_hour: Decimal | None


@dataclass(frozen=True)
class Rate:
    """Cost of several resources per hour.

    ``per_hour`` is the sum of the known prices in credits, ``complete`` whether all prices are known.

    Example:
        >>> session.balance().rate.label
        '.../h'
    """

    per_hour: Decimal
    complete: bool = True

    @property
    def label(self) -> str:
        """The rate in words, such as ``1.59/h`` or ``at least 1.59/h``."""
        if not self.per_hour and not self.complete:
            return "price unknown"
        return f"{'' if self.complete else 'at least '}{self.per_hour.normalize():f}/h"


def burn_rate(found: Iterable[BillableResource]) -> Rate:
    """Return what things cost together in an hour."""
    prices = [thing.per_hour for thing in found]
    known = [price for price in prices if price is not None]
    return Rate(sum(known, Decimal(0)), complete=len(known) == len(prices))


@dataclass(frozen=True)
class Prices:
    """What the server says of prices by the hour; each part is empty where it does not."""

    machines: tuple[MachineType, ...] = ()
    vms: VMAvailability | None = None
    models: tuple[DedicatedModel, ...] = ()
    book: tuple[PriceEntry, ...] = ()

    def of_machine(self, profile: str | None) -> Decimal | None:
        """Return the price of a machine, by its profile or its card."""
        name = (profile or "").lower().removeprefix("gpu.")
        fitting = [machine for machine in self.machines if name in {machine.hardware_profile.lower(), machine.card}]
        exact = [machine for machine in self.machines if machine.hardware_profile.lower() in {name, f"gpu.{name}"}]
        return next((machine.price_per_hour for machine in [*exact, *fitting]), None)

    def of_vm(self, vm: VM) -> Decimal | None:
        """Return the price of a VM with all its GPUs: as VMs are sold now, by the price book, or as a machine of runs.

        A VM that can't be rented now is in no offer, and it costs nevertheless.
        """
        kind, card, _ = _shape(vm.hardware_profile or vm.instance_specs.gpu_type)
        kind, count = vm.instance_type or kind or "on-demand", _gpus(vm)
        for variant in self.vms.available_instance_variants if self.vms else ():
            is_this = (variant.instance_type, _shape(variant.hardware_profile)[1]) == (kind, card)
            if is_this and variant.price_per_hour is not None:
                return variant.price_per_hour * count
        for entry in self.book:
            sold_as, sold, gpus = _shape(str(entry.selector.get("hardware_profile") or ""))
            if entry.meter_slug == "vm_running" and (sold_as, sold, gpus or 1) == (kind, card, count):
                each = None if entry.unit_price is None else entry.unit_price * _HOUR
                return each if entry.unit_price_per_hour is None else entry.unit_price_per_hour
        price = self.of_machine(card) if kind == "on-demand" else None
        return None if price is None else price * count

    def of_volume(self, volume: BlockVolume) -> Decimal | None:
        """Return the price of a volume by the price book, which has one for each GB."""
        for entry in self.book:
            if (
                entry.resource == "block_volume"
                and entry.unit_price_per_hour is not None
                and volume.size_gb is not None
            ):
                return entry.unit_price_per_hour * volume.size_gb
        return None

    def of_deployment(self, deployment: Deployment) -> Decimal | None:
        """Return the price of a deployment with all its replicas: its model's on that card, or the machine's."""
        replicas = deployment.current_replicas or 0
        models = [model for model in self.models if deployment.hf_model_id in {model.hf_model_id, model.serving_name}]
        card = _shape(deployment.hardware_profile)[1]
        for model in models:
            if model.gpu_type.lower() == card and model.price_per_hour is not None:
                return model.price_per_hour * replicas
        price = self.of_machine(deployment.hardware_profile)
        gpus = next((model.gpu_count for model in models), 1)
        return None if price is None else price * gpus * replicas


def _shape(profile: str | None) -> tuple[str | None, str, int | None]:
    """Return what a profile says: on-demand or spot, the card, how many; ``a100`` says the card only."""
    found = _SHAPE.fullmatch((profile or "").lower())
    return (found[1], found[2], int(found[3]) if found[3] else None) if found else (None, "", None)


def up(vms: Iterable[VM]) -> list[VM]:
    """Return the VMs that are billed."""
    return [vm for vm in vms if vm.status.lower() in UP_STATES]


def served(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return the deployments that are billed."""
    return [deployment for deployment in deployments if deployment.current_replicas]


def things(
    runs: Iterable[Workload],
    vms: Iterable[VM],
    volumes: Iterable[BlockVolume],
    deployments: Iterable[Deployment],
    prices: Prices,
) -> tuple[BillableResource, ...]:
    """Return what of these is billed by time now, with what it costs an hour."""
    return (
        *_runs(runs, prices),
        *_vms(vms, prices),
        *(
            BillableResource("volume", v.volume_id, v.name or "", disk_label(v.size_gb), prices.of_volume(v))
            for v in volumes
        ),
        *_deployments(deployments, prices),
    )


def billable_resources(session: Connection) -> tuple[BillableResource, ...]:
    """Return all active resources of the session's organization that are billed by time."""
    client = session.client
    vms = up(_told(lambda: client.vms.list(include_failed=False, include_terminated=False)))
    volumes = _told(client.block.list)
    deployments = served(_told(client.inference.list))
    prices = Prices(
        tuple(session.machines()),
        next(iter(_told(lambda: [client.vms.availability()] if vms else [])), None),
        tuple(_told(client.inference.models) if deployments else ()),
        tuple(_told(client.pricing.get) if vms or volumes else ()),
    )
    return things(client.workloads.list(), vms, volumes, deployments, prices)


def counted(found: Iterable[BillableResource]) -> str:
    """Return how many of each kind there are, in words: ``2 runs, 1 VM``."""
    kinds = Counter(thing.kind for thing in found)
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items()) or "nothing"


def hardware_label(profile: str | None) -> str:
    """Return the card of a profile as people write it: ``gpu.a100``, ``a100`` and ``spot.a100.2x`` are ``A100``."""
    parts = [part for part in (profile or "").lower().split(".") if part not in {"gpu", "on-demand", "spot"}]
    if not parts or parts[0] == "cpu":
        return "CPU" if parts else "none"
    return MachineType(hardware_profile=f"gpu.{parts[0]}").card_name


def _told(read: Callable[[], Iterable[T]]) -> list[T]:
    """Return what is read; nothing from a server that does not have such things, or not for this account."""
    with suppress(ApiError, InvalidResponse):
        return list(read())
    return []


def _runs(runs: Iterable[Workload], prices: Prices) -> Iterator[BillableResource]:
    for run in runs:
        if run.status.lower() == "running":
            name = run.run_name or plain_name(run.file_name or "")
            hardware = _several(1, run.hardware_profile)
            yield BillableResource("run", run.execution_id, name, hardware, prices.of_machine(run.hardware_profile))


def _vms(vms: Iterable[VM], prices: Prices) -> Iterator[BillableResource]:
    for vm in up(vms):
        name = vm.display_name or vm.name or ""
        hardware = _several(_gpus(vm), vm.hardware_profile or vm.instance_specs.gpu_type)
        yield BillableResource("VM", vm.vm_id, name, hardware, prices.of_vm(vm))


def _gpus(vm: VM) -> int:
    return vm.gpu_count or _shape(vm.hardware_profile)[2] or vm.instance_specs.gpu_count or 1


def _deployments(deployments: Iterable[Deployment], prices: Prices) -> Iterator[BillableResource]:
    for deployment in served(deployments):
        hardware = _several(deployment.current_replicas or 0, deployment.hardware_profile)
        price = prices.of_deployment(deployment)
        yield BillableResource("deployment", deployment.deployment_id, deployment.hf_model_id, hardware, price)


def _several(count: int, profile: str | None) -> str:
    """Return how many cards of which kind; nothing where the server doesn't name the kind."""
    hardware = hardware_label(profile) if profile else ""
    return f"{count} x {hardware}" if hardware and count > 1 else hardware
