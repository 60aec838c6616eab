"""The price book (``/pricing``)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import DecimalString, Listing, Model


class PriceEntry(Model):
    """The price of one meter for one selector, in credits."""

    meter_slug: str = Field(description="What is metered, such as vm_running.")
    group_by: dict[str, Any] | None = None
    applies_to: dict[str, Any] | None = None
    unit_price: DecimalString
    unit_price_per_hour: DecimalString | None = None

    @property
    def selector(self) -> dict[str, Any]:
        """What the price is for; servers put it in ``group_by`` or in ``applies_to``."""
        return {**(self.group_by or {}), **(self.applies_to or {})}


class PriceBook(Listing[PriceEntry]):
    """All prices."""

    _key = "prices"
    prices: list[PriceEntry]
    count: int


class Pricing(Group):
    """The price book."""

    @GET("/pricing")
    def get(self) -> PriceBook:
        """Read all prices."""
        ...
