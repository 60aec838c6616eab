"""lk_jupyter.remote.dask_head: workers are forks of one process, and nobody without its certificate uses a cluster."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import dask
import httpx
import psutil
import pytest

from lk_jupyter.protocol.parts import SHIPPED
from lk_jupyter.remote.dask_head import DASHBOARD, READY, SECURITY, WORKER_ENVIRONMENT

distributed = pytest.importorskip("distributed")


@pytest.fixture
def head(tmp_path):
    """What a scheduler in a process shows, as on a VM, and the id of the process."""
    code = (SHIPPED / "dask_head.py").read_text("utf-8")
    file = tmp_path / "dask_head.py"
    file.write_text(f"{code}\n\nif __name__ == '__main__':\n    serve(gpus=0, linger=600, idle=600)\n")
    command = [sys.executable, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith(READY)
        yield {**json.loads(line.removeprefix(READY)), "pid": process.pid}
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()


def connect(head):
    """Return a client with the certificate of the cluster, as the owner reads it over SSH."""
    facts = json.loads(Path(head["folder"], SECURITY).read_text())
    certificate = {"tls_ca_file": facts["certificate"], "tls_client_cert": facts["certificate"]}
    security = distributed.Security(require_encryption=True, tls_client_key=facts["key"], **certificate)
    return distributed.Client(f"tls://127.0.0.1:{head['port']}", security=security)


def imported(*names):
    return [name for name in names if name in sys.modules]


def test_workers_are_forks_and_the_scheduler_imports_the_dashboard_at_its_first_visit(head):
    heavy = ("distributed.dashboard.scheduler", "bokeh")
    with connect(head) as client:
        for name in range(2):
            client.sync(client.scheduler.lk_start, name=name, options={"nthreads": 1})
        assert client.run_on_scheduler(imported, *heavy) == []
        with_distributed = client.run(imported, "pandas").values()  # the oldest Dask imports pandas
        assert client.run_on_scheduler(imported, "pandas") in with_distributed
        parents = set(client.run(os.getppid).values())
        assert len(parents) == 1
        assert parents != {client.run_on_scheduler(os.getpid)}
        for environment in client.run(lambda: dict(os.environ)).values():
            assert WORKER_ENVIRONMENT.items() <= environment.items()
        wire = httpx.HTTPTransport(uds=str(Path(head["folder"], DASHBOARD)))
        with httpx.Client(base_url="http://127.0.0.1", transport=wire, follow_redirects=True) as visitor:
            assert "Dask Diagnostic UI" in visitor.get("/status").text
            assert visitor.get("/").url.path == "/status"
        assert client.run_on_scheduler(imported, *heavy[:2]) == [*heavy]


def list_listeners(pid):
    """Return the ports at which a process and its children listen, and the paths of their Unix sockets."""
    process = psutil.Process(pid)
    tree = [process, *process.children(recursive=True)]
    ports = {c.laddr for part in tree for c in part.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert {address.ip for address in ports} == {"127.0.0.1"}
    files = {c.laddr for part in tree for c in part.net_connections("unix") if c.laddr}
    return sorted(address.port for address in ports), sorted(files)


#: The first bytes of Dask's protocol: one frame with the handshake.
HANDSHAKE = bytes.fromhex("0900000000000000 01000000 00000000 80".replace(" ", ""))


def request_data(port):
    """Return what a stranger receives from a port: by Dask's protocol, by HTTP, and by both over TLS."""
    answers = []
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for is_encrypted in (False, True):
        for request in (HANDSHAKE, b"GET /json/identity.json HTTP/1.0\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n"):
            with suppress(OSError), ExitStack() as stack:
                stream = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))
                if is_encrypted:
                    stream = stack.enter_context(context.wrap_socket(stream))
                stream.sendall(request)
                answers.append(stream.recv(4096))
    return [answer for answer in answers if answer and not answer.startswith((b"HTTP/1.1 404", b"HTTP/1.0 404"))]


def test_a_stranger_on_the_same_machine_gets_nothing_from_any_listener_of_a_cluster(head):
    with connect(head) as client:
        client.sync(client.scheduler.lk_start, name=0, options={"nthreads": 1})
        ports, files = list_listeners(head["pid"])
        assert len(ports) >= 4  # scheduler, nanny, worker, and the worker's HTTP server
        assert {port: answers for port in ports if (answers := request_data(port))} == {}
        folders = {Path(file).parent for file in files if file.startswith("/")}
        assert Path(head["folder"]) in folders
        assert [folder for folder in folders if folder.stat().st_mode & 0o077] == []
        assert client.submit(pow, 2, 3).result() == 8


def test_the_environment_of_workers_is_dask_s_own():
    variables = dask.config.get("distributed.nanny.pre-spawn-environ")
    hash_seed = {"PYTHONHASHSEED": WORKER_ENVIRONMENT["PYTHONHASHSEED"]}
    assert {name: str(value) for name, value in variables.items()} | hash_seed == WORKER_ENVIRONMENT
