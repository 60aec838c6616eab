"""``python -m lk_jupyter.cli.mcp``: an MCP server on stdin and stdout, with the tools for agents."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import sys
from importlib import import_module
from importlib.resources import files
from typing import Any

from lk_jupyter._extras import library
from lk_jupyter.errors import LkError


def create_server() -> Any:
    """Return the MCP server. Raises UsageError if the package mcp is missing."""
    from lk_jupyter.cli.tools import TOOLS  # noqa: PLC0415 (help needs none)

    instructions = files("lk_jupyter.cli").joinpath("SKILL.md").read_text(encoding="utf-8")
    server = library("mcp.server", "mcp", "The MCP server").MCPServer("lk", instructions=instructions)
    for tool in TOOLS:
        module, _, name = tool.partition(":")
        server.add_tool(getattr(import_module(module), name))
    return server


def main() -> int:
    """Serve until stdin ends, and return the exit code."""
    try:
        create_server().run()
    except LkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
