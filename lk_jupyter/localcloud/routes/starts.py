"""Starts of every kind of run, and their refusals."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    Execution,
    GpuSelectionRequest,
    StreamingExecutionRequest,
)
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.routes.stream import streaming_url
from lk_jupyter.localcloud.runs import compose_run, gpus, image_run, notebook_run
from lk_jupyter.localcloud.runs.compose_run import ComposeRun
from lk_jupyter.localcloud.runs.image_run import ImageRun
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.notebook_run import NotebookRun
from lk_jupyter.localcloud.runs.python_run import PythonRun
from lk_jupyter.localcloud.runs.runs import PENDING
from lk_jupyter.localcloud.runs.selection_run import SelectionRun, gpu_profiles
from lk_jupyter.localcloud.runs.webhooks import check_callbacks


@implements(Execution.start_streaming)
async def start_streaming(ctx: Context, request: StreamingExecutionRequest) -> dict[str, Any]:
    """Accept a Python run that may start."""
    _check_files(request.import_files)
    check_callbacks(request.user_callback_urls)
    check_machine(ctx, request.execution_type)
    return _build_answer(
        ctx, ctx.cloud.runs.start(PythonRun, request, ctx.caller), _format_gpu_note(ctx, request.execution_type)
    )


@implements(Execution.start_image)
async def start_image(ctx: Context, request: DockerExecutionRequest) -> dict[str, Any]:
    """Accept an image run; without an engine, Jupyter images run as a process, and other images fail."""
    image_run.check(request)
    check_callbacks(request.user_callback_urls)
    check_machine(ctx, request.execution_type)
    if notebook_run.stands_in_for(request) and await ctx.cloud.runs.engines.find() is None:
        return _build_answer(
            ctx, ctx.cloud.runs.start(NotebookRun, request, ctx.caller), notebook_run.format_image_note(request)
        )
    return _build_answer(
        ctx, ctx.cloud.runs.start(ImageRun, request, ctx.caller), _format_gpu_note(ctx, request.execution_type)
    )


@implements(Execution.start_compose)
async def start_compose(ctx: Context, request: DockerComposeExecutionRequest) -> dict[str, Any]:
    """Accept a stack that can be read."""
    compose_run.check(request)
    check_callbacks(request.user_callback_urls)
    check_machine(ctx, request.execution_type)
    return _build_answer(
        ctx, ctx.cloud.runs.start(ComposeRun, request, ctx.caller), _format_gpu_note(ctx, request.execution_type)
    )


@implements(Execution.start_gpu_selection)
async def start_gpu_selection(ctx: Context, request: GpuSelectionRequest) -> dict[str, Any]:
    """Accept a selection among the GPU machine types of the account."""
    _check_files(request.import_files)
    profiles = gpu_profiles(ctx.cloud.options.quota)
    if not profiles:
        raise HTTPException(403, "No GPU machine type is available to this account.")
    check_machine(ctx, profiles[0])
    run = ctx.cloud.runs.start(SelectionRun, request, ctx.caller)
    note = "" if gpus.available() else " No GPU on this machine: each try runs on the CPU, so the times are similar."
    return {
        "execution_id": run.id,
        "status": PENDING,
        "message": f"GPU selection started on {', '.join(profiles)}.{note}",
    }


def _build_answer(ctx: Context, run: LiveRun, advice: str | None) -> dict[str, Any]:
    return {
        "execution_id": run.id,
        "status": PENDING,
        "streaming_url": streaming_url(ctx.cloud, run.id),
        "pythia_decision": advice,
    }


def _format_gpu_note(ctx: Context, profile: str) -> str | None:
    return gpus.format_gpu_note(profile, simulated=ctx.cloud.samples.simulate_gpu)


def check_machine(ctx: Context, profile: str) -> None:
    """Refuse a machine that does not exist, may not be used, or cannot be paid."""
    if profile not in {*catalogue.PRICES, *catalogue.UNPRICED}:
        raise invalid(
            "body", "execution_type", f"Unknown machine {profile!r}. Similar: {catalogue.format_similar_names(profile)}"
        )
    if profile not in ctx.cloud.options.quota:
        allowed = ", ".join(ctx.cloud.options.quota)
        raise HTTPException(403, f"No access to {profile}: this account may use {allowed}")
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)


def _check_files(import_files: str | None) -> None:
    try:
        files = json.loads(import_files or "{}")
    except (ValueError, RecursionError) as error:
        raise invalid("body", "import_files", f"Not JSON: {error}") from None
    if not isinstance(files, dict) or not all(_is_text(text) for text in files.values()):
        raise invalid("body", "import_files", "Give one JSON object of path to file text")
    for name in files:
        if not _is_inside(name):
            raise invalid("body", "import_files", f"{name!r}: give a relative path below the working folder")


def _is_text(value: Any) -> bool:
    """Return whether a value can be written to a file; JSON can also contain halves of characters."""
    return isinstance(value, str) and (value.isascii() or not re.search("[\ud800-\udfff]", value))


def _is_inside(name: str) -> bool:
    """Return whether a name is a relative path that stays below its folder, on every system."""
    path = PurePosixPath(name.replace("\\", "/"))
    is_plain = _is_text(name) and "\0" not in name and not re.match(r"[A-Za-z]:", name)
    return is_plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts
