"""Requests to machines whose connection is half dead end, and long quiet cells keep running."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus

import pytest
from patience import PATIENCE
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve

from lk_jupyter.api import hosted_channel, hosted_probe
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.hosted_channel import Channel
from lk_jupyter.api.hosted_probe import KernelProbe, ProbeCount
from lk_jupyter.errors import ConnectionFailed

IDLE = ("iopub", "status", {"execution_state": "idle"})
REPLY = {
    "execute_request": ("shell", "execute_reply", {"status": "ok"}),
    "kernel_info_request": ("shell", "kernel_info_reply", {"status": "ok"}),
}


class StandInServer:
    """A Jupyter server with a kernel; ``answer`` yields the messages that answer a request on a connection.

    ``state`` is the state in the list of kernels. ``sessions`` are the session ids of all connections.
    """

    def __init__(self, answer, state="idle"):
        self.answer = answer
        self.state = state
        self.sessions = []
        self.requests = []

    def list_kernels(self, connection, request):
        if not request.path.startswith("/api/kernels?"):
            return None
        body = json.dumps([{"id": "k", "execution_state": self.state}]).encode()
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
        return Response(HTTPStatus.OK, "OK", headers, body)

    def talk(self, socket):
        number = len(self.sessions)
        self.sessions.append(socket.request.path.partition("session_id=")[2])
        for text in socket:
            request = json.loads(text)
            self.requests.append((number, request["channel"], request["header"]["msg_type"]))
            for channel, kind, content in self.answer(number, request["channel"], request["header"]["msg_type"]):
                message = {"header": {"msg_type": kind}, "parent_header": request["header"], "content": content}
                socket.send(json.dumps({**message, "channel": channel}))


@pytest.fixture
def fast(monkeypatch):
    for name, seconds in {
        "PROBE_SILENCE": 0.3,
        "PROBE_SECONDS": 0.3,
        "ALIVE_PAUSE": 0.1,
        "SILENT_PAUSE": 0.1,
        "GRACE_SECONDS": 0.2,
        "IDLE_SILENCE": 0.5,
    }.items():
        monkeypatch.setattr(hosted_probe, name, seconds)
    monkeypatch.setattr(hosted_channel, "_SILENCE", 0.2)
    monkeypatch.setattr(hosted_channel, "_PAUSE", 0.01)


@contextmanager
def channel_to(server):
    with ExitStack() as stack:
        listener = stack.enter_context(serve(server.talk, "127.0.0.1", 0, process_request=server.list_kernels))
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        host, port = listener.socket.getsockname()
        hosted = stack.enter_context(closing(HostedServer(f"http://{host}:{port}/", "password")))
        hosted._is_signed_in = True
        yield stack.enter_context(closing(Channel(hosted, "k", str, lambda: "The machine is lost: 2 credits so far.")))
        listener.shutdown()
        thread.join(PATIENCE)


def answer_nothing(number, channel, kind):
    return []


def answer_usually(number, channel, kind):
    return [(channel, *REPLY[kind][1:]), IDLE]


@pytest.mark.parametrize("state", ["idle", "busy", "starting"])
def test_a_request_to_a_silent_machine_ends_as_lost_with_its_cost(fast, state):
    server = StandInServer(answer_nothing, state)
    with channel_to(server) as channel:
        with pytest.raises(ConnectionFailed, match="The machine is lost: 2 credits so far"):
            channel.ask("execute_request", {}).answer(PATIENCE)
        assert not channel.is_connected
        assert len(set(server.sessions)) == len(server.sessions) >= 3
        server.answer = answer_usually
        assert channel.ask("execute_request", {}).answer(PATIENCE) == {"status": "ok"}
        assert channel.is_connected


def test_a_reply_without_a_last_state_ends_the_cell_and_states_what_may_be_missing(fast):
    server = StandInServer(lambda number, channel, kind: [REPLY[kind]])
    with channel_to(server) as channel:
        request = channel.ask("execute_request", {})
        assert request.answer(PATIENCE) == {"status": "ok"}
        assert request.is_unfinished


def test_a_long_quiet_cell_keeps_running_while_its_kernel_answers_on_the_control_channel(fast):
    server = StandInServer(
        lambda number, channel, kind: answer_usually(0, channel, kind) if channel == "control" else []
    )
    with channel_to(server) as channel:
        request = channel.ask("execute_request", {})
        messages = request.messages()
        while sum(channel == "control" for _, channel, _ in server.requests) < 8:  # far more than a lost machine gets
            assert next(messages) is None
        name = next(iter(channel._waiting))
        for channel_name, kind, content in answer_usually(0, "shell", "execute_request"):
            message = {"header": {"msg_type": kind}, "parent_header": {"msg_id": name}, "content": content}
            channel._handle_message({**message, "channel": channel_name})
        assert list(filter(None, messages)) == []
        assert request.reply == {"status": "ok"}


def test_a_started_cell_that_keeps_the_lock_of_python_is_waited_for_longer():
    probes, silent = ProbeCount(), KernelProbe(shell=False, control=False, is_busy=True)
    conclusions = [probes.add(silent, has_started=True) for _ in range(hosted_probe.BUSY_PROBES)]
    assert conclusions == ["silent"] * (hosted_probe.BUSY_PROBES - 1) + ["lost"]
    assert ProbeCount(1).add(silent, has_started=False) == "lost"


@pytest.mark.parametrize("has_started", [True, False])
def test_a_half_dead_connection_is_renewed_with_another_session_and_the_cell_ends(fast, has_started):
    def answer(number, channel, kind):
        if number == 0:  # dead after the first state of the cell
            return [("iopub", "status", {"execution_state": "busy"})] if has_started else []
        return answer_usually(number, channel, kind)

    server = StandInServer(answer)
    words = "The cell ran: check its variables" if has_started else "didn't reach the session. Run the cell again"
    with channel_to(server) as channel:
        with pytest.raises(ConnectionFailed, match=words):
            channel.ask("execute_request", {}).answer(PATIENCE)
        assert channel.ask("execute_request", {}).answer(PATIENCE) == {"status": "ok"}
    assert len(set(server.sessions)) == len(server.sessions)


def test_a_cell_that_ends_during_a_probe_has_its_answer(fast, monkeypatch):
    monkeypatch.setattr(hosted_probe, "PROBE_SECONDS", PATIENCE)
    probed = threading.Event()

    def answer(number, channel, kind):
        if number and channel == "shell":
            probed.set()
            time.sleep(0.1)  # the kernel answers the probe after the cell
        if kind == "execute_request":
            assert probed.wait(PATIENCE)
        return answer_usually(number, channel, kind)

    with channel_to(StandInServer(answer, "busy")) as channel:
        assert channel.ask("execute_request", {}).answer(PATIENCE) == {"status": "ok"}
