"""Stored output lines, of a run or of all runs of the caller."""

from __future__ import annotations

import socket
from typing import Any

from lk_jupyter.api.logs import Logs
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.runs.output import OutputLine


@implements(Logs.execution)
def execution(ctx: Context, execution_id: str, limit: int, hours: int) -> dict[str, Any]:
    """Read the newest lines of a run within the window, oldest first."""
    ctx.cloud.records.read_facts(execution_id, ctx.caller.org_id)
    return _build_answer(ctx, ctx.cloud.output.read_newest_lines(limit, hours, run_id=execution_id))


@implements(Logs.user)
def user(ctx: Context, limit: int, hours: int) -> dict[str, Any]:
    """Read the newest lines of all the caller's runs within the window, oldest first."""
    return _build_answer(
        ctx, ctx.cloud.output.read_newest_lines(limit, hours, user_id=ctx.caller.user_id, org_id=ctx.caller.org_id)
    )


def _build_answer(ctx: Context, lines: list[OutputLine]) -> dict[str, Any]:
    return {"logs": [_build_entry(ctx, line) for line in lines], "total": len(lines)}


def _build_entry(ctx: Context, line: OutputLine) -> dict[str, Any]:
    return {
        "timestamp": line.time,
        "message": line.text,
        "level": "info",
        "execution_id": line.run_id,
        "user_id": ctx.caller.user_id,
        "hostname": socket.gethostname(),
        "labels": {"stream": line.stream},
    }
