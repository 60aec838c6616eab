"""The machines of this cloud and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

#: Price of one GPU in credits an hour, on demand and spot, as published on 2026-07-31.
GPUS = {
    "l40s": (Decimal("1.19"), Decimal("0.55")),
    "a100": (Decimal("1.59"), Decimal("0.80")),
    "h100": (Decimal("2.79"), Decimal("1.10")),
    "h200": (Decimal("4.29"), Decimal("1.60")),
    "b200": (Decimal("6.49"), Decimal("2.40")),
    "b300": (Decimal("7.99"), Decimal("2.99")),
}
GPU_COUNTS = (1, 2, 4, 8)

#: What runs may run on, with its price in credits an hour; None costs nothing.
PRICES: dict[str, Decimal | None] = {"cpu": None, **{f"gpu.{card}": on_demand for card, (on_demand, _) in GPUS.items()}}

#: Machines that the API description names and no price is published for: no account of this cloud may use them.
UNPRICED = ("gpu.a100.40gb", "gpu.a100.80gb", "gpu.rtx6000pro")

#: Price of one GB of a block volume in credits an hour. None is published: this one is our own.
VOLUME_GB_HOUR = Decimal("0.0001")


@dataclass(frozen=True)
class TokenPrice:
    """What one token costs, in credits."""

    prompt: Decimal
    completion: Decimal


#: Serverless models that have a price of their own.
TOKENS = {
    "local/echo": TokenPrice(Decimal("0.0000001"), Decimal("0.0000004")),
    "local/hash-embedding": TokenPrice(Decimal("0.00000002"), Decimal(0)),
}

#: Every other model.
ANY_TOKENS = TokenPrice(Decimal("0.0000006"), Decimal("0.0000022"))


def is_gpu(profile: str) -> bool:
    """Whether a profile has a GPU."""
    return profile.startswith("gpu.")


def near_names(profile: str) -> str:
    """Name the profiles that somebody may have meant."""
    near = get_close_matches(profile, PRICES, n=2) or list(PRICES)
    return ", ".join(near)


def cost(profile: str, seconds: float) -> Decimal:
    """Return what a run's machine costs for some seconds, in credits, exact to a billionth."""
    return cost_by_hour(PRICES[profile] or Decimal(0), seconds)


def vm_price(instance_type: str, card: str, count: int) -> Decimal:
    """Return what a VM costs in credits an hour; ``instance_type`` is on-demand or spot."""
    on_demand, spot = GPUS[card]
    return (spot if instance_type == "spot" else on_demand) * count


def cost_by_hour(per_hour: Decimal, seconds: float) -> Decimal:
    """Return what some seconds cost at an hourly price, in credits, exact to a billionth."""
    return (per_hour * Decimal(repr(max(seconds, 0.0))) / 3600).quantize(Decimal("1e-9"))


def token_price(model: str) -> TokenPrice:
    """Return what a token of a serverless model costs."""
    return TOKENS.get(model, ANY_TOKENS)
