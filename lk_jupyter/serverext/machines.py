"""``lk/machines``: the machine picker's table, made where the widget's is; ``lk/machines/default``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lk_jupyter.errors import UsageError
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.machines.offers import MachineOffer
    from lk_jupyter.machines.picker import PickerQuery
    from lk_jupyter.serverext.upstream import Upstream

#: Seconds for which the offers of an account are cached, so that typing sends no requests.
CACHE_SECONDS = 30.0

_offers: WeakKeyDictionary[Upstream, tuple[float, list[MachineOffer]]] = WeakKeyDictionary()


class MachinesHandler(Handler):
    """The machines that fit a wish."""

    @guarded
    async def get(self) -> None:
        """Return the machines in order; the query has the fields of a wish; switches accept 1."""
        from lk_jupyter.machines.picker import PickerQuery  # noqa: PLC0415 (at first use, like all below)

        typed = {name: self.get_query_argument(name, str(value)) for name, value in PickerQuery().as_dict().items()}
        flags = {name: typed[name] == "1" for name in ("available", "descending")}
        self.finish(_build_content(await _get_offers(await self.desk.upstream()), PickerQuery.of({**typed, **flags})))


class Default(Handler):
    """The machine of runs that name none."""

    @guarded
    async def post(self) -> None:
        """Store the machine for this user, kernels included."""
        from lk_jupyter.serverext.models import MachineBody  # noqa: PLC0415

        machine = self.read(MachineBody).machine
        if machine not in {offer.profile for offer in await _get_offers(await self.desk.upstream())}:
            raise RequestProblem("bad-request", f"Unknown machine '{machine[:100]}'. Choose one from the table.")
        self.finish(await asyncio.to_thread(_save_machine, machine))


async def _get_offers(upstream: Upstream) -> list[MachineOffer]:
    """Return the offers for the account, at most 30 s old. Raises RequestProblem."""
    read, cached = _offers.get(upstream, (0.0, []))
    if not cached or time.monotonic() - read > CACHE_SECONDS:
        cached = await _request_offers(upstream)
        _offers[upstream] = time.monotonic(), cached
    return cached


async def _request_offers(upstream: Upstream) -> list[MachineOffer]:
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415
    from lk_jupyter.api.machine_types import MachineTypes  # noqa: PLC0415
    from lk_jupyter.api.user import User  # noqa: PLC0415
    from lk_jupyter.api.vms import Vms  # noqa: PLC0415
    from lk_jupyter.machines.catalogue import Catalogue  # noqa: PLC0415
    from lk_jupyter.machines.offers import build_offers  # noqa: PLC0415

    types, quota, sold = await asyncio.gather(
        upstream.answer(endpoint_of(MachineTypes.list)),
        answer_or_none(upstream.answer(endpoint_of(User.available_hardware))),
        answer_or_none(upstream.answer(endpoint_of(Vms.availability))),
    )
    return build_offers(Catalogue.of(types, quota.available_hardware_profiles if quota else ()), sold)


async def answer_or_none(answer: Awaitable[Any]) -> Any:
    """Return an answer that refines a table; None if the server doesn't report it."""
    with suppress(RequestProblem):
        return await answer


def _build_content(offers: list[MachineOffer], wish: PickerQuery) -> dict[str, Any]:
    from lk_jupyter.config.settings import setting  # noqa: PLC0415
    from lk_jupyter.machines.default import default_profile  # noqa: PLC0415
    from lk_jupyter.machines.offers import cheapest  # noqa: PLC0415
    from lk_jupyter.machines.picker import offer_table  # noqa: PLC0415

    content: dict[str, Any] = {"rows": None, "total": "", "problem": "", "cheapest": None, "none_fits": ""}
    content |= {"default": default_profile(offers), "default_timeout": setting("timeout")}
    try:
        content.update(asdict(offer_table(offers, wish)))
    except UsageError as problem:
        return {**content, "problem": str(problem), "none_fits": str(problem)}
    try:
        content["cheapest"] = cheapest(offers, wish.need).profile
    except UsageError as problem:
        content["none_fits"] = str(problem)
    return content


def _save_machine(machine: str) -> dict[str, Any]:
    from lk_jupyter.config import settings  # noqa: PLC0415

    settings.save("machine", machine)
    used, source = settings.resolve("machine")
    return {"default": used, "said": [] if used == machine else [f"But {source} overrides it: {used}."]}
