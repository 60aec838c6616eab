"""The output stream: all output from the start, then new output, then the end of the run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from fastapi.responses import StreamingResponse

from lk_jupyter.api._endpoint import endpoint_of
from lk_jupyter.api.execution import Stream
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import AnonymousContext
from lk_jupyter.localcloud.runs.records import Facts, is_active

if TYPE_CHECKING:
    from lk_jupyter.localcloud.cloud import Cloud


def streaming_url(cloud: Cloud, execution_id: str) -> str:
    """Return the address of a run's output."""
    return cloud.base_url + endpoint_of(Stream.output).call(execution_id=execution_id).path


@implements(Stream.output)
async def output(ctx: AnonymousContext, execution_id: str) -> StreamingResponse:
    """Follow a run, from its first line."""
    try:
        ctx.cloud.records.read_facts(execution_id)
    except HTTPException:
        raise HTTPException(404, "Stream not found") from None
    return StreamingResponse(follow(ctx.cloud, execution_id), media_type="text/event-stream")


async def follow(cloud: Cloud, run_id: str, seq: int = 0) -> AsyncIterator[str]:
    """Yield the output of a run after the chunk ``seq`` as events, until the run has ended."""
    while True:
        news = cloud.runs.bells.event(run_id)
        facts = cloud.records.read_facts(run_id)
        chunks = cloud.output.read_chunks_after(run_id, seq)
        if chunks:
            seq = chunks[-1][0]
            yield "".join(_format_event({"output": {"content": text}}) for _, text in chunks)
        elif not is_active(facts):
            yield _format_event({"jobFinished": {"job": {"result": _build_result(facts)}}})
            return
        else:
            await news.wait()


def _build_result(facts: Facts) -> dict[str, Any]:
    """Return the exit code if the code ended normally (as text after a failure), else the reason."""
    code = facts.get("return_code")
    if code is None:
        return {"error": facts["status_details"]}
    return {"returnCode": str(code) if code else 0}


def _format_event(message: dict[str, Any]) -> str:
    return f"data: {json.dumps(message, ensure_ascii=False, separators=(',', ':'))}\n\n"
