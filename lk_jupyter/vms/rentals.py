"""Delete the VMs, volumes and deployments that this computer rented and whose stated end has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api._lifecycle import Deletion
from lk_jupyter.connection.budget import DEPLOYMENT, VM, VOLUME, is_account, record_ends
from lk_jupyter.connection.rental import end_label
from lk_jupyter.errors import ConnectionFailed, LkError
from lk_jupyter.journal.charges import RecordedCharge, charge_book
from lk_jupyter.vms.ends import DeploymentDeletion, VmDeletion, VolumeDeletion

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds for the proof that a resource was deleted, before the next look tries again.
_PROOF_SECONDS = 5.0

#: Kind of a charge → the deletion of its resource.
_DELETIONS: dict[str, type[Deletion]] = {VM: VmDeletion, VOLUME: VolumeDeletion, DEPLOYMENT: DeploymentDeletion}


def release_rentals(connection: Connection) -> list[str]:
    """Delete what has reached its stated end, and return a line for each resource.

    A resource that can't be deleted now is deleted at the next call.
    """
    if not (rentals := _list_overdue(connection)):
        return []
    record_ends(connection, rentals)
    return [_release_rental(connection, rental) for rental in _list_overdue(connection) if rental.resource]


def _list_overdue(connection: Connection) -> list[RecordedCharge]:
    charges = charge_book().overdue(connection.client.now())
    return [charge for charge in charges if charge.base_url == connection.base_url and is_account(connection, charge)]


def _release_rental(connection: Connection, rental: RecordedCharge) -> str:
    """Delete a resource, and return the result in words."""
    end = end_label(rental.deadline or 0.0)
    deletion = _DELETIONS[rental.kind](connection.client, rental.resource or "")
    try:
        deletion.run(_PROOF_SECONDS)
    except LkError as error:
        problem = str(error).partition("\n")[0]
        remainder = problem if isinstance(error, ConnectionFailed) else deletion.describe_remainder(problem.rstrip("."))
        return f"{rental.kind} {rental.name!r} had to end at {end}. {remainder}"
    record_ends(connection, [rental])
    return f"Deleted {rental.kind} {rental.name!r}, which had to end at {end}."
