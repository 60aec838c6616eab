"""The machines of this cloud and their prices."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

#: Price of a GPU in credits per hour, on demand and spot, as published on 2026-07-31.
GPUS = {
    "l40s": (Decimal("1.19"), Decimal("0.55")),
    "a100": (Decimal("1.59"), Decimal("0.80")),
    "h100": (Decimal("2.79"), Decimal("1.10")),
    "h200": (Decimal("4.29"), Decimal("1.60")),
    "b200": (Decimal("6.49"), Decimal("2.40")),
    "b300": (Decimal("7.99"), Decimal("2.99")),
}
GPU_COUNTS = (1, 2, 4, 8)

#: Machine types of runs, with the price in credits per hour; None is free.
PRICES: dict[str, Decimal | None] = {"cpu": None, **{f"gpu.{card}": on_demand for card, (on_demand, _) in GPUS.items()}}

#: Machines of the API description without a published price: no account of this cloud may use these machines.
UNPRICED = ("gpu.a100.40gb", "gpu.a100.80gb", "gpu.rtx6000pro")

#: Price of a GB of a block volume in credits per hour. No price is published: this price is our assumption.
VOLUME_GB_HOUR = Decimal("0.0001")


@dataclass(frozen=True)
class TokenPrice:
    """The price of a token, in credits."""

    prompt: Decimal
    completion: Decimal


#: Serverless models with a separate price.
TOKENS = {
    "local/echo": TokenPrice(Decimal("0.0000001"), Decimal("0.0000004")),
    "local/hash-embedding": TokenPrice(Decimal("0.00000002"), Decimal(0)),
}

#: The price of all other models.
ANY_TOKENS = TokenPrice(Decimal("0.0000006"), Decimal("0.0000022"))


def is_gpu(profile: str) -> bool:
    """Whether a profile has a GPU."""
    return profile.startswith("gpu.")


def format_similar_names(profile: str) -> str:
    """Return similar names of machine types, as text."""
    near = get_close_matches(profile, PRICES, n=2) or list(PRICES)
    return ", ".join(near)


def compute_run_cost(profile: str, seconds: float) -> Decimal:
    """Return the cost of a run's machine for some seconds, in credits, exact to a billionth."""
    return compute_cost_by_hour(PRICES[profile] or Decimal(0), seconds)


def find_vm_price(instance_type: str, card: str, count: int) -> Decimal:
    """Return the price of a VM in credits per hour; ``instance_type`` is on-demand or spot."""
    on_demand, spot = GPUS[card]
    return (spot if instance_type == "spot" else on_demand) * count


def compute_cost_by_hour(per_hour: Decimal, seconds: float) -> Decimal:
    """Return the cost of some seconds at an hourly price, in credits, exact to a billionth."""
    return (per_hour * Decimal(repr(max(seconds, 0.0))) / 3600).quantize(Decimal("1e-9"))


def find_token_price(model: str) -> TokenPrice:
    """Return the prices of a serverless model's tokens."""
    return TOKENS.get(model, ANY_TOKENS)
