"""The server process: start, end, crash, and who may share a data folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psutil
import pytest
from cloud_process import run_forked
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.errors import ConnectionFailed, LocalCloudError
from lk_jupyter.localcloud import launch

ENDLESS = "import time\nprint('up')\ntime.sleep(600)"


def serve(*options):
    return run_forked("lk_jupyter.localcloud", *options, env=os.environ)


def has_ended(process):
    """Whether a process is gone, or waits for the system to take note of its end."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_ready_line_is_true(make_api):
    api = make_api()
    assert set(api.cloud.address) == {"base_url", "api_key", "data"}
    assert api.cloud.base_url.startswith("http://127.0.0.1:")
    assert api.get("/user/org").status_code == 200


def test_it_listens_on_the_loopback_interface_only(cloud):
    listening = [c.laddr.ip for c in psutil.Process(cloud.process.pid).net_connections() if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}  # the API, and the reports of deletions by the storage


def test_the_address_file_is_private_and_goes_with_the_server(make_cloud):
    cloud = make_cloud()
    file = cloud.data / "server.json"
    assert json.loads(file.read_text()) == {**cloud.address, "pid": cloud.process.pid}
    assert file.stat().st_mode & 0o777 == 0o600
    assert cloud.stop() == 0
    assert not file.exists()


def test_a_clean_end_ends_the_runs_with_a_reason_and_leaves_nothing(make_api):
    api = make_api()
    run = api.start(ENDLESS, execution_type="gpu.a100")
    api.first_line(run)
    children = psutil.Process(api.cloud.process.pid).children(recursive=True)
    assert api.cloud.stop() == 0
    assert all(has_ended(child) for child in children)
    api.cloud.start()
    api.connect()
    record = api.record(run)
    assert record["status"] == "system_failure"
    assert record["system_errors"] == ["the local cloud stopped while the run was active"]
    assert record["stdout"] == "up\n"
    assert record["billed"] > 0


def test_a_clean_end_ends_open_streams(make_api):
    api = make_api()
    events = api.events(api.start(ENDLESS))
    next(events)
    assert api.cloud.stop() == 0
    assert "error" in list(events)[-1]["jobFinished"]["job"]["result"]


def test_a_restart_keeps_the_key_and_the_runs(make_api):
    api = make_api()
    key, record = api.cloud.api_key, api.run("print('kept')")
    api.cloud.restart()
    assert api.cloud.api_key == key
    api.connect()
    assert api.record(record["execution_id"]) == record


def test_a_crash_loses_no_finished_run_no_line_already_sent_and_no_money(make_api):
    api = make_api()
    done = api.run("print('done')", execution_type="gpu.a100")
    run = api.start(
        "import time\ni = 0\nwhile True:\n    print(i)\n    i += 1\n    time.sleep(0.001)", execution_type="gpu.b300"
    )
    sent = ""
    for event in api.events(run):
        sent += event["output"]["content"]
        if "300\n" in sent:
            break
    [process] = psutil.Process(api.cloud.process.pid).children()
    api.cloud.kill()
    seconds_down = time.monotonic()
    assert process.is_running()

    api.cloud.start()
    api.connect()
    assert has_ended(process)
    assert api.record(done["execution_id"]) == done
    assert api.output(done["execution_id"]) == "done\n"
    record = api.record(run)
    assert record["status"] == "system_failure"
    assert record["status_details"] == "the local cloud stopped while the run was active"
    assert api.output(run).startswith(sent)
    assert api.get("/workloads/list").json() == []
    spent = api.get("/billing/credits").json()["used_credits"]
    assert spent == pytest.approx(done["billed"] + record["billed"])
    assert 0 < record["billed"] < 7.99 / 3600 * (time.monotonic() - seconds_down + 10)
    assert not list((api.cloud.data).glob("runs/*"))


def test_after_a_second_crash_nothing_is_billed_again(make_api):
    api = make_api()
    run = api.start(ENDLESS, execution_type="gpu.a100")
    api.first_line(run)
    api.cloud.kill()
    api.cloud.start()
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert api.get("/billing/credits").json()["used_credits"] == pytest.approx(api.record(run)["billed"])


def test_a_second_server_on_the_same_data_is_refused(cloud):
    refused = serve("--data", str(cloud.data))
    assert refused.returncode == 1
    assert refused.stderr == f"A local cloud already runs on {cloud.data}. Use it, or give another --data folder.\n"
    assert cloud.http.get("/user/org").status_code == 200


def test_a_taken_port_is_refused(cloud, tmp_path):
    refused = serve("--data", str(tmp_path), "--port", cloud.base_url.rpartition(":")[2])
    assert refused.returncode == 1
    assert refused.stderr.startswith("Port ")


def test_help_explains_every_option():
    text = serve("--help").stdout
    for option in ("--port", "--data", "--credits", "--quota", "--access-seconds", "--simulate-gpu", "--faults"):
        assert option in text


def test_an_unknown_machine_in_the_quota_is_refused(tmp_path):
    refused = serve("--data", str(tmp_path), "--quota", "gpu.z9")
    assert refused.returncode == 2
    assert "unknown machine gpu.z9" in refused.stderr


@pytest.mark.parametrize("speed", ["abc", "0", "-1", "nan"])
def test_a_clock_speed_that_is_no_positive_number_is_refused_in_words(tmp_path, speed):
    refused = serve("--data", str(tmp_path), f"--clock-speed={speed}")
    assert refused.returncode == 2
    assert f"argument --clock-speed: '{speed}' is not a number above 0" in refused.stderr


def test_launch_starts_finds_and_stops(tmp_path):
    assert launch.find(tmp_path) is None
    started = launch.start(tmp_path)
    try:
        assert launch.find(tmp_path) == started
        assert launch.start(tmp_path) == started
        assert started.api_key not in repr(started)
    finally:
        assert launch.stop(tmp_path) is True
    assert launch.find(tmp_path) is None
    assert launch.stop(tmp_path) is False
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)


def test_launch_takes_no_dead_address_for_a_cloud(make_cloud):
    cloud = make_cloud()
    cloud.kill()
    assert (cloud.data / "server.json").exists()
    assert launch.find(cloud.data) is None


class Thief(ThreadingHTTPServer):
    """Whoever takes the port of a cloud that has crashed; says yes to all, and keeps what came."""

    def __init__(self, base_url, answer=lambda _: b"{}"):
        self.came, self.answer = [], answer
        super().__init__(("127.0.0.1", int(base_url.rpartition(":")[2])), Listening)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Listening(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.came.append(f"{self.requestline} {self.headers}")
        body = self.server.answer(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def thief():
    """A function that takes the port of a cloud."""
    made = []

    def take(*given):
        made.append(Thief(*given))
        return made[-1]

    yield take
    for each in made:
        each.shutdown()
        each.server_close()


def test_who_takes_the_port_of_a_crashed_cloud_gets_no_key(make_cloud, thief):
    cloud = make_cloud()
    cloud.kill()
    taker = thief(cloud.base_url)
    assert launch.find(cloud.data) is None
    assert len(taker.came) == 1
    assert cloud.api_key not in taker.came[0]


def test_who_passes_the_question_on_to_a_cloud_that_knows_gets_no_key(make_cloud, thief):
    cloud = make_cloud()
    written = cloud.data / "server.json"
    taken = f"http://127.0.0.1:{free_port()}"
    taker = thief(taken, lambda path: httpx.get(cloud.base_url + path).content)
    written.write_text(json.dumps({**json.loads(written.read_text()), "base_url": taken}))
    assert launch.find(cloud.data) is None
    assert cloud.api_key not in "".join(taker.came)


def test_a_session_sends_no_key_to_who_takes_the_port_later(make_cloud, thief, home, monkeypatch):
    cloud = make_cloud()
    monkeypatch.setenv("LK_LOCAL_DATA", str(cloud.data))
    with lk_jupyter.connect("local") as session:
        assert session.client.user.status().email == "local@localhost"
        cloud.kill()
        taker = thief(cloud.base_url)
        with pytest.raises(ConnectionFailed, match=r"The local cloud has stopped\. Nothing was sent\."):
            session.client.user.status()
        taker.shutdown()
        taker.server_close()
        cloud.start()
        assert session.client.user.status().email == "local@localhost"
    assert cloud.api_key not in "".join(taker.came)


def test_who_answers_byte_by_byte_holds_nobody_up(make_cloud):
    cloud = make_cloud()
    cloud.kill()
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", int(cloud.base_url.rpartition(":")[2]))) as listener:
        threading.Thread(target=drip, args=(listener, ended), daemon=True).start()
        started = time.monotonic()
        assert launch.find(cloud.data) is None
        assert time.monotonic() - started < PATIENCE
        assert ended.wait(PATIENCE)


def drip(listener, ended):
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        while True:
            connection.sendall(b"H")
            time.sleep(0.05)  # the pace of the answer
    ended.set()


def test_the_proof_is_asked_by_pages_of_this_machine_only(cloud):
    page = f"{cloud.base_url}/_identity"
    assert httpx.get(page, params={"nonce": "x"}).status_code == 200
    assert httpx.get(page, params={"nonce": "x"}, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(page, params={"nonce": "x" * 101}).status_code == 422


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no mode there")
def test_a_folder_that_others_could_read_is_closed_to_them(make_cloud, tmp_path):
    data = tmp_path / "open"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    launch.make_private(data)
    assert data.stat().st_mode & 0o777 == 0o700


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_launch_tells_why_a_cloud_does_not_start(tmp_path):
    with pytest.raises(LocalCloudError, match="unrecognized arguments: --bad"):
        launch.start(tmp_path, "--bad")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(7)", r"ended with exit code 7 before it answered\. Its log '.*server\.log' is empty\."),
        (
            "import sys; print(*range(9), sep='\\n', file=sys.stderr); sys.exit(3)",
            r"exit code 3 .* The end of its log '.*server\.log': 4 / 5 / 6 / 7 / 8$",
        ),
        pytest.param(
            "import os; os.kill(os.getpid(), 9)",
            r"Signal 9 ended the local cloud before it answered\.",
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows has no signals."),
        ),
        (
            "import time\nfor _ in range(15):\n    time.sleep(0.2)",
            r"\(process \d+\) doesn't answer after 1 s\. It may still start: run the line again\.",
        ),
    ],
)
def test_a_cloud_that_does_not_start_is_reported_with_its_end_and_its_log(tmp_path, monkeypatch, code, words):
    if "sleep" in code:
        monkeypatch.setattr(launch, "_READY_SECONDS", 1.0)
    monkeypatch.setattr(launch, "module_command", lambda _: [sys.executable, "-c", code])
    with pytest.raises(LocalCloudError, match=words):
        launch.start(tmp_path)


def test_launch_loads_no_web_server():
    code = "import sys, lk_jupyter.localcloud.launch\nprint({'fastapi', 'uvicorn', 'psutil'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_a_cloud_that_crashed_comes_back_at_its_address(make_cloud):
    cloud = make_cloud()
    before = cloud.base_url
    cloud.kill()
    cloud.start()
    assert cloud.base_url == before


def test_a_cloud_whose_old_port_is_taken_finds_another(make_cloud):
    cloud = make_cloud()
    before = cloud.base_url
    cloud.kill()
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        cloud.start()
    assert cloud.base_url != before
