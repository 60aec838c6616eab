"""Choose the machine of runs, sessions, VMs and servers that name none: the setting, else the cheapest usable GPU."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from lk_jupyter.config.settings import setting
from lk_jupyter.machines.offers import MachineOffer, build_offers, sort_by_price

if TYPE_CHECKING:
    from lk_jupyter.api.machine_types import MachineType
    from lk_jupyter.errors import ApiError
    from lk_jupyter.machines.catalogue import Catalogue

#: The machine for a server that lists no machines or no prices; this server decides.
FALLBACK = "gpu.l40s"

#: Reasons for a machine that no line, setting or toolbar names.
CHEAPEST = "cheapest GPU of your account"
REPLACEMENT = "cheaper GPUs aren't available for your account"

#: Statuses and words of a server that refuses a machine to an account.
_REFUSALS = frozenset({400, 403, 404, 409, 422})
_MACHINE = r"(?:machine|hardware|instance|execution[_ ]type|gpus?\b|profile)"
_DENIED = r"(?:not (?:available|allowed|permitted|included|enabled|supported|offered)|unavailable|quota|access|unknown)"
_MACHINE_REFUSAL = re.compile(
    rf"{_MACHINE}.{{0,200}}{_DENIED}|{_DENIED}.{{0,200}}{_MACHINE}", re.IGNORECASE | re.DOTALL
)
_DENIAL = re.compile(_DENIED, re.IGNORECASE)


def default_profile(offers: Iterable[MachineOffer], refused: Collection[str] = ()) -> str:
    """Return the machine type of runs that name none; ``refused`` are machine types that the server refused."""
    chosen: str | None = setting("machine")
    if chosen:
        return chosen
    usable = [offer for offer in offers if offer.gpus and offer.allowed and offer.profile not in refused]
    # a price of 0 for a GPU means that the price is unknown
    priced = sort_by_price(offer for offer in usable if offer.price_per_hour)
    names = [offer.profile for offer in (*priced, *usable)]
    return FALLBACK if not names or (not priced and FALLBACK in names) else names[0]


def default_machine(catalogue: Catalogue, refused: Collection[str] = ()) -> str:
    """Return the machine type of runs that name none, from the machine types of an account."""
    return default_profile(build_offers(catalogue, None), refused)


def next_machine(catalogue: Catalogue, refused: Collection[str]) -> MachineType | None:
    """Return the machine to use after these refusals; None if no other machine has a price."""
    profile = default_machine(catalogue, refused)
    matches = (machine for machine in catalogue if machine.hardware_profile == profile)
    return next((machine for machine in matches if profile not in refused and machine.price_per_hour), None)


def refuses_machine(refusal: ApiError, profile: str) -> bool:
    """Whether a refused start, of which nothing was started, is about this machine."""
    if refusal.status not in _REFUSALS:
        return False
    names = (profile, profile.partition(".")[2] or profile)
    is_named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", refusal.detail, re.IGNORECASE) for name in names)
    return bool(_MACHINE_REFUSAL.search(refusal.detail) or (is_named and _DENIAL.search(refusal.detail)))
