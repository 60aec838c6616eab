"""``lk/burn-rate``: what is billed by the hour now, and what that costs, as ``%lk_balance`` shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.machines import if_told

if TYPE_CHECKING:
    from lk_jupyter.serverext.upstream import Upstream


class BurnRate(Handler):
    """What uses credits now."""

    @guarded
    async def get(self) -> None:
        """Return each thing with its price, and the sum."""
        self.finish(await _content(await self.desk.upstream()))


async def _content(upstream: Upstream) -> dict[str, Any]:
    from lk_jupyter.account import burn_rate  # noqa: PLC0415
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (at first use, like all below)
    from lk_jupyter.api.block import Block  # noqa: PLC0415
    from lk_jupyter.api.inference import Inference  # noqa: PLC0415
    from lk_jupyter.api.machine_types import MachineTypes  # noqa: PLC0415
    from lk_jupyter.api.pricing import Pricing  # noqa: PLC0415
    from lk_jupyter.api.vms import Vms  # noqa: PLC0415
    from lk_jupyter.api.workloads import Workloads  # noqa: PLC0415

    def ask(operation: Any, **arguments: Any) -> Any:
        return upstream.answer(endpoint_of(operation), **arguments)

    async def nothing() -> None:
        return None

    runs, machines, vms, disks, deployments = await asyncio.gather(
        ask(Workloads.list),
        if_told(ask(MachineTypes.list)),
        if_told(ask(Vms.list, include_failed=False, include_terminated=False)),
        if_told(ask(Block.list)),
        if_told(ask(Inference.list)),
    )
    rented, served = burn_rate.up(vms or ()), burn_rate.served(deployments or ())
    volumes = list(disks or ())
    sold, book, models = await asyncio.gather(
        if_told(ask(Vms.availability)) if rented else nothing(),
        if_told(ask(Pricing.get)) if rented or volumes else nothing(),
        if_told(ask(Inference.models)) if served else nothing(),
    )
    prices = burn_rate.Prices(tuple(machines or ()), sold, tuple(models or ()), tuple(book or ()))
    found = burn_rate.things(runs, rented, volumes, served, prices)
    rate = burn_rate.burn_rate(found)
    things = [
        {
            **{name: getattr(thing, name) for name in ("kind", "id", "name", "hardware")},
            "per_hour": None if thing.per_hour is None else f"{thing.per_hour:f}",
        }
        for thing in found
    ]
    return {"things": things, "per_hour": f"{rate.per_hour:f}", "complete": rate.complete, "label": rate.label}
