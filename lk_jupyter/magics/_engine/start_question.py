"""The question before a run starts, for cells with ``--ask`` or the tag ``lk-ask``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.config.approvals import cell_digest, is_listed, use_approval
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import sum_costs
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.sync_question import current_place, identify_answerer
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.session import current
from lk_jupyter.text.units import count_label, credits_label

#: Tag of a cell with the effect of ``--ask``, which front ends send with the cell.
TAG = "lk-ask"


def require_answer(bundles: Sequence[Bundle], options: Any, shell: InteractiveShell) -> None:
    """Require a person's yes to the highest cost of these runs, if the line or the cell needs an answer.

    A program that executes the notebook can't answer. Raises UsageError without a yes; nothing was sent then.
    """
    if not (getattr(options, "ask", False) or TAG in _read_cell_tags(shell)):
        return
    cost = sum_costs(bundle.worst_case for bundle in bundles)
    if cost is not None and _use_approval(cost, shell):
        return
    description = _describe_runs(bundles, cost)
    if identify_answerer(shell) == "user" and ask(f"Start {description}? [y/N] "):
        return
    raise UsageError(
        f"Not confirmed: {description}. Nothing was sent. Run the cell again and answer y, approve the notebook with "
        f"%lk_plan, or remove --ask and the cell tag {TAG}."
    )


def _use_approval(cost: Decimal, shell: InteractiveShell) -> bool:
    """Return whether an approval of %lk_plan allows this execution of the cell; the approval is used then."""
    digest = cell_digest(_read_cell_text(shell))
    if not is_listed(digest):
        return False
    place = current_place(current())
    return use_approval(place.server, place.org, digest, cost)


def _read_cell_text(shell: InteractiveShell) -> str:
    """Return the cell that is executed, as typed."""
    kernel: Any = getattr(shell, "kernel", None)
    try:
        return str(kernel.get_parent("shell")["content"]["code"])
    except (AttributeError, TypeError, LookupError):
        history: Any = getattr(shell, "history_manager", None)
        return str(history.input_hist_raw[-1]) if history is not None and history.input_hist_raw else ""


def _describe_runs(bundles: Sequence[Bundle], cost: Decimal | None) -> str:
    """Return number, machines and highest cost of runs in words."""
    machines = ", ".join(dict.fromkeys(bundle.machine.hardware_profile for bundle in bundles))
    price = "at an unknown price" if cost is None else f"at most {credits_label(cost)}"
    return f"{count_label(len(bundles), 'run')} on {machines}, {price}"


def _read_cell_tags(shell: InteractiveShell) -> Sequence[str]:
    """Return the tags of the cell that is executed, if the front end sends them."""
    kernel: Any = getattr(shell, "kernel", None)
    try:
        tags = kernel.get_parent("shell")["metadata"]["tags"]
    except (AttributeError, TypeError, LookupError):
        return ()
    return tags if isinstance(tags, list) else ()
