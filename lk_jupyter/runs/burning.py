"""What goes on now and costs by the hour: runs, virtual machines, deployments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.vms import UP_STATES, VM
from lk_jupyter.errors import ApiError

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session


@dataclass(frozen=True)
class Burning:
    """One thing that goes on; ``per_hour`` in credits, None where its price is not known."""

    kind: str
    id: str
    name: str
    hardware: str
    per_hour: Decimal | None


def burning(session: Session) -> tuple[Burning, ...]:
    """Return all that goes on and is billed by time in the organization of the session."""
    return (*_runs(session), *_told(_vms, session), *_told(_deployments, session))


def rate(found: Iterable[Burning]) -> Decimal | None:
    """Return what they cost together in an hour; None when the price of one is not known."""
    prices = [thing.per_hour for thing in found]
    known = [price for price in prices if price is not None]
    return sum(known, Decimal(0)) if len(known) == len(prices) else None


def counted(found: Iterable[Burning]) -> str:
    """Return how many of each kind there are, in words: ``2 runs, 1 VM``."""
    kinds = Counter(thing.kind for thing in found)
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items()) or "nothing"


def hardware_label(profile: str | None) -> str:
    """Return the card of a profile as people write it: ``gpu.a100``, ``a100`` and ``spot.a100.2x`` are ``A100``."""
    parts = [part for part in (profile or "").lower().split(".") if part not in {"gpu", "on-demand", "spot"}]
    if not parts or parts[0] == "cpu":
        return "CPU" if parts else "none"
    return MachineType(hardware_profile=f"gpu.{parts[0]}").card_name


def _told(read: Callable[[Session], Iterable[Burning]], session: Session) -> list[Burning]:
    """Return what is read; nothing from a server that does not have such things, or not for this account."""
    with suppress(ApiError):
        return list(read(session))
    return []


def _runs(session: Session) -> Iterator[Burning]:
    prices = {machine.hardware_profile: machine.price_per_hour for machine in session.machines()}
    for run in session.client.workloads.list():
        if run.status == "running":
            profile = run.hardware_profile or ""
            name = run.run_name or run.file_name or ""
            yield Burning("run", run.execution_id, name, hardware_label(profile), prices.get(profile))


def _vms(session: Session) -> Iterator[Burning]:
    up = [
        vm for vm in session.client.vms.list(include_failed=False, include_terminated=False) if vm.status in UP_STATES
    ]
    if not up:
        return
    variants = session.client.vms.availability().available_instance_variants
    prices = {(variant.hardware_profile, variant.instance_type): variant.price_per_hour for variant in variants}
    for vm in up:
        price, count = prices.get((vm.hardware_profile or "", vm.instance_type or "on-demand")), _gpus(vm)
        name = vm.display_name or vm.name or ""
        hardware = _several(count, hardware_label(vm.hardware_profile))
        yield Burning("VM", vm.vm_id, name, hardware, None if price is None else price * count)


def _gpus(vm: VM) -> int:
    return vm.gpu_count or vm.instance_specs.gpu_count or 1


def _deployments(session: Session) -> Iterator[Burning]:
    up = [deployment for deployment in session.client.inference.list() if deployment.current_replicas]
    if not up:
        return
    models = {(model.hf_model_id, model.gpu_type.lower()): model for model in session.client.inference.models()}
    for deployment in up:
        card = MachineType(hardware_profile=deployment.hardware_profile).card or deployment.hardware_profile.lower()
        model, count = models.get((deployment.hf_model_id, card)), deployment.current_replicas
        price = model.price_per_hour * count if model and model.price_per_hour is not None else None
        hardware = _several(count, hardware_label(deployment.hardware_profile))
        yield Burning("deployment", deployment.deployment_id, deployment.hf_model_id, hardware, price)


def _several(count: int, hardware: str) -> str:
    return f"{count} x {hardware}" if count > 1 else hardware
