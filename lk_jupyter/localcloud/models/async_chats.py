"""Answer chats later: accept, store, answer in the background, look up, follow.

No documentation states which call returns an ``inference_id`` for ``/inference/streaming/stream/{inference_id}``. In
this cloud it is the ``request_id`` of an asynchronous chat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from lk_jupyter.api.iris import DedicatedChatCompletionRequest
from lk_jupyter.localcloud.models.dedicated import DedicatedChat
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.models.upstream import restrict_for_upstream
from lk_jupyter.localcloud.runs.wakeups import RunEvents
from lk_jupyter.localcloud.store import Store

Json = dict[str, Any]

KIND = "async_chat"

_CHAT_REQUEST = restrict_for_upstream(DedicatedChatCompletionRequest)

#: Seconds to wait for an answer, and seconds for which an answer can be looked up.
PATIENCE = 600.0
RETENTION_SECONDS = 86_400.0


class AsyncChats:
    """All asynchronous chats of this cloud; ``speed`` is the speed of the cloud's clock."""

    def __init__(self, store: Store, chat: DedicatedChat, speed: float) -> None:
        self._store = store
        self._chat = chat
        self._speed = speed
        self._bells = RunEvents()
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, org_id: str, deployment: Json, request: DedicatedChatCompletionRequest) -> str:
        """Store a request and answer the request in the background; return its id."""
        body = request.model_dump(mode="json", exclude_unset=True)
        facts = {"org": org_id, "status": "pending", "created": time.time(), "deployment": deployment, "request": body}
        request_id = str(uuid4())
        self._store.put(KIND, request_id, {**facts, "id": request_id})
        self._start_task({**facts, "id": request_id})
        return request_id

    def read_result(self, org_id: str, request_id: str) -> Json | None:
        """Return the result of a request; None if the request is unknown, too old, or of another organization."""
        stored = self._store.get(KIND, request_id)
        if stored is None or stored["org"] != org_id or self._is_old(stored):
            return None
        return {key: stored[key] for key in ("status", "result", "error") if key in stored}

    async def follow(self, org_id: str, request_id: str) -> AsyncIterator[Json]:
        """Yield that a request is queued, and its result at the end."""
        yield {"event": "queued", "inference_id": request_id}
        while True:
            news = self._bells.event(request_id)
            result = self.read_result(org_id, request_id) or {"status": "failed", "error": "the request is too old"}
            if result["status"] == "completed":
                yield {"event": "finished", "inference_id": request_id, "result": result["result"]}
                return
            if result["status"] != "pending":
                yield {"event": "failed", "inference_id": request_id, "error": result["error"]}
                return
            await news.wait()

    def forget(self, org_id: str) -> None:
        """Remove the requests of an organization."""
        for stored in self._store.list_documents(KIND):
            if stored["org"] == org_id:
                self._store.take(KIND, stored["id"])

    def recover(self) -> None:
        """Continue the requests that the last server left, and forget old requests."""
        for stored in self._store.list_documents(KIND):
            if self._is_old(stored):
                self._store.take(KIND, stored["id"])
            elif stored["status"] == "pending":
                self._start_task(stored)

    async def close(self) -> None:
        """Stop working. Open requests continue after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_task(self, stored: Json) -> None:
        task = asyncio.create_task(self._answer_chat(stored))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_chat(self, stored: Json) -> None:
        request = _CHAT_REQUEST.model_validate(stored["request"])
        try:
            outcome: Json = {
                "status": "completed",
                "result": await self._chat.complete(stored["deployment"], request, PATIENCE),
            }
        except Refusal as refusal:
            outcome = {"status": "failed", "error": refusal.message}
        except HTTPException as refusal:
            outcome = {"status": "failed", "error": refusal.detail}
        self._store.put(KIND, stored["id"], {**stored, **outcome})
        self._bells.ring(stored["id"])

    def _is_old(self, stored: Json) -> bool:
        return bool(time.time() - stored["created"] > RETENTION_SECONDS / self._speed)
