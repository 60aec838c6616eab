"""Ports of runs: requests, streams and web sockets through the local address."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from unittest.mock import Mock

import httpx
import pytest
from fastapi import HTTPException
from patience import PATIENCE
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lk_jupyter.api.ports import port_url
from lk_jupyter.localcloud.runs import live_run
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.outcome import RunOutcome
from lk_jupyter.localcloud.runs.ports import PortRequest, Ports
from lk_jupyter.localcloud.runs.runs import LiveRuns

SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/there")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"first")
            self.rfile.read()
        else:
            self.answer(self.path + " " + self.headers["host"] + " " + self.headers.get("x-own", ""))

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["content-length"])).decode())

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Mark", "here")
        self.send_header("Clear-Site-Data", '"cookies"')
        self.send_header("Set-Cookie", "a=b; Domain=localhost; Path=/")
        self.send_header("ETag", self.headers.get("cookie", "none"))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""

ECHO = """
from websockets.sync.server import serve

def echo(socket):
    for message in socket:
        socket.send(message)

with serve(echo, "127.0.0.1", 0, subprotocols=["mine"]) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0", "::1"])
def served(api, request):
    """A run that serves, its port and the address for it."""
    setup = "http.server.ThreadingHTTPServer.address_family = socket.AF_INET6\n" if request.param == "::1" else ""
    code = f"import socket, http.server\nHOST = {request.param!r}\n{setup}{SERVER}"
    run = api.start(code, timeout=600)
    port = int(api.first_line(run))
    yield run, port, port_url(api.cloud.base_url, run, port)
    api.post(f"/workloads/abort/{run}")


def test_requests_and_answers_pass_unchanged(api, served):
    _, _, url = served
    answer = httpx.get(f"{url}a%2Fb?x=1&y=%20", headers={"x-own": "mine"})
    host = api.cloud.base_url.removeprefix("http://")
    assert (answer.status_code, answer.text) == (200, f"/a%2Fb?x=1&y=%20 {host} mine")
    assert answer.headers["x-mark"] == "here"
    assert httpx.post(url, content="x" * 1_000_000).text == "x" * 1_000_000


BROWSERS = [{"sec-fetch-site": "same-site"}, {"origin": "null"}, {"user-agent": "Mozilla/5.0 (X11)"}]


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_program_acts_on_no_cookies_of_other_hosts_in_a_browser(api, served, browser):
    run, port, url = served
    answer = httpx.get(url, headers={**browser, "cookie": "_xsrf=s3cr3t"})
    assert not {"x-mark", "clear-site-data", "set-cookie"} & set(answer.headers)
    assert answer.headers["etag"] == "none"
    host = f"{run}-{port}.port.localhost:{httpx.URL(api.cloud.base_url).port}"
    own = httpx.get(f"{api.cloud.base_url}/", headers={**browser, "host": host, "cookie": "own=1"})
    assert not {"x-mark", "clear-site-data"} & set(own.headers)
    assert (own.headers["set-cookie"], own.headers["etag"]) == ("a=b; Path=/", "own=1")


def test_a_client_that_is_no_browser_has_cookies_at_a_port(served):
    answer = httpx.get(served[2], headers={"cookie": "_xsrf=1"})
    assert answer.headers["etag"] == "_xsrf=1"
    assert answer.headers["set-cookie"] == "a=b; Path=/"


def test_an_answer_is_passed_on_as_it_comes(served):
    with httpx.stream("GET", f"{served[2]}drip") as answer:
        assert next(answer.iter_raw()) == b"first"


def test_a_redirect_stays_within_the_port(served):
    assert httpx.get(f"{served[2]}moved").headers["location"] == httpx.URL(served[2]).path + "there"


def test_a_browser_is_led_to_an_address_that_is_the_ports_alone(api, served):
    run, port, url = served
    led = httpx.get(f"{url}lab?token=t", headers={"sec-fetch-mode": "navigate"})
    own_port = httpx.URL(api.cloud.base_url).port
    assert led.headers["location"] == f"http://{run}-{port}.port.localhost:{own_port}/lab?token=t"
    host = httpx.URL(led.headers["location"]).netloc.decode()
    assert httpx.get(f"{api.cloud.base_url}/lab", headers={"host": host}).text == f"/lab {host} "


def test_web_sockets_pass_both_ways(api):
    run = api.start(ECHO, timeout=600)
    url = port_url(api.cloud.base_url, run, int(api.first_line(run))).replace("http://", "ws://")
    with connect(url, subprotocols=["mine"], proxy=None) as socket:
        assert socket.subprotocol == "mine"
        for message in ("text", b"bytes", "x" * 100_000):
            socket.send(message)
            assert socket.recv(timeout=PATIENCE) == message
    api.post(f"/workloads/abort/{run}")


def test_only_ports_of_the_run_itself_are_reached(api, served):
    own_port = httpx.URL(api.cloud.base_url).port
    answer = httpx.get(port_url(api.cloud.base_url, served[0], own_port))
    assert (answer.status_code, "listens on port" in answer.json()["detail"]) == (502, True)
    other = api.start("import time\nprint('up')\ntime.sleep(600)")
    api.first_line(other)
    assert httpx.get(port_url(api.cloud.base_url, other, served[1])).status_code == 502
    api.post(f"/workloads/abort/{other}")


def test_a_run_that_has_ended_has_no_ports(api):
    run = api.run("1")["execution_id"]
    assert httpx.get(port_url(api.cloud.base_url, run, 80)).status_code == 404
    url = port_url(api.cloud.base_url, run, 80).replace("http://", "ws://")
    with pytest.raises(InvalidStatus):
        connect(url, proxy=None)


def test_the_cloud_itself_has_no_web_sockets(api):
    with pytest.raises(InvalidStatus):
        connect(api.cloud.base_url.replace("http://", "ws://") + "/api/v1/stream/x", proxy=None)


def test_a_run_whose_files_are_being_deleted_is_active_no_more_and_has_no_ports(tmp_path, monkeypatch):
    seen = []

    class Short(LiveRun):
        kind = job_type = "python"

        async def _run_steps(self):
            return RunOutcome("completed")

    def delete(*_, **__):
        assert runs.records.finish.called
        ports = Ports(None, SimpleNamespace(runs=runs))
        with pytest.raises(HTTPException, match="404"):
            asyncio.run(ports._require_port_address(PortRequest(run.id, 80, "", "/")))
        seen.append(runs.end(run.id, RunOutcome("aborted")))

    async def live():
        nonlocal run
        run = runs.start(Short, Mock(execution_type="cpu"), Mock())
        await run.task

    run = None
    monkeypatch.setattr(live_run.shutil, "rmtree", delete)
    runs = LiveRuns(Mock(), Mock(), Mock(), tmp_path, Mock())
    asyncio.run(live())
    assert seen == [False]


@pytest.mark.xdist_group("containers")
def test_a_port_of_a_container_is_reached(api, image, until):
    page = "echo hello from inside > /tmp/index.html; httpd -f -p 8000 -h /tmp"
    run = api.start_image(image, "sh", "-c", page, timeout=600)
    url = port_url(api.cloud.base_url, run, 8000)
    assert until(lambda: (answer := httpx.get(url)).status_code == 200 and answer.text) == "hello from inside\n"
    api.post(f"/workloads/abort/{run}")
    api.ended(run)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.lyceum.technology", "https://r-8888.port.lyceum.technology/"),
        ("http://127.0.0.1:7/", "http://127.0.0.1:7/ports/r/8888/"),
        ("http://localhost:7", "http://localhost:7/ports/r/8888/"),
    ],
)
def test_the_address_of_a_port_is_that_of_its_cloud(base_url, url):
    assert port_url(base_url, "r", 8888) == url
