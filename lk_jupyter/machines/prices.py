"""Prices: of machines, VMs, volumes and deployments by the hour, and of a model's tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lk_jupyter.api.block import BlockVolume
    from lk_jupyter.api.inference import DedicatedModel, Deployment
    from lk_jupyter.api.machine_types import MachineType
    from lk_jupyter.api.pricing import PriceEntry
    from lk_jupyter.api.serverless import Usage
    from lk_jupyter.api.vms import VM, VMAvailability

_HOUR = 3600

#: A profile of the price book, such as ``spot.a100.2x``.
_SHAPE = re.compile(r"(?:(on-demand|spot)\.)?(?:gpu\.)?([a-z0-9]+)(?![a-z0-9])(?:\.(\d{1,9})x)?.*")

#: Field of a price → its meter in the price book.
METERS = {
    "prompt": "serverless_inference_prompt_tokens",
    "completion": "serverless_inference_completion_tokens",
    "cached": "serverless_inference_cached_prompt_tokens",
}


@dataclass(frozen=True)
class Prices:
    """Prices per hour as the server reports them; each part is empty if unreported."""

    machines: tuple[MachineType, ...] = ()
    vms: VMAvailability | None = None
    models: tuple[DedicatedModel, ...] = ()
    book: tuple[PriceEntry, ...] = ()

    def machine_price(self, profile: str | None) -> Decimal | None:
        """Return the price of a machine, by profile or GPU model."""
        name = (profile or "").lower().removeprefix("gpu.")
        fitting = [machine for machine in self.machines if name in {machine.hardware_profile.lower(), machine.card}]
        exact = [machine for machine in self.machines if machine.hardware_profile.lower() in {name, f"gpu.{name}"}]
        return next((machine.price_per_hour for machine in [*exact, *fitting]), None)

    def hourly_vm_price(self, vm: VM) -> Decimal | None:
        """Return the price of a VM with all GPUs: by the VMs on offer, the price book, or the price of a run's machine.

        A VM that can't be rented now is in no offer, but is billed nevertheless.
        """
        kind, card, _ = _split_profile(vm.hardware_profile or vm.instance_specs.gpu_type)
        kind, count = vm.instance_type or kind or "on-demand", vm_gpu_count(vm)
        for variant in self.vms.available_instance_variants if self.vms else ():
            is_this = (variant.instance_type, _split_profile(variant.hardware_profile)[1]) == (kind, card)
            if is_this and variant.price_per_hour is not None:
                return variant.price_per_hour * count
        for entry in self.book:
            sold_as, sold, gpus = _split_profile(str(entry.selector.get("hardware_profile") or ""))
            if entry.meter_slug == "vm_running" and (sold_as, sold, gpus or 1) == (kind, card, count):
                return entry.unit_price_per_hour or (entry.unit_price or Decimal()) * _HOUR or None
        price = self.machine_price(card) if kind == "on-demand" else None
        return None if price is None else price * count

    def volume_price(self, volume: BlockVolume) -> Decimal | None:
        """Return the price of a volume by the price book, which has a price per GB."""
        for entry in self.book:
            if (
                entry.resource == "block_volume"
                and entry.unit_price_per_hour is not None
                and volume.size_gb is not None
            ):
                return entry.unit_price_per_hour * volume.size_gb
        return None

    def deployment_price(self, deployment: Deployment) -> Decimal | None:
        """Return the price of a deployment with all replicas: the model's price on that GPU, or the machine's price."""
        replicas = deployment.current_replicas or 0
        models = [model for model in self.models if deployment.hf_model_id in {model.hf_model_id, model.serving_name}]
        card = _split_profile(deployment.hardware_profile)[1]
        for model in models:
            if model.gpu_type.lower() == card and model.price_per_hour is not None:
                return model.price_per_hour * replicas
        price = self.machine_price(deployment.hardware_profile)
        gpus = next((model.gpu_count for model in models), 1)
        return None if price is None else price * gpus * replicas


def _split_profile(profile: str | None) -> tuple[str | None, str, int | None]:
    """Return the parts of a profile: on-demand or spot, GPU model, GPU count; ``a100`` has a GPU model only."""
    match = _SHAPE.fullmatch((profile or "").lower())
    return (match[1], match[2], int(match[3]) if match[3] else None) if match else (None, "", None)


def vm_gpu_count(vm: VM) -> int:
    """Return how many GPUs a VM has."""
    return vm.gpu_count or _split_profile(vm.hardware_profile)[2] or vm.instance_specs.gpu_count or 1


@dataclass(frozen=True)
class TokenPrices:
    """Prices of a token, in credits; None where the price book has no row."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    cached: Decimal | None = None

    def cost(self, usage: Usage | None) -> Decimal | None:
        """Return the cost of an answer; None if a price or the count is unknown."""
        if usage is None or self.prompt is None or usage.prompt_tokens is None:
            return None
        answered = usage.completion_tokens or 0
        if answered and self.completion is None:
            return None
        cached = usage.prompt_tokens_details.cached_tokens or 0 if usage.prompt_tokens_details else 0
        cached_cost = cached * (self.prompt if self.cached is None else self.cached)
        return (usage.prompt_tokens - cached) * self.prompt + cached_cost + answered * (self.completion or Decimal(0))


def prices_by_model(book: Iterable[PriceEntry]) -> dict[str, TokenPrices]:
    """Return the price of each model's tokens."""
    fields = {meter: name for name, meter in METERS.items()}
    fields_by_model: dict[str, dict[str, Decimal]] = {}
    for entry in book:
        model = str(entry.selector.get("deployment_id") or "")
        if entry.unit_price is not None and entry.meter_slug in fields and model.startswith("serverless:"):
            fields_by_model.setdefault(model.removeprefix("serverless:"), {})[fields[entry.meter_slug]] = (
                entry.unit_price
            )
    return {model: TokenPrices(**prices) for model, prices in fields_by_model.items()}
