"""Active resources that cost by the hour: runs, virtual machines, volumes, deployments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.vms import UP_STATES, VM
from lk_jupyter.errors import ApiError, InvalidResponse
from lk_jupyter.machines.prices import Prices as Prices  # noqa: PLC0414 (known by this place too)
from lk_jupyter.machines.prices import vm_gpu_count
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.text.units import disk_label

if TYPE_CHECKING:
    from lk_jupyter.api.block import BlockVolume
    from lk_jupyter.api.inference import Deployment
    from lk_jupyter.api.workloads import Workload
    from lk_jupyter.connection.connection import Connection

T = TypeVar("T")


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
        """The rate in words, such as ``1.59 credits/h`` or ``at least 1.59 credits/h``."""
        if not self.per_hour and not self.complete:
            return "price unknown"
        return f"{'' if self.complete else 'at least '}{self.per_hour.normalize():f} credits/h"


def sum_prices(resources: Iterable[BillableResource]) -> Rate:
    """Return the sum of the prices per hour."""
    prices = [thing.per_hour for thing in resources]
    priced = [price for price in prices if price is not None]
    return Rate(sum(priced, Decimal(0)), complete=len(priced) == len(prices))


def billed_vms(vms: Iterable[VM]) -> list[VM]:
    """Return the VMs that are billed."""
    return [vm for vm in vms if vm.status.lower() in UP_STATES]


def billed_deployments(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return the deployments that are billed."""
    return [deployment for deployment in deployments if deployment.current_replicas]


def list_billable(
    runs: Iterable[Workload],
    vms: Iterable[VM],
    volumes: Iterable[BlockVolume],
    deployments: Iterable[Deployment],
    prices: Prices,
) -> tuple[BillableResource, ...]:
    """Return the resources that are billed by time now, with their prices per hour."""
    return (
        *_billable_runs(runs, prices),
        *_billable_vms(vms, prices),
        *(
            BillableResource("volume", v.volume_id, v.name or "", disk_label(v.size_gb), prices.volume_price(v))
            for v in volumes
        ),
        *_billable_deployments(deployments, prices),
    )


def billable_resources(session: Connection) -> tuple[BillableResource, ...]:
    """Return all active resources of the session's organization that are billed by time."""
    client = session.client
    vms = billed_vms(_read_all(lambda: client.vms.list(include_failed=False, include_terminated=False)))
    volumes = _read_all(client.block.list)
    deployments = billed_deployments(_read_all(client.inference.list))
    prices = Prices(
        tuple(session.machines()),
        next(iter(_read_all(lambda: [client.vms.availability()] if vms else [])), None),
        tuple(_read_all(client.inference.models) if deployments else ()),
        tuple(_read_all(client.pricing.get) if vms or volumes else ()),
    )
    return list_billable(client.workloads.list(), vms, volumes, deployments, prices)


def counts_label(resources: Iterable[BillableResource]) -> str:
    """Return the number of resources of each kind, in words: ``2 runs, 1 VM``."""
    kinds = Counter(thing.kind for thing in resources)
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items()) or "nothing"


def hardware_label(profile: str | None) -> str:
    """Return the usual name of a profile's GPU: ``gpu.a100``, ``a100`` and ``spot.a100.2x`` are ``A100``."""
    parts = [part for part in (profile or "").lower().split(".") if part not in {"gpu", "on-demand", "spot"}]
    if not parts or parts[0] == "cpu":
        return "CPU" if parts else "none"
    return MachineType(hardware_profile=f"gpu.{parts[0]}").card_name


def _read_all(read: Callable[[], Iterable[T]]) -> list[T]:
    """Return a list from a server; an empty list if the server doesn't offer such resources to this account."""
    with suppress(ApiError, InvalidResponse):
        return list(read())
    return []


def _billable_runs(runs: Iterable[Workload], prices: Prices) -> Iterator[BillableResource]:
    for run in runs:
        if run.status.lower() == "running":
            name = run.run_name or remove_token_from_name(run.file_name or "")
            hardware = _hardware_text(1, run.hardware_profile)
            yield BillableResource("run", run.execution_id, name, hardware, prices.machine_price(run.hardware_profile))


def _billable_vms(vms: Iterable[VM], prices: Prices) -> Iterator[BillableResource]:
    for vm in billed_vms(vms):
        name = vm.display_name or vm.name or ""
        hardware = _hardware_text(vm_gpu_count(vm), vm.hardware_profile or vm.instance_specs.gpu_type)
        yield BillableResource("VM", vm.vm_id, name, hardware, prices.hourly_vm_price(vm))


def _billable_deployments(deployments: Iterable[Deployment], prices: Prices) -> Iterator[BillableResource]:
    for deployment in billed_deployments(deployments):
        hardware = _hardware_text(deployment.current_replicas or 0, deployment.hardware_profile)
        price = prices.deployment_price(deployment)
        yield BillableResource("deployment", deployment.deployment_id, deployment.hf_model_id, hardware, price)


def _hardware_text(count: int, profile: str | None) -> str:
    """Return how many cards of which kind; nothing where the server doesn't name the kind."""
    hardware = hardware_label(profile) if profile else ""
    return f"{count} x {hardware}" if hardware and count > 1 else hardware
