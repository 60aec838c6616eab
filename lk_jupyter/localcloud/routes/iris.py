"""The proxy in front of deployments: chat, answers that are fetched later, lists of models."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse, StreamingResponse

from lk_jupyter.api.iris import DedicatedChatCompletionRequest, Iris
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.clock import to_seconds, to_text
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.models import sse
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.routes.serverless import wants_usage

Json = dict[str, Any]


@implements(Iris.chat_completions, Iris.stream_chat_completions)
async def chat(
    ctx: Context,
    request: DedicatedChatCompletionRequest,
    deployment_id: str | None,
    timeout_s: int,
    x_async: str | None,
) -> Json | JSONResponse | StreamingResponse:
    """Answer a conversation: completely, piece by piece, or later."""
    dedicated = ctx.cloud.dedicated
    deployment = dedicated.find(ctx.caller.org_id, deployment_id, request)
    if x_async and request.stream:
        raise Refusal(400, "a stream can't be answered later: leave out X-Async or stream", "stream")
    if x_async:
        return JSONResponse({"request_id": ctx.cloud.async_chats.accept(ctx.caller.org_id, deployment, request)}, 202)
    if request.stream:
        pieces = dedicated.stream(deployment, request, timeout_s)
        return await sse.build_chat_response(pieces, with_usage=wants_usage(request))
    return await dedicated.complete(deployment, request, timeout_s)


@implements(Iris.chat_result)
def chat_result(ctx: Context, request_id: str) -> Json:
    """Read the answer to a request that was to be answered later."""
    result = ctx.cloud.async_chats.read_result(ctx.caller.org_id, request_id)
    if result is None:
        raise Refusal(404, "request not found: it is unknown or too old")
    return result


@implements(Iris.models)
def list_models(ctx: Context) -> Json:
    """List the deployments that serve, or wake up on request."""
    deployments = ctx.cloud.deployments
    rows = [
        d
        for d in deployments.list_deployments(ctx.caller.org_id)
        if deployments.compute_status(d) in {"created", "paused"}
    ]
    return {
        "object": "list",
        "data": [_build_deployment_row(deployment, deployments.list_replica_states(deployment)) for deployment in rows],
    }


@implements(Iris.anthropic_models)
async def anthropic_models(ctx: Context) -> Json:
    """List the shared models, each by name and by alias."""
    rows = await list_anthropic_rows(ctx)
    return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}


async def list_anthropic_rows(ctx: Context) -> list[Json]:
    """Return the shared models in Anthropic's form."""
    rows = await ctx.cloud.models.list_models()
    return [_build_anthropic_row(alias, row) for row in rows for alias in (row["id"], build_model_alias(row["id"]))]


def _build_deployment_row(deployment: Json, states: list[str]) -> Json:
    fields = ("hf_model_id", "hardware_profile", "min_replicas", "max_replicas")
    counts = {"healthy_replicas": states.count("running"), "total_replicas": len(states)}
    return {
        "id": deployment["deployment_id"],
        "object": "model",
        "created": int(to_seconds(str(deployment["created_at"]))),
        "meta": {**{key: deployment[key] for key in fields}, **counts},
    }


def build_model_alias(name: str) -> str:
    """Return the name of a model for clients that insist on such names."""
    return f"claude-lyceum-{name.rpartition('/')[2]}"


def _build_anthropic_row(alias: str, row: Json) -> Json:
    words = row["id"].rpartition("/")[2].replace("-", " ").title()
    return {"id": alias, "type": "model", "display_name": words, "created_at": to_text(row.get("created") or 0)}
