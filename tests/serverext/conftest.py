"""Real Jupyter servers on ports of their own, and a browser's requests to them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import pytest
from cloud_process import FORKS, ForkedKernel, alone
from conftest import WITHOUT, RunningCloud
from patience import PATIENCE
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from ui.lab import free_port

from lk_jupyter.config.settings import SETTINGS


class Jupyter:
    """A running Jupyter server, and a browser that has signed in to it."""

    def __init__(self, url, token, pid, logs):
        self.url = url
        self.logs = logs
        self.pid = pid
        self.token = token
        self.page = httpx.Client(base_url=url, timeout=PATIENCE)

    def enter(self):
        """Get the cookies that a browser gets with the token's address."""
        for attempt in Retrying(
            stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_exception_type(httpx.TransportError)
        ):
            with attempt:
                self.page.get("tree", params={"token": self.token})
        self.page.headers["X-XSRFToken"] = self.page.cookies["_xsrf"]

    def get(self, path, **options):
        return self.page.get(f"lk/{path}", **options)

    def send(self, method, path, **options):
        return self.page.request(method, f"lk/{path}", **options)


class Recorder:
    """An API that keeps the requests that it got and answers as it is told; a POST with an endless stream."""

    def __init__(self):
        self.requests, self.answer, self.reader_has_gone = [], {}, threading.Event()
        self.ahead = 0  # seconds by which its clock is
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Recording,), {"recorder": self}))
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Recording(BaseHTTPRequestHandler):
    def do_GET(self):
        self.recorder.requests.append((self.path, dict(self.headers)))
        body = json.dumps(self.recorder.answer).encode()
        self._begin("application/json", Content_Length=str(len(body)))
        self.wfile.write(body)

    def do_POST(self):
        self._begin("text/event-stream")
        try:
            while True:
                self.wfile.write(b'data: {"output":{"content":"tick\\n"}}\n\n')
                time.sleep(0.02)  # the pace of the output
        except OSError:
            self.recorder.reader_has_gone.set()

    def _begin(self, kind, **headers):
        self.send_response(200)
        always = {"Set-Cookie": "evil=1", "Access-Control-Allow-Origin": "*", "X-Upstream": "told"}
        for name, value in {"Content-Type": kind, **headers, **always}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def date_time_string(self, _=None):
        return super().date_time_string(time.time() + self.recorder.ahead)

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture(scope="session")
def recorder():
    made = Recorder()
    yield made
    made.stop()


def environment(home, **variables):
    """The environment of a user with an empty home."""
    ours = {name for row in SETTINGS for name in row.env}
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("XDG_")}
    homes = {
        "HOME": str(home),
        "LK_LOG_DIR": str(home / "logs"),
        "USERPROFILE": str(home),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    return {**kept, **homes, "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "PYTHONPATH": WITHOUT, **variables}


def start(command, log, env):
    """Start a server of this Python, where there is fork as a copy of a process that has imported what servers need."""
    if not FORKS or command[0] != sys.executable:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)
    with (
        Connection(os.dup(log.fileno()), readable=False) as out,
        Connection(os.dup(log.fileno()), readable=False) as err,
    ):
        return ForkedKernel(command, env=env, cwd=str(Path.cwd()), outputs=[out, err])


def set_parent_server(server, folder, monkeypatch):
    """Let this process look like a kernel of a Jupyter server."""
    facts = {"url": server.url, "base_url": httpx.URL(server.url).path}
    (folder / "jpserver-1.json").write_text(json.dumps(facts))
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))


@contextmanager
def running(home, *options, prefix="/", program=(sys.executable, "-m", "jupyter_server"), **variables):
    """Run a Jupyter server of a user, in the working folder."""
    port, token = free_port(), secrets.token_hex(16)
    command = [
        *(*program, "--no-browser", "--allow-root", f"--IdentityProvider.token={token}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={home}", f"--ServerApp.base_url={prefix}", alone(lk_jupyter=True), *options),
    ]
    with (home / "jupyter.log").open("w") as log:
        process = start(command, log, environment(home, **variables))
        jupyter = Jupyter(f"http://127.0.0.1:{port}{prefix}", token, process.pid, home / "logs")
        try:
            jupyter.enter()
            yield jupyter
        finally:
            jupyter.page.close()
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """A local cloud that fails on request."""
    running_cloud = RunningCloud(tmp_path_factory.mktemp("cloud"), "--clock-speed", "20", "--faults")
    yield running_cloud
    running_cloud.stop()


@pytest.fixture
def faults(cloud):
    """A function that orders faults of the cloud; they end with the test."""
    with httpx.Client(base_url=cloud.base_url) as order:
        yield lambda **fault: order.post("/_faults", json=fault).raise_for_status()
        order.delete("/_faults")


@pytest.fixture(scope="session")
def jupyter(cloud, tmp_path_factory):
    """A Jupyter server of a user who is signed in to the test session's cloud."""
    home = tmp_path_factory.mktemp("jupyter")
    journal = home / "journal.sqlite"
    with running(home, LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key, LK_JOURNAL=str(journal)) as server:
        server.journal = journal
        yield server
