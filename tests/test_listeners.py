"""Each place at which the product listens, and what keeps other users of the machine out.

The place of a new listener is missing here, so this file fails until the listener has an authentication and a row.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lk_jupyter

PACKAGE = Path(lk_jupyter.__file__).parent

#: Calls that listen, as their last names; ``bind`` and ``listen`` of a socket too.
CALLS = frozenset(
    {
        "HTTPServer",
        "ThreadingHTTPServer",
        "TCPServer",
        "ThreadingTCPServer",
        "UnixStreamServer",
        "Scheduler",
        "Nanny",
        "add_socket",
        "bind",
        "bind_unix_socket",
        "create_server",
        "create_unix_server",
        "listen",
        "listen_reverse",
        "serve",
        "start_server",
        "start_unix_server",
    }
)

#: File and call → the authentication.
LISTENERS = {
    ("account/browser_login.py", "ThreadingHTTPServer"): "the state of the sign-in, and the host name",
    ("account/browser_login.py", "bind"): "reserves the port of ::1, and never accepts",
    ("broker/__main__.py", "serve"): "calls the next",
    ("broker/server.py", "serve"): "a key, or a token of the hub",
    ("broker/server.py", "listen"): "a key, or a token of the hub",
    ("config/serving.py", "create_server"): "the socket of the broker and the local cloud: a key",
    ("kernels/sockets.py", "bind"): "signed messages, with the key of the connection file",
    ("localcloud/buckets/deletions.py", "ThreadingHTTPServer"): "a bearer token",
    ("localcloud/buckets/seaweedfs.py", "create_server"): "chooses free ports, and never accepts",
    ("localcloud/runs/notebook_run.py", "create_server"): "chooses a free port, and never accepts",
    ("localcloud/__main__.py", "serve"): "calls the next two",
    ("localcloud/server.py", "listen"): "a key",
    ("localcloud/server.py", "serve"): "a key",
    ("localcloud/vms/guests.py", "create_server"): "the SSH key of the request",
    ("localcloud/vms/guests.py", "listen"): "the SSH key of the request",
    ("remote/dask_head.py", "Scheduler"): "TLS with the certificate of the cluster",
    ("remote/dask_head.py", "Nanny"): "TLS with the certificate of the cluster",
    ("remote/dask_head.py", "add_socket"): "a Unix socket in a folder of the user",
    ("remote/dask_head.py", "bind"): "a Unix socket in a folder of the user",
    ("remote/dask_head.py", "listen"): "a Unix socket in a folder of the user",
    ("remote/script/ranks.py", "bind"): "chooses a free port, and never accepts",
    ("remote/script/relay.py", "ThreadingHTTPServer"): "a secret path",
    ("remote/vm/objects.py", "ThreadingHTTPServer"): "a secret path",
    ("vms/shell.py", "listen"): "calls the two below",
    ("vms/shell.py", "start_unix_server"): "a Unix socket in a folder of the user",
    ("vms/shell.py", "start_server"): "a secret host name, or TLS of the program on the VM",
}

#: Calls of these names that don't listen: file and call → what they do.
OTHER_CALLS = {
    ("api/_endpoint.py", "bind"): "binds arguments to a signature",
    ("job_scheduler.py", "Scheduler"): "is a class of the job scheduler, in the Jupyter server",
    ("cli/mcp.py", "create_server"): "creates the MCP server, which reads standard input",
    ("runs/notebooks/hosted_kernel.py", "start_server"): "starts a run",
    ("session.py", "start_server"): "starts a run",
}


def list_calls(source: str) -> set[str]:
    """Return the calls in a source text that may listen, and the base classes of servers."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    bases = [base for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
    names = (name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in (*calls, *bases))
    return {name for name in names if name in CALLS}


def list_listeners() -> set[tuple[str, str]]:
    """Return file and call of each place in the package that may listen."""
    return {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in list_calls(path.read_text("utf-8"))
    }


def test_each_place_that_listens_has_an_authentication():
    assert list_listeners() == LISTENERS.keys() | OTHER_CALLS.keys()


@pytest.mark.parametrize(
    "line",
    [
        "socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)",
        "http.server.HTTPServer(('', 8000), Handler).serve_forever()",
        "await asyncio.start_server(handle, '127.0.0.1', 0)",
        "await loop.create_server(Protocol, '127.0.0.1')",
        "await websockets.serve(handle, 'localhost', 0)",
        "listener.bind(('127.0.0.1', 0))",
        "class Reports(http.server.ThreadingHTTPServer): pass",
    ],
)
def test_a_new_listener_would_be_noticed(line):
    assert list_calls(f"async def open_page():\n    {line}\n")
