"""Chat with a deployment: find, wake up, wait for a replica, send the request, all within the time limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from lk_jupyter.api.iris import DedicatedChatCompletionRequest
from lk_jupyter.localcloud.models.deployments import Deployments
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.models.models import Chosen, Models

Json = dict[str, Any]
T = TypeVar("T")

_POLL_SECONDS = 0.05


class DedicatedChat:
    """Answers of deployments; tokens are free, since the replicas are billed."""

    def __init__(self, deployments: Deployments, models: Models) -> None:
        self._deployments = deployments
        self._models = models

    def find(self, org_id: str, header: str | None, request: DedicatedChatCompletionRequest) -> Json:
        """Return the deployment of a request, by header or else by model."""
        name = header or request.model
        if not name:
            raise Refusal(400, "name a deployment in the header X-Deployment-ID or in the field model", "model")
        deployment = self._deployments.find_by_name(org_id, name)
        if deployment is None:
            raise Refusal(404, f"deployment not found: {name[:100]!r}", "model")
        return deployment

    async def complete(self, deployment: Json, request: DedicatedChatCompletionRequest, seconds: float) -> Json:
        """Return the complete answer; 504 after the time limit, in seconds of the cloud's clock."""
        return await self._limit_time(seconds, self._complete_chat(deployment, request))

    async def stream(
        self, deployment: Json, request: DedicatedChatCompletionRequest, seconds: float
    ) -> AsyncIterator[Json]:
        """Yield the answer piece by piece; the time limit applies to the first piece."""
        start = time.monotonic()
        chosen = await self._limit_time(seconds, self._wait_for_replica(deployment))
        pieces = chosen.stream(request, lambda _: None)
        yield await self._limit_time(seconds, anext(pieces))
        async for piece in pieces:
            yield piece
        self._record_demand(deployment, start)

    async def _complete_chat(self, deployment: Json, request: DedicatedChatCompletionRequest) -> Json:
        chosen = await self._wait_for_replica(deployment)
        start = time.monotonic()
        completion = await chosen.complete(request)
        self._record_demand(deployment, start)
        return completion

    async def _wait_for_replica(self, deployment: Json) -> Chosen:
        """Wake a deployment up and wait for its first serving replica."""
        current = self._deployments.wake(self._deployments.read_latest(deployment))
        while (status := self._deployments.compute_status(current)) == "pending":
            await asyncio.sleep(_POLL_SECONDS)
            current = self._deployments.read_latest(current)
        if status != "created":
            raise Refusal(503, f"no healthy replica: the deployment is {status}")
        return await self._models.choose_chat_model(current["serving_name"])

    def _record_demand(self, deployment: Json, start: float) -> None:
        self._deployments.demand.add(deployment["deployment_id"], time.time(), time.monotonic() - start)

    async def _limit_time(self, seconds: float, work: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(work, seconds / self._deployments.speed)
        except asyncio.TimeoutError:
            raise Refusal(504, f"request timed out: no answer within {seconds:g} s") from None
