"""Streams of JSON objects over a real socket: chunks up to ``[DONE]``, and named events up to the last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from api.scripted import KEY, RESET
from patience import PATIENCE

from lk_jupyter.api._endpoint import ENDPOINTS, GET, IRIS, OPENAI, POST, Group, endpoint_of
from lk_jupyter.api._events import Event
from lk_jupyter.api._models import Model
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, OutcomeUnknown, RateLimited, ServerError, Unauthorized

OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Question(Model):
    text: str
    stream: bool = False


class Chunk(Event):
    choices: list[str]


class Step(Event):
    event: str | None = None
    result: Any = None
    error: Any = None

    def is_last(self):
        return self.event in {"finished", "failed"}


class Talk(Group):
    @POST("/chat", effect="writes", server=OPENAI)
    def chat(self, question: Question) -> Iterator[Chunk]: ...

    @GET("/steps/{key}", server=IRIS)
    def steps(self, key: str, after: int = 0) -> Iterator[Step]: ...


for name in ("chat", "steps"):
    ENDPOINTS.remove(endpoint_of(getattr(Talk, name)))  # declarations of these tests, not of the package


def words(chunks):
    return [word for chunk in chunks for word in chunk.choices]


@pytest.fixture
def talk(client):
    return Talk(client._send)


def chunk(*words):
    return b'data: {"choices": [%s]}\n\n' % ", ".join(f'"{word}"' for word in words).encode()


def test_chunks_are_read_up_to_the_done_mark(server, start_client):
    server.reply(OPEN, chunk("a"), b": ping\n\n\n\nevent: ping\n\n", chunk("b", "c"), DONE, chunk("late"))
    talk = Talk(start_client(org="acme")._send)
    assert words(talk.chat(Question(text="?"))) == ["a", "b", "c"]
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/openai/v1/chat")
    assert request.json == {"text": "?", "stream": True}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-org-slug"] == "acme"
    assert request.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("end", [(), (RESET,)])
def test_chunks_that_end_without_the_mark_are_incomplete(server, talk, end):
    server.reply(OPEN, chunk("a"), *end)
    stream = talk.chat({"text": "?"})
    with pytest.raises(ConnectionFailed):
        words(stream)


@pytest.mark.parametrize(
    ("kind", "error"), [("rate_limit_error", RateLimited), ("server_error", ServerError), ("new_error", ServerError)]
)
def test_an_error_among_the_chunks_is_raised_in_the_servers_words_without_secrets(server, talk, kind, error):
    frame = b'data: {"error": {"message": "no more for %s", "type": "%s", "param": null}}\n\n'
    server.reply(OPEN, chunk("a"), frame % (KEY.encode(), kind.encode()), DONE)
    stream = talk.chat({"text": "?"})
    assert next(stream).choices == ["a"]
    with pytest.raises(error, match="no more for …"):
        next(stream)


@pytest.mark.parametrize("data", [b"data: no json\n\n", b"data: [1]\n\n", b'data: {"choices": 7}\n\n'])
def test_a_chunk_of_another_form_is_no_answer_of_this_api(server, talk, data):
    server.reply(OPEN, data, DONE)
    with pytest.raises(InvalidResponse, match="isn't from this API"):
        words(talk.chat({"text": "?"}))


def test_an_answer_in_place_of_a_stream_counts(server, client):
    message = {"role": "assistant", "content": "hello", "reasoning": "hm"}
    whole = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    server.json({**whole, "usage": {"completion_tokens": 1}})
    (piece,) = client.serverless.stream_chat_completions({"model": "m", "messages": [{"role": "user", "content": "?"}]})
    assert (piece.text, piece.choices[0].delta.reasoning, piece.choices[0].finish_reason) == ("hello", "hm", "stop")
    assert piece.usage.completion_tokens == 1


def test_an_error_in_place_of_a_stream_is_raised_in_the_servers_words(server, talk):
    server.json({"error": {"message": "no more", "type": "rate_limit_error"}})
    with pytest.raises(RateLimited, match="no more"):
        words(talk.chat({"text": "?"}))


@pytest.mark.parametrize("status", [200, 202])
def test_a_question_that_was_only_accepted_is_named_by_its_id_and_may_be_billed(server, client, status):
    server.json({"request_id": "r1", "status": "queued"}, status)
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    with pytest.raises(
        OutcomeUnknown, match=rf"under the id 'r1' \(HTTP {status}\), but sent no answer.\nThe request may be bill"
    ):
        list(client.serverless.stream_chat_completions(asked))


def test_a_question_that_was_accepted_without_an_id_may_have_taken_effect(server, talk):
    server.json({"status": "ok"}, 202)
    with pytest.raises(OutcomeUnknown, match=r"but its answer can't be read.*\n.*%lk_billing"):
        words(talk.chat({"text": "?"}))


@pytest.mark.parametrize("answer", [b"text", b"[1]"])
def test_what_is_no_answer_in_place_of_a_stream_is_not_from_this_api(server, talk, answer):
    server.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n", answer)
    with pytest.raises(InvalidResponse, match="which is not this API"):
        words(talk.chat({"text": "?"}))


def test_a_question_that_was_not_answered_is_not_sent_twice(server, talk):
    server.lose_answer()
    with pytest.raises(OutcomeUnknown):
        words(talk.chat({"text": "?"}))
    assert len(server.requests) == 1


def test_an_ended_session_is_renewed_for_a_stream_too(server, start_client):
    server.json({"error": {"message": "not authenticated"}}, 401).json({"access_token": "a.b.c"}).reply(OPEN, DONE)
    assert words(Talk(start_client("x.y.z", refresh_token="r")._send).chat({"text": "?"})) == []
    assert server.requests[2].headers["authorization"] == "Bearer a.b.c"


def test_the_envelope_of_a_refusal_is_read(server, talk):
    server.json({"error": {"message": "not authenticated", "type": "unauthorized_error", "param": None}}, 401)
    with pytest.raises(Unauthorized, match="not authenticated"):
        words(talk.chat({"text": "?"}))


@pytest.mark.parametrize(
    "frames",
    [
        b'event: queued\ndata: {"event": "queued"}\n\nevent: finished\ndata: {"event": "finished", "result": 7}\n\n',
        b'data: {"event": "queued"}\n\ndata: {"event": "finished", "result": 7}\n\n',
        b'event: queued\n\nevent: finished\ndata: {"result": 7}\n\n',
    ],
)
def test_events_are_named_by_the_frame_or_by_the_object(server, talk, frames):
    server.reply(OPEN, frames, b"event: late\ndata: {}\n\n")
    steps = list(talk.steps("k", after=3))
    assert [step.event for step in steps] == ["queued", "finished"]
    assert steps[-1].result == 7
    assert server.requests[0].path == "/iris/steps/k?after=3"


def test_an_event_may_report_an_error_of_its_own(server, talk):
    server.reply(OPEN, b'event: failed\ndata: {"error": {"message": "out of memory"}}\n\n')
    (step,) = talk.steps("k")
    assert step.error == {"message": "out of memory"}


def test_events_that_end_before_the_last_are_incomplete(server, talk):
    server.reply(OPEN, b"event: queued\ndata: {}\n\n")
    with pytest.raises(ConnectionFailed, match="ended the stream early"):
        list(talk.steps("k"))


def test_the_other_host_is_asked_where_it_has_an_address(server, start_client):
    server.reply(OPEN, b"event: finished\ndata: {}\n\n")
    client = start_client(org="acme", iris_url=f"{server.url}/proxy/")
    list(Talk(client._send).steps("k"))
    assert server.requests[0].path == "/proxy/steps/k"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].headers["x-org-slug"] == "acme"


def test_closing_ends_a_stream_of_chunks_at_once_in_whichever_thread(server, talk):
    server.reply(OPEN, chunk("a"), "wait until the client leaves")
    stream = talk.chat({"text": "?"})
    assert next(stream).choices == ["a"]
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []
    assert server.left.wait(PATIENCE)
