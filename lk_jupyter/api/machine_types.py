"""The hardware catalogue (``/machine-types``)."""

from __future__ import annotations

import re
from decimal import Decimal

from pydantic import Field, ValidationInfo, field_validator

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import Cost, Items, Listing, Model

#: GPU memory in GiB by GPU, as measured on the cloud's machines; the API doesn't report the memory.
CARD_MEMORY_GIB = {"t4": 15, "l40s": 45, "a100": 80, "h100": 80, "h200": 140, "b200": 179, "b300": 282}

#: GPU name as people write the name, if upper case isn't enough.
CARD_NAMES = {"rtx6000pro": "RTX 6000 Pro"}


class MachineType(Model):
    """A machine type for runs; ``price_per_hour`` in credits, None if not published, or 0 for a GPU."""

    hardware_profile: str = Field(description="Machine type, such as gpu.a100.")
    price_per_hour: Cost | None = None

    @field_validator("price_per_hour")
    @classmethod
    def _require_gpu_price(cls, price: Decimal | None, facts: ValidationInfo) -> Decimal | None:
        """Return None for a GPU that costs 0: no GPU is free, so the server doesn't know its price."""
        has_gpu = str(facts.data.get("hardware_profile")).lower().startswith("gpu.")
        return None if has_gpu and not price else price

    @property
    def card(self) -> str | None:
        """Short name of the GPU, such as ``a100``; None for a machine without a GPU."""
        parts = self.hardware_profile.lower().split(".")
        return parts[1] if parts[0] == "gpu" and len(parts) > 1 else None

    @property
    def card_name(self) -> str:
        """Name of the GPU for display, such as ``A100``."""
        return CARD_NAMES.get(self.card, self.card.upper()) if self.card else "none"

    @property
    def memory_gib(self) -> int | None:
        """GPU memory in GiB; None if unknown."""
        size = self.hardware_profile.lower().rpartition(".")[2]
        if re.fullmatch(r"[0-9]{1,6}gb", size):
            return int(size[:-2])
        return CARD_MEMORY_GIB.get(self.card) if self.card else None


class MachineTypeList(Listing[MachineType]):
    """The catalogue."""

    _key = "machine_types"
    machine_types: Items[MachineType]
    count: int | None = None


class MachineTypes(Group):
    """The hardware catalogue.

    Example:
        >>> {machine.hardware_profile: machine.price_per_hour for machine in client.machine_types.list()}
        {...'gpu.a100': Decimal('1.59')...}
    """

    @GET("/machine-types", magic="%lk_machines")
    def list(self) -> MachineTypeList:
        """List the machines with their prices per hour."""
        ...
