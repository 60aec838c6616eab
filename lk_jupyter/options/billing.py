"""Options of ``%lk_pricing`` and of the subcommands of ``%lk_billing``."""

from __future__ import annotations

from lk_jupyter.options.fields import limit, switch, word
from lk_jupyter.options.runs import Options


class EntriesOptions(Options):
    """Options of the subcommands that list."""

    limit: int = limit(50)


class CheckoutOptions(Options):
    """Options of ``%lk_billing checkout``."""

    credits: int = word("Credits to buy, a whole number.")
    open: bool = switch("Open the page in a browser on this machine.")


class PricingOptions(Options):
    """Options of ``%lk_pricing``."""

    words: list[str] = word("Words to search for, such as h100 or spot. Default: all.", [], metavar="WORD")
