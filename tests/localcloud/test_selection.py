"""GPU selection: its tries, its phases, its table, its bill."""

from __future__ import annotations

import pytest
from conftest import RunningCloud
from localcloud.conftest import Api

ENDLESS = "import time\nprint('up')\ntime.sleep(600)"
PHASES = ["pending", "initializing", "extracting", "profiling", "processing", "completed"]


def start(api, code, **fields):
    answer = api.post("/execution/gpu_selection/start", {"code": code, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["execution_id"]


def state(api, run):
    return api.get(f"/execution/gpu_selection/{run}/status").json()


def ended(api, run):
    api.ended(run)
    return state(api, run)


def tries(api, run):
    rows = [api.record(row["execution_id"]) for row in api.get("/billing/history", limit=100).json()["executions"]]
    return [row for row in rows if row.get("parent_execution_id") == run]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A cloud whose account may use two GPU profiles."""
    running = RunningCloud(tmp_path_factory.mktemp("few"), "--quota", "cpu,gpu.l40s,gpu.b200")
    connected = Api(running)
    yield connected
    connected.http.close()
    running.stop()


def test_every_gpu_profile_is_tried_once_and_billed_as_a_run_of_its_own(few):
    run = start(few, "import time\ntime.sleep(0.05)\nprint('tried')", file_name="probe.py")
    answer = ended(few, run)
    assert answer["status"] == "completed"
    rows = answer["metadata"]["profiling_results"]
    assert [(row["profile"], row["status"]) for row in rows] == [("gpu.l40s", "success"), ("gpu.b200", "success")]
    runs = tries(few, run)
    assert {row["hardware_profile"]: row["stdout"] for row in runs} == {"gpu.l40s": "tried\n", "gpu.b200": "tried\n"}
    assert {row["hardware_profile"]: row["billed"] for row in runs} == {row["profile"]: row["cost"] for row in rows}
    assert few.record(run)["billed"] == 0


def test_the_table_names_the_winners_and_every_time_and_cost(few):
    results = ended(few, start(few, "print(1)"))["metadata"]["selection_results"]
    assert results["cheapest"] == "gpu.l40s"
    assert {results["best"], results["fastest"]} <= {"gpu.l40s", "gpu.b200"}
    assert set(results["metrics"]) == {"gpu.l40s", "gpu.b200"}
    row = results["metrics"]["gpu.b200"]
    assert (row["status"], row["htime"], row["is_per_epoch"]) == ("OK", "0:00", False)
    assert row["time"] > 0
    assert row["cost"] > results["metrics"]["gpu.l40s"]["cost"] * 0.5


def test_phases_come_in_order_and_results_fill_as_they_end(few, tmp_path):
    go = tmp_path / "go"
    wait = f"import pathlib, time\ngo = pathlib.Path({str(go)!r})\nwhile not go.exists(): time.sleep(.01)\ngo.unlink()"
    run = start(few, wait)
    seen, filled = [], []
    while (answer := state(few, run))["status"] != "completed":
        seen.append(answer["status"])
        filled.append(len((answer["metadata"] or {}).get("profiling_results", ())))
        if answer["status"] == "profiling" and filled[-2:] in ([0, 0], [1, 1]):  # each try ends after it was seen
            go.touch()
    assert [PHASES.index(phase) for phase in seen] == sorted(PHASES.index(phase) for phase in seen)
    assert "profiling" in seen
    assert filled == sorted(filled)
    assert 1 in filled


def test_code_that_fails_everywhere_fails_the_selection_with_its_table(few):
    answer = ended(few, start(few, "raise SystemExit(3)"))
    assert answer["status"] == "failed"
    metrics = answer["metadata"]["selection_results"]["metrics"]
    assert {row["status"] for row in metrics.values()} == {"FAILED"}
    assert "best" not in answer["metadata"]["selection_results"]


def test_code_that_cannot_be_compiled_is_not_tried(few):
    run = start(few, "def (")
    assert ended(few, run)["metadata"] == {"extraction_result": {"status": "failed"}}
    assert tries(few, run) == []


def test_abort_ends_the_try_that_runs_and_starts_no_other(few, until):
    run = start(few, ENDLESS, timeout=600)
    [child] = until(lambda: [row for row in few.get("/workloads/list").json() if row["execution_id"] != run])
    few.first_line(child["execution_id"])
    few.post(f"/workloads/abort/{run}")
    assert ended(few, run)["status"] == "aborted"
    assert [row["status"] for row in tries(few, run)] == ["aborted"]
    assert few.get("/workloads/list").json() == []


def test_the_time_limit_counts_for_each_try(few):
    rows = ended(few, start(few, ENDLESS, timeout=1))["metadata"]["profiling_results"]
    assert [row["status"] for row in rows] == ["timeout", "timeout"]


def test_a_crash_of_the_cloud_ends_a_selection_and_its_try(make_api, until):
    api = make_api()
    run = start(api, ENDLESS)
    until(lambda: state(api, run)["status"] == "profiling")
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert state(api, run)["status"] == "system_failure"
    assert api.get("/workloads/list").json() == []


def test_an_account_without_gpus_may_select_nothing(make_api):
    api = make_api("--quota", "cpu")
    assert api.post("/execution/gpu_selection/start", {"code": "1"}).status_code == 403


def test_other_runs_are_no_selections(api):
    assert api.get(f"/execution/gpu_selection/{api.start('1')}/status").status_code == 404
