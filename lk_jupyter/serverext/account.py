"""Sign-in of a page, and changes of the sign-in: ``lk/status``, ``signin``, ``signout``, ``organization``, ``local``.

And ``burn-rate``: active resources billed by the hour, and their cost, as ``%lk_balance`` shows both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import LkError, NotSignedIn
from lk_jupyter.serverext.active import build_thing, read_active
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.serverext.upstream import Upstream


class _Account(Handler):
    """Answers with the status."""

    async def tell(self, notices: list[str] | None = None) -> None:
        """Return who is signed in now; a trouble is an answer here too, with status 200."""
        try:
            upstream = await self.desk.upstream(rereads=True)
        except RequestProblem as trouble:
            facts = {**trouble.content(), **await asyncio.to_thread(_find_signin_server)}
        else:
            identity = await _request_identity(upstream)  # first: the answer has the clock of the API
            facts = {**_build_identity_row(upstream), **identity}
        self.finish({**facts, "said": notices or []})

    async def change(self, work: Callable[..., list[str]], *arguments: Any) -> None:
        """Change the sign-in, then return the account that is signed in."""
        try:
            notices = await asyncio.to_thread(work, *arguments)
        except NotSignedIn as problem:
            raise RequestProblem("refused", str(problem)) from None
        finally:
            await self.desk.look_again()
        await self.tell(notices)


class Status(_Account):
    """Who is signed in."""

    @guarded
    async def get(self) -> None:
        """Return the status."""
        await self.tell()


class SignInHandler(_Account):
    """A key, checked and stored like a key of ``%lk_login``."""

    @guarded
    async def post(self) -> None:
        """Sign in."""
        from lk_jupyter.serverext.models import SignInBody  # noqa: PLC0415 (at first use, like all below)

        body = self.read(SignInBody)
        await self.change(_sign_in, body.api_key, body.base_url)


class SignOut(_Account):
    """The kept key, forgotten."""

    @guarded
    async def post(self) -> None:
        """Sign out."""
        await self.change(_sign_out)


class Organization(_Account):
    """The organization that requests name."""

    @guarded
    async def post(self) -> None:
        """Use another organization from now on, in kernels too."""
        from lk_jupyter.serverext.models import OrganizationBody  # noqa: PLC0415

        await self.change(_set_organization, self.read(OrganizationBody).slug)


class BurnRate(Handler):
    """The resources that use credits now."""

    @guarded
    async def get(self) -> None:
        """Return each resource with its price, and the sum."""
        self.finish(await _compute_burn_rate(await self.desk.upstream()))


class LocalCloud(_Account):
    """The free cloud on this machine."""

    @guarded
    async def get(self) -> None:
        """Return whether the local cloud is running."""
        self.finish(await asyncio.to_thread(_describe_local_cloud))

    @guarded
    async def post(self) -> None:
        """Use the local cloud, and start the local cloud if it isn't running."""
        await self.change(_use_local)

    @guarded
    async def delete(self) -> None:
        """Stop the local cloud; the data stays."""
        await self.change(_stop_local)


def _find_signin_server() -> dict[str, Any]:
    """Return the server that a sign-in would be for."""
    from lk_jupyter.config import files, settings  # noqa: PLC0415
    from lk_jupyter.connection import signin  # noqa: PLC0415

    return {"base_url": signin.signin_server(), "is_local": settings.setting("base_url") == files.LOCAL}


def _build_identity_row(upstream: Upstream) -> dict[str, Any]:
    target = upstream.connection.target
    return {
        "base_url": upstream.connection.base_url,
        "is_local": upstream.connection.is_local,
        "server_source": target.server_source,
        "key_source": target.key.source,
        "organization_asked": target.org,
        "ahead": upstream.client._http.ahead,
    }


async def _request_identity(upstream: Upstream) -> dict[str, Any]:
    """Request the account and the organization from the server."""
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415
    from lk_jupyter.api.user import User  # noqa: PLC0415

    try:
        user, org = await asyncio.gather(*(upstream.call(endpoint_of(way)) for way in (User.status, User.org)))
    except RequestProblem as trouble:
        return trouble.content()
    return {
        "state": "signed-in",
        "detail": "",
        "user": user,
        "organization": org,
        "balance_path": _build_balance_path(org),
    }


def _build_balance_path(org: dict[str, Any]) -> str:
    """Return the path of the balance behind ``lk/api/``: a team's balance is in the team's ledger."""
    slug = org.get("slug")
    return "billing/credits" if org.get("is_personal") or not slug else f"orgs/{slug}/balance"


async def _compute_burn_rate(upstream: Upstream) -> dict[str, Any]:
    from lk_jupyter.serverext.vm_release import overdue_lines  # noqa: PLC0415 (at first use)

    active = await read_active(upstream)
    things = [build_thing(each) for each in active.billed]
    warnings = await asyncio.to_thread(_list_exceeded_budgets, upstream)
    overdue = await asyncio.to_thread(overdue_lines, upstream.client.now())
    rate = active.rate
    sums = {"per_hour": f"{rate.per_hour:f}", "complete": rate.complete, "label": rate.label, "overdue": overdue}
    stoppable = sum(each.kind != "volume" for each in active.resources)
    return {
        "things": things,
        **sums,
        "stoppable": stoppable,
        "warnings": [*active.problems, *warnings],
        "overdue": overdue,
    }


def _list_exceeded_budgets(upstream: Upstream) -> list[str]:
    """Return in words which budgets VMs or deployments have exceeded."""
    from lk_jupyter.connection.budget import list_exceeded_budgets  # noqa: PLC0415

    with suppress(LkError):
        return list_exceeded_budgets(upstream.connection)
    return []


def _sign_in(api_key: str, base_url: str | None) -> list[str]:
    from lk_jupyter.connection import signin  # noqa: PLC0415

    return str(signin.sign_in(api_key, base_url, typed_in="the panel")).splitlines()


def _sign_out() -> list[str]:
    from lk_jupyter.connection import signin  # noqa: PLC0415

    return signin.logout()


def _set_organization(slug: str | None) -> list[str]:
    from lk_jupyter.config import settings  # noqa: PLC0415

    settings.save("org", slug)
    used, source = settings.resolve("org")
    return [] if used == slug else [f"{source} overrides the choice: the organization is {used}."]


def _describe_local_cloud() -> dict[str, Any]:
    from importlib.util import find_spec  # noqa: PLC0415

    from lk_jupyter.config import settings  # noqa: PLC0415
    from lk_jupyter.localcloud import launch  # noqa: PLC0415

    address = launch.find(settings.setting("local_data"))
    facts = {"installed": find_spec("uvicorn") is not None, "running": address is not None}
    return {**facts, "base_url": address.base_url if address else None}


def _use_local() -> list[str]:
    from lk_jupyter.connection import signin  # noqa: PLC0415

    return str(signin.use_local()).splitlines()


def _stop_local() -> list[str]:
    from lk_jupyter.config import settings  # noqa: PLC0415
    from lk_jupyter.localcloud import launch  # noqa: PLC0415

    stopped = launch.stop(settings.setting("local_data"))
    return ["The local cloud stopped; it keeps its data." if stopped else "The local cloud wasn't running."]
