"""The commands on the account: machines and credits, and the instructions for agents."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from lk_jupyter.cli.output import DONE, CommandOutput

if TYPE_CHECKING:
    from lk_jupyter.cli.parser import Arguments


def machines(arguments: Arguments, output: CommandOutput) -> int:  # noqa: ARG001 (every command accepts both)
    """Print machine types, cheapest first; prices are in credits per hour."""
    from lk_jupyter.machines.catalogue import sort_by_price  # noqa: PLC0415 (lk skill needs no machines)
    from lk_jupyter.session import current  # noqa: PLC0415 (lk skill needs no session)

    catalogue = current().machines()
    for machine in sort_by_price(catalogue):
        fields = {
            "machine": machine.hardware_profile,
            "gpu": machine.card_name if machine.card else None,
            "memory_gib": machine.memory_gib,
            "price_per_hour": machine.price_per_hour,
            "allowed": catalogue.allows(machine),
        }
        price = "no price" if machine.price_per_hour is None else f"{machine.price_per_hour:f} credits/h"
        allowed = "" if fields["allowed"] else "  not allowed"
        output.emit("machine", f"{machine.hardware_profile}  {price}{allowed}", **fields)
    return DONE


def balance(arguments: Arguments, output: CommandOutput) -> int:  # noqa: ARG001
    """Print the remaining credits, their use per hour, and what uses them."""
    from lk_jupyter.cli.stop import print_resource  # noqa: PLC0415 (lk skill needs no resources)
    from lk_jupyter.session import current  # noqa: PLC0415

    state = current().balance()
    active = f", {state.active_count} active, {state.per_hour:f} credits/h" if state.active_count else ""
    renews_at = state.budget and state.budget.renews_at
    renewal = f", renews {renews_at.astimezone():%a %d %b %H:%M}" if renews_at else ""
    output.emit(
        "balance",
        f"{state.label}{renewal}{active}",
        credits=state.credits,
        per_hour=state.per_hour,
        active=state.active_count,
        suspended=state.suspended,
        depleted_at=state.depleted_at.isoformat() if state.depleted_at else None,
        budget=state.budget and state.budget.model_dump(mode="json"),
    )
    for resource in state.resources:
        print_resource(resource, output)
    for problem in state.problems:
        output.note("warning", problem, message=problem)
    return DONE


def skill(arguments: Arguments, output: CommandOutput) -> int:  # noqa: ARG001
    """Print SKILL.md."""
    text = read_skill().rstrip()
    output.emit("skill", text, text=text)
    return DONE


def read_skill() -> str:
    """Return the instructions for agents."""
    return files("lk_jupyter.cli").joinpath("SKILL.md").read_text(encoding="utf-8")
