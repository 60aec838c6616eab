"""Delete what this computer rented and whose time is over: the third layer, after the notebook and the VM itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.errors import LkError
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider

#: Seconds by which the clock of the cloud may be ahead of the clock of this computer.
_CLOCK_SECONDS = 3600.0


async def release_overdue(desk: UpstreamProvider) -> None:
    """Delete overdue VMs and deployments of the account that is signed in. The next look tries again if one stays."""
    has_vms, has_rentals = await asyncio.to_thread(_has_undeleted_vms), await asyncio.to_thread(_has_rentals)
    if not (has_vms or has_rentals):
        return
    with suppress(RequestProblem):
        upstream = await desk.upstream()
        if has_vms:
            await asyncio.to_thread(_release_overdue_vms, upstream.connection)
        if has_rentals:
            await asyncio.to_thread(_release_rentals, upstream.connection)


def _has_rentals() -> bool:
    """Return whether a stated end of a VM or a deployment has passed, by the clock of this computer."""
    from lk_jupyter.journal.charges import has_overdue_charges  # noqa: PLC0415 (not before the first look)

    return has_overdue_charges(_CLOCK_SECONDS)


def _release_rentals(connection: Connection) -> None:
    from lk_jupyter.vms.rentals import release_rentals  # noqa: PLC0415 (few users rent anything)

    with suppress(LkError):
        connection.client.vms.list(include_terminated=False)  # its answer has the time of the cloud
        release_rentals(connection)


def _has_undeleted_vms() -> bool:
    from lk_jupyter.config.settings import setting  # noqa: PLC0415 (not before the first look)

    folder = setting("journal").parent / "vms"
    with suppress(OSError, UnicodeDecodeError):
        return any('"is_deleted":false' in path.read_text("utf-8") for path in folder.glob("*.json"))
    return False


def _release_overdue_vms(connection: Connection) -> None:
    from lk_jupyter.vms.facts import list_overdue  # noqa: PLC0415 (few users have runs on VMs)
    from lk_jupyter.vms.hosted import VmRun  # noqa: PLC0415

    with suppress(LkError):
        connection.client.vms.list(include_terminated=False)  # its answer has the time: the local clock may have jumped
        for facts in list_overdue(connection.client.now()):
            if facts.base_url == connection.base_url:
                with suppress(LkError, OSError):
                    VmRun(connection, facts).release()


def overdue_lines(now: float | None = None) -> list[str]:
    """Return a line for each VM that should be deleted and may still be billed; ``now`` is the time of the cloud."""
    if not _has_undeleted_vms():
        return []
    from lk_jupyter.vms import facts  # noqa: PLC0415 (few users have runs on VMs)

    return facts.overdue_lines(now)
