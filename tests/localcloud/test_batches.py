"""Files and batches: checked line by line, worked off once, ended early, kept over crashes."""

from __future__ import annotations

import json
import time
from collections import Counter
from decimal import Decimal

import httpx
import pytest
from upstream_stub import USAGE, UpstreamStub

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
FINAL = {"completed", "failed", "expired", "cancelled"}


def line(number, **fields):
    body = {"model": "local/echo", "messages": [{"role": "user", "content": f"n{number}"}]}
    return {"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": body, **fields}


def written(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(api, content, **fields):
    part = {"file": ("in.jsonl", content, "application/jsonl")}
    return api.http.post("/files", files=part, data=fields)


def file_of(api, rows):
    return upload(api, rows if isinstance(rows, bytes) else written(rows)).json()["id"]


def create(api, rows, **fields):
    return api.post("/batches", {"input_file_id": file_of(api, rows), **fields})


def start(api, rows, **fields):
    answer = create(api, rows, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def get(api, batch):
    return api.get(f"/batches/{batch}").json()


def rows_of(api, file_id):
    return [json.loads(text) for text in api.get(f"/files/{file_id}/content").text.splitlines()]


@pytest.fixture
def over(until):
    """Wait for the end of a batch and return it."""
    return lambda api, batch: until(lambda: (b := get(api, batch))["status"] in FINAL and b, 30)


@pytest.fixture
def work(api, over):
    """Work a batch off and return it with its answers and its errors by custom_id."""

    def run(rows, **fields):
        batch = over(api, start(api, rows, **fields))
        files = [batch["output_file_id"], batch["error_file_id"]]
        return batch, *({row["custom_id"]: row for row in rows_of(api, f)} if f else {} for f in files)

    return run


def test_a_file_comes_back_as_it_was_sent(api):
    content = '\r\n{"a": "Grüße 🙂"}\r\n\0'.encode()
    kept = upload(api, content).json()
    assert (kept["bytes"], kept["filename"], kept["purpose"]) == (len(content), "in.jsonl", "batch")
    answer = api.get(f"/files/{kept['id']}/content")
    assert (answer.content, answer.headers["content-type"]) == (content, "application/jsonl")


def test_a_purpose_may_come_in_the_form_or_in_the_query_and_is_batch(api):
    assert upload(api, b"x", purpose="batch").json()["purpose"] == "batch"
    assert upload(api, b"x", purpose="fine-tune").status_code == 400
    part = {"file": ("in.jsonl", b"x")}
    assert api.http.post("/files", files=part, params={"purpose": "vision"}).status_code == 400
    assert api.http.post("/files", data={"purpose": "batch"}).status_code == 422
    assert api.http.post("/files", data={"file": "text"}).status_code == 422


def test_files_are_listed_newest_first_page_by_page(make_api):
    api = make_api()
    kept = [file_of(api, b"x") for _ in range(5)]
    assert api.get("/files", purpose="batch_output").json()["data"] == []
    first = api.get("/files", limit=3).json()
    second = api.get("/files", limit=3, after=first["data"][-1]["id"]).json()
    assert [row["id"] for row in first["data"] + second["data"]] == kept[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert api.get("/files", after="none").status_code == 422
    assert api.get("/files", limit=0).status_code == 422
    assert len(api.get("/files", limit=10**30).json()["data"]) == 5


def test_a_file_that_is_not_there_is_not_found(api):
    for path in ("/files/none", "/files/none/content", "/files/%00"):
        assert api.get(path).status_code == 404
    assert httpx.get(f"{api.http.base_url}files/..%2Fapi_key/content", headers=api.http.headers).status_code == 404
    assert api.http.delete("/files/none").status_code == 404
    assert api.post("/batches", {"input_file_id": "none"}).status_code == 404


def test_every_line_is_answered_by_the_same_code_as_a_request(work):
    embedding = {"model": "local/hash-embedding", "input": "a"}
    batch, answers, errors = work([line(1), line(2), line(3, url=EMBEDDINGS, body=embedding)])
    assert (batch["status"], batch["request_counts"]) == ("completed", {"total": 3, "completed": 3, "failed": 0})
    assert errors == {}
    text = answers["r2"]["response"]["body"]["choices"][0]["message"]["content"]
    assert text == "I am local/echo, a stand-in that repeats. You said: n2"
    assert len(answers["r3"]["response"]["body"]["data"][0]["embedding"]) == 512
    assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in answers.values())


def test_endpoint_and_model_of_the_batch_override_those_of_the_lines(work):
    body = {"model": "none", "input": "a", "messages": []}
    batch, answers, _ = work([line(1, url="/v1/none", body=body)], endpoint=EMBEDDINGS, model="local/hash-embedding")
    assert (batch["endpoint"], batch["model"]) == (EMBEDDINGS, "local/hash-embedding")
    assert answers["r1"]["response"]["body"]["object"] == "list"


def test_a_line_that_is_refused_goes_into_the_file_of_errors_and_the_others_are_answered(work):
    bad = [{"model": "none"}, {"max_tokens": 65_537}, {"stream": True}, {"messages": "x"}, {"n": 99}]
    rows = [line(i, body={**line(i)["body"], **fields}) for i, fields in enumerate(bad)]
    batch, answers, errors = work([*rows, line(7)])
    assert (batch["status"], batch["request_counts"]) == ("completed", {"total": 6, "completed": 1, "failed": 5})
    assert set(answers) == {"r7"}
    assert [errors[f"r{i}"]["response"]["status_code"] for i in range(5)] == [404, 400, 400, 400, 400]
    assert "model not found" in errors["r0"]["error"]["message"]
    assert "max_tokens" in errors["r1"]["error"]["message"]


MALFORMED = [
    (b"", 0, "no lines"),
    (b"\n \r\n", 0, "no lines"),
    (written([line(1)]) + b"{", 2, "not JSON"),
    (b"\xff\xfe", 1, "not JSON"),
    (b'{"custom_id": "\\ud800"}', 1, "not JSON"),
    (b'{"custom_id": NaN}', 1, "not JSON"),
    (b"[" * 100_000, 1, "not JSON"),
    (b"[1]", 1, "isn't a JSON object"),
    (written([line(1, custom_id=7)]), 1, "custom_id"),
    (written([line(1, custom_id="")]), 1, "custom_id"),
    (written([line(1), line(1)]), 2, "custom_id"),
    (written([line(1, method="GET")]), 1, "method"),
    (written([line(1, url="/v1/completions")]), 1, "url"),
    (written([line(1, body="x")]), 1, "body"),
]


def test_a_malformed_file_fails_with_its_faults_listed_by_line_and_costs_nothing(make_api, over):
    api = make_api()
    for content, number, words in MALFORMED:
        batch = over(api, start(api, content))
        assert (batch["status"], batch["output_file_id"]) == ("failed", None)
        [fault] = batch["errors"]["data"]
        assert (fault["line"] or 0) == number, content[:80]
        assert words in fault["message"]
        [row] = rows_of(api, batch["error_file_id"])
        assert row["error"]["message"] == fault["message"]
    assert api.get("/billing/credits").json()["used_credits"] == 0


def test_all_faults_of_a_file_are_told_at_once(work):
    batch, _, errors = work([line(i, method="GET") for i in range(300)])
    assert len(batch["errors"]["data"]) == 100
    assert len(errors) == 300


def test_blank_lines_and_a_byte_order_mark_are_passed_over(work):
    batch, answers, _ = work(b"\xef\xbb\xbf" + written([line(1)]) + b"\r\n\n" + written([line(2)]).rstrip())
    assert (batch["status"], set(answers)) == ("completed", {"r1", "r2"})


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"completion_window": "1h"}, 400),
        ({"endpoint": "/v1/completions"}, 400),
        ({"endpoint": ""}, 400),
        ({"input_file_id": 7}, 422),
        ({"metadata": {"a": 1}}, 422),
        ({"metadata": "x"}, 422),
    ],
)
def test_a_batch_that_cannot_be_is_refused_and_none_is_made(api, fields, status):
    before = api.get("/batches").json()
    assert create(api, [line(1)], **fields).status_code == status
    assert api.get("/batches").json() == before


def test_answers_are_no_requests(api, over):
    batch = over(api, start(api, [line(1)]))
    assert api.post("/batches", {"input_file_id": batch["output_file_id"]}).status_code == 400


def test_batches_are_listed_newest_first_page_by_page_with_what_was_asked_for(make_api):
    api = make_api()
    made = [start(api, [line(1)], metadata={"number": str(n)}) for n in range(3)]
    first = api.get("/batches", limit=2).json()
    assert [row["id"] for row in first["data"]] == [first["first_id"], first["last_id"]] == made[:0:-1]
    second = api.get("/batches", after=first["last_id"]).json()
    assert [row["metadata"] for row in second["data"]] == [{"number": "0"}]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert api.get("/batches/none").status_code == api.post("/batches/none/cancel").status_code == 404


def test_without_credits_no_batch_is_made(make_api):
    assert create(make_api("--credits", "0"), [line(1)]).status_code == 402


def test_when_credits_run_out_the_rest_of_the_lines_is_refused(make_api, over):
    api = make_api("--credits", "0.0001")
    batch = over(api, start(api, [line(number) for number in range(100)]))
    counts = batch["request_counts"]
    assert counts["completed"] > 0 < counts["failed"]
    assert {row["response"]["status_code"] for row in rows_of(api, batch["error_file_id"])} == {402}


@pytest.fixture
def slow(make_api):
    """Make a local cloud whose upstream answers when it is let go."""
    stub = UpstreamStub()
    stub.hold.clear()
    yield lambda *options: make_api("--inference-upstream", stub.url, *options), stub
    stub.close()


def up(count):
    body = {"model": "up/large", "messages": [{"role": "user", "content": "hi"}]}
    return [line(number, body=body) for number in range(count)]


def test_a_batch_that_is_cancelled_keeps_the_lines_that_were_answered(slow, until, over):
    make, _ = slow
    api = make()
    batch = start(api, [line(1), line(2), *(line(n, body=up(1)[0]["body"]) for n in range(3, 40))])
    until(lambda: get(api, batch)["request_counts"]["completed"] == 2)
    assert api.post(f"/batches/{batch}/cancel").json()["status"] in {"cancelling", "cancelled"}
    ended = over(api, batch)
    assert (ended["status"], ended["request_counts"]["completed"]) == ("cancelled", 2)
    assert {row["custom_id"] for row in rows_of(api, ended["output_file_id"])} == {"r1", "r2"}
    assert api.post(f"/batches/{batch}/cancel").json()["status"] == "cancelled"


def test_a_batch_that_has_ended_cannot_be_cancelled(api, over):
    batch = start(api, [line(1)])
    over(api, batch)
    answer = api.post(f"/batches/{batch}/cancel")
    assert (answer.status_code, "completed" in answer.json()["detail"]) == (400, True)


def test_a_batch_whose_time_is_up_keeps_its_answers_and_names_the_rest(slow, over):
    make, _ = slow
    api = make("--clock-speed", "40000")
    batch = over(api, start(api, [line(0), *up(3)[1:]]))
    assert batch["status"] == "expired"
    errors = {row["custom_id"]: row["error"]["code"] for row in rows_of(api, batch["error_file_id"])}
    assert set(errors.values()) == {"batch_expired"}
    answers = {row["custom_id"] for row in rows_of(api, batch["output_file_id"])}
    assert answers.isdisjoint(errors)
    assert batch["expires_at"] - batch["created_at"] in {2, 3}


def test_a_file_may_be_deleted_while_its_batch_goes_on(slow, until, over):
    make, stub = slow
    api = make()
    batch = start(api, up(3))
    until(lambda: stub.requests)
    api.http.delete(f"/files/{get(api, batch)['input_file_id']}")
    stub.hold.set()
    assert over(api, batch)["request_counts"]["completed"] == 3


@pytest.mark.nightly
@pytest.mark.timeout(180)
def test_over_crashes_each_line_is_answered_once_and_billed_once(slow, until, over):
    make, stub = slow
    stub.hold.set()
    stub.answer = lambda body: (time.sleep(0.005), (200, answered(body)))[
        1
    ]  # as slow as a model, so that it can be cut
    api = make()
    batch = start(api, up(200))
    for done in (20, 80, 140):
        until(lambda done=done: get(api, batch)["request_counts"]["completed"] >= done)
        api.cloud.kill()
        api.cloud.start()
        api.connect()
    ended = over(api, batch)
    assert (ended["status"], ended["request_counts"]["completed"]) == ("completed", 200)
    times = Counter(row["custom_id"] for row in rows_of(api, ended["output_file_id"]))
    assert times == {f"r{number}": 1 for number in range(200)}
    prices = {
        row["meter_slug"]: Decimal(row["unit_price"])
        for row in api.get("/pricing").json()["prices"]
        if (row["applies_to"] or {}).get("deployment_id") == "serverless:up/large"
    }
    once = sum(
        USAGE[f"{kind}_tokens"] * prices[f"serverless_inference_{kind}_tokens"] for kind in ("prompt", "completion")
    )
    assert Decimal(str(api.get("/billing/credits").json()["used_credits"])) == 200 * once


def answered(body):
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    return {"id": "up-1", "model": body["model"], "choices": [choice], "usage": USAGE}
