"""Execute the cells of a notebook file as a front end does, in its environment: execute_notebook.py KIND FILE.

The interpreter is the one of an environment with real packages, see ``test_installed_front_ends.py``. Documents and
nbmodel are extensions of a Jupyter server that execute cells by requests, and mcp is a server of tools for agents.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

SECONDS = 900
PACE = 0.1
#: Seconds after the last cell and the last write after which a file is complete: servers save a second after a change.
QUIET = 4
TOKEN = "tests"


class Server:
    """A Jupyter server with the packages of the environment."""

    def __init__(self, folder, port):
        options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"]
        options += [f"--ServerApp.root_dir={folder}", "--ServerApp.disable_check_xsrf=True"]
        lab = str(Path(sys.executable).with_name("jupyter-lab"))
        with Path(folder, "server.log").open("w") as log:
            self.process = subprocess.Popen([lab, *options], stdout=log, stderr=log, cwd=folder)
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"token {TOKEN}"}, timeout=60)
        wait_until(self._answers)

    def _answers(self):
        try:
            return self.http.get("/api/status").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def start_kernel(self, name):
        session = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        return self.http.post("/api/sessions", json=session).raise_for_status().json()["kernel"]["id"]

    def wait_for_cell(self, path, name, kernel_id):
        """Wait until a cell has ended, and the file has its number; some servers save the number at the start."""
        wait_until(lambda: cells_of(path).get(name, {}).get("execution_count"))
        wait_until(lambda: self.http.get(f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")

    def close(self):
        self.http.close()
        self.process.terminate()
        self.process.wait(60)


def wait_until(condition):
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, "no answer"
        time.sleep(PACE)
    return value


def wait_until_saved(path):
    """Wait until the server has written the end of the last cell, and has stopped writing the file.

    The last write may be old: a long run writes its log every 10 s.
    """
    end = time.time()
    wait_until(lambda: time.time() - max(end, path.stat().st_mtime) > QUIET)


def cells_of(path):
    """Return the cells of a file by id; the server may be writing the file."""
    try:
        return {cell["id"]: cell for cell in json.loads(path.read_text("utf-8"))["cells"]}
    except ValueError:
        return {}


def execute_by_documents(server, path, kernel_id):
    """Execute each cell by jupyter-server-documents, which saves the file itself."""
    from jupyter_server_documents.rooms.ynotebook_room import _source_hash  # noqa: PLC0415 (in its environment only)

    answer = server.http.post("/api/fileid/index", params={"path": path.name}).raise_for_status()
    document = f"json:notebook:{answer.json()['id']}"
    for name, cell in cells_of(path).items():
        source = "".join(cell["source"])
        body = {"document_id": document, "cells": [{"cell_id": name, "source_hash": _source_hash(source)}]}
        wait_until(lambda body=body: server.http.post(f"/api/kernels/{kernel_id}/execute", json=body).is_success)
        server.wait_for_cell(path, name, kernel_id)
    wait_until_saved(path)


async def execute_by_nbmodel(server, path, kernel_id):
    """Execute each cell by jupyter-server-nbmodel in a shared document of jupyter-collaboration."""
    from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url  # noqa: PLC0415

    url = get_jupyter_notebook_websocket_url(server_url=server.url, path=path.name, token=TOKEN)
    async with NbModelClient(url):
        answer = server.http.put(f"/api/collaboration/session/{path.name}", json={"format": "json", "type": "notebook"})
        document = f"json:notebook:{answer.json()['fileId']}"
        for name, cell in cells_of(path).items():
            source = "".join(cell["source"])
            body = {"code": source, "metadata": {"cell_id": name, "document_id": document}}
            request = server.http.post(f"/api/kernels/{kernel_id}/execute", json=body).raise_for_status().json()
            end = time.monotonic() + SECONDS
            while server.http.get(request["request_url"]).status_code == httpx.codes.ACCEPTED:
                assert time.monotonic() < end
                await asyncio.sleep(PACE)
            await asyncio.to_thread(server.wait_for_cell, path, name, kernel_id)
        await asyncio.to_thread(wait_until_saved, path)


async def execute_by_mcp(server, path, kernel_id):
    """Execute each cell by the tools of jupyter-mcp-server, as an agent calls them."""
    from mcp import Client, StdioServerParameters  # noqa: PLC0415 (in its environment only)

    command = str(Path(sys.executable).with_name("jupyter-mcp-server"))
    options = ["--transport", "stdio", "--jupyter-url", server.url, "--jupyter-token", TOKEN]
    options += ["--max-execution-timeout", str(SECONDS)]
    async with Client(StdioServerParameters(command=command, args=["start", *options], env=dict(os.environ))) as client:
        book = {"notebook_name": "book", "notebook_path": path.name, "kernel_id": kernel_id}
        await call_tool(client, "use_notebook", book)
        for name in cells_of(path):
            await call_tool(client, "execute_cell", {"cell_id": name, "timeout": SECONDS})
        await asyncio.to_thread(wait_until_saved, path)


async def call_tool(client, name, arguments):
    result = await client.call_tool(name, arguments, read_timeout_seconds=SECONDS)
    print(name, arguments, result.content)
    assert not result.is_error, result


def execute_by_nbclient(path):
    """Execute the notebook by nbclient."""
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    book = nbformat.read(path, 4)
    NotebookClient(book, allow_errors=True, resources={"metadata": {"path": str(path.parent)}}).execute()
    nbformat.write(book, path)


def main(kind, path):
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    if kind == "nbclient":
        execute_by_nbclient(path)
    elif kind == "papermill":
        subprocess.run([sys.executable, "-m", "papermill", str(path), str(path), "--no-progress-bar"], check=False)
    elif kind == "nbconvert":
        options = ["--to", "notebook", "--execute", "--allow-errors", "--inplace"]
        subprocess.run([sys.executable, "-m", "nbconvert", *options, str(path)], check=True)
    else:
        server = Server(str(path.parent), sys.argv[3])
        try:
            kernel_id = server.start_kernel(path.name)
            if kind == "documents":
                execute_by_documents(server, path, kernel_id)
            else:
                execute = {"nbmodel": execute_by_nbmodel, "mcp": execute_by_mcp}[kind]
                asyncio.run(execute(server, path, kernel_id))
        finally:
            server.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
