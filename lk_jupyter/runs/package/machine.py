"""Choose the machine of a run: by name, or the cheapest available machine that meets the requirements."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.config.notebook_machine import reported_machine
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.machines.catalogue import price_label, seconds_for
from lk_jupyter.machines.default import CHEAPEST, FALLBACK, REPLACEMENT, default_machine
from lk_jupyter.machines.offers import (
    MachineFilter,
    MachineOffer,
    build_offers,
    cheapest_first,
    filter_offers,
    make_offer,
    nearest_matches,
)
from lk_jupyter.options.runs import MachineOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lk_jupyter.api.machine_types import MachineType
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.package.bundle import Bundle

#: The name that chooses the cheapest available GPU.
ANY = "any"

#: The reason for the machine of a line without a machine, in a notebook whose toolbar shows one.
IN_TOOLBAR = "chosen in the toolbar"

#: Reasons that the header of a cell shows.
HEADER_REASONS = frozenset({IN_TOOLBAR, CHEAPEST, REPLACEMENT})

#: The most machines that a reason lists.
_MAX_LISTED = 3


def choose_machine(session: Connection, options: MachineOptions) -> tuple[MachineType, str]:
    """Return the machine of a run, and the reason for a machine that the user didn't name. Raises UsageError."""
    if options.gpu and options.machine:
        raise UsageError("--gpu and --machine both name a machine. Nothing was sent. Give one of them.")
    chosen = reported_machine(current_cell().cell_id)
    wish = options.gpu or options.machine or chosen or default_machine(session.machines(), session.refused_machines)
    need = MachineFilter(options.memory or 0.0, options.max_price)
    if wish.strip().lower() != ANY:
        machine = session.machines().resolve(wish)
        if not need.fits(make_offer(machine)):
            size = f"{machine.memory_gib} GiB" if machine.memory_gib else "unknown memory"
            raise UsageError(
                f"'{wish}' ({size}, {price_label(machine)}) doesn't meet {_describe_need(need)}. Nothing was sent. "
                "Use the cheapest match: --gpu any"
            )
        if options.gpu or options.machine:
            return machine, ""
        return machine, IN_TOOLBAR if chosen else _explain_default(session, machine)
    catalogue = session.machines()
    offers = [offer for offer in build_offers(catalogue, session.vm_availability()) if offer.gpus]
    try:
        matches = cheapest_first(offers, need)
    except UsageError as error:
        raise UsageError(_explain_no_match(offers, need, str(error))) from None
    machine = next(machine for machine in catalogue if machine.hardware_profile == matches[0].profile)
    listed = _list_offers(matches[:_MAX_LISTED]) + (", …" if len(matches) > _MAX_LISTED else "")
    return machine, f"cheapest of {len(matches)} available GPUs with {_describe_need(need)}: {listed}"


def _explain_default(session: Connection, machine: MachineType) -> str:
    """Return the reason for a machine that neither a line nor the toolbar names; empty for a machine of the settings.

    The usual machine needs no reason.
    """
    if setting("machine") is not None or machine.hardware_profile == FALLBACK:
        return ""
    return REPLACEMENT if session.refused_machines else CHEAPEST


def is_default(bundle: Bundle) -> bool:
    """Whether neither a line nor a setting nor the toolbar chose the machine of a run."""
    named = bundle.options.gpu or bundle.options.machine or setting("machine")
    return not named and bundle.machine_reason in {"", CHEAPEST, REPLACEMENT}


def move_bundle(bundle: Bundle, machine: MachineType) -> Bundle:
    """Return the bundle for another machine that replaces the default machine, within the same maximum cost."""
    seconds = bundle.timeout
    if bundle.max_cost is not None:
        seconds = min(seconds, seconds_for(machine, bundle.max_cost))
    changes = {"execution_type": machine.hardware_profile, "timeout": seconds}
    return replace(
        bundle,
        request=bundle.request.model_copy(update=changes),
        machine=machine,
        cost_binds=bundle.cost_binds or seconds < bundle.timeout,
        machine_reason=REPLACEMENT,
    )


def _describe_need(need: MachineFilter) -> str:
    memory = f"{need.memory_gib:g} GiB or more" if need.memory_gib else ""
    price = "" if need.price is None else f"a price up to {_format_amount(need.price)} credits/h"
    return " and ".join(filter(None, [memory, price])) or "a published price"


def _list_offers(offers: Iterable[MachineOffer]) -> str:
    return ", ".join(f"{offer.profile} ({_format_amount(offer.price_per_hour)} credits/h)" for offer in offers)


def _format_amount(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount.normalize():f}"


def _explain_no_match(offers: list[MachineOffer], need: MachineFilter, reason: str) -> str:
    """Return the message for requirements that no available machine meets, with the machines that almost do."""
    sold_out = [offer for offer in filter_offers(offers, need) if offer.allowed and offer.free is False]
    if sold_out:
        reason = f"{_list_offers(sold_out[:_MAX_LISTED])} match, but are sold out."
    nearest = [
        f"{offer.profile} ({offer.memory_gib or '?'} GiB, {_format_amount(offer.price_per_hour)} credits/h): {option}"
        for offer, option in nearest_matches(offers, need)
    ]
    available = f" Available: {'; '.join(nearest)}." if nearest else ""
    return f"No available GPU has {_describe_need(need)}. {reason} Nothing was sent.{available} All: %lk_machines"
