"""``lk/active``: list what a stop of everything stops, with its cost per hour, and stop what the user has confirmed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import ConnectionFailed, LkError, NotSignedIn, Unauthorized
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.account.active import ActiveList, ActiveResource
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.serverext.upstream import Upstream


class Active(Handler):
    """Everything that the account pays for by time."""

    @guarded
    async def get(self) -> None:
        """Return what a stop of everything stops, and what stays active with the reason."""
        from lk_jupyter.stop import plan_stop  # noqa: PLC0415 (at first use, like all below)

        upstream = await self.desk.upstream()
        active = await read_active(upstream)
        plan = await asyncio.to_thread(plan_stop, upstream.connection, active)
        self.finish(
            {
                "things": [build_thing(each) for each in plan.resources],
                "question": plan.question if plan.resources else "",
                "notes": plan.notes,
            }
        )

    @guarded
    async def post(self) -> None:
        """Stop the resources that the page showed, and nothing that has started since."""
        from lk_jupyter.serverext.models import StopBody  # noqa: PLC0415

        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_stop, upstream.connection, set(self.read(StopBody).ids)))


async def read_active(upstream: Upstream) -> ActiveList:
    """Return everything that the account pays for by time. Raises RequestProblem."""
    from lk_jupyter.stop import read_active as read  # noqa: PLC0415

    try:
        return await asyncio.to_thread(read, upstream.connection)
    except (NotSignedIn, Unauthorized) as problem:
        raise RequestProblem("revoked", str(problem)) from None
    except ConnectionFailed as problem:
        raise RequestProblem("unreachable", str(problem)) from None
    except LkError as problem:
        raise RequestProblem("refused", str(problem)) from None


def build_thing(resource: ActiveResource) -> dict[str, Any]:
    """Return a resource for a page."""
    per_hour = None if resource.per_hour is None else f"{resource.per_hour:f}"
    fields = {name: getattr(resource, name) for name in ("kind", "id", "name", "hardware", "state", "end")}
    return {**fields, "per_hour": per_hour}


def _stop(connection: Connection, ids: set[str]) -> dict[str, Any]:
    from lk_jupyter.stop import plan_stop, read_active, stop_resources  # noqa: PLC0415

    plan = plan_stop(connection, read_active(connection))
    chosen = [each for each in plan.resources if each.id in ids]
    results = stop_resources(connection, chosen)
    remaining = [build_thing(each.resource) for each in results if not each.has_ended]
    return {
        "stopped": [each.message for each in results if each.has_ended],
        "problems": [each.message for each in results if not each.has_ended],
        "remaining": remaining,
        "notes": plan.notes,
    }
