"""Hosted Jupyter servers where there is no container engine."""

from __future__ import annotations

import json
import uuid

import httpx
import psutil
import pytest
from conftest import RunningCloud
from localcloud.conftest import Api, until
from websockets.sync.client import connect

from lk_jupyter.api.ports import port_url

COMMAND = ["start-notebook.sh", "--NotebookApp.token=own-token", "--port=8888", "--ip=0.0.0.0", "--no-browser"]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook server on a cloud without an engine: the cloud, the start answer and the server's address."""
    running = RunningCloud(tmp_path_factory.mktemp("notebook"), "--engine", "none")
    api = Api(running)
    body = {"docker_image_ref": "jupyter/base-notebook:latest", "docker_run_cmd": COMMAND, "timeout": 600}
    started = api.post("/execution/image/start", {**body, "job_type": "customer_notebook"}).json()
    url = port_url(running.base_url, started["execution_id"], 8888)
    until(lambda: httpx.get(f"{url}api", timeout=60).status_code == 200, seconds=60)
    yield api, started, url
    api.post(f"/workloads/stop/{started['execution_id']}")
    assert api.ended(started["execution_id"])["status"] == "cancelled"
    api.http.close()
    running.stop()


def test_the_answer_and_the_record_say_what_runs_in_place_of_the_image(notebook):
    api, started, _ = notebook
    assert "in place of jupyter/base-notebook:latest" in started["pythia_decision"]
    record = api.record(started["execution_id"])
    assert record["status_details"] == started["pythia_decision"]
    assert record["docker_image_ref"] == "jupyter/base-notebook:latest"
    [row] = api.get("/workloads/list").json()
    assert (row["job_type"], row["status"]) == ("customer_notebook", "running")


def test_the_token_guards_it_and_is_on_no_command_line(notebook):
    _, _, url = notebook
    assert httpx.get(f"{url}api/kernels").status_code == 403
    assert httpx.get(f"{url}api/kernels", params={"token": "own-token"}).json() == []
    assert httpx.get(f"{url}api/kernels").status_code == 403  # the cookie was the other caller's
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if "own-token" in line]


def test_it_listens_on_this_machine_only(notebook):
    servers = [p for p in psutil.process_iter(["cmdline"]) if "--ServerApp.port_retries=0" in (p.info["cmdline"] or ())]
    places = {c.laddr.ip for p in servers for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert places == {"127.0.0.1"}


def test_a_kernel_runs_code_through_the_port(notebook):
    _, _, url = notebook
    headers = {"Authorization": "token own-token"}
    kernel = httpx.post(f"{url}api/kernels", headers=headers, timeout=60).json()["id"]
    address = f"{url}api/kernels/{kernel}/channels".replace("http://", "ws://")
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    content = {"code": "print(6 * 7)", "silent": False, "store_history": False, "allow_stdin": False}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        socket.send(json.dumps(request))
        while (message := json.loads(socket.recv(timeout=60)))["header"]["msg_type"] != "stream":
            pass
    assert message["content"]["text"] == "42\n"
    assert httpx.delete(f"{url}api/kernels/{kernel}", headers=headers).status_code == 204
