"""The volume of a run on a VM: a disk that outlives the VM, as a cache of staged data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.block import BlockVolume
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.machines.prices import Prices
from lk_jupyter.text.units import credits_label, disk_label
from lk_jupyter.vms.ids import short_id
from lk_jupyter.vms.vms import find_volume

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client

_NEW = re.compile(r"new:(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class RunVolume:
    """A volume to attach; ``volume_id`` is empty for a new volume. ``per_hour`` is None without a published price."""

    volume_id: str
    size_gb: int | None
    per_hour: Decimal | None

    @property
    def label(self) -> str:
        """The volume in words, such as ``new volume of 200 GB``."""
        size = disk_label(self.size_gb)
        return f"volume {self.volume_id} ({size})" if self.volume_id else f"new volume of {size}"

    @property
    def price_label(self) -> str:
        """The cost of the volume in words."""
        return "costs credits (price unknown)" if self.per_hour is None else f"costs {credits_label(self.per_hour)}/h"


def choose_volume(client: Client, text: str) -> RunVolume:
    """Return the volume of ``--volume``: a name, an id, or ``new:`` and a size in GB.

    Raises UsageError for an unknown or attached volume.
    """
    if text.startswith("new:"):
        match = _NEW.fullmatch(text)
        if not match or not int(match[1]):
            raise UsageError(f"--volume takes an id, or new:GB, got '{text}'. Nothing was rented. Example: new:200")
        volume = BlockVolume(volume_id="", size_gb=int(match[1]))
    else:
        volume = find_volume(client, text)
    if volume.attached_vm_id:
        holder = short_id(volume.attached_vm_id)
        raise UsageError(
            f"--volume: {volume.volume_id} is attached to VM {holder}. Nothing was rented. Use it there, or delete the "
            f"VM first: %lk_vm delete {holder}"
        )
    return RunVolume(volume.volume_id, volume.size_gb, read_volume_price(client, volume.size_gb))


def read_volume_price(client: Client, size_gb: int | None) -> Decimal | None:
    """Return the price of a volume per hour; None if it isn't published."""
    try:
        book = tuple(client.pricing.get())
    except LkError:  # some servers have no price book
        return None
    return Prices(book=book).volume_price(BlockVolume(volume_id="", size_gb=size_gb))
