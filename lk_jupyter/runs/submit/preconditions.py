"""Check everything that a run needs, before the question about money and before the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.budget import enforce_budgets_for_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from lk_jupyter.connection.connection import Connection


def require_preconditions(session: Connection, bundles: Sequence[Bundle], max_cost: Decimal | None = None) -> None:
    """Check what runs need before a question: the budgets, and for runs on VMs packages, files and rights.

    ``max_cost`` is the limit of all runs together, in credits. The journal must not contain these runs yet. Raises
    UsageError with the command that fixes the problem.
    """
    for bundle in bundles:
        if bundle.vm_offer:
            require_vm_run(session, bundle)
    enforce_budgets_for_all(session, bundles, max_cost)


def require_vm_run(session: Connection, bundle: Bundle) -> None:
    """Check what a run on a VM needs besides the budgets. Raises UsageError."""
    from lk_jupyter.runs.submit.on_vm import has_key  # noqa: PLC0415 (few runs are on VMs)
    from lk_jupyter.vms import preconditions  # noqa: PLC0415

    preconditions.require_vm_run(session, has_key=has_key(bundle))
