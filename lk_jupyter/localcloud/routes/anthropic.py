"""Messages, their token counts and models at the address of Anthropic-style clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from lk_jupyter.api._endpoint import IRIS
from lk_jupyter.api.iris import TIMEOUT_RANGE, DedicatedChatCompletionRequest
from lk_jupyter.api.serverless import ChatCompletionRequest
from lk_jupyter.localcloud.context import SIGNED, Context, caller
from lk_jupyter.localcloud.models import sse
from lk_jupyter.localcloud.models.anthropic import (
    CountRequest,
    MessagesRequest,
    build_chat_request,
    build_message,
    events,
    token_count,
)
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.routes.iris import build_model_alias, list_anthropic_rows
from lk_jupyter.localcloud.routes.serverless import charge
from lk_jupyter.localcloud.strict_json import StrictRoute

Json = dict[str, Any]

PREFIX = f"{IRIS}/anthropic"
MESSAGES = f"{PREFIX}/v1/messages"

router = APIRouter(route_class=StrictRoute)


@router.post(MESSAGES, response_model=None, openapi_extra=SIGNED)
async def messages(
    ctx: Annotated[Context, Depends(caller)],
    request: MessagesRequest,
    deployment: Annotated[str | None, Header(alias="x-deployment-id")] = None,
) -> Json | StreamingResponse:
    """Answer a conversation, completely or piece by piece."""
    chat = build_chat_request(request, await _resolve_model(ctx, request.model))
    if not request.stream:
        return build_message(await _complete_chat(ctx, chat, deployment), request.stop_sequences or [])
    pieces = await _stream_chat(ctx, chat, deployment)
    return sse.build_response(events(request, await anext(pieces), pieces))


@router.post(f"{MESSAGES}/count_tokens", openapi_extra=SIGNED)
async def count_tokens(ctx: Annotated[Context, Depends(caller)], request: CountRequest) -> Json:
    """Count the tokens of a conversation; free."""
    await ctx.cloud.models.choose_chat_model(await _resolve_model(ctx, request.model))
    return token_count(request)


@router.get(f"{PREFIX}/v1/models/{{model:path}}", openapi_extra=SIGNED)
async def retrieve_model(ctx: Annotated[Context, Depends(caller)], model: str) -> Json:
    """Read a model, by name or alias."""
    rows = await list_anthropic_rows(ctx)
    if row := next((row for row in rows if row["id"] == model), None):
        return row
    raise Refusal(404, f"model not found: {model[:100]!r}", "model")


async def _resolve_model(ctx: Context, name: str) -> str:
    """Return the model that a name means, which may be an alias."""
    ids = [row["id"] for row in await ctx.cloud.models.list_models()]
    return next((model for model in ids if name == build_model_alias(model)), name)


async def _complete_chat(ctx: Context, chat: ChatCompletionRequest, deployment: str | None) -> Json:
    if deployment:
        dedicated, seconds = _find_deployment_chat(ctx, chat, deployment), TIMEOUT_RANGE[1]
        return await ctx.cloud.dedicated.complete(*dedicated, seconds)
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    chosen = await ctx.cloud.models.choose_chat_model(chat.model)
    completion = await chosen.complete(chat)
    charge(ctx, str(uuid4()), chosen.id, completion["usage"])
    return completion


async def _stream_chat(ctx: Context, chat: ChatCompletionRequest, deployment: str | None) -> AsyncIterator[Json]:
    if deployment:
        return ctx.cloud.dedicated.stream(*_find_deployment_chat(ctx, chat, deployment), TIMEOUT_RANGE[1])
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    chosen, source = await ctx.cloud.models.choose_chat_model(chat.model), str(uuid4())
    return chosen.stream(chat, lambda usage: charge(ctx, source, chosen.id, usage))


def _find_deployment_chat(
    ctx: Context, chat: ChatCompletionRequest, deployment: str
) -> tuple[Json, DedicatedChatCompletionRequest]:
    request = DedicatedChatCompletionRequest.model_validate(chat.model_dump(exclude_unset=True))
    return ctx.cloud.dedicated.find(ctx.caller.org_id, deployment, request), request
