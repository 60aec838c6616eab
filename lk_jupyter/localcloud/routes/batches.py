"""Batches: create, list, read, cancel."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.batches import Batches, CreateBatchRequest
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.models.batch_files import MOST_ROWS
from lk_jupyter.localcloud.models.batch_lines import ENDPOINTS

Json = dict[str, Any]


@implements(Batches.create)
async def create(ctx: Context, request: CreateBatchRequest) -> Json:
    """Accept a batch for an existing file."""
    file = ctx.cloud.files.get(ctx.caller.org_id, request.input_file_id)
    if file["purpose"] != "batch":
        raise HTTPException(
            400, f"File {request.input_file_id} has the purpose {file['purpose']}: give a file of requests"
        )
    if request.completion_window != "24h":
        raise HTTPException(400, "completion_window must be 24h")
    if request.endpoint is not None and request.endpoint not in ENDPOINTS:
        raise HTTPException(400, f"endpoint must be {' or '.join(ENDPOINTS)}, or left out")
    ctx.cloud.ledger.require_credits(ctx.caller.org_id)
    fields = ("input_file_id", "completion_window", "endpoint", "model", "metadata")
    return ctx.cloud.batches.create(ctx.caller.org_id, {name: getattr(request, name) for name in fields})


@implements(Batches.list)
def list_(ctx: Context, after: str | None, limit: int) -> Json:
    """List batches, newest first."""
    size = min(limit, MOST_ROWS)
    page = ctx.cloud.batches.page(ctx.caller.org_id, size, after)
    ids = [batch["id"] for batch in page[:size]]
    return {
        "object": "list",
        "data": page[:size],
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": len(page) > size,
    }


@implements(Batches.get)
def get(ctx: Context, batch_id: str) -> Json:
    """Read a batch."""
    return ctx.cloud.batches.get(ctx.caller.org_id, batch_id)


@implements(Batches.cancel)
async def cancel(ctx: Context, batch_id: str) -> Json:
    """End a batch early."""
    return ctx.cloud.batches.cancel(ctx.caller.org_id, batch_id)
