"""The process between a Jupyter here and a kernel there, beside a server that ends in the middle of an answer."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from contextlib import contextmanager
from queue import Empty
from types import SimpleNamespace

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from patience import PATIENCE
from websockets.asyncio.server import serve

from lk_jupyter.api import hosted_probe
from lk_jupyter.api.hosted_probe import UNFINISHED
from lk_jupyter.kernels import bridge
from lk_jupyter.kernels.sockets import KernelMessage, Sockets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="zmq has no ipc there")

PORTS = {f"{name}_port": port for port, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}

INFO = {"status": "ok", "protocol_version": "5.3"}

#: The two messages that end a cell, which come on two channels.
ENDS = {
    "execute_reply": ("shell", {"status": "ok", "execution_count": 1}),
    "status": ("iopub", {"execution_state": "idle"}),
}


@pytest.fixture(params=ENDS)
def kind(request):
    """Which of them comes."""
    return request.param


@pytest.fixture
def client(kind, monkeypatch):
    """The client of a kernel whose machine is stopped once it has sent one of the messages that end a cell."""
    monkeypatch.setattr(bridge, "LOOK", 0.05)
    with client_of(lambda run: stopping(run, kind)) as client:
        yield client


@contextmanager
def client_of(kernel):
    """Start a bridge to a kernel, and yield a client of the bridge."""
    with tempfile.TemporaryDirectory() as folder:
        connection = {**PORTS, "transport": "ipc", "ip": f"{folder}/k", "key": "k", "signature_scheme": "hmac-sha256"}
        thread = threading.Thread(target=asyncio.run, args=[between(connection, kernel)])
        thread.start()
        client = BlockingKernelClient()
        client.load_connection_info(connection)
        client.start_channels()
        try:
            yield client
        finally:
            client.shutdown()
            thread.join(PATIENCE)
            client.stop_channels()


def stopping(run, kind):
    """Return a kernel that sends one of the messages that end a cell, and whose machine is then stopped."""
    session = Session()

    async def answer(socket):
        async for data in socket:
            header = KernelMessage([], deserialize_msg_from_ws_v1(data)[1]).header
            if header["msg_type"] == "execute_request":
                channel, content = ENDS[kind]
                told = session.serialize(session.msg(kind, content, parent=header))[2:]
                await socket.send(serialize_msg_to_ws_v1(told, channel))
                run.status = "aborted"

    return answer


async def between(connection, kernel):
    """Pass messages between a kernel's sockets and a server."""
    run = SimpleNamespace(status="running")
    async with serve(kernel(run), "127.0.0.1", 0, subprotocols=[bridge.PROTOCOL], select_subprotocol=select) as server:
        port = server.sockets[0].getsockname()[1]
        place = SimpleNamespace(
            channels_url=lambda _, session: f"ws://127.0.0.1:{port}/{session}",
            headers={},
            kernels=lambda: [{"id": "k", "execution_state": "idle"}],
        )
        kernel = SimpleNamespace(
            server=place,
            kernel_id="k",
            run=run,
            exists=lambda: True,
            stop=lambda: None,
            describe_loss=lambda what, command: f"The machine of {what} doesn't answer: 2 credits so far. {command}",
        )
        await bridge.Bridge(Sockets(connection), kernel, bridge.Lease(PATIENCE), "limit").run()


def select(connection, offered):
    """Select the protocol of the bridge; the probes of a kernel offer none."""
    return bridge.PROTOCOL if bridge.PROTOCOL in offered else None


def test_a_cell_whose_machine_goes_in_the_middle_of_the_answer_ends(client, kind):
    answer = client.execute_interactive("1", timeout=PATIENCE)["content"]
    assert answer["status"] == ("ok" if kind == "execute_reply" else "error")


def breaking(lost, ends):
    """Return a kernel that prints 6 lines; its connection breaks after 2 lines, and ``lost`` messages with it."""
    session, rest = Session(), []

    def packed(parent, channel, kind, content):
        message = session.msg(kind, content, parent=parent)
        return serialize_msg_to_ws_v1(session.serialize(message)[2:], channel)

    async def answer(socket):
        for data in rest:
            await socket.send(data)
        async for data in socket:
            header = KernelMessage([], deserialize_msg_from_ws_v1(data)[1]).header
            if header["msg_type"] == "kernel_info_request":
                await socket.send(packed(header, "shell", "kernel_info_reply", INFO))
                await socket.send(packed(header, "iopub", "status", {"execution_state": "idle"}))
            elif header["msg_type"] == "execute_request":
                texts = [{"name": "stdout", "text": f"line {number}\n"} for number in range(6)]
                lines = [packed(header, "iopub", "stream", text) for text in texts]
                rest[:] = [*lines[2 + lost :], *(packed(header, ENDS[k][0], k, ENDS[k][1]) for k in ends)]
                for line in lines[:2]:
                    await socket.send(line)
                return

    return answer


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_cell_counts_the_messages_that_were_lost_with_a_connection(lost, monkeypatch):
    monkeypatch.setattr(bridge, "PAUSE", 0.01)
    texts = []
    with client_of(lambda _: breaking(lost, ENDS)) as client:
        client.wait_for_ready(timeout=PATIENCE)
        client.execute_interactive("1", timeout=PATIENCE, output_hook=lambda each: texts.append(each["content"]))
    shown = "".join(content.get("text", "") for content in texts)
    assert [shown.count(f"line {number}\n") for number in range(6)] == [not 2 <= at < 2 + lost for at in range(6)]
    assert (f"{lost} message" in shown) is (lost > 0)


@pytest.mark.parametrize("ends", [(), ("execute_reply",), ("status",)], ids=str)
def test_a_cell_whose_end_was_lost_with_a_connection_ends(ends, monkeypatch):
    monkeypatch.setattr(bridge, "PAUSE", 0.01)
    with client_of(lambda _: breaking(4, ends)) as client:
        client.wait_for_ready(timeout=PATIENCE)
        reply = client.execute_interactive("1", timeout=PATIENCE, output_hook=lambda _: None)["content"]
    assert reply["status"] == ("ok" if "execute_reply" in ends else "error")
    assert "execute_reply" in ends or "The cell ran: check its variables" in reply["evalue"]


@pytest.fixture
def fast(monkeypatch):
    for module, seconds in (
        (bridge, {"TICK": 0.05, "PAUSE": 0.01, "LOOK": 0.05}),
        (
            hosted_probe,
            {
                "PROBE_SILENCE": 0.3,
                "PROBE_SECONDS": 0.3,
                "ALIVE_PAUSE": 0.1,
                "SILENT_PAUSE": 0.1,
                "GRACE_SECONDS": 0.2,
                "IDLE_SILENCE": 0.5,
            },
        ),
    ):
        for name, value in seconds.items():
            monkeypatch.setattr(module, name, value)


def half_dead(answer, sessions):
    """Return a kernel whose connections stay open; ``answer`` returns the messages that answer a request.

    ``answer`` gets the kind of the request, and whether the connection is a probe. ``sessions`` gets the id of the
    session of each connection of the bridge.
    """
    session = Session()

    async def talk(socket):
        is_probe = socket.subprotocol is None
        if not is_probe:
            sessions.append(socket.request.path)
        async for data in socket:
            request = json.loads(data) if is_probe else None
            channel, parts = (request["channel"], None) if is_probe else deserialize_msg_from_ws_v1(data)
            header = request["header"] if is_probe else KernelMessage([], parts).header
            for kind in answer(header["msg_type"], channel, is_probe, len(sessions)):
                content = {"execution_state": "idle"} if kind == "status" else {"status": "ok", "execution_count": 1}
                sender = "iopub" if kind == "status" else channel
                message = session.msg(kind, content, parent=header)
                text = json.dumps({**message, "channel": sender}, default=str)
                packed = serialize_msg_to_ws_v1(session.serialize(message)[2:], sender)
                await socket.send(text if is_probe else packed)

    return talk


def ends_of(kind):
    return [kind.replace("_request", "_reply"), "status"]


def run_cell(answer, sessions):
    """Return the reply of a cell of a kernel, and its error output."""
    texts = []
    with client_of(lambda _: half_dead(answer, sessions)) as client:
        show = lambda message: texts.append(message["content"].get("text", ""))  # noqa: E731
        reply = client.execute_interactive("1", timeout=PATIENCE, output_hook=show)["content"]
    return reply, "".join(texts)


def test_a_reply_without_a_last_state_ends_the_cell_and_shows_that_output_may_be_missing(fast):
    reply, text = run_cell(lambda kind, *_: ends_of(kind)[: 1 if kind == "execute_request" else 2], [])
    assert (reply["status"], UNFINISHED in text) == ("ok", True)


def test_a_cell_of_a_silent_machine_ends_as_lost_with_its_cost(fast):
    reply, _ = run_cell(lambda *_: [], [])
    assert (reply["status"], reply["ename"]) == ("error", "MachineLost")
    assert "2 credits so far. restart or shut down the kernel" in reply["evalue"]


def test_a_half_dead_connection_is_replaced_with_another_session_and_its_cell_ends(fast):
    sessions = []

    def answer(kind, channel, is_probe, count):
        return ends_of(kind) if is_probe or count > 1 else []

    reply, _ = run_cell(answer, sessions)
    assert (reply["status"], reply["ename"]) == ("error", "ConnectionLost")
    assert "didn't reach the session" in reply["evalue"]
    assert len(set(sessions)) == len(sessions) > 1


def test_a_quiet_cell_keeps_running_while_its_kernel_answers_on_the_control_channel(fast):
    probes, sessions = [], []

    def answer(kind, channel, is_probe, count):
        probes.extend([channel] if is_probe else [])
        if is_probe and channel == "control":
            return ends_of(kind)
        return []

    with client_of(lambda _: half_dead(answer, sessions)) as client:
        request = client.execute("1")
        while probes.count("control") < 2 * hosted_probe.BUSY_PROBES:
            with pytest.raises(Empty):
                client.get_shell_msg(timeout=0.1)
    assert request
    assert len(sessions) == 1
