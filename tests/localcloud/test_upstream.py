"""An upstream that answers for its models: passed on as it comes, billed, and named when it fails."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx
import pytest
from upstream_stub import USAGE, UpstreamStub

ASK = {"model": "up/large", "messages": [{"role": "user", "content": "one two three"}]}
KEY = "sk-upstream-5f0c"


@pytest.fixture
def upstream():
    stub = UpstreamStub()
    yield stub
    stub.close()


@pytest.fixture
def api(upstream, make_api, monkeypatch):
    """A local cloud with the upstream behind it."""
    monkeypatch.setenv("LK_INFERENCE_UPSTREAM_KEY", KEY)
    return make_api("--inference-upstream", upstream.url)


def chat(api, **fields):
    return api.post("/serverless/chat/completions", {**ASK, **fields})


def frames(api, **fields):
    """Yield the data of a stream as it comes."""
    headers, body = api.http.headers, {**ASK, "stream": True, **fields}
    with httpx.stream("POST", f"{api.http.base_url}chat/completions", json=body, headers=headers) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line:
                yield line.removeprefix("data: ")


def text_of(frame):
    return json.loads(frame)["choices"][0]["delta"].get("content", "")


def used(api):
    return Decimal(str(api.get("/billing/credits").json()["used_credits"]))


def test_its_models_are_listed_and_priced_beside_the_built_in_ones(api):
    ids = [row["id"] for row in api.get("/serverless/models").json()["data"]]
    assert ids[:4] == ["local/echo", "local/hash-embedding", "up/large", "up/embed"]
    priced = {(row["applies_to"] or {}).get("deployment_id") for row in api.get("/pricing").json()["prices"]}
    assert {"serverless:up/large", "serverless:up/embed"} <= priced
    deployable = [row["serving_name"] for row in api.get("/inference/models").json()["models"]]
    assert "up/large" in deployable


def test_a_request_reaches_it_as_it_was_sent_with_the_key_of_the_cloud(api, upstream):
    assert chat(api, temperature=0.5, top_k=7).json()["choices"][0]["message"]["content"] == "ONE TWO THREE"
    assert upstream.requests == [{**ASK, "temperature": 0.5, "top_k": 7, "stream": False}]
    assert upstream.headers[0]["authorization"] == f"Bearer {KEY}"


DEVELOPER = {"role": "developer", "content": "Be brief."}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
SPOKEN = {"role": "user", "content": [{"type": "text", "text": "one"}, AUDIO]}
PATHS = ["/serverless/chat/completions", "{}/openai/v1/chat/completions"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("message", [DEVELOPER, SPOKEN], ids=["developer", "audio"])
def test_messages_that_only_it_accepts_reach_it(api, upstream, path, message):
    upstream.answer = lambda body: (200, {"choices": [{"message": {"role": "assistant", "content": "yes"}}]})
    request = {**ASK, "messages": [message, *ASK["messages"]]}
    answer = api.http.post(path.format(api.cloud.base_url), json=request)
    assert answer.json()["choices"][0]["message"]["content"] == "yes"
    assert upstream.requests[-1]["messages"] == request["messages"]


@pytest.mark.parametrize(("message", "words"), [(DEVELOPER, "no role 'developer'"), (SPOKEN, "no input_audio")])
def test_built_in_models_refuse_in_front_of_it_what_only_it_accepts(api, upstream, message, words):
    answer = chat(api, model="local/echo", messages=[message, *ASK["messages"]])
    assert (answer.status_code, upstream.requests) == (400, [])
    assert words in answer.json()["error"]["message"]


def test_a_role_that_no_service_has_is_refused_with_its_field(api, upstream):
    answer = chat(api, messages=[{"role": "owner", "content": "x"}])
    assert (answer.status_code, upstream.requests) == (400, [])
    assert "role" in answer.json()["error"]["message"]


def test_routes_lead_to_its_first_model_that_chats(api, upstream):
    assert chat(api, model="lyceum/router").json()["model"] == "up/large"
    assert api.post("/serverless/route", {"input": "hi"}).json()["model"] == "up/large"


def test_a_stream_is_passed_on_piece_by_piece_while_it_comes(api, upstream):
    upstream.hold.clear()
    coming = frames(api)
    assert text_of(next(coming)) == "ONE"
    upstream.hold.set()
    *pieces, end, done = coming
    assert [text_of(piece) for piece in pieces] == ["TWO", "THREE"]
    assert json.loads(end)["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"


def test_its_own_token_counts_are_billed(api):
    prices = {
        row["meter_slug"]: Decimal(row["unit_price"])
        for row in api.get("/pricing").json()["prices"]
        if (row["applies_to"] or {}).get("deployment_id") == "serverless:up/large"
    }
    once = sum(
        USAGE[f"{kind}_tokens"] * prices[f"serverless_inference_{kind}_tokens"] for kind in ("prompt", "completion")
    )
    assert chat(api).json()["usage"] == USAGE
    assert used(api) == once
    *_, counts, done = frames(api, stream_options={"include_usage": True})
    assert (json.loads(counts)["usage"], done) == (USAGE, "[DONE]")
    assert used(api) == 2 * once


def test_a_fault_in_mid_stream_arrives_as_an_error_frame_and_the_stream_is_not_done(api, upstream):
    upstream.cut = {"error": {"message": "the GPU fell off the bus", "type": "server_error"}}
    *pieces, last = frames(api)
    assert [text_of(piece) for piece in pieces] == ["ONE", "TWO", "THREE"]
    assert json.loads(last)["error"] == {"message": "the GPU fell off the bus", "type": "server_error", "param": None}


def test_a_stream_that_breaks_off_arrives_as_an_error_frame(api, upstream):
    upstream.cut = {"choices": []}
    *_, last = frames(api)
    assert "ended its answer early" in json.loads(last)["error"]["message"]


def test_embeddings_come_from_it_and_are_counted_where_it_does_not(api, upstream):
    answer = api.post("/serverless/embeddings", {"model": "up/embed", "input": ["ab", "a b c"]}).json()
    assert [row["embedding"] for row in answer["data"]] == [[2.0, 1.0], [5.0, 1.0]]
    assert answer["usage"]["prompt_tokens"] == 4
    assert used(api) > 0


@pytest.mark.parametrize(
    ("status", "body", "answered", "words"),
    [
        (400, {"error": {"message": "no such option"}}, 400, "no such option"),
        (422, {"detail": "bad"}, 400, "bad"),
        (404, {"error": "gone"}, 404, "gone"),
        (429, {"error": {"message": "slow down"}}, 429, "slow down"),
        (401, {"error": {"message": "wrong key"}}, 503, "LK_INFERENCE_UPSTREAM_KEY"),
        (500, {}, 503, "HTTP 500"),
        (200, {"hello": 1}, 503, "isn't in the format of the API"),
        (200, [], 503, "isn't in the format of the API"),
    ],
)
def test_its_refusals_are_passed_on_and_its_faults_are_named(  # noqa: PLR0913, PLR0917 (a table)
    api, upstream, status, body, answered, words
):
    upstream.answer = lambda _: (status, body)
    answer = chat(api)
    assert answer.status_code == answered
    assert words in answer.json()["error"]["message"]
    assert KEY not in answer.text
    assert used(api) == 0


def test_an_upstream_that_is_down_leaves_the_built_in_models(api, upstream):
    upstream.close()
    assert chat(api).status_code == 503
    assert chat(api, model="local/echo").status_code == 200
    assert api.get("/serverless/models").json()["data"][0]["id"] == "local/echo"


def test_its_key_is_not_handed_to_runs(api):
    record = api.run("import os; print(os.environ.get('LK_INFERENCE_UPSTREAM_KEY'))")
    assert record["stdout"] == "None\n"
