"""Call tools of an MCP server over stdio with a client that isn't ours: ``python tests/mcp_client.py``.

Stdin has one JSON object: ``library`` (mcp or fastmcp), ``mode`` (legacy, or a version of the protocol), ``command``,
``env``, and ``calls``, a list of names with arguments, which are called at the same time. Stdout has one JSON object:
``protocol``, ``tools``, and for each call its ``seconds``, its ``answer`` and ``is_error``.

``install_clients()`` installs the clients in an environment of their own. This file runs there, so it imports nothing
of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]


def install_clients():
    """Return the Python of an environment with mcp and fastmcp, which is kept for later tests."""
    folder = ROOT / ".out" / "mcp"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "mcp>=2,<3", "fastmcp>=4"], check=True)
        (folder / "complete").touch()
    return python


def call_tools(python, library, mode, calls, **env):
    """Call tools of our server, and return the object on stdout. ``env`` are further variables of the server."""
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout.strip()
    request = {
        "library": library,
        "mode": mode,
        "command": [sys.executable, "-m", "lk_jupyter.cli.mcp"],
        "env": {**os.environ, **env, "PYTHONPATH": packages},
        "calls": calls,
    }
    process = subprocess.run([python, __file__], input=json.dumps(request), capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def create_client(request):
    """Return a client of the library of a request."""
    command, *arguments = request["command"]
    library = import_module(request["library"])
    if request["library"] == "mcp":
        server = library.StdioServerParameters(command=command, args=arguments, env=request["env"])
    else:
        transports = import_module("fastmcp.client.transports")
        server = transports.StdioTransport(command, arguments, env=request["env"])
    return library.Client(server, mode=request["mode"])


async def make_calls(request):
    """Return the protocol and the tools of a server, and its answers to the calls of a request."""

    async def call(name, arguments):
        started = time.monotonic()
        result = await client.call_tool(name, arguments, **options)
        return {
            "seconds": time.monotonic() - started,
            "answer": result.structured_content,
            "is_error": result.is_error,
        }

    options = {"raise_on_error": False} if request["library"] == "fastmcp" else {}

    async with create_client(request) as client:
        tools = await client.list_tools()
        calls = await asyncio.gather(*(call(name, arguments) for name, arguments in request["calls"]))
        session = getattr(client, "session", client)
        return {
            "protocol": str(getattr(session, "protocol_version", "")),
            "tools": [tool.name for tool in getattr(tools, "tools", tools)],
            "calls": calls,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(make_calls(json.load(sys.stdin)))))
