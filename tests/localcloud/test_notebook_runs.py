"""Hosted Jupyter servers where there is no container engine."""

from __future__ import annotations

import json
import uuid

import httpx
import psutil
import pytest
import zmq
from conftest import RunningCloud
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import BlockingKernelClient, KernelManager
from localcloud.conftest import Api, until
from patience import PATIENCE
from websockets.sync.client import connect

from lk_jupyter.api.ports import port_url

COMMAND = ["start-notebook.sh", "--NotebookApp.token=own-token", "--port=8888", "--ip=0.0.0.0", "--no-browser"]
SUPPORTED = get_kernel_dict().get("metadata", {})
CAN_ENCRYPT = hasattr(KernelManager, "transport_encryption") and "supported_encryption" in SUPPORTED


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook server on a cloud without an engine: the cloud, the start answer and the server's address."""
    running = RunningCloud(tmp_path_factory.mktemp("notebook"), "--engine", "none")
    api = Api(running)
    body = {"docker_image_ref": "jupyter/base-notebook:latest", "docker_run_cmd": COMMAND, "timeout": 600}
    started = api.post("/execution/image/start", {**body, "job_type": "customer_notebook"}).json()
    url = port_url(running.base_url, started["execution_id"], 8888)
    until(lambda: httpx.get(f"{url}api", timeout=PATIENCE).status_code == 200)
    yield api, started, url
    api.post(f"/workloads/stop/{started['execution_id']}")
    assert api.ended(started["execution_id"])["status"] == "cancelled"
    api.http.close()
    running.stop()


@pytest.mark.nightly
def test_the_answer_and_the_record_say_what_runs_in_place_of_the_image(notebook):
    api, started, _ = notebook
    assert "Instead of jupyter/base-notebook:latest" in started["pythia_decision"]
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


def test_the_folder_of_the_notebooks_holds_none_of_jupyters_own_files(notebook):
    api, started, url = notebook
    made = httpx.post(f"{url}api/kernels", params={"token": "own-token"}, json={}, timeout=PATIENCE).json()
    assert list((api.cloud.data / "runs" / started["execution_id"]).glob("**/*.json")) == []
    httpx.delete(f"{url}api/kernels/{made['id']}", params={"token": "own-token"}, timeout=PATIENCE)


@pytest.fixture
def kernel(notebook):
    """The connection of a kernel of the server, as its owner reads it from a file."""
    api, started, url = notebook
    made = httpx.post(f"{url}api/kernels", params={"token": "own-token"}, json={}, timeout=PATIENCE).json()
    folder = api.cloud.data / "runs" / f"{started['execution_id']}.jupyter" / "runtime"
    yield json.loads((folder / f"kernel-{made['id']}.json").read_text())
    httpx.delete(f"{url}api/kernels/{made['id']}", params={"token": "own-token"}, timeout=PATIENCE)


@pytest.mark.skipif(not CAN_ENCRYPT, reason="this jupyter_client or ipykernel has no encryption")
def test_what_a_kernel_shows_is_seen_by_nobody_without_its_key(notebook, kernel):
    with zmq.Context() as context, context.socket(zmq.SUB) as thief:
        thief.subscribe(b"")
        thief.connect(f"tcp://127.0.0.1:{kernel['iopub_port']}")
        owner = BlockingKernelClient()
        owner.load_connection_info(kernel)
        owner.start_channels()
        until(lambda: answers(owner))
        seen = []
        owner.execute_interactive("print('mine')", timeout=PATIENCE, output_hook=seen.append)
        owner.stop_channels()
        assert "mine" in str(seen)
        assert thief.poll(500) == 0


def answers(client):
    """Whether a kernel is up; the client takes one that still starts for dead."""
    try:
        client.wait_for_ready(10)
    except RuntimeError:
        return False
    return True


def test_it_listens_on_this_machine_only(notebook):
    servers = [p for p in psutil.process_iter(["cmdline"]) if "--ServerApp.port_retries=0" in (p.info["cmdline"] or ())]
    places = {c.laddr.ip for p in servers for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert places == {"127.0.0.1"}


def test_a_kernel_runs_code_through_the_port_and_keeps_out_of_the_history_of_this_machines_user(notebook):
    api, started, url = notebook
    headers = {"Authorization": "token own-token"}
    kernel = httpx.post(f"{url}api/kernels", headers=headers, timeout=PATIENCE).json()["id"]
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
        while (message := json.loads(socket.recv(timeout=PATIENCE)))["header"]["msg_type"] != "stream":
            pass
    assert message["content"]["text"] == "42\n"
    assert httpx.delete(f"{url}api/kernels/{kernel}", headers=headers).status_code == 204
    assert (api.cloud.data / "runs" / f"{started['execution_id']}.jupyter" / "ipython" / "profile_default").is_dir()
