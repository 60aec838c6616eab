"""``python -m lk_jupyter.cli.mcp``: an MCP server on stdin and stdout, with the tools for agents."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from lk_jupyter._extras import library
from lk_jupyter._version import __version__
from lk_jupyter.cli.account import read_skill
from lk_jupyter.cli.tools import EFFECTS, arguments_model, call_tool, describe_tool
from lk_jupyter.errors import LkError
from lk_jupyter.text.terminal import one_line, shorten_text

#: Maximum bytes of a message.
_MOST_BYTES = 32 * 2**20

#: Codes of errors of JSON-RPC.
_PARSE_ERROR, _INVALID_REQUEST, _INVALID_PARAMS = -32700, -32600, -32602

#: The answer of each tool.
_ANSWER_SCHEMA = {
    "type": "object",
    "properties": {"exit_code": {"type": "integer"}, "records": {"type": "array", "items": {"type": "object"}}},
    "required": ["exit_code", "records"],
}


class MessageProblem(NamedTuple):
    """An error of the protocol, for a line that is no request: the code, the text, and the id if the line has one."""

    code: int
    message: str
    request_id: int | str | None = None


def check_message(line: bytes) -> MessageProblem | None:
    """Return why a line isn't a message of JSON-RPC that the library can read; None for a message.

    The library drops such a line without an answer, and its sender would wait without end.
    """
    try:
        message = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        problem = shorten_text(one_line(str(error)), 200)
        return MessageProblem(_PARSE_ERROR, f"The message isn't JSON: {problem}.", _find_request_id(line))
    if not isinstance(message, dict):
        return MessageProblem(_INVALID_REQUEST, "The message isn't an object. Batches aren't supported.")
    if "method" not in message and ("result" in message or "error" in message):
        return None  # an answer; the library ignores an answer to no request
    return _check_request(message)


def _check_request(message: Mapping[str, Any]) -> MessageProblem | None:
    request_id = _allowed_request_id(message)
    if "id" in message and request_id is None:
        return MessageProblem(_INVALID_REQUEST, "The id isn't text, and isn't a whole number of at most 64 bits.")
    if message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
        return MessageProblem(_INVALID_REQUEST, "The message isn't a request of JSON-RPC 2.0.", request_id)
    if not isinstance(message.get("params"), (dict, type(None))):
        return MessageProblem(_INVALID_PARAMS, "The params aren't an object.", request_id)
    return None


def _find_request_id(line: bytes) -> int | str | None:
    """Return the id of a message with values that JSON allows and the library doesn't, such as half a character."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    request_id = _allowed_request_id(message) if isinstance(message, dict) else None
    is_text = isinstance(request_id, int) or (request_id is not None and request_id.isprintable())
    return request_id if is_text else None


def _allowed_request_id(message: Mapping[str, Any]) -> int | str | None:
    request_id = message.get("id")
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return request_id if abs(request_id) < 2**63 else None
    return request_id if isinstance(request_id, str) else None


class MessageLines:
    """The messages on a stream, one a line, as the library iterates over them. Lines that are no messages are answered.

    ``answers`` is the stream of the library for messages to the client.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.answers: Any = None
        self._stream = stream

    def __aiter__(self) -> MessageLines:
        """Iterate over the messages."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next message."""
        while line := await asyncio.to_thread(self._read_line):
            if not line.strip():
                continue
            refusal = check_message(line) if len(line) <= _MOST_BYTES else _TOO_LARGE
            if refusal is None:
                return line
            await self.answers.send(_build_error(refusal))
        raise StopAsyncIteration

    def _read_line(self) -> bytes:
        line = self._stream.readline(_MOST_BYTES + 1)
        rest = line
        while len(rest) > _MOST_BYTES and not rest.endswith(b"\n"):
            rest = self._stream.readline(_MOST_BYTES + 1)
        return line


_TOO_LARGE = MessageProblem(_INVALID_REQUEST, f"The message has more than {_MOST_BYTES >> 20} MiB.")


def _build_error(refusal: MessageProblem) -> Any:
    types = library("mcp.types", "mcp", "The MCP server")
    error = types.ErrorData(code=refusal.code, message=refusal.message)
    answer = types.JSONRPCError(jsonrpc="2.0", id=refusal.request_id, error=error)
    return library("mcp.shared.message", "mcp", "The MCP server").SessionMessage(answer)


def create_server() -> Any:
    """Return the MCP server. Raises UsageError if the package mcp is missing."""
    types = library("mcp.types", "mcp", "The MCP server")
    protocol_error = library("mcp", "mcp", "The MCP server").MCPError
    tools = [
        types.Tool(
            name=name,
            description=describe_tool(name),
            input_schema=arguments_model(name).model_json_schema(),
            output_schema=_ANSWER_SCHEMA,
            annotations=types.ToolAnnotations(**effects),
        )
        for name, effects in EFFECTS.items()
    ]

    async def list_tools(_context: Any, _params: Any) -> Any:
        return types.ListToolsResult(tools=tools)

    async def answer_call(_context: Any, params: Any) -> Any:
        if params.name not in EFFECTS:
            name = shorten_text(one_line(params.name), 80)
            raise protocol_error(code=_INVALID_PARAMS, message=f"Unknown tool '{name}'. Tools: {', '.join(EFFECTS)}.")
        answer, has_failed = await call_tool(params.name, params.arguments or {})
        content = [types.TextContent(type="text", text=json.dumps(answer, ensure_ascii=False))]
        return types.CallToolResult(content=content, structured_content=answer, is_error=has_failed)

    server = library("mcp.server", "mcp", "The MCP server").Server
    return server(
        "lk", version=__version__, instructions=read_skill(), on_list_tools=list_tools, on_call_tool=answer_call
    )


async def _serve(server: Any) -> None:
    """Serve until stdin ends. A program that a command starts reads nothing of the messages."""
    lines = MessageLines(os.fdopen(os.dup(0), "rb"))
    os.dup2(nothing := os.open(os.devnull, os.O_RDONLY), 0)
    os.close(nothing)
    async with library("mcp.server.stdio", "mcp", "The MCP server").stdio_server(stdin=lines) as (messages, answers):
        lines.answers = answers
        await server.run(messages, answers, server.create_initialization_options())


def main() -> int:
    """Serve until stdin ends, and return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread that reads stdin would delay the end
    try:
        asyncio.run(_serve(create_server()))
    except LkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
