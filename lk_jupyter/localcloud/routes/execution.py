"""Runs of any kind: state, record, timing, removal, and the older call that completes a run."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.execution import Execution
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.clock import to_seconds
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.routes.workloads import end
from lk_jupyter.localcloud.runs.outcome import COMPLETED
from lk_jupyter.localcloud.runs.output import MOST_BYTES
from lk_jupyter.localcloud.runs.records import Facts, add_cost, is_active
from lk_jupyter.localcloud.runs.selection_run import SelectionRun

_OMITTED = f"has more than {MOST_BYTES >> 20} MiB and is left out of this record. The stream and the logs contain it."

#: Field of the record → repeated field of the start request.
_REQUEST_FIELDS = {
    "python_code": "code",
    "python_requirements": "requirements_content",
    **{name: name for name in ("docker_image_ref", "docker_run_cmd", "docker_run_env")},
}


@implements(Execution.status)
def status(ctx: Context, execution_id: str) -> dict[str, Any]:
    """Read the state."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    return {key: facts.get(key) for key in ("execution_id", "status", "errors")}


@implements(Execution.get)
def get(ctx: Context, execution_id: str) -> Facts:
    """Read the record, with output of limited size."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    request = ctx.cloud.records.read_request(execution_id)
    output = ctx.cloud.output.read_texts(execution_id)
    return {
        **add_cost(facts),
        **output,
        "warnings": [f"{name} {_OMITTED}" for name, text in output.items() if text is None] or None,
        **{name: request.get(field) for name, field in _REQUEST_FIELDS.items()},
    }


@implements(Execution.gpu_selection_status)
def gpu_selection_status(ctx: Context, execution_id: str) -> dict[str, Any]:
    """Read the phase of a selection and its results so far."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    if facts["job_type"] != SelectionRun.job_type:
        raise HTTPException(404, f"Execution {execution_id} is a run, not a GPU selection")
    return {key: facts.get(key) for key in ("execution_id", "status", "system_errors", "metadata")}


@implements(Execution.delete)
def delete(ctx: Context, execution_id: str) -> dict[str, str]:
    """Remove an ended run, with its output and samples."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    if is_active(facts):
        raise HTTPException(400, f"Execution {execution_id} is {facts['status']}: abort it first, then delete it")
    for room in (ctx.cloud.records, ctx.cloud.output, ctx.cloud.samples):
        room.delete(execution_id)
    return {"message": "Execution deleted"}


@implements(Execution.complete_streaming)
async def complete(ctx: Context, execution_id: str) -> dict[str, str]:
    """Stop a run and mark the run as completed."""
    return end(ctx, execution_id, COMPLETED, "Execution marked as completed", gracefully=True)


#: Phase of the answer → the time stamps of its start and end.
PHASES = {
    "queued": ("created_at", "execelet_start"),
    "launchingContainer": ("execelet_start", "start_time"),
    "executingJob": ("start_time", "end_time"),
    "shuttingDown": ("end_time", "finish_time"),
}


@implements(Execution.timing)
def timing(ctx: Context, execution_id: str) -> dict[str, Any]:
    """Read the phases that are over."""
    facts = ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    phases = {
        name: _build_phase(facts[start], facts[end])
        for name, (start, end) in PHASES.items()
        if facts.get(start) and facts.get(end)
    }
    total = sum(phase["duration"] for phase in phases.values())
    durations = {name: phase["duration"] for name, phase in phases.items()}
    return {
        "execution_id": execution_id,
        "timing": {**durations, "total_duration": total, "total": total, "phases": phases},
    }


def _build_phase(start: str, end: str) -> dict[str, Any]:
    seconds = round(to_seconds(end) - to_seconds(start), 6)
    return {"start_time": start, "end_time": end, "duration": seconds}
