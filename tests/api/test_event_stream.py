"""The output stream over a real socket, in all its forms and with all that can happen to it."""

import gc
import threading
from itertools import count

import pytest
from api.scripted import KEY, RESET, ScriptedServer
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from lk_jupyter.api._client import Client
from lk_jupyter.api._events import Finished, Output
from lk_jupyter.api._retry import TRIES
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, NotFound, RateLimited

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
OPEN = HEAD + b"Connection: close\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
UNTIL_THE_CLIENT_LEAVES = "wait until the client leaves"

HELLO = b'data: {"output":{"content":"hello\\n"}}\n\n'
DONE = b'data: {"jobFinished":{"job":{"result":{"returnCode":0}}}}\n\n'


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


FORMS = {
    "current": (HELLO + DONE, [Output("hello\n"), Finished(0)]),
    "failed": (
        HELLO + b'data: {"jobFinished":{"job":{"result":{"returnCode":"1"}}}}\n\n',
        [Output("hello\n"), Finished(1)],
    ),
    "colours and doubled newlines": (
        b'data: {"output":{"content":"\\u001b[32mok\\u001b[0m\\n\\n"}}\n\n',
        [Output("\x1b[32mok\x1b[0m\n\n")],
    ),
    "legacy": (
        b'data: {"type":"output","content":"a"}\n\ndata: {"type":"completed","status":"completed"}\n\n',
        [Output("a"), Finished(0)],
    ),
    "legacy error": (b'data: {"type":"error","message":"no node"}\n\n', [Finished(None, "no node")]),
    "envelope": (
        b'data: {"Message":{"Output":{"content":"a"}}}\n\ndata: {"Message":{"JobFinished":{"job":{"result":{}}}}}\n\n',
        [Output("a"), Finished(0)],
    ),
    "status updates and text that is no JSON": (
        b'data: {"statusUpdate":{"status":"running"}}\n\ndata: Stream complete\n\n' + HELLO,
        [Output("hello\n")],
    ),
    "comments and other fields": (
        b": ping\n\nevent: x\nid: 1\nretry: 5\n" + HELLO + b":\nevent: end\n\nunknown: field\nid\n" + HELLO,
        [Output("hello\n")] * 2,
    ),
    "CRLF": (HELLO.replace(b"\n", b"\r\n") * 2, [Output("hello\n")] * 2),
    "CR": (HELLO.replace(b"\n", b"\r") * 2, [Output("hello\n")] * 2),
    "no space after the colon": (HELLO.replace(b"data: ", b"data:"), [Output("hello\n")]),
    "one object over several data lines": (
        b'data: {"output":\ndata: {"content":"a"}}\n\n',
        [Output("a")],
    ),
    "several objects in one event": (HELLO.rstrip() + b"\n" + HELLO, [Output("hello\n")] * 2),
    "bytes beyond ASCII": ('data: {"output":{"content":"é€😀\u2028"}}\n\n'.encode(), [Output("é€😀\u2028")]),
    "a surrogate pair in two events": (
        rb'data: {"output":{"content":"a\ud83d"}}' + b"\n\n" + rb'data: {"output":{"content":"\ude00\n"}}' + b"\n\n",
        [Output("a"), Output("😀\n")],
    ),
    "lone surrogates": (
        rb'data: {"output":{"content":"x\ud800y\ude00"}}' + b"\n\n" + HELLO,
        [Output("x\ufffdy\ufffd"), Output("hello\n")],
    ),
    "half of a surrogate pair at the end": (
        rb'data: {"output":{"content":"a\ud83d"}}' + b"\n\n" + DONE,
        [Output("a"), Output("\ufffd"), Finished(0)],
    ),
    "no last blank line": (HELLO + DONE.rstrip(), [Output("hello\n"), Finished(0)]),
    "one last newline": (HELLO + DONE.rstrip() + b"\n", [Output("hello\n"), Finished(0)]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_wherever_its_bytes_are_cut(server, client, form):
    text, events = FORMS[form]
    for cut in range(1, len(text)):
        server.reply(CHUNKED, chunk(text[:cut]), chunk(text[cut:]), LAST_CHUNK)
        assert list(client.follow("e1")) == events
    server.reply(CHUNKED, *(chunk(text[i : i + 1]) for i in range(len(text))), LAST_CHUNK)
    assert list(client.follow("e1")) == events


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_may_end_with_its_connection(server, client, form):
    text, events = FORMS[form]
    server.reply(OPEN, text)
    assert list(client.follow("e1")) == events


@given(st.data())
def test_any_sequence_of_forms_in_any_pieces_is_read(data):
    names = data.draw(st.lists(st.sampled_from([name for name in FORMS if "last" not in name]), max_size=6))
    text = b"".join(FORMS[name][0] for name in names)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True) if i < j]
    server = ScriptedServer().reply(CHUNKED, *map(chunk, pieces), LAST_CHUNK)
    with Client(server.url, KEY) as client:
        assert list(client.follow("e1")) == [event for name in names for event in FORMS[name][1]]
    server.close()


def test_the_request_is_an_empty_post_without_a_key(server, start_client):
    server.reply(OPEN)
    assert list(start_client(org="acme").follow("e 1")) == []
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/v1/stream/e%201", b"")
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["cache-control"] == "no-cache"
    assert "authorization" not in request.headers
    assert "x-org-slug" not in request.headers


def test_the_servers_own_address_is_used_as_given(server, start_client):
    server.reply(OPEN, HELLO)
    client = start_client()
    assert list(client.follow("e1", f"{server.url}/other/place?t=1%2F2")) == [Output("hello\n")]
    assert server.requests[0].path == "/other/place?t=1%2F2"
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("address", [None, "", "wss://api.example/stream", "/stream/e1", "http://", "http://[", "odd"])
def test_without_a_usable_address_the_run_is_asked_for_by_its_id(server, client, address):
    server.reply(OPEN, HELLO)
    assert list(client.follow("e1", address)) == [Output("hello\n")]
    assert server.requests[0].path == "/api/v1/stream/e1"


def test_the_group_gives_the_same_stream(server, client):
    server.reply(OPEN, HELLO, DONE)
    stream = client.stream.output("e1")
    assert next(stream) == Output("hello\n")
    assert list(stream) == [Finished(0)]


def test_events_come_as_soon_as_they_are_sent(server, client):
    go_on = threading.Event()
    server.reply(CHUNKED, chunk(HELLO), go_on, chunk(DONE), LAST_CHUNK)
    stream = client.follow("e1")
    assert next(stream) == Output("hello\n")
    go_on.set()
    assert next(stream) == Finished(0)


def test_a_run_without_a_stream_is_not_found(server, client):
    server.json({"detail": "Stream not found"}, 404)
    with pytest.raises(NotFound, match="Stream not found"):
        next(client.follow("e1"))


def test_a_web_page_is_no_stream(server, client):
    server.page()
    with pytest.raises(InvalidResponse, match=f"{server.host} answered HTTP 200 with text/html"):
        next(client.follow("e1"))


def test_opening_is_tried_again(server, client):
    server.json({}, 503).json({}, 429).lose_answer().reply(OPEN, HELLO)
    assert list(client.follow("e1")) == [Output("hello\n")]


def test_opening_is_given_up_after_some_tries(server, client):
    for _ in range(TRIES):
        server.json({"detail": "Too many requests"}, 429)
    with pytest.raises(RateLimited):
        next(client.follow("e1"))
    assert len(server.requests) == TRIES


@pytest.mark.parametrize(
    "pieces",
    [(CHUNKED, chunk(HELLO)), (CHUNKED, chunk(HELLO), b"2d\r\ndata: {"), (OPEN, HELLO, b"data: {", RESET)],
    ids=["chunked", "within a chunk", "reset"],
)
def test_a_broken_stream_gives_what_came_and_then_says_so(server, client, pieces):
    read = threading.Event()
    server.reply(*pieces[:2], read, *pieces[2:])
    stream = client.follow("e1")
    assert next(stream) == Output("hello\n")
    read.set()
    with pytest.raises(ConnectionFailed, match=f"No answer from {server.host}"):
        next(stream)
    assert list(stream) == [], "a broken stream is over; it is not opened again by itself"
    assert len(server.requests) == 1


def test_a_stream_cut_at_any_byte_gives_every_whole_event_once(server, client):
    text = (HELLO + 'data: {"output":{"content":"é"}}\n\n'.encode()) * 2
    for length in range(len(text)):
        server.reply(OPEN, text[:length])
        whole = text[:length].count(b"}}")
        assert list(client.follow("e1")) == [Output("hello\n"), Output("é"), Output("hello\n"), Output("é")][:whole]


# Closing


def _read_in_a_thread(stream):
    events, ended = [], threading.Event()

    def read():
        events.extend(stream)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    return events, ended


def test_close_from_another_thread_ends_a_silent_stream_at_once(server, client):
    server.reply(CHUNKED, chunk(HELLO), UNTIL_THE_CLIENT_LEAVES)
    stream = client.follow("e1")
    assert next(stream) == Output("hello\n")
    events, ended = _read_in_a_thread(stream)
    stream.close()
    assert ended.wait(PATIENCE)
    assert server.left.wait(PATIENCE)
    assert events == []
    stream.close()


def test_close_ends_a_stream_that_was_not_answered_yet(server, client):
    server.reply(UNTIL_THE_CLIENT_LEAVES)
    stream = client.follow("e1")
    events, ended = _read_in_a_thread(stream)
    server.arrived.acquire(timeout=PATIENCE)
    stream.close()
    assert ended.wait(PATIENCE)
    assert server.left.wait(PATIENCE)
    assert events == []


def test_close_ends_the_wait_for_the_next_try(server, start_client):
    server.json({}, 503, retry_after="60")
    stream = start_client(backoff=1).follow("e1")
    events, ended = _read_in_a_thread(stream)
    server.arrived.acquire(timeout=PATIENCE)
    stream.close()
    assert ended.wait(PATIENCE)
    assert events == []


def test_closing_the_client_ends_its_streams(server, start_client):
    server.reply(CHUNKED, UNTIL_THE_CLIENT_LEAVES)
    client = start_client()
    _, ended = _read_in_a_thread(client.follow("e1"))
    server.arrived.acquire(timeout=PATIENCE)
    client.close()
    assert ended.wait(PATIENCE)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_stream_that_is_left_closes_its_connection(server, client, how):
    server.reply(CHUNKED, chunk(HELLO * 3), UNTIL_THE_CLIENT_LEAVES)
    stream = client.follow("e1")
    for event in stream:
        assert event == Output("hello\n")
        break
    gc.disable()
    try:
        if how == "close":
            stream.close()
            assert list(stream) == []
        del stream
        assert server.left.wait(PATIENCE)
    finally:
        gc.enable()


@pytest.mark.parametrize("moment", range(0, 60, 4))
def test_a_dropped_stream_holds_up_no_other_when_the_garbage_collector_closes_it(server, client, moment):
    server.reply(CHUNKED, chunk(HELLO * 3), UNTIL_THE_CLIENT_LEAVES)
    server.reply(OPEN, HELLO)
    gc.disable()
    try:
        dropped = [client.follow("e1")]
        next(dropped[0])
        dropped.append(dropped)  # so that only the collector frees it
        del dropped
        threading.setprofile(_collect_in_call(moment, "httpcore"))
        events, ended = _read_in_a_thread(client.follow("e2"))
        assert ended.wait(PATIENCE)
    finally:
        threading.setprofile(None)
        gc.enable()
    assert events == [Output("hello\n")]


def _collect_in_call(moment, package):
    """Return a profiler that collects garbage in the call with this number that a thread makes into a package."""
    calls = count()

    def profile(frame, event, _):
        if event == "call" and f"/{package}/" in frame.f_code.co_filename and next(calls) == moment:
            gc.collect(0)  # what was dropped is young

    return profile


def test_a_stream_that_is_closed_within_its_loop_ends_there(server, client):
    server.reply(CHUNKED, chunk(HELLO * 3), UNTIL_THE_CLIENT_LEAVES)
    stream, events = client.follow("e1"), []
    for event in stream:
        events.append(event)
        stream.close()
    assert events == [Output("hello\n")]


def test_streams_may_be_closed_at_any_moment_of_their_reading(server, client):
    for _ in range(200):
        server.reply(CHUNKED, chunk(HELLO), UNTIL_THE_CLIENT_LEAVES)
        stream = client.follow("e1")
        events, ended = _read_in_a_thread(stream)
        server.arrived.acquire(timeout=PATIENCE)
        stream.close()
        assert ended.wait(PATIENCE)
        assert events in ([], [Output("hello\n")])


def test_a_stream_closed_before_it_began_sends_nothing(server, client):
    stream = client.follow("e1")
    stream.close()
    assert list(stream) == []
    assert server.requests == []


def test_many_streams_and_calls_go_on_at_once(server, client):
    finish = threading.Event()
    for _ in range(120):
        server.reply(CHUNKED, chunk(HELLO), finish, chunk(DONE), LAST_CHUNK)
    streams = [client.follow(f"e{number}") for number in range(120)]
    assert [next(stream) for stream in streams] == [Output("hello\n")] * 120
    server.json({"prices": [], "count": 0})
    assert client.pricing.get().count == 0
    finish.set()
    assert [list(stream) for stream in streams] == [[Finished(0)]] * 120
