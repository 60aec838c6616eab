"""lk_jupyter.api.hosted_channel: a web socket to a server that says odd things, and is gone."""

from __future__ import annotations

import json
import random
import threading
from contextlib import closing, contextmanager
from itertools import repeat

import pytest
from patience import PATIENCE
from websockets.sync.server import serve

from lk_jupyter.api import hosted_channel
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.hosted_channel import Channel, MessageNumbers, lost_label
from lk_jupyter.errors import ConnectionFailed

#: Messages that no kernel sends.
ODD = [
    "",
    "{",
    "[]",
    "null",
    "{}",
    b"",
    b"\xff" * 9,
    '{"header": 7}',
    '{"header": {"msg_type": "status"}, "content": {}}',
]


#: The messages with which a kernel answers the question that it is sent after a new connection.
INFORMED = [("shell", "kernel_info_reply", {}), ("iopub", "status", {"execution_state": "idle"})]


@contextmanager
def served(kernel):
    """Serve a kernel; give its address and what ends it."""
    with serve(kernel, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = server.socket.getsockname()
        yield f"http://{host}:{port}/", server.shutdown
        server.shutdown()
        thread.join(PATIENCE)


def signed_in(url):
    """Return a server that needs no sign-in any more: the kernels of these tests have no login page."""
    server = HostedServer(url, "password")
    server._is_signed_in = True
    return server


@pytest.fixture
def talk():
    """Serve a kernel that says odd things before each answer, and return the channel to it."""

    def kernel(socket):
        for text in socket:
            asked = json.loads(text)["header"]
            for odd in ODD:
                socket.send(odd)
            for channel, kind, content in (
                ("shell", "execute_reply", {"status": "ok"}),
                ("iopub", "status", {"execution_state": "idle"}),
            ):
                message = {"header": {"msg_type": kind}, "parent_header": asked, "content": content}
                socket.send(json.dumps({**message, "channel": channel}))

    with served(kernel) as (url, shutdown), closing(signed_in(url)) as hosted:
        gone = []
        with closing(Channel(hosted, "k", lambda: "".join(gone))) as channel:
            yield channel, lambda: (gone.append("The machine has ended."), shutdown())


def test_odd_messages_keep_no_answer_from_its_cell(talk):
    channel, _ = talk
    assert channel.ask("execute_request", {}).answer(PATIENCE) == {"status": "ok"}


def test_pings_draw_no_random_numbers_of_the_notebook(talk):
    channel, _ = talk
    channel.ask("execute_request", {}).answer(PATIENCE)
    before = random.getstate()
    assert channel._socket.ping().wait(PATIENCE)  # as the connection does every 20 s
    assert random.getstate() == before


def test_a_cell_whose_machine_is_gone_is_waited_for_no_more(talk):
    channel, leave = talk
    channel.ask("execute_request", {}).answer(PATIENCE)
    leave()
    channel._socket.close()
    with pytest.raises(ConnectionFailed, match="The machine has ended"):
        all(channel.ask("execute_request", {}).answer(PATIENCE) for _ in repeat(None))


@pytest.mark.parametrize("is_broken", [True, False], ids=["with its connection", "by a restarting kernel"])
def test_a_lost_request_is_noticed(monkeypatch, is_broken):
    monkeypatch.setattr(hosted_channel, "_PAUSE", 0.01)
    monkeypatch.setattr(hosted_channel, "_SILENCE", PATIENCE if is_broken else 0.3)

    def kernel(socket):
        for text in socket:
            request = json.loads(text)["header"]
            if request["msg_type"] == "execute_request":
                if is_broken:
                    return
                continue
            for channel, kind, content in INFORMED:
                reply = {"header": {"msg_type": kind}, "parent_header": request, "content": content}
                socket.send(json.dumps({**reply, "channel": channel}))

    with (
        served(kernel) as (url, _),
        closing(signed_in(url)) as hosted,
        closing(Channel(hosted, "k", str)) as channel,
        pytest.raises(ConnectionFailed, match=r"didn't reach the session\. Run the cell again"),
    ):
        channel.ask("execute_request", {}).answer(PATIENCE)


def test_a_message_that_is_too_large_ends_its_cell_and_the_next_cell_runs(monkeypatch):
    monkeypatch.setattr(hosted_channel, "_PAUSE", 0.01)
    monkeypatch.setattr(hosted_channel, "MOST_MESSAGE_BYTES", 10_000)

    def kernel(socket):
        for text in socket:
            asked = json.loads(text)["header"]
            if asked["msg_type"] == "execute_request":
                socket.send("x" * 20_000)
            reply = {"header": {"msg_type": "kernel_info_reply"}, "parent_header": asked, "content": {"status": "ok"}}
            socket.send(json.dumps({**reply, "channel": "shell"}))
            idle = {"header": {"msg_type": "status"}, "content": {"execution_state": "idle"}}
            socket.send(json.dumps({**idle, "parent_header": asked, "channel": "iopub"}))

    with (
        served(kernel) as (url, _),
        closing(signed_in(url)) as hosted,
        closing(Channel(hosted, "k", str)) as channel,
    ):
        with pytest.raises(
            ConnectionFailed, match=r"above the limit of 0\.0 MB\. The message wasn't read\. The cell may have run"
        ):
            channel.ask("execute_request", {}).answer(PATIENCE)
        assert channel.ask("kernel_info_request", {}).answer(PATIENCE) == {"status": "ok"}


def test_a_channel_that_is_closed_while_it_asks_ends_without_a_word():
    asked, ended = threading.Event(), threading.Event()
    with closing(signed_in("http://127.0.0.1:9/")) as hosted:  # nobody listens there

        def over():
            asked.set()
            assert ended.wait(PATIENCE)
            return str(hosted.has_kernel("k"))

        channel = Channel(hosted, "k", over)
        (thread,) = [one for one in threading.enumerate() if one.name == "lk-session" and one.is_alive()][-1:]
        assert asked.wait(PATIENCE)
        channel.close()
    ended.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


class CountingKernel:
    """A kernel that prints 6 lines and numbers its messages; its connection breaks, and ``lost`` messages with it."""

    def __init__(self, lost, *, ends=("execute_reply", "status")):
        self.lost = lost
        self.ends = ends
        self.rest = []

    def __call__(self, socket):
        for message in self.rest:
            socket.send(message)
        for text in socket:
            asked = json.loads(text)["header"]
            if asked["msg_type"] == "kernel_info_request":
                for at, (channel, kind, content) in enumerate(INFORMED):
                    socket.send(self.message(asked, 90 + at, channel, kind, content))
                continue
            printed = [self.message(asked, at, "iopub", "stream", {"text": f"line {at}\n"}) for at in range(6)]
            ends = {"execute_reply": ("shell", {"status": "ok"}), "status": ("iopub", {"execution_state": "idle"})}
            over = [self.message(asked, 6 + at, ends[k][0], k, ends[k][1]) for at, k in enumerate(self.ends)]
            for message in printed[:2]:
                socket.send(message)
            self.rest = [*printed[2 + self.lost :], *over]
            return

    def message(self, asked, number, channel, kind, content):
        header = {"msg_id": f"kernel_1_{number}", "msg_type": kind}
        return json.dumps({"header": header, "parent_header": asked, "content": content, "channel": channel})


@contextmanager
def channel_to(kernel, monkeypatch):
    monkeypatch.setattr(hosted_channel, "_PAUSE", 0.01)
    with (
        served(kernel) as (url, _),
        closing(signed_in(url)) as hosted,
        closing(Channel(hosted, "k", str)) as channel,
    ):
        yield channel


@pytest.mark.parametrize("lost", range(5))
def test_messages_that_were_lost_with_a_connection_are_counted(monkeypatch, lost):
    with channel_to(CountingKernel(lost), monkeypatch) as channel:
        asked = channel.ask("execute_request", {})
        lines = [message["content"]["text"] for message in asked.messages() if message]
    assert lines == [f"line {at}\n" for at in range(6) if not 2 <= at < 2 + lost]
    assert asked.lost_messages == lost
    assert (f"{lost} message" in lost_label(lost)) is (lost > 0)


def test_a_cell_that_ran_and_whose_end_was_lost_is_not_offered_to_be_run_again_unseen(monkeypatch):
    with (
        channel_to(CountingKernel(4, ends=()), monkeypatch) as channel,
        pytest.raises(ConnectionFailed, match="The cell ran: check its variables before you rerun the cell"),
    ):
        channel.ask("execute_request", {}).answer(PATIENCE)


def test_a_cell_whose_reply_arrived_ends_though_its_last_state_was_lost(monkeypatch):
    with channel_to(CountingKernel(0, ends=("execute_reply",)), monkeypatch) as channel:
        assert channel.ask("execute_request", {}).answer(PATIENCE) == {"status": "ok"}


def test_a_number_that_arrives_late_is_not_lost():
    numbers = MessageNumbers()
    for message_id in ("k_1_0", "k_1_1"):
        numbers.add(message_id)
    numbers.reconnect()
    for message_id in ("k_1_4", "k_1_3", "other_1_9", "no number", "k_1_5", "k_1_9"):
        numbers.add(message_id)
    assert numbers.missing == {("k_1", 2)}
