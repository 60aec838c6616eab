"""Delete the VMs, volumes and deployments that this computer rented and whose stated end has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api.inference import StopDeploymentRequest
from lk_jupyter.connection.budget import DEPLOYMENT, VM, VOLUME, is_account, record_ends
from lk_jupyter.connection.rental import end_label
from lk_jupyter.errors import LkError, NotFound
from lk_jupyter.journal.charges import RecordedCharge, charge_book
from lk_jupyter.vms.ends import VmDeletion
from lk_jupyter.vms.ids import short_id

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds for the proof that a VM was deleted, before the next look tries again.
_PROOF_SECONDS = 5.0


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
    resource = rental.resource or ""
    short = short_id(resource)
    end = end_label(rental.deadline or 0.0)
    try:
        if rental.kind == VM:
            VmDeletion(connection.client, resource).run(_PROOF_SECONDS)
        elif rental.kind == VOLUME:
            connection.client.block.delete(resource)
        elif rental.kind == DEPLOYMENT:
            connection.client.inference.stop(StopDeploymentRequest(deployment_id=resource))
    except NotFound:  # another look shows whether it has ended
        return f"{rental.kind} {rental.name!r} ({short}) had to end at {end}. The cloud doesn't list it."
    except LkError as error:
        commands = {VM: f"%lk_vm delete {short}", VOLUME: f"%lk_volumes delete {resource}"}
        command = commands.get(rental.kind, f"%lk_undeploy {short}")
        return (
            f"{rental.kind} {rental.name!r} had to end at {end}, but it may still be active and billed: "
            f"{str(error).partition(chr(10))[0].rstrip('.')}. Delete it: {command}"
        )
    record_ends(connection, [rental])
    return f"Deleted {rental.kind} {rental.name!r}, which had to end at {end}."
