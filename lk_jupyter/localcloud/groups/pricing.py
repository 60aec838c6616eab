"""The price book."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

from lk_jupyter.api.pricing import Pricing
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.money import catalogue

_SECONDS_OF_AN_HOUR = 3600


@implements(Pricing.get)
async def get(ctx: Context) -> dict[str, Any]:
    """List the price of each machine by the second, of volumes, and of each model by the token."""
    rows = list(chain(_machines(), _volumes(), *map(_tokens, await ctx.cloud.models.priced())))
    return {"prices": rows, "count": len(rows)}


def _machines() -> Iterator[dict[str, Any]]:
    for instance_type in ("on-demand", "spot"):
        for card in catalogue.GPUS:
            for count in catalogue.GPU_COUNTS:
                selector = {"hardware_profile": f"{instance_type}.{card}.{count}x"}
                yield _by_hour("vm_running", selector, catalogue.vm_price(instance_type, card, count))


def _volumes() -> Iterator[dict[str, Any]]:
    yield _by_hour("volume_gb", {"resource": "block_volume"}, catalogue.VOLUME_GB_HOUR)


def _by_hour(meter: str, selector: dict[str, str], per_hour: Decimal) -> dict[str, Any]:
    """Name the selector in both fields where clients look for it."""
    return {
        "meter_slug": meter,
        "group_by": selector,
        "applies_to": selector,
        "unit_price": (per_hour / _SECONDS_OF_AN_HOUR).quantize(Decimal("1e-12")),
        "unit_price_per_hour": per_hour,
    }


def _tokens(model: str) -> Iterator[dict[str, Any]]:
    price = catalogue.tokens_of(model)
    for kind, unit_price in (("prompt", price.prompt), ("completion", price.completion)):
        yield {
            "meter_slug": f"serverless_inference_{kind}_tokens",
            "group_by": None,
            "applies_to": {"deployment_id": f"serverless:{model}"},
            "unit_price": unit_price,
            "unit_price_per_hour": None,
        }
