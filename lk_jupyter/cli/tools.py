"""Tools for agents: the commands of ``lk`` as functions, for MCP servers.

Each function returns within 45 seconds: ``{"exit_code": …, "records": […]}`` with the records of ``lk --json``. None of
them reads or changes keys, members or payments. Only ``lk_stop`` deletes something: the disk of a VM that it stops.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lk_jupyter.cli import LIMIT_SECONDS, call
from lk_jupyter.cli.failures import exit_code_for
from lk_jupyter.cli.output import ACTIVE, DONE, FAILED, UNKNOWN, CommandOutput
from lk_jupyter.errors import OutcomeUnknown, UsageError
from lk_jupyter.options.commands import WAIT_SECONDS
from lk_jupyter.text.problems import describe_problem
from lk_jupyter.text.secrets import redact_values
from lk_jupyter.text.terminal import one_line, plain, shorten_text

_READS = {"read_only_hint": True, "destructive_hint": False, "idempotent_hint": True}

#: Name of a tool → what the tool may change, in words of MCP. A repeated start with its key starts nothing. The world
#: of a tool is open if the tool executes code, or if its answer contains text of code or names of files.
EFFECTS: dict[str, dict[str, bool]] = {
    "lk_machines": {**_READS, "open_world_hint": False},
    "lk_balance": {**_READS, "open_world_hint": False},
    "lk_plan": {**_READS, "open_world_hint": False},
    "lk_start": {"read_only_hint": False, "destructive_hint": False, "idempotent_hint": True, "open_world_hint": True},
    "lk_wait": {**_READS, "open_world_hint": True},
    "lk_logs": {**_READS, "open_world_hint": True},
    "lk_fetch": {**_READS, "open_world_hint": True},
    "lk_stop": {"read_only_hint": False, "destructive_hint": True, "idempotent_hint": True, "open_world_hint": False},
    "lk_runs": {**_READS, "open_world_hint": False},
    "lk_files": {**_READS, "open_world_hint": True},
}

#: The tools, as the entry point ``jupyter_server_mcp.tools`` lists them.
TOOLS = [f"{__name__}:{name}" for name in EFFECTS]

#: Characters of a rejected value that a message quotes.
_QUOTED = 80

# No id, name or path has control characters. A model may send anything, and a long text is slow to compare.
_Word = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_Words = Annotated[list[_Word], Field(max_length=1_000)]
_Code = Annotated[str, Field(max_length=5_000_000, pattern=r"^[^\x00]*$")]
_Seconds = Annotated[int, Field(ge=0, le=WAIT_SECONDS)]
_Offset = Annotated[int, Field(ge=0, le=10**15)]
_Credits = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


async def lk_machines() -> dict[str, Any]:
    """List machine types with their prices in credits per hour, cheapest first."""
    return await _call_command("machines")


async def lk_balance() -> dict[str, Any]:
    """Return the remaining credits, and what uses them now."""
    return await _call_command("balance")


async def lk_plan(
    code: _Code, gpu: _Word = "", timeout: _Word = "10m", requirements: _Words | None = None
) -> dict[str, Any]:
    """Return machine and highest cost of a run of Python code, in credits. Nothing is sent. Plan before you start.

    ``gpu`` is a GPU such as A100, ``timeout`` a time limit such as 90s or 10m, ``requirements`` are packages.
    """
    return await _call_command("plan", code=code, gpu=gpu or None, timeout=timeout, requirements=requirements)


async def lk_start(  # noqa: PLR0913, PLR0917 (the parameters of a tool)
    code: _Code,
    key: _Word,
    gpu: _Word = "",
    timeout: _Word = "10m",
    max_cost: _Credits | None = None,
    requirements: _Words | None = None,
    outputs: _Words | None = None,
) -> dict[str, Any]:
    """Start a run of Python code on the cloud, which costs credits, and return its id.

    ``key`` is a start key of your choice: another call with the same key and code returns the same run. ``max_cost`` is
    the highest cost in credits, ``outputs`` are variables that ``lk_fetch`` returns.
    """
    options = {"gpu": gpu or None, "timeout": timeout, "max_cost": max_cost, "requirements": requirements}
    return await _call_command("start", code=code, key=key, outputs=outputs, **options)


async def lk_wait(run: _Word, seconds: _Seconds = WAIT_SECONDS) -> dict[str, Any]:
    """Wait at most 40 seconds for the end of a run. Exit code 3: the run is still active, so call this again."""
    return await _call_command("wait", run=run, seconds=seconds)


async def lk_logs(run: _Word, since: _Offset = 0, seconds: _Seconds = 2) -> dict[str, Any]:
    """Return the log of a run from the character ``since``, which is ``next`` of the last call."""
    return await _call_command("logs", run=run, since=since, seconds=seconds)


async def lk_fetch(run: _Word, names: _Words | None = None) -> dict[str, Any]:
    """Return the result of a run that has ended, and its variables: name, type, shape, and value or head."""
    return await _call_command("fetch", run=run, names=names)


async def lk_stop(ids: _Words) -> dict[str, Any]:
    """Stop runs, VMs and deployments, so that they cost no more. The disk of a VM is deleted.

    Exit code 3: the listed ids may still be active and billed, so call this again.
    """
    return await _call_command("stop", ids=ids)


async def lk_runs(limit: Annotated[int, Field(ge=1, le=1_000)] = 20) -> dict[str, Any]:
    """List active runs, then finished runs."""
    return await _call_command("runs", limit=limit)


async def lk_files(folder: _Word = "", limit: Annotated[int, Field(ge=1, le=100_000)] = 100) -> dict[str, Any]:
    """List a folder of the bucket, with the path of each file in a run."""
    return await _call_command("ls", folder=folder, limit=limit)


@cache
def arguments_model(name: str) -> type[BaseModel]:
    """Return the model of the arguments of a tool: no other names, and no value of another type."""
    parameters = inspect.signature(_find_tool(name), eval_str=True).parameters
    fields: dict[str, Any] = {
        parameter.name: (
            parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters.values()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


async def call_tool(name: str, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Call a tool with arguments that a model wrote.

    Returns:
        The answer of the tool, and whether the call failed. A run that failed is no failure of the call.
    """
    try:
        values = arguments_model(name).model_validate(dict(arguments))
        answer = await _find_tool(name)(**dict(values))
    except ValidationError as error:
        answer = _report_error(UsageError(_describe_misuse(name, error)))
    has_error = any(record["event"] == "error" for record in answer["records"])
    return answer, has_error or answer["exit_code"] not in {DONE, FAILED, ACTIVE}


def describe_tool(name: str) -> str:
    """Return the description of a tool, for a model."""
    return inspect.getdoc(_find_tool(name)) or ""


def _find_tool(name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    tool: Callable[..., Awaitable[dict[str, Any]]] = resolve_name(f"{__name__}:{name}")
    return tool


def _describe_misuse(name: str, error: ValidationError) -> str:
    """Return the first problem of the arguments of a tool, and the arguments that the tool accepts."""
    problem = error.errors(include_url=False)[0]
    argument = shorten_text(one_line(".".join(map(str, problem["loc"]))), _QUOTED)
    words = f"Argument '{argument}' {describe_problem(problem)}"
    if problem["type"] not in {"missing", "extra_forbidden"}:
        words += f", got {shorten_text(one_line(repr(problem['input'])), _QUOTED)}"
    accepted = ", ".join(arguments_model(name).model_fields) or "no arguments"
    return f"{words}. Nothing was sent. {name} accepts: {accepted}."


async def _call_command(name: str, **values: Any) -> dict[str, Any]:
    """Execute a command in a thread, and return its exit code and records; report a command that takes too long."""
    output = CommandOutput(stream := io.StringIO(), is_json=True)
    options = {option: value for option, value in values.items() if value is not None}
    try:
        code = await asyncio.wait_for(asyncio.to_thread(_execute, name, options, output), LIMIT_SECONDS)
    except asyncio.TimeoutError:
        output = CommandOutput(stream := io.StringIO(), is_json=True)
        if run := values.get("run"):
            code = output.report_active(run)
        else:
            problem = "The server didn't answer in time. Call the tool again with the same arguments."
            code = output.fail(OutcomeUnknown(problem), UNKNOWN)
    return _read_answer(code, stream)


def _execute(name: str, values: dict[str, Any], output: CommandOutput) -> int:
    """Execute a command. No exception leaves this function, since SystemExit in a thread ends an event loop."""
    try:
        return call(name, values, output)
    except BaseException as error:  # noqa: BLE001 (as above)
        return output.fail(error, exit_code_for(error))


def _report_error(error: Exception) -> dict[str, Any]:
    output = CommandOutput(stream := io.StringIO(), is_json=True)
    return _read_answer(output.fail(error, exit_code_for(error)), stream)


def _read_answer(code: int, stream: io.StringIO) -> dict[str, Any]:
    """Return the answer of a tool, whose texts contain nothing that a model reads and a person doesn't see."""
    records = (json.loads(line) for line in stream.getvalue().split("\n") if line)
    return {"exit_code": code, "records": [redact_values(record, plain) for record in records]}
