"""List what the organization of a connection pays for by time: runs, VMs, volumes, deployments, with cost per hour.

``stop.py`` adds what only this machine knows, and stops the resources.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lk_jupyter._threads import start
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import DEPLOYMENT_PHASES, LifecyclePhase, is_final, read_phase
from lk_jupyter.api.vms import VM
from lk_jupyter.connection.rental import COMPUTER, end_label, find_stated_ends
from lk_jupyter.errors import OperationNotAvailable
from lk_jupyter.machines.prices import Prices as Prices  # noqa: PLC0414 (known by this place too)
from lk_jupyter.machines.prices import vm_gpu_count
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.text.terminal import one_line
from lk_jupyter.text.units import count_label, disk_label

if TYPE_CHECKING:
    from lk_jupyter.api.block import BlockVolume
    from lk_jupyter.api.inference import Deployment
    from lk_jupyter.api.workloads import Workload
    from lk_jupyter.connection.connection import Connection

T = TypeVar("T")


@dataclass(frozen=True)
class ActiveResource:
    """Something active that is billed by time: a run, a relay, a VM, a volume or a deployment.

    ``kind``, ``id``, ``name``, ``hardware``, ``per_hour`` in credits (None if its price is unknown), ``state`` as the
    cloud reports it. ``is_billed`` is whether its billing has started, ``owner`` is the id or the address of its user
    if the cloud reports it. ``end`` is the stated end of a VM or a deployment, and who enforces it. ``run_id``
    is the run of this computer that has the VM.

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
    state: str = ""
    is_billed: bool = True
    owner: str | None = None
    end: str = ""
    run_id: str = ""

    @property
    def label(self) -> str:
        """The name, or the start of the id.

        Example:
            >>> run = session.run("import time; time.sleep(600)", name="train")
            >>> [each.label for each in session.active().resources if each.id == run.execution_id]
            ['train']
            >>> run.abort()
        """
        return self.name or self.id[:8]


@dataclass(frozen=True)
class ActiveList:
    """Everything active that is billed by time, as ``Session.active`` returns it.

    ``resources`` are the active resources, ``problems`` the lists that couldn't be read, in words.

    Example:
        >>> session.active().problems
        ()
    """

    resources: tuple[ActiveResource, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def billed(self) -> tuple[ActiveResource, ...]:
        """The resources whose billing has started.

        Example:
            >>> session.active().billed == session.balance().resources
            True
        """
        return tuple(each for each in self.resources if each.is_billed)

    @property
    def rate(self) -> Rate:
        """The cost of all billed resources per hour, as a Rate.

        Example:
            >>> session.active().rate == session.balance().rate
            True
        """
        rate = sum_prices(self.billed)
        return Rate(rate.per_hour, complete=rate.complete and not self.problems)


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


def sum_prices(resources: Iterable[ActiveResource]) -> Rate:
    """Return the sum of the prices per hour."""
    prices = [each.per_hour for each in resources]
    amounts = [price for price in prices if price is not None]
    return Rate(sum(amounts, Decimal(0)), complete=len(amounts) == len(prices))


def active_vms(vms: Iterable[VM]) -> list[VM]:
    """Return the VMs that have not ended: a state that no one knows may be billed."""
    return [vm for vm in vms if vm.phase is not LifecyclePhase.ENDED]


def active_deployments(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return the deployments that are billed, or will be without a further request."""
    return [each for each in deployments if each.current_replicas or not _is_idle(each)]


def _is_idle(deployment: Deployment) -> bool:
    is_paused = deployment.status.lower() == "paused"  # its next request starts it
    return is_paused or read_phase(deployment.status, DEPLOYMENT_PHASES) is LifecyclePhase.ENDED


def price_resources(
    runs: Iterable[Workload],
    vms: Iterable[VM],
    volumes: Iterable[BlockVolume],
    deployments: Iterable[Deployment],
    prices: Prices,
) -> tuple[ActiveResource, ...]:
    """Return the active resources of these lists, with their prices per hour."""
    return (
        *_price_runs(runs, prices),
        *_price_vms(vms, prices),
        *_price_volumes(volumes, prices),
        *_price_deployments(deployments, prices),
    )


def list_active(connection: Connection) -> ActiveList:
    """Return all active resources of the connection's organization, wherever they were started.

    A list that can't be read is a problem of the result. Raises the error of the runs if no list can be read.
    """
    client = connection.client
    runs = _Reading("Runs", client.workloads.list)
    vms = _Reading("VMs", lambda: client.vms.list(include_failed=False, include_terminated=False))
    volumes = _Reading("Volumes", client.block.list)
    deployments = _Reading("Deployments", client.inference.list)
    lists: list[_Reading[Any]] = [runs, vms, volumes, deployments]
    machines = _Reading("Machines", connection.machines)
    _read_at_once([*lists, machines])
    if all(each.error for each in lists) and runs.error:
        raise runs.error
    vm_rows, deployment_rows = active_vms(vms.rows), active_deployments(deployments.rows)
    offers = _Reading("VM offers", lambda: [client.vms.availability()] if vm_rows else [])
    models = _Reading("Models", lambda: client.inference.models() if deployment_rows else [])
    book = _Reading("Prices", lambda: client.pricing.get() if vm_rows or volumes.rows else [])
    _read_at_once([offers, models, book])
    prices = Prices(tuple(machines.rows), next(iter(offers.rows), None), tuple(models.rows), tuple(book.rows))
    problems = tuple(problem for each in lists if (problem := each.problem))
    resources = price_resources(runs.rows, vm_rows, volumes.rows, deployment_rows, prices)
    return ActiveList(_add_ends(connection, resources), problems)


def _add_ends(connection: Connection, resources: Iterable[ActiveResource]) -> tuple[ActiveResource, ...]:
    """Add the stated ends that this computer enforces."""
    ends = find_stated_ends(connection.base_url)

    def describe_end(resource: ActiveResource) -> str:
        end = ends.get(normalize_id(resource.id))
        return "" if end is None else f"{end_label(end)} by {COMPUTER}"

    return tuple(replace(each, end=describe_end(each)) for each in resources)


class _Reading(Generic[T]):
    """A list that is read from the server; ``rows`` is empty before, and if the server has no such resources."""

    def __init__(self, title: str, read: Callable[[], Iterable[T]]) -> None:
        self._title = title
        self._read = read
        self.rows: list[T] = []
        self.error: Exception | None = None
        self._total: int | None = None

    def read(self) -> None:
        """Read the list; keep an error for the report."""
        try:
            answer = self._read()
            self.rows = list(answer)
            total = getattr(answer, "total", None)
            self._total = total if isinstance(total, int) else None
        except OperationNotAvailable:
            pass
        except Exception as error:  # noqa: BLE001 (whatever it is, the list is reported as unread)
            self.error = error

    @property
    def problem(self) -> str:
        """The reason why the list may lack resources, in words; empty for a complete list."""
        if self.error:
            reason = one_line(str(self.error).partition("\n")[0]).rstrip(".")
            return f"{self._title} couldn't be listed: {reason}."
        if self._total is not None and self._total > len(self.rows):
            return f"{self._title} couldn't be listed completely: the cloud sent {len(self.rows)} of {self._total}."
        return ""


def _read_at_once(readings: Sequence[_Reading[Any]]) -> None:
    """Read lists at the same time, each in a thread that no exit of Python waits for."""
    threads = [threading.Thread(target=each.read, name="lk-active", daemon=True) for each in readings[1:]]
    for thread in threads:
        start(thread)
    readings[0].read()
    for thread in threads:
        if thread.is_alive():
            thread.join()


def counts_label(resources: Iterable[ActiveResource]) -> str:
    """Return the number of resources of each kind, in words: ``2 runs, 1 VM``."""
    kinds = Counter(thing.kind for thing in resources)
    return ", ".join(count_label(count, kind) for kind, count in kinds.items()) or "nothing"


def hardware_label(profile: str | None) -> str:
    """Return the usual name of a profile's GPU: ``gpu.a100``, ``a100`` and ``spot.a100.2x`` are ``A100``."""
    parts = [part for part in (profile or "").lower().split(".") if part not in {"gpu", "on-demand", "spot"}]
    if not parts or parts[0] == "cpu":
        return "CPU" if parts else "none"
    return MachineType(hardware_profile=f"gpu.{parts[0]}").card_name


def _price_runs(runs: Iterable[Workload], prices: Prices) -> Iterator[ActiveResource]:
    for run in runs:
        if is_final(run.status):
            continue
        name = run.run_name or remove_token_from_name(run.file_name or "")
        hardware = _hardware_text(1, run.hardware_profile)
        price = _check_price(prices.machine_price(run.hardware_profile), hardware)
        yield ActiveResource(
            *("run", run.execution_id, name, hardware, price),
            state=run.status,
            is_billed=run.status.lower() not in _WAITING_RUNS,
            owner=run.execution_owner,
        )


def _price_vms(vms: Iterable[VM], prices: Prices) -> Iterator[ActiveResource]:
    for vm in active_vms(vms):
        name = vm.display_name or vm.name or ""
        hardware = _hardware_text(vm_gpu_count(vm), vm.hardware_profile or vm.instance_specs.gpu_type)
        price = _check_price(prices.hourly_vm_price(vm), hardware)
        yield ActiveResource(
            *("VM", vm.vm_id, name, hardware, price),
            state=vm.status,
            is_billed=vm.phase is not LifecyclePhase.STARTING,
            owner=vm.user_id,
        )


def _price_volumes(volumes: Iterable[BlockVolume], prices: Prices) -> Iterator[ActiveResource]:
    for volume in volumes:
        if not volume.has_ended:
            price = prices.volume_price(volume) or None
            size = disk_label(volume.size_gb)
            yield ActiveResource("volume", volume.volume_id, volume.name or "", size, price, state=volume.status or "")


def _price_deployments(deployments: Iterable[Deployment], prices: Prices) -> Iterator[ActiveResource]:
    for deployment in active_deployments(deployments):
        replicas = deployment.current_replicas
        planned = deployment.model_copy(update={"current_replicas": replicas or deployment.min_replicas or 1})
        hardware = _hardware_text(planned.current_replicas or 1, deployment.hardware_profile)
        price = None if replicas is None else _check_price(prices.deployment_price(planned), hardware)
        extra = deployment.model_extra or {}
        yield ActiveResource(
            *("deployment", deployment.deployment_id, deployment.hf_model_id, hardware, price),
            state=deployment.status,
            is_billed=replicas != 0,
            owner=next((str(extra[name]) for name in ("user_id", "created_by") if extra.get(name)), None),
        )


#: States of a run that isn't billed yet.
_WAITING_RUNS = frozenset({"pending", "queued", "starting", "waiting_for_docker_container"})


def _check_price(price: Decimal | None, hardware: str) -> Decimal | None:
    """Return a price; None for a GPU at the price 0, which means an unknown price."""
    return price if price or hardware == "CPU" else None


def _hardware_text(count: int, profile: str | None) -> str:
    """Return how many cards of which kind; nothing where the server doesn't name the kind."""
    hardware = hardware_label(profile) if profile else ""
    return f"{count} x {hardware}" if hardware and count > 1 else hardware
