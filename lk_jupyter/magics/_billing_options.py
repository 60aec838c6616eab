"""What ``%lk_pricing`` and the verbs of ``%lk_billing`` take."""

from __future__ import annotations

from lk_jupyter.magics._fields import limit, switch, word
from lk_jupyter.options import Options


class EntriesOptions(Options):
    """Options of the verbs that list."""

    limit: int = limit(50)


class CheckoutOptions(Options):
    """Options of ``%lk_billing checkout``."""

    credits: int = word("Credits to buy, a whole number.")
    open: bool = switch("Open the page in a browser on this machine.")


class PricingOptions(Options):
    """Options of ``%lk_pricing``."""

    words: list[str] = word("Words that an entry has, such as h100 or spot. Default: all.", [], metavar="WORD")
