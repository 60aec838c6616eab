"""``python -m lk_jupyter.cli.mcp``: an MCP server on stdin and stdout, with the tools for agents."""

from __future__ import annotations

from lk_jupyter._python import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()

import sys
from pkgutil import resolve_name
from typing import Any

from lk_jupyter._extras import library
from lk_jupyter.cli.account import read_skill
from lk_jupyter.cli.tools import EFFECTS, TOOLS
from lk_jupyter.errors import LkError


def create_server() -> Any:
    """Return the MCP server. Raises UsageError if the package mcp is missing."""
    server = library("mcp.server", "mcp", "The MCP server").MCPServer("lk", instructions=read_skill())
    annotations = library("mcp.types", "mcp", "The MCP server").ToolAnnotations
    for tool in TOOLS:
        effects = annotations(**EFFECTS[tool.partition(":")[2]], open_world_hint=True)
        server.add_tool(resolve_name(tool), annotations=effects)
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
