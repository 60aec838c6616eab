"""Tools for agents: the commands of ``lk`` as functions, for MCP servers.

Each function returns within 45 seconds: ``{"exit_code": …, "records": […]}`` with the records of ``lk --json``. None of
them reads or changes keys, members or payments. Only ``lk_stop`` deletes something: the disk of a VM that it stops.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from typing import Any

from lk_jupyter.cli import LIMIT_SECONDS, execute
from lk_jupyter.cli.output import UNKNOWN, CommandOutput

_READS = {"read_only_hint": True, "destructive_hint": False, "idempotent_hint": True}

#: Name of a tool → what the tool may change, in words of MCP. A repeated start with its key starts nothing.
EFFECTS: dict[str, dict[str, bool]] = {
    **dict.fromkeys(("lk_machines", "lk_balance", "lk_plan"), _READS),
    "lk_start": {"read_only_hint": False, "destructive_hint": False, "idempotent_hint": True},
    **dict.fromkeys(("lk_wait", "lk_logs", "lk_fetch"), _READS),
    "lk_stop": {"read_only_hint": False, "destructive_hint": True, "idempotent_hint": True},
    **dict.fromkeys(("lk_runs", "lk_files"), _READS),
}

#: The tools, as the entry point ``jupyter_server_mcp.tools`` lists them.
TOOLS = [f"{__name__}:{name}" for name in EFFECTS]


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
    return await _call_command("wait", f"--seconds={seconds}", values=[run], run=run)


async def lk_logs(run: str, since: int = 0, seconds: int = 2) -> dict[str, Any]:
    """Return the log of a run from the character ``since``, which is ``next`` of the last call."""
    return await _call_command("logs", f"--since={since}", f"--seconds={seconds}", values=[run], run=run)


async def lk_fetch(run: str, names: list[str] | None = None) -> dict[str, Any]:
    """Return the result of a run that has ended, and its variables: name, type, shape, and value or head."""
    return await _call_command("fetch", values=[run, *(names or ())], run=run)


async def lk_stop(ids: list[str]) -> dict[str, Any]:
    """Stop runs, VMs and deployments, so that they cost no more. The disk of a VM is deleted.

    Exit code 3: the listed ids may still be active and billed, so call this again.
    """
    return await _call_command("stop", values=ids)


async def lk_runs(limit: int = 20) -> dict[str, Any]:
    """List active runs, then finished runs."""
    return await _call_command("runs", f"--limit={limit}")


async def lk_files(folder: str = "", limit: int = 100) -> dict[str, Any]:
    """List a folder of the bucket, with the path of each file in a run."""
    return await _call_command("ls", f"--limit={limit}", values=[folder] if folder else [])


def _build_run_words(gpu: str, timeout: str, requirements: list[str] | None) -> list[str]:
    words = [f"--timeout={timeout}", *(f"--requirements={name}" for name in requirements or ())]
    return [f"--gpu={gpu}", *words] if gpu else words


async def _call_command(name: str, *words: str, values: Sequence[str] = (), run: str = "") -> dict[str, Any]:
    """Execute a command in a thread, and return its exit code and records; report a command that takes too long.

    ``values`` are its arguments without a name. They come from a model, and none of them is an option of the command.
    """
    words = (*words, "--", *values) if values else words
    stream = io.StringIO()
    output = CommandOutput(stream, is_json=True)
    try:
        code = await asyncio.wait_for(asyncio.to_thread(execute, [name, *words], output), LIMIT_SECONDS)
    except asyncio.TimeoutError:
        output = CommandOutput(stream := io.StringIO(), is_json=True)
        code = output.report_active(run) if run else UNKNOWN
    return {"exit_code": code, "records": [json.loads(line) for line in stream.getvalue().splitlines()]}
