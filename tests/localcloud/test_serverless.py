"""Shared models: what the built-in ones answer, what is refused, what it costs."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest

HELLO = [{"role": "user", "content": "hello"}]
INTRODUCTION = "I am local/echo, a stand-in that repeats."

#: Every address of chat completions, and of embeddings.
CHATS = ("/serverless/chat/completions", "/chat/completions", "/openai/v1/chat/completions")
EMBEDDINGS = ("/serverless/embeddings", "/openai/v1/embeddings")


@pytest.fixture
def ask(api):
    """Post a chat, or whatever else, to an address below the API's path or below the server's."""

    def post(body, path=CHATS[0]):
        return api.http.post(api.cloud.base_url + path if path.startswith("/openai") else path, json=body)

    return post


@pytest.fixture
def chat(ask):
    """Return the one choice of a chat with the built-in model."""

    def choices(messages=HELLO, **fields):
        answer = ask({"model": "local/echo", "messages": messages, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"]

    return choices


def said(choices):
    return [choice["message"]["content"] for choice in choices]


def test_the_built_in_model_says_what_it_is_and_repeats_the_last_message_of_the_user(chat):
    conversation = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "thr"}, {"type": "text", "text": "ee"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert said(chat(conversation)) == [f"{INTRODUCTION} You said: three"]


def test_the_same_request_gets_the_same_answer_and_another_seed_another_one(chat):
    assert said(chat(seed=7)) == said(chat(seed=7)) != said(chat(seed=8))


def test_as_many_answers_come_as_are_asked_for(chat):
    choices = chat(n=3)
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len(set(said(choices))) == 3


def test_an_answer_ends_at_its_token_budget(chat):
    [choice] = chat(max_tokens=3)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("I am local", "length")
    [choice] = chat(max_completion_tokens=1)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("I", "length")
    [choice] = chat(max_tokens=65_536)
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("stop", ["stand", ["repeats", "stand"], ["", "stand"]])
def test_an_answer_ends_before_the_first_stop_word(chat, stop):
    [choice] = chat(stop=stop)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("I am local/echo, a ", "stop")


def test_an_answer_is_a_json_object_when_that_is_wanted(chat):
    [text] = said(chat(response_format={"type": "json_object"}))
    assert httpx.Response(200, text=text).json() == {"model": "local/echo", "is_a_stand_in": True, "echo": "hello"}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello", 1), ("Hello, world!", 4), ("a" * 17, 3), ("  a\n\nb ", 3), ("日本語", 1), ("Grüße 🙂", 2)],
)
def test_tokens_are_counted_by_the_documented_rule(ask, text, tokens):
    usage = ask({"model": "local/echo", "messages": [{"role": "user", "content": text}]}).json()["usage"]
    assert usage["prompt_tokens"] == tokens + 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("path", CHATS)
def test_a_stream_carries_the_answer_and_its_counts_and_says_when_it_is_done(api, path, ask):
    body = {"model": "local/echo", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    whole = ask({"model": "local/echo", "messages": HELLO}, path).json()
    lines = ask(body, path).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    *pieces, last, counts = [httpx.Response(200, text=line.removeprefix("data: ")).json() for line in lines[:-2]]
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (counts["choices"], counts["usage"]) == ([], whole["usage"])


def test_a_stream_keeps_its_counts_to_itself_unless_they_are_wanted(ask):
    text = ask({"model": "local/echo", "messages": HELLO, "stream": True}).text
    assert "usage" not in text


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "local/ecco"}, 404, "local/echo"),
        ({"model": "local/hash-embedding"}, 400, "/embeddings"),
        ({"max_tokens": 65_537}, 400, "max_tokens"),
        ({"messages": [{"role": "developer", "content": "x"}]}, 400, "role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            400,
            "im",
        ),
        ({"tools": [], "tool_choice": "required"}, 400, "tool"),
        ({"response_format": {"type": "json_schema"}}, 400, "json_object"),
        ({"n": 17}, 400, "n: "),
        ({"n": "many"}, 400, "n: "),
    ],
)
def test_what_a_model_refuses_comes_in_the_openai_form(ask, path, fields, status, words):
    for stream in (False, True):
        answer = ask({"model": "local/echo", "messages": HELLO, "stream": stream, **fields}, path)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]
        assert answer.json()["error"]["type"] == {400: "invalid_request_error", 404: "not_found_error"}[status]


MALFORMED = [
    {},
    {"model": "local/echo"},
    {"model": 1, "messages": HELLO},
    {"model": "x", "messages": []},
    [],
    "x",
    None,
]


@pytest.mark.parametrize("body", MALFORMED, ids=str)
def test_a_malformed_body_is_named_field_by_field_at_the_gateway_and_in_the_openai_form_elsewhere(ask, body):
    gateway, *others = (ask(body, path) for path in CHATS)
    assert gateway.status_code == 422
    assert gateway.json()["detail"][0]["loc"][0] == "body"
    for answer in others:
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "text", [b"{", b"\xff", b'{"model": "local/echo", "messages": [{"role": "user", "content": "\\ud800"}]}']
)
def test_what_is_not_json_is_refused(api, text):
    for path in ("/serverless/chat/completions", f"{api.cloud.base_url}/openai/v1/chat/completions"):
        answer = api.http.post(path, content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}


@pytest.mark.parametrize("key", [None, "lk_wrong"])
def test_nobody_is_answered_without_a_good_key(api, key):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for path in ("/openai/v1/models", "/iris/openai/v1/models"):
        answer = httpx.get(api.cloud.base_url + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthorized_error")
    assert httpx.get(f"{api.http.base_url}/serverless/models", headers=headers).json().keys() == {"detail"}


def cosine(one, other):
    return sum(x * y for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("path", EMBEDDINGS)
def test_vectors_have_length_one_and_texts_that_share_words_point_in_similar_directions(ask, path):
    texts = ["a red apple", "the red apple", "tax law", ""]
    answer = ask({"model": "local/hash-embedding", "input": texts}, path).json()
    vectors = [row["embedding"] for row in answer["data"]]
    assert [row["index"] for row in answer["data"]] == [0, 1, 2, 3]
    assert all(math.isclose(math.hypot(*vector), 1) for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > 0.5 > abs(cosine(vectors[0], vectors[2]))
    assert answer["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert ask({"model": "local/hash-embedding", "input": texts[0]}, path).json()["data"][0]["embedding"] == vectors[0]


@pytest.mark.parametrize("path", EMBEDDINGS)
@pytest.mark.parametrize(
    ("fields", "status"),
    [({"model": "local/echo"}, 400), ({"model": "x"}, 404), ({"input": []}, 400), ({"dimensions": 0}, 400)],
)
def test_embeddings_that_cannot_be_made_are_refused(ask, path, fields, status):
    answer = ask({"model": "local/hash-embedding", "input": "x", **fields}, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_prompt_is_routed_to_a_model_that_answers(ask):
    easy, hard = (
        ask({"input": text}, "/serverless/route").json() for text in ("hi", "prove, derive, explain why " * 9)
    )
    assert (easy["complexity"], hard["complexity"]) == ("simple", "reasoning")
    assert easy["score"] < hard["score"] <= 1
    assert ask({"model": easy["model"], "messages": HELLO}).status_code == 200


@pytest.mark.parametrize("route", ["router", "simple", "complex", "reasoning"])
def test_a_route_answers_by_the_model_that_it_chose(ask, route):
    assert ask({"model": f"lyceum/{route}", "messages": HELLO}).json()["model"] == "local/echo"


def test_every_token_is_billed_at_the_price_of_the_book(make_api):
    api = make_api()
    book = {
        (row["applies_to"]["deployment_id"], row["meter_slug"]): Decimal(row["unit_price"])
        for row in api.get("/pricing").json()["prices"]
        if row["meter_slug"].startswith("serverless")
    }
    body = {"model": "local/echo", "messages": HELLO}
    usage = api.post("/serverless/chat/completions", body).json()["usage"]
    api.post("/chat/completions", {**body, "stream": True})
    vectors = api.post("/serverless/embeddings", {"model": "local/hash-embedding", "input": "a b"}).json()["usage"]
    prompt, completion = (f"serverless_inference_{kind}_tokens" for kind in ("prompt", "completion"))
    due = (
        2 * usage["prompt_tokens"] * book["serverless:local/echo", prompt]
        + 2 * usage["completion_tokens"] * book["serverless:local/echo", completion]
        + vectors["prompt_tokens"] * book["serverless:local/hash-embedding", prompt]
    )
    assert Decimal(str(api.get("/billing/credits").json()["used_credits"])) == due > 0


def test_a_stream_that_nobody_reads_to_its_end_is_billed_as_far_as_it_went(make_api, until):
    api = make_api()
    long = {"model": "local/echo", "messages": [{"role": "user", "content": "word " * 20_000}], "stream": True}
    with httpx.stream("POST", f"{api.http.base_url}chat/completions", json=long, headers=api.http.headers) as response:
        next(response.iter_raw())
    used = until(lambda: api.get("/billing/credits").json()["used_credits"])
    whole = (20_003 * Decimal("1e-7")) + 20_000 * Decimal("4e-7")
    assert 20_000 * Decimal("1e-7") < Decimal(str(used)) < whole


@pytest.mark.parametrize("path", [*CHATS, *EMBEDDINGS])
def test_without_credits_nothing_is_answered(make_api, path):
    api = make_api("--credits", "0")
    body = {"model": "local/echo", "messages": HELLO, "input": "x"}
    answer = api.http.post(api.cloud.base_url + path if path.startswith("/openai") else path, json=body)
    assert answer.status_code == 402
    assert "detail" in answer.json() if path.startswith("/serverless") else "error" in answer.json()


def test_twenty_clients_at_once_each_get_their_own_answer(ask):
    def echo(number):
        answer = ask({"model": "local/echo", "messages": [{"role": "user", "content": f"number {number}"}]})
        return answer.json()["choices"][0]["message"]["content"].rpartition(" ")[2]

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(echo, range(60))) == [str(number) for number in range(60)]
