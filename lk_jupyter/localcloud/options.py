"""What a local cloud can be started with."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from lk_jupyter.localcloud.money.catalogue import PRICES

#: The most that an organization is ever given at once.
MOST_CREDITS = 1_000_000

#: The fastest clock: a day in 0.1 seconds.
MOST_SPEED = 864_000.0


@dataclass(frozen=True)
class Options:
    """Options of one server; lifetimes in seconds, which ``clock_speed`` leaves alone."""

    credits: Decimal = Decimal(100)
    vouchers: tuple[tuple[str, Decimal], ...] = ()
    quota: tuple[str, ...] = tuple(PRICES)
    access_seconds: int = 86_400
    refresh_seconds: int = 30 * 86_400
    s3_credential_seconds: int = 3600
    storage_bytes: int | None = None
    no_capacity: tuple[str, ...] = ()
    simulate_gpu: bool = False
    clock_speed: float = 1.0
    inference_upstream: str | None = None
    faults: bool = False
    engine: str = "auto"
