"""Check what a run on a VM needs, before the question about money: packages, files, and the rights of the account."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakSet

from lk_jupyter.api.auth import ApiKeyCreate
from lk_jupyter.connection.preconditions import RENTAL
from lk_jupyter.errors import BadRequest, Conflict, Forbidden, Invalid, LkError, NotFound, Unauthorized, UsageError
from lk_jupyter.vms.facts import facts_folder
from lk_jupyter.vms.shell import key_pair

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds for which the key of a check is valid, if its revocation fails.
_CHECK_SECONDS = 120

#: Connections whose account may create API keys.
_permitted: WeakSet[Connection] = WeakSet()


def require_vm_run(connection: Connection, *, has_key: bool) -> None:
    """Check everything that a run on a VM needs; ``has_key`` is whether the VM gets an API key to delete itself.

    Raises UsageError with the command that fixes the problem.
    """
    for check in RENTAL:
        check(connection)
    require_ssh_key()
    if has_key:
        require_key_rights(connection)


def require_ssh_key() -> None:
    """Require the package for SSH, and the SSH key of runs, which is created if it is missing."""
    path = facts_folder() / "ssh_key"
    try:
        key_pair(path)
    except OSError as error:
        raise UsageError(f"Can't write '{path}': {error.strerror}. Nothing was rented.") from None
    except ValueError as error:
        raise UsageError(f"'{path}' isn't an SSH key ({error}). Nothing was rented. Delete the file.") from None


def require_key_rights(connection: Connection) -> None:
    """Require that the account may create the API key with which a VM deletes itself.

    Create a key and revoke it immediately: no other answer shows this right. Later calls send nothing.
    """
    if connection in _permitted:
        return
    client = connection.client
    until = client.utc_now + timedelta(seconds=_CHECK_SECONDS)
    try:
        created = client.auth.create_api_key(ApiKeyCreate(key_name=f"lk-check-{uuid4().hex[:8]}", expires_at=until))
    except (BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(
            f"The VM needs an API key to delete itself, but the cloud refuses to create one: {reason}. Nothing was "
            "rented. Rent the VM without a key, and keep this notebook on until the end: --no-vm-key"
        ) from None
    except LkError:  # a lost answer proves nothing: the start reports a refusal
        return
    with suppress(LkError):  # the key ends soon
        client.auth.revoke_api_key(created.id)
    _permitted.add(connection)
