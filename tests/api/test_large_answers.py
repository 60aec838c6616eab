"""Answers of any size take little memory, and one that isn't read states whether the request took effect."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from api.scripted import KEY
from patience import PATIENCE

from lk_jupyter.api._events import Output
from lk_jupyter.api.execution import StreamingExecutionRequest
from lk_jupyter.api.serverless import ChatCompletionRequest
from lk_jupyter.errors import InvalidResponse, OutcomeUnknown, ServerError
from lk_jupyter.protocol import json_limits
from lk_jupyter.protocol.json_limits import MOST_BYTES, MOST_MESSAGE_BYTES, JsonTooLarge, load_json, require_small

RUN = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
LISTS = b"[" + b"[]," * 2_700_000 + b"[]]"  # 8 MB
DEEP = b"[" + b"%b%b," % (b"[" * 150, b"]" * 150) * 26_000 + b"1]"
OBJECTS = b"[" + b'{"a":1},' * 1_000_000 + b"1]"
NUMBERS = b"[" + b"1," * 4_000_000 + b"1]"

#: Prints, for each request, its error and the megabytes that it took at most.
CLIENT = """
import json, re, sys
from pathlib import Path
from lk_jupyter.api._client import Client

def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1000

with Client(sys.argv[1], "KEY", backoff=0) as client:
    for call in sys.argv[2:]:
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        try:
            result = type(eval(call)).__name__
        except Exception as error:
            result = f"{type(error).__name__} {error}"
        print(json.dumps([result, status("VmHWM") - before]))
""".replace("KEY", KEY)


def ok(body, *headers):
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sized(body):
    return ok(body, f"Content-Length: {len(body)}")


def in_metadata(body):
    return json.dumps({"execution_id": RUN, "status": "failed", "metadata": body.decode()}).encode()


LIST, RECORD = "client.machine_types.list()", f"client.execution.get({RUN!r})"


def hostile_answers():
    """Return name → call of the client, pieces of the answer, and words of the error."""
    zeros = gzip.compress(bytes(1 << 28))
    return {
        "lists": (LIST, (sized(LISTS),), "2,700,002 lists and objects"),
        "deep lists": (LIST, (sized(DEEP),), "lists and objects"),
        "objects": (LIST, (sized(OBJECTS),), "1,000,001 lists and objects"),
        "numbers": (LIST, (sized(NUMBERS),), "4,000,000 commas"),
        "lists in a record": (RECORD, (sized(b'{"execution_id":"x","status":"failed","stdout":%b}' % LISTS),), "MB"),
        "JSON in a text": (RECORD, (sized(in_metadata(LISTS)),), None),
        "a declared size": (LIST, (ok(b"", "Content-Length: 400000000"), bytes(MOST_BYTES + 1)), "a body of 400 MB"),
        "no end": (LIST, (ok(b""), *[b" " * (1 << 20)] * 34), "more than 34 MB, above the limit of 34 MB"),
        "a bomb": (LIST, (ok(zeros, "Content-Encoding: gzip"),), "more than 34 MB"),
        "a bomb in a bomb": (
            LIST,
            (ok(gzip.compress(zeros), "Content-Encoding: gzip, gzip"),),
            "the encoding 'gzip, gzip'",
        ),
    }


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures the memory")
def test_no_answer_takes_300_mb_and_one_that_is_too_large_names_its_address_and_size(server):
    answers = hostile_answers()
    for _, pieces, _ in answers.values():
        server.reply(*pieces)
    command = [sys.executable, "-c", CLIENT, server.url, *(call for call, _, _ in answers.values())]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = map(json.loads, ended.stdout.splitlines())
    for (name, (_, _, words)), (result, megabytes) in zip(answers.items(), rows, strict=True):
        assert megabytes < 300, name
        if words is None:
            assert result == "ExecutionRecord", name
        else:
            assert result.startswith(f"InvalidResponse {server.host} answered GET "), name
            assert words in result, name
            assert "Nothing was changed." in result, name


def test_a_start_whose_answer_is_too_large_may_have_taken_effect_and_is_sent_once(server, client):
    server.reply(ok(b"{"), *[b" " * (1 << 20)] * 34)
    words = r"accepted POST /execution/streaming/start with a body of more than 34 MB"
    with pytest.raises(OutcomeUnknown, match=words) as error:
        client.execution.start_streaming(StreamingExecutionRequest(code="print(1)"))
    assert "Before you send the request again, check its outcome: %lk_runs" in str(error.value)
    assert len(server.requests) == 1


def test_an_abort_whose_answer_is_too_large_counts_as_done(server, client):
    server.reply(sized(LISTS))
    client.execution.abort_streaming(RUN)
    assert len(server.requests) == 1


def test_a_refusal_with_a_large_body_is_the_error_of_its_status(server, client):
    server.reply(b"HTTP/1.1 500 Failed\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n", bytes(1 << 21))
    with pytest.raises(ServerError, match=r"wasn't read: a body of more than 1\.0 MB"):
        client.execution.start_streaming(StreamingExecutionRequest(code="print(1)"))


def test_a_renewed_token_is_sent_without_reading_a_large_refusal_first(server, start_client, monkeypatch):
    client = start_client()
    monkeypatch.setattr(type(client._http._tokens), "renewable", True)
    monkeypatch.setattr(type(client._http._tokens), "newer_token", lambda tokens, _: tokens.usable_token())
    server.reply(
        b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\n\r\n", b"x" * 100, "wait until the client leaves"
    )
    server.json({"prices": [], "count": 0})
    assert len(client.pricing.get()) == 0
    assert server.left.wait(PATIENCE)


def test_an_event_that_is_too_large_breaks_its_stream(server, client):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    server.reply(head, b'data: {"output":{"content":"one"}}\n\ndata: "', *[b"x" * (1 << 20)] * 26)
    events = client.follow(RUN)
    assert next(events) == Output("one")
    with pytest.raises(InvalidResponse, match=r"an event above the limit of 25 MB\. The answer wasn't read"):
        next(events)


def test_a_chat_whose_stream_is_one_endless_event_may_be_billed(server, client):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: "
    server.reply(head, *[b"x" * (1 << 20)] * 26)
    question = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "?"}])
    with pytest.raises(OutcomeUnknown, match=r"%lk_billing"):
        list(client.serverless.stream_chat_completions(question))


def test_many_events_are_one_stream_however_they_are_cut(server, client):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    event = b'data: {"output":{"content":"%b"}}\n' % (b"x" * 1_000_000)
    server.reply(head, *[event, b"\n"] * 30)
    shown = [event.content for event in client.follow(RUN) if isinstance(event, Output)]
    assert sum(map(len, shown)) == 30_000_000 > MOST_MESSAGE_BYTES


def test_large_answers_of_honest_servers_are_read(server, client):
    log = "\x1b[31mloss 0.1,\x1b[0m {[" * 400_000  # 8 MB
    server.json({"execution_id": RUN, "status": "completed", "stdout": log})
    assert client.execution.get(RUN).stdout == log
    facts = {"timestamp": "2026-01-01T00:00:00Z", "execution_id": RUN, "labels": {"stream": "stdout", "node": "n1"}}
    server.json({"logs": [{**facts, "message": f"line {n}, [step]"} for n in range(10_000)], "total": 10_000})
    assert len(client.logs.execution(RUN, limit=10_000)) == 10_000
    files = [{"key": f"data/{n}.csv", "size": n, "last_modified": "2026-01-01T00:00:00Z"} for n in range(20_000)]
    server.json(files)
    assert len(client.storage.list_files()) == 20_000


@pytest.mark.parametrize("encode", [lambda text: text.encode(), str, lambda text: bytearray(text.encode())])
def test_brackets_and_commas_within_texts_do_not_count(encode):
    text = json.dumps({"log": '[{,:"\\' * 1_500_000, "é": "\\" * 7})
    assert load_json(encode(text)) == json.loads(text)
    with pytest.raises(JsonTooLarge, match="lists and objects"):
        load_json(encode(text[:-1] + ',"more":' + "[" + "[]," * 2_000_000 + "[]]}"))


def test_a_text_that_spans_pieces_of_the_count_is_one_text(monkeypatch):
    monkeypatch.setattr(json_limits, "_CHUNK", 7)
    for content in (b'["a[b","\\"{",{"c":[1,2]},"\\\\"]', b'["' + b"[" * 40 + b'",[]]'):
        counts = json_limits._count_structure(content)
        kinds = load_json(content)
        assert counts[0] == _containers(kinds)


def _containers(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + sum(map(_containers, inner))


def test_utf_16_does_not_hide_lists():
    with pytest.raises(JsonTooLarge):
        require_small(('["' + '\\"' + '",' + "[]," * 1_500_000 + "[]]").encode("utf-16"))
