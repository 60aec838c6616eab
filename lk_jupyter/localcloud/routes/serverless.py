"""Shared models: lists, chat and embeddings at both addresses, routing; every token is billed."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from lk_jupyter.api._endpoint import OPENAI
from lk_jupyter.api.openai import OpenAI
from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest, RoutePromptRequest, Serverless
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import SIGNED, Context, caller
from lk_jupyter.localcloud.models import models, sse, tokens
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.strict_json import StrictRoute

Json = dict[str, Any]

router = APIRouter(route_class=StrictRoute)


@implements(Serverless.models, OpenAI.models)
async def list_models(ctx: Context) -> Json:
    """List the models, and the names of routes."""
    return {"object": "list", "data": await ctx.cloud.models.list_models()}


@router.get(f"{OPENAI}/models/{{model:path}}", openapi_extra=SIGNED)
async def retrieve_model(ctx: Annotated[Context, Depends(caller)], model: str) -> Json:
    """Read a model, which OpenAI's clients request by name."""
    if row := next((row for row in await ctx.cloud.models.list_models() if row["id"] == model), None):
        return row
    raise Refusal(404, f"model not found: {model[:100]!r}", "model")


@implements(
    Serverless.chat_completions,
    Serverless.stream_chat_completions,
    OpenAI.chat_completions,
    OpenAI.stream_chat_completions,
)
async def chat(ctx: Context, request: ChatCompletionRequest) -> Json | StreamingResponse:
    """Answer a conversation, completely or piece by piece."""
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    chosen = await ctx.cloud.models.choose_chat_model(request.model)
    source = str(uuid4())
    if request.stream:
        pieces = chosen.stream(request, lambda usage: charge(ctx, source, chosen.id, usage))
        return await sse.build_chat_response(pieces, with_usage=wants_usage(request))
    completion = await chosen.complete(request)
    charge(ctx, source, chosen.id, completion["usage"])
    return completion


@implements(Serverless.embeddings, OpenAI.embeddings)
async def embeddings(ctx: Context, request: EmbeddingRequest) -> Json:
    """Turn texts into vectors."""
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    chosen, answer = await ctx.cloud.models.embed(request)
    charge(ctx, str(uuid4()), chosen.id, answer["usage"])
    return answer


@implements(Serverless.route)
async def route(ctx: Context, request: RoutePromptRequest) -> Json:
    """Rate the difficulty of a prompt by its length and words, and name a model."""
    score = rate_hardness(request.input)
    level = next(name for name, least in _LEVELS if score >= least)
    return {"complexity": level, "score": score, "model": await ctx.cloud.models.choose_route_target()}


def wants_usage(request: Any) -> bool:
    """Return whether a stream ends with its token counts."""
    return bool(request.stream_options and request.stream_options.include_usage)


def charge(ctx: Context, source: str, model: str, usage: Json) -> None:
    """Bill the tokens of an answer to the caller's organization."""
    with ctx.cloud.store.write() as db:
        models.charge(db, ctx.cloud.ledger, ctx.caller.org_id, source=source, model=model, usage=usage)


#: Level of a prompt → its least score.
_LEVELS = (("reasoning", 0.75), ("complex", 0.35), ("simple", 0.0))

_HARD_WORDS = re.compile(
    r"\b(why|prove|proof|derive|explain|step by step|compare|design|optimi[sz]e|debug)\b", re.IGNORECASE
)


def rate_hardness(prompt: str) -> float:
    """Return 0 to 1: a quarter for each hard word, and the rest by length, up to 400 tokens."""
    return round(min(1.0, 0.25 * len(_HARD_WORDS.findall(prompt)) + tokens.count(prompt) / 400), 2)
