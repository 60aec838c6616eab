"""Callbacks at the end of a run: who is called, with what, and how often."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest
from localcloud.conftest import description


class Listener:
    """A server that notes what it is sent and answers with the given statuses, the last one for ever."""

    def __init__(self, *statuses, port=0):
        self.got = []
        listener, statuses = self, list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.got.append((self.path, self.headers["content-type"], json.loads(body)))
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listen():
    made = []

    def start(*statuses, **options):
        made.append(Listener(*(statuses or (200,)), **options))
        return made[-1]

    yield start
    for listener in made:
        listener.close()


@pytest.mark.parametrize(("code", "status"), [("1", "completed"), ("raise SystemExit(1)", "failed")])
def test_every_address_is_told_how_a_run_ended(api, until, listen, code, status):
    one, two = listen(), listen()
    run = api.start(code, user_callback_urls=[f"{one.url}/a?b=c", two.url.replace("127.0.0.1", "localhost")])
    until(lambda: one.got and two.got)
    assert one.got == [("/a?b=c", "application/json", {"execution_id": run, "status": status})]
    described = description()["components"]["schemas"]["RunFinishedCallback"]
    jsonschema.Draft202012Validator({**described, "components": description()["components"]}).validate(two.got[0][2])


def test_an_aborted_run_calls_too(api, until, listen):
    listener = listen()
    run = api.start("import time\nprint('up')\ntime.sleep(600)", user_callback_urls=[listener.url])
    api.first_line(run)
    assert listener.got == []
    api.post(f"/workloads/abort/{run}")
    until(lambda: listener.got)
    assert listener.got[0][2]["status"] == "aborted"


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_call_that_is_not_acknowledged_is_made_again(api, until, listen, status):
    listener = listen(status, status, 204)
    run = api.start("1", user_callback_urls=[listener.url])
    until(lambda: len(listener.got) == 3)
    assert {body["execution_id"] for _, _, body in listener.got} == {run}


def test_calls_that_have_not_arrived_survive_a_crash(make_api, until, listen):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = make_api()
    run = api.start("1", user_callback_urls=[f"http://127.0.0.1:{port}/"])
    api.ended(run)
    api.cloud.kill()
    listener = listen(port=port)
    api.cloud.start()
    api.connect()
    until(lambda: listener.got)
    assert listener.got[0][2] == {"execution_id": run, "status": "completed"}


def test_a_run_that_a_crash_ended_calls_after_the_restart(make_api, until, listen):
    listener = listen()
    api = make_api()
    run = api.start("import time\nprint('up')\ntime.sleep(600)", user_callback_urls=[listener.url])
    api.first_line(run)
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    until(lambda: listener.got)
    assert listener.got[0][2] == {"execution_id": run, "status": "system_failure"}


STARTS = {
    "streaming": {"code": "1"},
    "image": {"docker_image_ref": "x:1"},
    "compose": {"compose_file_code": "services: {a: {image: x}}"},
}


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize(
    "url",
    ["https://example.com/x", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "ftp://127.0.0.1/", "x", "",
     "http://localhost@example.com/", "http://127.0.0.1:99999/", "http://[::1", "http://127.0.0.1/\r\n"],
)  # fmt: skip
def test_addresses_of_other_machines_are_refused_saying_why(api, kind, url):
    answer = api.post(f"/execution/{kind}/start", {**STARTS[kind], "user_callback_urls": [url]})
    assert answer.status_code == 422
    [row] = answer.json()["detail"]
    assert row["loc"] == ["body", "user_callback_urls"]
    assert "only to this machine" in row["msg"]
