"""Unfinished runs: list, abort, stop."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.execution import Execution
from lk_jupyter.api.workloads import Workload, Workloads
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.runs.outcome import ABORTED, CANCELLED, RunOutcome
from lk_jupyter.localcloud.runs.records import is_active


@implements(Workloads.list)
def list_(ctx: Context) -> list[dict[str, Any]]:
    """List the active runs."""
    active = ctx.cloud.records.list_active(ctx.caller.org_id)
    owner = {"execution_owner": ctx.caller.user["email"]}
    return [{key: {**facts, **owner}.get(key) for key in Workload.model_fields} for facts in active]


@implements(Workloads.abort, Execution.abort_streaming, Execution.abort_image)
async def abort(ctx: Context, execution_id: str) -> dict[str, str]:
    """Abort a run, by either of the older paths too. An ended run doesn't change."""
    return end(ctx, execution_id, ABORTED, "Execution abort requested")


@implements(Workloads.stop)
async def stop(ctx: Context, execution_id: str) -> dict[str, str]:
    """Request the end of a run, and kill the run after a timeout."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    if not is_active(facts):
        raise HTTPException(404, f"Execution {execution_id} has ended already: {facts['status']}")
    return end(ctx, execution_id, CANCELLED, "Execution stop requested", gracefully=True)


def end(
    ctx: Context, execution_id: str, outcome: RunOutcome, message: str, *, gracefully: bool = False
) -> dict[str, str]:
    """End an active run, and answer before the run has ended. Return the state of an ended run."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    if is_active(facts) and ctx.cloud.runs.end(execution_id, outcome, gracefully=gracefully):
        return {"execution_id": execution_id, "status": outcome.status, "message": message}
    return {
        "execution_id": execution_id,
        "status": facts["status"],
        "message": f"Execution has ended already: {facts['status']}",
    }
