"""The supervisor of a VM as a process, with a cloud that answers badly: a full bucket or disk, no credits, no key."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote

import psutil
import pytest
from vms.on_vm import until

from lk_jupyter.vms import sending

nightly = pytest.mark.nightly

#: Saves a file of the checkpoint, prints its number, and ends after the report of a problem.
SAVES = """
import json, os, time, urllib.request
folder = os.environ["LK_CHECKPOINTS"]
open(os.path.join(folder, "model.bin"), "wb").write(bytes(1000))
urllib.request.urlopen(os.environ["LK_CHECKPOINT_ADDRESS"], data=b"").close()
print("saved", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
print("done")
"""


class Cloud:
    """A cloud that stores objects and ends VMs, and answers an upload or a download as ``refuse`` orders."""

    def __init__(self):
        self.objects, self.requests, self.refuse, self.is_deleted = {}, [], lambda _method, _path: 0, False
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                path = unquote(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                cloud.requests.append((self.command, path))
                status = cloud.refuse(self.command, path)
                content = b"{}" if status else cloud.handle(self.command, path, body)
                self.send_response(status or (404 if content is None else 200))
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (the names that the server calls)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def api(self):
        return {"url": f"http://127.0.0.1:{self.server.server_address[1]}", "key": "lk-secret", "org": ""}

    def handle(self, method, path, body):
        """Return the body of an answer; None for an object that doesn't exist."""
        if path.startswith("/vms/"):
            self.is_deleted = self.is_deleted or method == "DELETE"
            return json.dumps({"status": "terminated" if self.is_deleted else "ready"}).encode()
        if method == "POST":
            self.objects[path.partition("key=")[2]] = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            return b"{}"
        return self.objects.get(path.removeprefix("/storage/download/"))


@pytest.fixture
def cloud():
    running = Cloud()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def prepare(tmp_path, cloud):
    """Unpack the agent as on a VM; return its folder, its state, and its command in the folder."""
    folder = tmp_path / "vm"

    def unpack(around=()):
        folder.mkdir()
        with tarfile.open(fileobj=io.BytesIO(sending.pack_agent())) as archive:
            archive.extractall(folder)

        def run(*words, data=b""):
            command = [*around, sys.executable, "-m", "vm.agent", *words]
            return subprocess.run(command, cwd=folder, input=data, stdout=subprocess.PIPE, check=True).stdout

        def state():
            return json.loads((folder / "state.json").read_text())

        return SimpleNamespace(folder=folder, run=run, state=state, end=(folder / "work" / "go").touch)

    yield unpack
    cloud.refuse = lambda _method, _path: 0
    if (folder / "work").exists():
        (folder / "work" / "go").touch()
    until(lambda: cloud.is_deleted or not folder.exists())
    for process in psutil.process_iter(["cwd"]):  # the cloud ends before the supervisor has asked again
        if (process.info["cwd"] or "").startswith(str(folder)):
            process.kill()


@pytest.fixture
def start(prepare, cloud):
    """Start code as on a VM; return the prepared VM."""

    def start_code(code, around=(), **options):
        vm = prepare(around)
        times = {"timeout": 60, "ttl": 60, "linger": 0.1}
        names = {"vm_id": "1", "save": "save-", "link": "http://link/"}
        store = {"api": cloud.api, "checkpoints": {"prefix": "c/", "key": "00" * 32}}
        request = {"files": {"script.py": code}, "script": "script.py", **times, **names, **store, **options}

        vm.run("start", data=json.dumps(request).encode())
        return vm

    return start_code


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (507, "the bucket is full, so free space: %lk_bucket usage"),
        pytest.param(402, "no credits are left, so buy some: %lk_billing checkout 50", marks=nightly),
        pytest.param(401, "the API key of the VM was revoked, so keep Jupyter on until the run ends", marks=nightly),
    ],
)
def test_a_checkpoint_that_the_bucket_refuses_is_reported_at_once_and_the_code_continues(start, cloud, status, reason):
    cloud.refuse = lambda method, _path: status if method == "POST" else 0
    vm = start(SAVES)
    problem = until(lambda: vm.state().get("checkpoint", {}).get("problem"))
    assert problem == f"the bucket refused a file of 1000 bytes: {reason} (HTTP {status})"
    cloud.refuse = lambda _method, _path: 0
    until(lambda: "c/list" in cloud.objects)
    assert vm.state()["checkpoint"]["bytes"] == 1000
    vm.end()
    until(lambda: cloud.is_deleted)
    assert cloud.objects["save-log"] == b"saved\ndone\n"
    assert json.loads(cloud.objects["save-state"])["status"] == "completed"
    assert "lk-secret" not in json.dumps(vm.state())


def checkpoint_of(vm, cloud):
    """Return the list of the stored checkpoint, as a notebook sends the list to the next VM."""
    until(lambda: "c/list" in cloud.objects)
    listing = json.loads(json.loads(cloud.objects["c/list"])["list"])
    return {"prefix": "c/", "files": listing["files"], "log": listing["log"]}


@pytest.mark.parametrize(
    ("change", "details"),
    [
        (None, "A file is missing in the bucket, so the checkpoint was not restored"),
        *(
            pytest.param(content, "A file was changed in the bucket, so the checkpoint was not restored", marks=nightly)
            for content in (b"another member", bytes(999))
        ),
    ],
)
def test_a_checkpoint_without_a_file_or_with_another_or_a_torn_one_starts_no_code(
    start, cloud, tmp_path, change, details
):
    vm = start(SAVES)
    listing = checkpoint_of(vm, cloud)
    vm.end()
    until(lambda: cloud.is_deleted)
    key = "c/" + listing["files"]["model.bin"][0]
    cloud.is_deleted = False
    cloud.objects = {**cloud.objects, key: change}
    shutil.rmtree(tmp_path / "vm")
    other = start("print('started')", restore=listing)
    until(lambda: other.state().get("is_final"))
    assert (other.state()["status"], other.state()["details"]) == ("failed", details)
    assert b"started" not in other.run("log")


#: Run a command in this folder, as the root of a namespace in which the folder is a disk of 2 MB with its files.
SMALL_DISK = """
set -e
files=$(mktemp -d); cp -r . "$files"; mount -t tmpfs -o size=2m none "$PWD"; cd "$PWD"; cp -r "$files"/. .
"""

FILL = """
import os, time
print("first line", flush=True)
try:
    with open("large", "wb") as file:
        file.write(bytes(10_000_000))
finally:
    for number in range(COUNT):
        print("line", number)
"""


def has_namespaces():
    command = ["unshare", "-rm", "true"]
    return shutil.which("unshare") is not None and not subprocess.run(command, check=False).returncode


@pytest.mark.skipif(not has_namespaces(), reason="needs a namespace with its own disk")
@pytest.mark.parametrize("lines", [100, pytest.param(300_000, marks=nightly)])
def test_code_on_a_full_disk_ends_with_a_reason_and_the_vm_is_deleted(start, cloud, tmp_path, lines):
    script = SMALL_DISK + 'exec "$@"'
    start(FILL.replace("COUNT", str(lines)), around=("unshare", "-rm", "sh", "-c", script, "sh"))
    until(lambda: cloud.is_deleted)
    state, log = json.loads(cloud.objects["save-state"]), cloud.objects["save-log"].decode()
    assert log.startswith("first line\n")
    if lines == 100:
        assert (state["status"], state["return_code"]) == ("failed", 1)
        assert log.rstrip().endswith("OSError: [Errno 28] No space left on device")
        assert "line 99\n" in log
    else:
        assert (state["status"], state["details"]) == (
            "failed",
            "The disk of the VM is full, so its log can't be written",
        )
        assert log.splitlines()[1:-1] == [f"line {number}" for number in range(log.count("\n") - 1)]


def test_a_guard_deletes_its_vm_at_the_end_though_no_code_arrived(prepare, cloud):
    prepare().run("guard", data=json.dumps({"vm_id": "1", "api": cloud.api, "ttl": 0.3, "save_seconds": 60}).encode())
    until(lambda: len(cloud.requests) > 1)
    assert cloud.requests == [("DELETE", "/vms/1"), ("GET", "/vms/1/status")]


def test_a_guard_deletes_a_vm_whose_supervisor_hangs_after_the_time_for_results(start, cloud):
    vm = start("import time; time.sleep(600)", timeout=600)
    os.kill(int((vm.folder / "pid").read_text()), signal.SIGSTOP)
    began = time.monotonic()
    vm.run("guard", data=json.dumps({"vm_id": "1", "api": cloud.api, "ttl": 0.5, "save_seconds": 1.5}).encode())
    until(lambda: cloud.is_deleted)
    assert time.monotonic() - began >= 2


def test_a_guard_deletes_a_vm_without_its_supervisor_at_the_end(start, cloud):
    vm = start("import time; time.sleep(600)", timeout=600)
    os.kill(int((vm.folder / "pid").read_text()), signal.SIGKILL)
    vm.run("guard", data=json.dumps({"vm_id": "1", "api": cloud.api, "ttl": 0.5, "save_seconds": 600}).encode())
    until(lambda: cloud.is_deleted)
