"""The price book (``/pricing``)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from pydantic import Field

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import CostString, Items, Listing, Model

_ONE_ON_DEMAND = re.compile(r"on-demand\.(\w+)\.1x")


class PriceEntry(Model):
    """The price of a meter for a selector, in credits."""

    meter_slug: str = Field(description="Name of the meter, such as vm_running.")
    resource: str | None = Field(None, description="Kind of resource, such as vm.")
    group_by: dict[str, Any] | None = None
    applies_to: dict[str, Any] | None = None
    unit: str | None = Field(None, description="Unit of unit_price, such as second.")
    unit_price: CostString | None = None
    unit_price_per_hour: CostString | None = None

    @property
    def selector(self) -> dict[str, Any]:
        """The selector of the price; servers use ``group_by`` or ``applies_to``."""
        return {**(self.group_by or {}), **(self.applies_to or {})}


class PriceBook(Listing[PriceEntry]):
    """All prices."""

    _key = "prices"
    prices: Items[PriceEntry]
    count: int | None = None

    def by_card(self) -> dict[str, Decimal]:
        """Return the on-demand price per hour of a GPU, by GPU name."""
        profiles = ((entry.unit_price_per_hour, str(entry.selector.get("hardware_profile", ""))) for entry in self)
        matches = ((price, _ONE_ON_DEMAND.fullmatch(profile)) for price, profile in profiles)
        return {card[1]: price for price, card in matches if card and price}


class Pricing(Group):
    """The price book.

    Example:
        >>> [entry.unit_price for entry in client.pricing.get()]
        [Decimal(...)...]
    """

    @GET("/pricing", magic="%lk_models, %lk_pricing")
    def get(self) -> PriceBook:
        """Read all prices."""
        ...
