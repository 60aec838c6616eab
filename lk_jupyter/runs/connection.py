"""Choose the connection of a run: the session's, or for a run on a VM or a relay a connection that answers for it.

Code for VMs and relays is imported for those runs only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lk_jupyter.protocol.relay import parse_relay_token
from lk_jupyter.protocol.vm_run import parse_run_key
from lk_jupyter.runs.follow import Follower

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.vms.hosted import VmRun


def connection_for(connection: Connection, execution_id: str) -> Connection:
    """Return the connection for a run: the given connection, unless the run is on a VM or a relay."""
    relay_token = parse_relay_token(execution_id)
    if (parse_run_key(execution_id) is None and relay_token is None) or vm_run_in(connection):
        return connection
    from lk_jupyter.runs.vm import VmConnection  # noqa: PLC0415 (few runs are on VMs, and few are relays)

    if relay_token:
        from lk_jupyter.runs.relay import open_relay  # noqa: PLC0415

        return VmConnection(connection, cast("VmRun", open_relay(connection, relay_token)))
    from lk_jupyter.vms.hosted import open_run  # noqa: PLC0415

    return VmConnection(connection, open_run(connection, execution_id))


def vm_run_in(connection: Connection) -> VmRun | None:
    """Return the run on a VM, or the relay, that a connection belongs to; None for the connection of a session."""
    return getattr(connection, "vm_run", None)


def follower_class(connection: Connection) -> type[Follower]:
    """Return the class that follows the runs of a connection."""
    if vm_run_in(connection) is None:
        return Follower
    from lk_jupyter.runs.vm import OffsetFollower  # noqa: PLC0415 (few runs are on VMs)

    return OffsetFollower
