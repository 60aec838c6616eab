"""Deployments: the states of replicas by the clock, scaling, pause and return, the proxy, the bill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest
from localcloud.conftest import moment
from upstream_stub import UpstreamStub

HELLO = [{"role": "user", "content": "hello"}]

#: Ten seconds of starting take half a second, an hour three minutes.
FAST = ("--clock-speed", "20")

#: Ten seconds of starting take 5 ms, an hour 1.8 s.
FASTER = ("--clock-speed", "2000")


def create(api, **fields):
    answer = api.post("/inference/create", {"hf_model_id": "local/echo", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["deployment_id"]


def get(api, deployment, **query):
    return api.get("/inference/get", deployment_id=deployment, **query).json()


def stop(api, deployment):
    return api.http.request("DELETE", "/inference/stop", json={"deployment_id": deployment})


def has(api, deployment, status):
    return lambda: (found := get(api, deployment))["status"] == status and found


def ask(api, deployment, headers=(), **fields):
    url = f"{api.cloud.base_url}/iris/openai/v1/chat/completions"
    return api.http.post(
        url, json={"messages": HELLO, **fields}, headers={"X-Deployment-ID": deployment, **dict(headers)}
    )


def used(api):
    return Decimal(str(api.get("/billing/credits").json()["used_credits"]))


def seconds(text):
    return moment(text).timestamp()


def test_a_replica_goes_through_its_states_and_the_deployment_with_it(api, until):
    deployment, seen = create(api), []

    def is_up():
        found = get(api, deployment)
        (replica,) = found["replicas"]
        if (replica["status"], found["status"], replica["healthy"]) not in seen:
            seen.append((replica["status"], found["status"], replica["healthy"]))
        return replica["healthy"]

    until(is_up)
    assert seen[-1] == ("running", "created", True)
    states = ["pending", "pulling_docker_image", "initing_docker_container", "running"]
    assert [state for state, _, _ in seen] == [state for state in states if state in {row[0] for row in seen}]
    assert {row[1:] for row in seen[:-1]} == {("pending", None)}
    stop(api, deployment)
    assert get(api, deployment, include_terminated=True)["replicas"][0]["status"] == "stopped"


def test_a_replica_that_does_not_start_is_tried_again_then_fails_with_a_reason_and_logs(api, until):
    deployment, seen = create(api, hf_model_id="local/broken"), set()

    def is_over():
        found = get(api, deployment)
        seen.add(found["replicas"][0]["status"])
        return found["status"] == "failed" and found["replicas"][0]

    replica = until(is_over)
    assert {"restarting", "failed"} <= seen
    assert (replica["healthy"], replica["fail_reason"]) == (False, "the engine ended at its start, with exit code 1")
    assert "ERROR" in api.get(f"/inference/replica/{replica['replica_id']}/logs").json()["error_logs"]
    assert ask(api, deployment).json()["error"]["message"].startswith("no healthy replica")
    stop(api, deployment)


def test_a_replica_that_is_well_has_no_logs(api):
    deployment = create(api)
    replica = get(api, deployment)["replicas"][0]["replica_id"]
    assert api.get(f"/inference/replica/{replica}/logs").json() == {"replica_id": replica, "error_logs": None}
    stop(api, deployment)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"hf_model_id": "none/such"}, 400, "local/echo"),
        ({"hf_model_id": ""}, 400, "local/echo"),
        ({"gpu_type": "a1000"}, 422, "a100"),
        ({"hardware_profile": "cpu"}, 422, "a100"),
        ({"gpu_type": "h100", "hardware_profile": "gpu.a100"}, 422, "differs from gpu_type"),
        ({"gpu_count": 3}, 400, "1, 2, 4, 8"),
        ({"gpu_count": 0}, 400, "1, 2, 4, 8"),
        ({"min_replicas": 2}, 422, "min_replicas"),
        ({"max_replicas": 9}, 400, "8 replicas"),
        ({"max_replicas": 10**400}, 400, "8 replicas"),
        ({"target_rps": 0}, 422, "above 0"),
        ({"target_latency_p95_ms": -1}, 422, "above 0"),
        ({"stabilisation_window": 10**30}, 422, "up to"),
        ({"min_replicas": "many"}, 422, "integer"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused_and_none_is_made(api, fields, status, words):
    before = api.get("/inference/list", include_terminated=True).json()
    answer = api.post("/inference/create", {"hf_model_id": "local/echo", **fields})
    assert answer.status_code == status
    assert words in str(answer.json()["detail"])
    assert api.get("/inference/list", include_terminated=True).json() == before


def test_a_gpu_needs_the_right_to_it_and_credits(make_api):
    api = make_api("--quota", "gpu.l40s", "--credits", "0")
    model = {"hf_model_id": "local/echo"}
    assert api.post("/inference/create", {**model, "gpu_type": "h100"}).status_code == 403
    assert api.post("/inference/create", model).status_code == 402
    assert api.get("/inference/models").json()["models"][0]["is_gpu_available"] is True


def test_what_is_unknown_is_not_found(api):
    assert api.get("/inference/get", deployment_id="none").status_code == 404
    assert api.get("/inference/replica/none/logs").status_code == 404
    assert api.get("/inference/streaming/stream/none").status_code == 404
    assert stop(api, "none\0").status_code == 404
    assert ask(api, "none").status_code == 404
    assert api.http.get(f"{api.cloud.base_url}/iris/openai/v1/chat/completions/none").status_code == 404


def test_a_replica_is_billed_by_the_second_from_its_start_to_its_end_and_once(make_api, until):
    api = make_api(*FAST)
    deployment = create(api, gpu_type="h200", gpu_count=8)
    until(has(api, deployment, "created"))
    accruing = used(api)
    up = until(lambda: (now := used(api)) > accruing and now)
    stop(api, deployment)
    bill = used(api)
    [row] = api.get("/orgs/local/transactions", source="dedicated_inference").json()["transactions"]
    assert Decimal(row["amount"]) == bill > up
    started = get(api, deployment, include_terminated=True)["created_at"]
    longest = seconds(row["created_at"]) - seconds(started) - 0.5
    assert bill <= Decimal("34.32") * Decimal(longest + 0.1) / 3600
    stop(api, deployment)
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert used(api) == bill


def test_a_deployment_outlives_a_crash_of_the_server_and_is_billed_on(make_api, until):
    api = make_api(*FAST)
    deployment = create(api)
    until(has(api, deployment, "created"))
    before = get(api, deployment)["replicas"][0]["replica_id"]
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert get(api, deployment)["replicas"][0]["replica_id"] == before
    assert ask(api, deployment).status_code == 200
    stop(api, deployment)
    assert used(api) > 0


def test_a_deployment_without_requests_is_paused_and_the_next_request_wakes_it_up(make_api, until):
    api = make_api(*FASTER)
    deployment = create(api)
    paused = until(has(api, deployment, "paused"))
    assert (paused["current_replicas"], paused["desired_replicas"]) == (0, 0)
    bill = used(api)
    assert bill > 0
    rows = api.http.get(f"{api.cloud.base_url}/iris/openai/v1/models").json()["data"]
    assert [(row["id"], row["meta"]["healthy_replicas"]) for row in rows] == [(deployment, 0)]
    assert used(api) == bill
    assert until(lambda: (answer := ask(api, deployment)).status_code == 200 and answer)
    assert used(api) > bill


def test_replicas_are_added_when_they_are_needed_and_taken_away_after_some_calm(make_api, until):
    api = make_api(*FAST)
    deployment = create(api, max_replicas=3, target_rps=1, stabilisation_window=10)
    until(has(api, deployment, "created"))
    with ThreadPoolExecutor(4) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: ask(api, deployment), range(12))} == {200}
    until(lambda: get(api, deployment)["desired_replicas"] == 3)
    until(lambda: get(api, deployment)["current_replicas"] == 3)
    until(lambda: get(api, deployment)["desired_replicas"] == 1)
    found = get(api, deployment)
    assert sorted(replica["status"] for replica in found["replicas"]) == ["running", "stopped", "stopped"]
    stop(api, deployment)


def test_without_credits_a_deployment_is_paused_and_stays_so(make_api, until):
    api = make_api("--credits", "0.0001", *FAST)
    deployment = create(api)
    until(has(api, deployment, "paused"))
    assert used(api) >= Decimal("0.0001")
    assert ask(api, deployment).status_code == 402
    assert get(api, deployment)["status"] == "paused"


def test_a_deployment_is_asked_by_header_by_id_or_by_its_model(api, until):
    deployment = create(api)
    until(has(api, deployment, "created"))
    url = f"{api.cloud.base_url}/iris/openai/v1/chat/completions"
    for body, headers in (
        ({}, {"X-Deployment-ID": deployment}),
        ({"model": deployment}, {}),
        ({"model": "local/echo"}, {}),
        ({"model": "something else"}, {"X-Deployment-ID": deployment}),
    ):
        answer = api.http.post(url, json={"messages": HELLO, **body}, headers=headers)
        assert answer.json()["model"] == "local/echo"
    assert api.http.post(url, json={"messages": HELLO}).status_code == 400
    assert ask(api, deployment, max_tokens=65_537).json()["error"]["param"] == "max_tokens"
    stop(api, deployment)
    assert ask(api, deployment).status_code == 404


@pytest.mark.parametrize("timeout", ["1", "10", "-3", "0"])
def test_the_time_limit_is_at_least_ten_seconds_of_the_clock(api, timeout):
    deployment = create(api, hf_model_id="local/broken")
    answer = ask(api, deployment, {"X-Timeout-S": timeout})
    assert answer.status_code == 504
    assert answer.json()["error"] == {
        "message": "request timed out: no answer within 10 s",
        "type": "timeout_error",
        "param": None,
    }
    stop(api, deployment)


def test_a_time_limit_that_is_no_number_is_refused(api):
    assert ask(api, "any", {"X-Timeout-S": "soon"}).status_code == 400


def test_a_stream_of_a_deployment_ends_with_done(api, until):
    deployment = create(api)
    until(has(api, deployment, "created"))
    text = ask(api, deployment, stream=True).text
    assert text.endswith("data: [DONE]\n\n")
    assert ask(api, deployment, {"X-Async": "true"}, stream=True).status_code == 400
    stop(api, deployment)


@pytest.fixture
def slow(make_api):
    """A local cloud whose upstream answers when it is let go."""
    stub = UpstreamStub()
    stub.hold.clear()
    yield make_api("--inference-upstream", stub.url, *FAST), stub
    stub.close()


def result(api, request_id):
    return api.http.get(f"{api.cloud.base_url}/iris/openai/v1/chat/completions/{request_id}")


def test_an_answer_for_later_is_pending_then_completed_also_over_a_crash(slow, until):
    api, stub = slow
    deployment = create(api, hf_model_id="up/large")
    request_id = ask(api, deployment, {"X-Async": "true"}).json()["request_id"]
    until(lambda: stub.requests)
    assert result(api, request_id).json() == {"status": "pending"}
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert result(api, request_id).json() == {"status": "pending"}
    stub.hold.set()
    answer = until(lambda: (row := result(api, request_id).json())["status"] == "completed" and row)
    assert answer["result"]["choices"][0]["message"]["content"] == "HELLO"


def test_a_request_for_later_is_followed_from_queued_to_finished(slow):
    api, stub = slow
    deployment = create(api, hf_model_id="up/large")
    request_id = ask(api, deployment, {"X-Async": "true"}).json()["request_id"]
    url = f"{api.http.base_url}inference/streaming/stream/{request_id}"
    with httpx.stream("GET", url, headers=api.http.headers) as response:
        events = (line for line in response.iter_lines() if line.startswith("event"))
        assert next(events) == "event: queued"
        stub.hold.set()
        assert list(events) == ["event: finished"]


def test_a_request_for_later_that_cannot_be_answered_has_failed(api, until):
    deployment = create(api, hf_model_id="local/broken")
    request_id = ask(api, deployment, {"X-Async": "true"}).json()["request_id"]
    answer = until(lambda: (row := result(api, request_id).json())["status"] != "pending" and row)
    assert answer == {"status": "failed", "error": "no healthy replica: the deployment is failed"}
    text = api.get(f"/inference/streaming/stream/{request_id}").text
    assert "event: failed" in text
    stop(api, deployment)
