"""A local cloud that replays a recording: each recorded fact shows, and a hostile recording starts nothing."""

from __future__ import annotations

import json
import os
import time

import httpx
import pytest
from cloud_process import run_forked
from magics.conftest import run_cell, shell
from patience import PATIENCE

from lk_jupyter.errors import LocalCloudError
from lk_jupyter.localcloud.recorded import read_recording

__all__ = ["run_cell", "shell"]

EXTERNAL = "/api/v2/external"
RECORD = {
    "status": "FINISHED",
    "execution_id": "<id 2>",
    "created_at": "2026-12-07 11:26:15",
    "start_time": 1796642776179,
    "end_time": 1796642776335,
    "hardware_profile": "gpu.l40s",
    "billed": "0.000051",
    "return_code": 0,
    "stdout": "<str>",
    "stderr": None,
    "region": "<text 1>",
}

#: A cloud that differs in much, by facts that a check records.
RECORDING = {
    "lk_jupyter": "0.1.0",
    "ids": {"<id 1>": "[a-z]{3}-[0-9a-z]{16}", "<id 2>": "[A-Z]{3}-[0-9A-Z]{16}", "<id 3>": 10_000_000},
    "findings": [
        {"operation": "GET /execution/streaming/{execution_id}/status", "expected": "none",
         "found": "finished=completed", "name": "final_words"},
        {"operation": "POST /execution/streaming/start", "expected": "600", "found": "77", "name": "longest_run"},
        {"operation": "POST /workloads/abort/{execution_id}", "expected": "the end of the run",
         "found": "still active 30 seconds after the abort", "name": ""},
        {"operation": "POST /execution/streaming/start",
         "expected": "the end of a run at its time limit of 3 seconds",
         "found": "the code ran for more than 8 seconds", "name": ""},
        {"operation": "GET /execution/{execution_id}", "expected": "a bill",
         "found": "no bill within 20 seconds", "name": ""},
    ],
    "seen": [
        {"request": f"GET {EXTERNAL}/user/org", "status": 200, "seconds": 0.4,
         "answer": {"org_id": "<id 3>", "slug": "<name 1>", "name": "<name 2>", "is_personal": None}},
        {"request": f"GET {EXTERNAL}/storage/block", "status": 404, "answer": {"detail": "Not Found"}},
        {"request": f"GET {EXTERNAL}/inference/list", "status": 403, "answer": {"detail": "Ask the owner for access"}},
        {"request": f"GET {EXTERNAL}/execution/{{execution_id}}", "status": 400,
         "answer": {"error": "The run <id 9> is unknown"}},
        {"request": f"GET {EXTERNAL}/execution/{{execution_id}}", "status": 200, "answer": RECORD},
        {"request": f"POST {EXTERNAL}/execution/streaming/start", "status": 422, "answer": {
            "detail": [{"loc": ["body", "code"], "msg": "The code is missing", "type": "missing"}]}},
        {"request": f"POST {EXTERNAL}/execution/streaming/start", "status": 201,
         "answer": {"execution_id": "<id 1>", "status": "QUEUED", "streaming_url": "<url 1>"}},
    ],
}  # fmt: skip


def change(**facts):
    return {**RECORDING, **facts}


@pytest.fixture
def start_replay(make_cloud, tmp_path):
    """Start a cloud that replays a recording, and return a client."""
    clients = []

    def start(recording):
        path = tmp_path / "check.json"
        path.write_text(json.dumps(recording))
        cloud = make_cloud("--engine", "none", "--replay", str(path))
        headers = {"Authorization": f"Bearer {cloud.api_key}"}
        clients.append(httpx.Client(base_url=cloud.base_url + EXTERNAL, headers=headers, timeout=PATIENCE))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def replay(start_replay):
    return start_replay(RECORDING)


def start_run(replay, code="print('hello')", **fields):
    return replay.post("/execution/streaming/start", json={"code": code, "execution_type": "gpu.l40s", **fields})


def wait_for(replay, run_id, state):
    until = time.monotonic() + PATIENCE
    while (record := replay.get(f"/execution/{run_id}").json())["status"] != state and time.monotonic() < until:
        time.sleep(0.05)
    return record


def test_ids_have_the_recorded_form_and_are_accepted_in_that_form_only(replay):
    answer = start_run(replay).json()
    run_id = answer["execution_id"]
    assert len(run_id.partition("-")[2]) == 16
    assert run_id in answer["streaming_url"]
    record = wait_for(replay, run_id, "FINISHED")
    assert record["execution_id"].isupper()
    assert replay.get(f"/execution/streaming/{record['execution_id']}/status").status_code == 200
    assert isinstance(replay.get("/user/org").json()["org_id"], int)


def test_a_record_has_the_recorded_fields_times_numbers_nulls_and_states(replay):
    record = wait_for(replay, start_run(replay).json()["execution_id"], "FINISHED")
    assert set(record) == set(RECORD)
    assert record["stdout"] == "hello\n"
    assert record["stderr"] is None
    assert len(record["created_at"]) == len("2026-12-07 11:26:15")
    assert time.time() - PATIENCE < record["end_time"] / 1000 < time.time() + PATIENCE


def test_a_start_has_the_recorded_status_and_state(replay):
    response = start_run(replay)
    assert (response.status_code, response.json()["status"]) == (201, "QUEUED")


def test_refusals_have_the_recorded_status_and_text(replay):
    unknown = replay.get("/execution/7c0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44")
    assert unknown.status_code == 400
    assert unknown.json() == {"error": "The run 7c0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44 is unknown"}
    incomplete = replay.post("/execution/streaming/start", json={"execution_type": "gpu.l40s"})
    assert [row["msg"] for row in incomplete.json()["detail"]] == ["The code is missing"]
    assert "77" in start_run(replay, timeout=78).text


def test_absent_and_refused_operations_answer_as_recorded(replay):
    assert (replay.get("/storage/block").status_code, replay.get("/storage/block").json()) == (
        404,
        {"detail": "Not Found"},
    )
    assert replay.get("/inference/list").json() == {"detail": "Ask the owner for access"}


def test_a_running_run_lacks_the_recorded_results_of_an_ended_run(replay):
    run_id = start_run(replay, "import time\ntime.sleep(600)").json()["execution_id"]
    record = wait_for(replay, run_id, "running")
    assert not {"return_code", "end_time"} & {name for name, value in record.items() if value is not None}


def test_lists_have_the_recorded_container(start_replay):
    steps = [
        {
            "request": f"GET {EXTERNAL}/workloads/list",
            "status": 200,
            "answer": {"workloads": [{"execution_id": "<id 1>"}]},
        },
        {"request": f"GET {EXTERNAL}/machine-types", "status": 200, "answer": [{"hardware_profile": "gpu.l40s"}]},
    ]
    replay = start_replay(change(seen=steps, findings=[]))
    start_run(replay, "import time\ntime.sleep(600)")
    [row] = replay.get("/workloads/list").json()["workloads"]
    assert list(row) == ["execution_id"]
    assert replay.get("/machine-types").json()[0] == {"hardware_profile": "cpu"}


@pytest.mark.parametrize(
    ("status", "answer"), [(201, {"execution_id": "<id 1>", "status": "pending"}), (202, {"ok": True})]
)
def test_a_start_with_an_id_keeps_its_id_whatever_its_status_is(start_replay, status, answer):
    step = {"request": f"POST {EXTERNAL}/execution/streaming/start", "status": status, "answer": answer}
    response = start_run(start_replay(change(seen=[step], findings=[finding("start_answer", "none")])))
    assert response.status_code == status
    assert set(response.json()) == set(answer)


@pytest.mark.parametrize(
    ("status", "answer"), [(204, None), (200, None), (202, {"message": "<text 1>", "status": "ending"})]
)
def test_an_abort_has_the_recorded_status_and_content(start_replay, status, answer):
    step = {"request": f"POST {EXTERNAL}/workloads/abort/{{execution_id}}", "status": status, "answer": answer}
    replay = start_replay(change(seen=[step], findings=[finding("abort_answer", "empty")]))
    run_id = start_run(replay, "import time\ntime.sleep(600)").json()["execution_id"]
    response = replay.post(f"/workloads/abort/{run_id}")
    assert response.status_code == status
    assert set(response.json() if response.content else ()) == set(answer or ())
    wait_for(replay, run_id, "aborted")


def test_a_record_in_another_form_of_the_id_leaves_the_id_of_the_start_valid(start_replay):
    forms = {"<id 1>": "-".join(f"[0-9a-f]{{{count}}}" for count in (8, 4, 4, 4, 12)), "<id 2>": "[0-9A-F]{32}"}
    replay = start_replay(change(ids=forms, findings=[]))
    run_id = start_run(replay).json()["execution_id"]
    record = replay.get(f"/execution/{run_id}").json()
    assert record["execution_id"] == run_id.replace("-", "").upper()
    assert replay.get(f"/execution/{record['execution_id']}").status_code == 200


def test_a_field_that_repeats_the_request_gets_no_recorded_value(start_replay):
    step = {"request": f"GET {EXTERNAL}/execution/{{execution_id}}", "status": 200, "answer": RECORD | {"timeout": 10}}
    replay = start_replay(change(seen=[step], ids={}, findings=[]))
    run_id = start_run(replay, timeout=50).json()["execution_id"]
    assert replay.get(f"/execution/{run_id}").json().get("timeout") in {None, 50}


def test_an_operation_that_refuses_each_real_id_refuses_all(start_replay):
    steps = [
        {"request": f"POST {EXTERNAL}/workloads/abort/{{execution_id}}", "status": 403, "answer": {"detail": "no"}},
        *(
            {"request": f"GET {EXTERNAL}/execution/{{execution_id}}", "status": status, "answer": {"detail": "boom"}}
            for status in (404, 500)
        ),
    ]
    replay = start_replay(change(seen=steps, ids={}, findings=[]))
    run_id = start_run(replay).json()["execution_id"]
    assert replay.post(f"/workloads/abort/{run_id}").status_code == 403
    assert replay.get(f"/execution/{run_id}").status_code == 500


def chat(replay, path, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Say pineapple."}]}
    return replay.post(path, json=body).status_code


def test_a_router_answers_at_the_recorded_path_only(start_replay):
    replay = start_replay(change(findings=[finding("router_prefix", "/api/v2/external")], seen=[]))
    paths = ("/serverless/chat/completions", "/chat/completions")
    assert [chat(replay, path, "lyceum/router") for path in paths] == [404, 200]
    assert [chat(replay, path, "local/echo") for path in paths] == [200, 200]


def test_an_answer_takes_the_recorded_time(replay):
    started_at = time.monotonic()
    assert replay.get("/user/org").json()["is_personal"] is None
    assert time.monotonic() - started_at >= 0.4


def test_an_abort_without_effect_a_limit_without_effect_and_a_late_bill_are_replayed(replay):
    endless = start_run(replay, "import time\ntime.sleep(600)", timeout=1).json()["execution_id"]
    wait_for(replay, endless, "running")
    assert replay.post(f"/workloads/abort/{endless}").status_code == 200
    ended = start_run(replay, "import time\nfor _ in range(10): time.sleep(.2)", timeout=1).json()["execution_id"]
    assert wait_for(replay, ended, "FINISHED")["billed"] is None
    assert replay.get(f"/execution/{endless}").json()["status"] == "running"


def test_a_cell_runs_on_a_cloud_that_differs_in_much(start_replay, home, shell, run_cell, monkeypatch):
    client = start_replay(change(findings=RECORDING["findings"][:2]))
    monkeypatch.setenv("LK_BASE_URL", str(client.base_url).partition("/api/")[0])
    monkeypatch.setenv("LK_API_KEY", client.headers["authorization"].removeprefix("Bearer "))
    assert "hello\n" in run_cell("%%lk_run --gpu L40S\nprint('hel' + 'lo')")


# Recordings from elsewhere

STEP = RECORDING["seen"][0]
HOSTILE = {
    "no JSON": "{",
    "another file": '{"cells": []}',
    "a list": "[]",
    "deep": "[" * 100_000,
    "a form that is a pattern": json.dumps(change(ids={"<id 1>": "(a+)+$"})),
    "a form without end": json.dumps(change(ids={"<id 1>": "[a-z]{999}"})),
    "a delay without end": json.dumps(change(seen=[{**STEP, "seconds": 1e9}])),
    "a delay of no number": json.dumps(change(seen=[{**STEP, "seconds": float("nan")}])),
    "a status of no HTTP": json.dumps(change(seen=[{**STEP, "status": 99_999}])),
    "a status without an answer": json.dumps(change(seen=[{**STEP, "status": 101}])),
    "a number that is none": json.dumps(change(seen=[{**STEP, "answer": {"price": float("nan")}}])),
    "half of a sign": json.dumps(change(seen=[{**STEP, "answer": "\ud800"}])),
    "a request with a line break": json.dumps(change(seen=[{**STEP, "request": "GET\r\nx: y /"}])),
    "a deep answer": json.dumps(change(seen=[{**STEP, "answer": json.loads("[" * 50 + "]" * 50)}])),
    "too large": json.dumps(change(seen=[{**STEP, "answer": "x" * 3_000_000}])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_recording_is_refused(name, tmp_path):
    (tmp_path / "check.json").write_text(HOSTILE[name])
    with pytest.raises(LocalCloudError, match="Nothing was started") as refused:
        read_recording(tmp_path / "check.json")
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_path_without_a_file_ends_the_command_with_a_message_before_anything_is_created(name, tmp_path):
    done = run_forked(
        "lk_jupyter.localcloud", "--data", str(tmp_path / "data"), "--replay", str(tmp_path / name), env=os.environ
    )
    assert done.returncode == 1
    assert "Nothing was started" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def finding(name, value):
    return {"operation": "x", "expected": "x", "found": value, "name": name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bucket_folder_python", "/etc"),
        ("bucket_folder_image", "/root/.ssh"),
        ("absent_operations", "GET /.*"),
        ("final_words", "x;y=completed"),
        ("chat_prefix", "/../../x"),
        ("longest_run", "-1"),
        ("import_files", "<word 3>"),
        ("data", "/tmp"),
    ],
)
def test_no_value_of_a_recording_names_a_path_or_a_pattern(name, value, tmp_path):
    (tmp_path / "check.json").write_text(json.dumps(change(findings=[finding(name, value)])))
    recording = read_recording(tmp_path / "check.json")
    assert not any(recording.values.values())
    assert recording.unusable_names == [name] * (name not in {"data", "absent_operations"})
