"""The process between a Jupyter here and a kernel there, beside a server that ends in the middle of an answer."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from types import SimpleNamespace

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from patience import PATIENCE
from websockets.asyncio.server import serve

from lk_jupyter.kernels import bridge
from lk_jupyter.kernels.sockets import KernelMessage, Sockets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="zmq has no ipc there")

PORTS = {f"{name}_port": port for port, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}

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
    with tempfile.TemporaryDirectory() as folder:
        connection = {**PORTS, "transport": "ipc", "ip": f"{folder}/k", "key": "k", "signature_scheme": "hmac-sha256"}
        thread = threading.Thread(target=asyncio.run, args=[between(connection, kind)])
        thread.start()
        client = BlockingKernelClient()
        client.load_connection_info(connection)
        client.start_channels()
        yield client
        client.shutdown()
        thread.join(PATIENCE)
        client.stop_channels()


async def between(connection, kind):
    """Pass messages between a kernel's sockets and a server."""
    run, session = SimpleNamespace(status="running"), Session()

    async def answer(socket):
        async for data in socket:
            header = KernelMessage([], deserialize_msg_from_ws_v1(data)[1]).header
            if header["msg_type"] == "execute_request":
                channel, content = ENDS[kind]
                told = session.serialize(session.msg(kind, content, parent=header))[2:]
                await socket.send(serialize_msg_to_ws_v1(told, channel))
                run.status = "aborted"

    async with serve(answer, "127.0.0.1", 0, subprotocols=[bridge.PROTOCOL]) as server:
        port = server.sockets[0].getsockname()[1]
        place = SimpleNamespace(channels_url=lambda *_: f"ws://127.0.0.1:{port}", headers={})
        kernel = SimpleNamespace(server=place, kernel_id="k", run=run, is_known=lambda: True, stop=lambda: None)
        await bridge.Bridge(Sockets(connection), kernel, bridge.Lease(PATIENCE), "limit").run()


def test_a_cell_whose_machine_goes_in_the_middle_of_the_answer_ends(client, kind):
    answer = client.execute_interactive("1", timeout=PATIENCE)["content"]
    assert answer["status"] == ("ok" if kind == "execute_reply" else "error")
