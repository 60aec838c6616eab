"""The price book."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

from lk_jupyter.api.pricing import Pricing
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.context import Context

_HOUR_SECONDS = 3600


@implements(Pricing.get)
async def get(ctx: Context) -> dict[str, Any]:
    """List the price of each machine by the second, of volumes, and of each model by the token."""
    volumes = _build_hourly_price("volume_gb", "block_volume", {"resource": "block_volume"}, catalogue.VOLUME_GB_HOUR)
    rows = list(
        chain(
            _iterate_machine_prices(),
            [volumes],
            *map(_iterate_token_prices, await ctx.cloud.models.list_priced_names()),
        )
    )
    return {"prices": rows}


def _iterate_machine_prices() -> Iterator[dict[str, Any]]:
    for instance_type in ("on-demand", "spot"):
        for card in catalogue.GPUS:
            for count in catalogue.GPU_COUNTS:
                selector = {"hardware_profile": f"{instance_type}.{card}.{count}x"}
                yield _build_hourly_price(
                    "vm_running", "vm", selector, catalogue.find_vm_price(instance_type, card, count)
                )


def _build_hourly_price(meter: str, resource: str, selector: dict[str, str], per_hour: Decimal) -> dict[str, Any]:
    return {
        "meter_slug": meter,
        "resource": resource,
        "applies_to": selector,
        "unit": "second",
        "unit_price": (per_hour / _HOUR_SECONDS).quantize(Decimal("1e-12")),
        "unit_price_per_hour": per_hour,
    }


def _iterate_token_prices(model: str) -> Iterator[dict[str, Any]]:
    price = catalogue.find_token_price(model)
    for kind, unit_price in (("prompt", price.prompt), ("completion", price.completion)):
        yield {
            "meter_slug": f"serverless_inference_{kind}_tokens",
            "resource": "serverless_inference",
            "applies_to": {"deployment_id": f"serverless:{model}"},
            "unit": "token",
            "unit_price": unit_price,
            "unit_price_per_hour": None,
        }
