"""A notebook that names a kernel on a cloud machine: opening it starts nothing before its user has clicked Start."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import quote

import httpx
import psutil
import pytest
from patience import PATIENCE, wait_until
from serverext.conftest import running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import lk_jupyter
from lk_jupyter.kernels import specs

pytestmark = [pytest.mark.xdist_group("hosted")]

NOTEBOOK = "sent/for you.ipynb"


@pytest.fixture(scope="module")
def server(hosting, tmp_path_factory):
    """A Jupyter server of a user who has added a kernel on an A100, before kernels had a default maximum cost."""
    home = tmp_path_factory.mktemp("jupyter")
    (home / "sent").mkdir()
    with pytest.MonkeyPatch.context() as patch, lk_jupyter.connect(hosting.base_url, hosting.api_key) as session:
        patch.setenv("JUPYTER_DATA_DIR", str(home / "data"))
        specs.add(session.machines().resolve("A100"), {})
    signed_in = {"LK_BASE_URL": hosting.base_url, "LK_API_KEY": hosting.api_key}
    with running(home, JUPYTER_DATA_DIR=str(home / "data"), **signed_in) as jupyter:
        yield jupyter


@pytest.fixture
def opened(server):
    """Open a notebook as a page does, in a thread; give the answer to come."""
    with ThreadPoolExecutor() as threads:
        yield lambda path=NOTEBOOK: threads.submit(open_notebook, server, path)


def find_listener(port):
    """Return the process that listens on a port; None without one."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            connections = process.net_connections("tcp")
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
                return process
    return None


def open_notebook(server, path):
    body = {"path": path, "name": path.rpartition("/")[2], "type": "notebook", "kernel": {"name": "lk-gpu.a100"}}
    return server.page.post("api/sessions", json=body)


class Page:
    """What a page of Lab knows of the questions."""

    def __init__(self, socket):
        self.socket = socket

    def questions(self):
        """Wait until the questions change; give them."""
        return json.loads(self.socket.recv(PATIENCE))["questions"]

    def question(self):
        """Wait for a question."""
        while not (questions := self.questions()):
            pass
        return questions[-1]

    def answer(self, question, start):
        self.socket.send(json.dumps({"id": question["id"], "start": start}))


@contextmanager
def connected(server, query=None, **headers):
    """Connect a page as a browser does that has signed in."""
    cookies = "; ".join(f"{name}={value}" for name, value in server.page.cookies.items())
    address = server.url.replace("http", "ws", 1) + "lk/kernels/questions"
    query = f"?_xsrf={quote(server.page.cookies['_xsrf'])}" if query is None else query
    with connect(address + query, additional_headers={"Cookie": cookies, **headers}) as socket:
        yield Page(socket)


@pytest.fixture
def page(server):
    with connected(server) as page:
        yield page


def active(cloud):
    return [run.hardware_profile for run in cloud.client.workloads.list()]


def test_a_notebook_starts_its_machine_when_start_is_clicked_and_at_most_to_the_cost_of_the_question(
    hosting, server, opened, page
):
    answer = opened()
    question = page.question()
    assert active(hosting) == []
    assert {**question, "id": ""} == {
        "id": "",
        "name": "A100",
        "machine": "gpu.a100",
        "notebook": "for you.ipynb",
        "price_per_hour": "1.59",
        "highest_cost": "0.265442",
        "idle_minutes": 10,
    }
    page.answer(question, start=True)
    assert answer.result().status_code == 201
    assert page.questions() == []
    assert active(hosting) == ["gpu.a100"]
    session = answer.result().json()
    restarted = server.page.post(f"api/kernels/{session['kernel']['id']}/restart")
    assert restarted.status_code == 200  # on the active machine: nothing is asked
    server.page.delete(f"api/sessions/{session['id']}").raise_for_status()
    assert active(hosting) == []


def test_a_notebook_whose_start_is_cancelled_starts_nothing_and_says_what_to_do(hosting, opened, page):
    answer = opened()
    page.answer(page.question(), start=False)
    refused = answer.result()
    assert refused.status_code == 500
    assert "A100 wasn't started: Cancel was clicked. No machine was started" in refused.json()["message"]
    assert page.questions() == []
    assert active(hosting) == []


def test_a_notebook_that_is_opened_again_replaces_its_question(hosting, opened, page):
    first = opened()
    question = page.question()
    second = opened()
    assert "the same notebook was started again" in first.result().json()["message"]
    page.answer(question, start=True)  # of the first: answered
    while (last := page.question()) == question:
        pass
    page.answer(last, start=False)
    assert second.result().status_code == 500
    assert active(hosting) == []


def test_a_page_that_connects_late_gets_the_question(hosting, server, opened):
    answer = opened()
    with connected(server) as page:
        page.answer(page.question(), start=False)
    assert answer.result().status_code == 500


@pytest.mark.parametrize(
    ("headers", "query"),
    [({}, ""), ({}, "?_xsrf=guessed"), ({"Origin": "https://evil.example"}, "?"), ({"Cookie": ""}, "?")],
    ids=["no token", "guessed token", "another site", "signed out"],
)
def test_a_page_of_another_site_gets_no_question_and_gives_no_answer(server, headers, query):
    with pytest.raises(InvalidStatus, match="403"), connected(server, query, **headers):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1, "start": true}', '{"id": "x", "start": "maybe"}', "\x00"])
def test_an_odd_answer_is_none(hosting, opened, page, text):
    answer = opened()
    question = page.question()
    page.socket.send(text)
    page.answer({"id": "guessed"}, start=True)
    page.answer(question, start=False)
    assert answer.result().status_code == 500
    assert active(hosting) == []


@pytest.mark.nightly  # a restart by its user is the case by day
def test_a_kernel_that_dies_with_its_machine_asks_once_and_starts_nothing_when_cancelled(hosting, server, opened, page):
    answer = opened()
    page.answer(page.question(), start=True)
    session = answer.result().json()
    (run,) = hosting.client.workloads.list()
    hosting.client.workloads.abort(run.execution_id)
    connection_file = server.logs.with_name("runtime") / f"kernel-{session['kernel']['id']}.json"
    port = json.loads(connection_file.read_text())["shell_port"]
    wait_until(lambda: find_listener(port)).kill()  # a forked bridge has the command line of the process it comes from
    page.answer(page.question(), start=False)
    assert page.questions() == []
    with pytest.raises(TimeoutError):  # Jupyter looks each 3 s whether a kernel lives
        page.socket.recv(4)
    assert active(hosting) == []
    server.page.delete(f"api/sessions/{session['id']}").raise_for_status()


def test_a_server_ends_at_once_while_a_question_waits(hosting, home, tmp_path):
    with lk_jupyter.connect(hosting.base_url, hosting.api_key) as session, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
        specs.add(session.machines().resolve("A100"), {})
    signed_in = {"LK_BASE_URL": hosting.base_url, "LK_API_KEY": hosting.api_key}
    with (
        ThreadPoolExecutor() as threads,
        running(tmp_path, JUPYTER_DATA_DIR=str(tmp_path / "data"), **signed_in) as jupyter,
        connected(jupyter) as page,
    ):
        answer = threads.submit(open_notebook, jupyter, NOTEBOOK)
        page.question()
        process = psutil.Process(jupyter.pid)
        process.terminate()
        process.wait(30)
        with pytest.raises(httpx.TransportError):
            answer.result()
    assert active(hosting) == []
