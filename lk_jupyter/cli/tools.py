"""Tools for agents: the commands of ``lk`` as functions, for MCP servers.

Each function returns within 45 seconds: ``{"exit_code": …, "records": […]}`` with the records of ``lk --json``. None of
them reads or changes keys, members or payments. Only ``lk_stop`` deletes something: the disk of a VM that it stops.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

from lk_jupyter.cli import LIMIT_SECONDS, execute
from lk_jupyter.cli.output import UNKNOWN, CommandOutput

#: The tools, as the entry point ``jupyter_server_mcp.tools`` lists them.
TOOLS = [
    f"{__name__}:{name}"
    for name in (
        "lk_machines",
        "lk_balance",
        "lk_plan",
        "lk_start",
        "lk_wait",
        "lk_logs",
        "lk_fetch",
        "lk_stop",
        "lk_runs",
        "lk_files",
    )
]


async def lk_machines() -> dict[str, Any]:
    """List machine types with their prices in credits per hour, cheapest first."""
    return await _call_command("machines")


async def lk_balance() -> dict[str, Any]:
    """Return the remaining credits, and what uses them now."""
    return await _call_command("balance")


async def lk_plan(
    code: str, gpu: str = "", timeout: str = "10m", requirements: list[str] | None = None
) -> dict[str, Any]:
    """Return machine and highest cost of a run of Python code, in credits. Nothing is sent. Plan before you start.

    ``gpu`` is a GPU such as A100, ``timeout`` a time limit such as 90s or 10m, ``requirements`` are packages.
    """
    return await _call_command("plan", f"--code={code}", *_build_run_words(gpu, timeout, requirements))


async def lk_start(  # noqa: PLR0913, PLR0917 (the parameters of a tool)
    code: str,
    key: str,
    gpu: str = "",
    timeout: str = "10m",
    max_cost: float | None = None,
    requirements: list[str] | None = None,
    outputs: list[str] | None = None,
) -> dict[str, Any]:
    """Start a run of Python code on the cloud, which costs credits, and return its id.

    ``key`` is a start key of your choice: another call with the same key and code returns the same run. ``max_cost`` is
    the highest cost in credits, ``outputs`` are variables that ``lk_fetch`` returns.
    """
    words = _build_run_words(gpu, timeout, requirements)
    words += [f"--max-cost={max_cost}"] if max_cost is not None else []
    words += [f"--out={','.join(outputs)}"] if outputs else []
    return await _call_command("start", f"--code={code}", f"--key={key}", *words)


async def lk_wait(run: str, seconds: int = 40) -> dict[str, Any]:
    """Wait at most 40 seconds for the end of a run. Exit code 3: the run is still active, so call this again."""
    return await _call_command("wait", run, f"--seconds={seconds}", run=run)


async def lk_logs(run: str, since: int = 0, seconds: int = 2) -> dict[str, Any]:
    """Return the log of a run from the character ``since``, which is ``next`` of the last call."""
    return await _call_command("logs", run, f"--since={since}", f"--seconds={seconds}", run=run)


async def lk_fetch(run: str, names: list[str] | None = None) -> dict[str, Any]:
    """Return the result of a run that has ended, and its variables: name, type, shape, and value or head."""
    return await _call_command("fetch", run, *(names or ()), run=run)


async def lk_stop(ids: list[str]) -> dict[str, Any]:
    """Stop runs, VMs and deployments, so that they cost no more. The disk of a VM is deleted.

    Exit code 3: the listed ids may still be active and billed, so call this again.
    """
    return await _call_command("stop", *ids)


async def lk_runs(limit: int = 20) -> dict[str, Any]:
    """List active runs, then finished runs."""
    return await _call_command("runs", f"--limit={limit}")


async def lk_files(folder: str = "", limit: int = 100) -> dict[str, Any]:
    """List a folder of the bucket, with the path of each file in a run."""
    return await _call_command("ls", *([folder] if folder else []), f"--limit={limit}")


def _build_run_words(gpu: str, timeout: str, requirements: list[str] | None) -> list[str]:
    words = [f"--timeout={timeout}", *(f"--requirements={name}" for name in requirements or ())]
    return [f"--gpu={gpu}", *words] if gpu else words


async def _call_command(name: str, *words: str, run: str = "") -> dict[str, Any]:
    """Execute a command in a thread, and return its exit code and records; report a command that takes too long."""
    stream = io.StringIO()
    output = CommandOutput(stream, is_json=True)
    try:
        code = await asyncio.wait_for(asyncio.to_thread(execute, [name, *words], output), LIMIT_SECONDS)
    except asyncio.TimeoutError:
        output = CommandOutput(stream := io.StringIO(), is_json=True)
        code = output.report_active(run) if run else UNKNOWN
    return {"exit_code": code, "records": [json.loads(line) for line in stream.getvalue().splitlines()]}
