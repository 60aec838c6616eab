"""Write server-sent events for chat clients and for followers of requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from lk_jupyter.localcloud.models.envelope import Refusal

Json = dict[str, Any]

_DONE = "data: [DONE]\n\n"


def format_event(data: Json, name: str | None = None) -> str:
    """Return an event as text."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"


def build_response(events: AsyncIterator[str]) -> StreamingResponse:
    """Answer with events as they come."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def build_chat_response(pieces: AsyncIterator[Json], *, with_usage: bool) -> StreamingResponse:
    """Answer with the pieces of a completion; an error before the first piece isn't sent as a stream."""
    first = await anext(pieces)
    return build_response(_iterate_chat_events(first, pieces, with_usage=with_usage))


async def _iterate_chat_events(first: Json, rest: AsyncIterator[Json], *, with_usage: bool) -> AsyncIterator[str]:
    try:
        yield format_event(first)
        async for piece in rest:
            if piece["choices"] or with_usage:
                yield format_event(piece)
    except Refusal as refusal:
        yield format_event(refusal.body)
    else:
        yield _DONE
