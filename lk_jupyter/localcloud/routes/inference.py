"""Deployments: create, read, list, stop, models, logs; and news of asynchronous requests."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException
from fastapi.responses import StreamingResponse

from lk_jupyter.api.inference import CreateDeploymentRequest, Inference, StopDeploymentRequest
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.models import replicas, sse
from lk_jupyter.localcloud.models.deployments import price_per_hour

Json = dict[str, Any]

#: The default replica of a model.
DEFAULT_SHAPE = ("l40s", 1)
MOST_REPLICAS = 8
READY_TIMEOUT = 120

#: Default scaling targets, from older clients, and their maximum.
_DEFAULT_TARGETS = {"target_rps": 10.0, "target_latency_p95_ms": 5000.0, "stabilisation_window": 300}
_MOST = 1e6


@implements(Inference.create)
async def create(ctx: Context, request: CreateDeploymentRequest) -> Json:
    """Accept a deployment that may start."""
    shape = _choose_gpus(request)
    targets = _choose_targets(request)
    models = await ctx.cloud.models.list_deployable()
    if request.hf_model_id not in models:
        raise HTTPException(400, f"No model {request.hf_model_id[:100]!r} to deploy. Models: {', '.join(models)}")
    if f"gpu.{shape['gpu_type']}" not in ctx.cloud.options.quota:
        raise HTTPException(403, f"No access to gpu.{shape['gpu_type']} on this account")
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    fields = {"serving_name": request.hf_model_id, "hf_model_id": request.hf_model_id, **shape, **targets}
    return _build_state(ctx, ctx.cloud.deployments.create(ctx.caller.org_id, fields))


@implements(Inference.get)
def get(ctx: Context, deployment_id: str, include_terminated: bool) -> Json:  # noqa: FBT001 (the API's)
    """Read a deployment with its replicas."""
    deployment = ctx.cloud.deployments.get(ctx.caller.org_id, deployment_id)
    if deployment["is_stopped"] and not include_terminated:
        raise HTTPException(404, f"Deployment {deployment_id} is stopped: add include_terminated=true")
    moment, speed = time.time(), ctx.cloud.deployments.speed
    return {
        **_build_summary(ctx, deployment),
        **{key: deployment[key] for key in ("desired_replicas", *_DEFAULT_TARGETS)},
        "replicas": [
            replicas.build_view(replica, deployment["serving_name"], moment, speed)
            for replica in deployment["replicas"]
        ],
    }


@implements(Inference.list)
def list_(ctx: Context, include_terminated: bool) -> Json:  # noqa: FBT001 (the API's)
    """List deployments."""
    deployments = ctx.cloud.deployments.list_deployments(ctx.caller.org_id, with_stopped=include_terminated)
    return {"deployments": [_build_summary(ctx, deployment) for deployment in deployments]}


@implements(Inference.stop)
def stop(ctx: Context, request: StopDeploymentRequest) -> Json:
    """Stop a deployment. A stopped deployment doesn't change."""
    return _build_state(ctx, ctx.cloud.deployments.stop(ctx.caller.org_id, request.deployment_id))


@implements(Inference.models)
async def models(ctx: Context) -> Json:
    """List the deployable models."""
    card, count = DEFAULT_SHAPE
    shape = {
        "gpu_type": card,
        "gpu_count": count,
        "price_per_hour": price_per_hour({"gpu_type": card, "gpu_count": count}),
        "is_gpu_available": f"gpu.{card}" in ctx.cloud.options.quota,
        "ready_timeout_s": READY_TIMEOUT,
    }
    names = await ctx.cloud.models.list_deployable()
    return {"models": [{"serving_name": name, "hf_model_id": name, **shape} for name in names]}


@implements(Inference.replica_logs)
def replica_logs(ctx: Context, replica_id: str) -> Json:
    """Read the last log lines of a failed replica."""
    deployment, replica = ctx.cloud.deployments.find_replica(ctx.caller.org_id, replica_id)
    state = replicas.compute_state(replica, deployment["serving_name"], time.time(), ctx.cloud.deployments.speed)
    return {"replica_id": replica_id, "error_logs": replicas.LOGS if state == "failed" else None}


@implements(Inference.follow)
async def follow(ctx: Context, inference_id: str) -> StreamingResponse:
    """Follow an asynchronous request to its end."""
    if ctx.cloud.async_chats.read_result(ctx.caller.org_id, inference_id) is None:
        raise HTTPException(404, f"Inference request {inference_id} not found")
    return sse.build_response(_iterate_events(ctx, inference_id))


async def _iterate_events(ctx: Context, inference_id: str) -> AsyncIterator[str]:
    async for news in ctx.cloud.async_chats.follow(ctx.caller.org_id, inference_id):
        yield sse.format_event(news, news["event"])


def _choose_gpus(request: CreateDeploymentRequest) -> Json:
    """Return the GPUs of a replica, which may be named in two ways."""
    profile = request.hardware_profile
    card = request.gpu_type or (profile or f"gpu.{DEFAULT_SHAPE[0]}").removeprefix("gpu.")
    field = "gpu_type" if request.gpu_type else "hardware_profile"
    if card not in catalogue.GPUS:
        raise invalid("body", field, f"Unknown GPU {card[:50]!r}. GPUs: {', '.join(catalogue.GPUS)}")
    if profile and profile.removeprefix("gpu.") != card:
        raise invalid("body", "hardware_profile", f"The GPU differs from gpu_type, which is {card}")
    count = DEFAULT_SHAPE[1] if request.gpu_count is None else request.gpu_count
    if count not in catalogue.GPU_COUNTS:
        raise HTTPException(400, f"gpu_count must be one of {', '.join(map(str, catalogue.GPU_COUNTS))}")
    return {"gpu_type": card, "gpu_count": count, "hardware_profile": f"gpu.{card}"}


def _choose_targets(request: CreateDeploymentRequest) -> Json:
    """Return the bounds and targets of scaling."""
    if not request.min_replicas <= request.max_replicas:
        raise invalid("body", "max_replicas", "Give at least min_replicas")
    if request.max_replicas > MOST_REPLICAS:
        raise HTTPException(400, f"max_replicas: this cloud has room for {MOST_REPLICAS} replicas of a deployment")
    values = {name: getattr(request, name) for name in _DEFAULT_TARGETS}
    targets = {name: _DEFAULT_TARGETS[name] if value is None else value for name, value in values.items()}
    for name, value in targets.items():
        least = 0 if name == "stabilisation_window" else math.ulp(0)
        if not least <= value <= _MOST:
            raise invalid("body", name, f"Give a number above 0, up to {_MOST:.0f}")
    return {"min_replicas": request.min_replicas, "max_replicas": request.max_replicas, **targets}


def _build_state(ctx: Context, deployment: Json) -> Json:
    return {"deployment_id": deployment["deployment_id"], "status": ctx.cloud.deployments.compute_status(deployment)}


def _build_summary(ctx: Context, deployment: Json) -> Json:
    fields = ("hf_model_id", "hardware_profile", "min_replicas", "max_replicas", "created_at")
    return {
        **_build_state(ctx, deployment),
        **{key: deployment[key] for key in fields},
        "current_replicas": ctx.cloud.deployments.list_replica_states(deployment).count("running"),
    }
