"""Samples of a run."""

from __future__ import annotations

import pytest
from localcloud.conftest import moment

BUSY = """
import time
block = bytearray(b"x" * 100_000_000)
end = time.monotonic() + 2.5
while time.monotonic() < end:
    sum(range(100_000))
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def busy(api):
    return api.run(BUSY, execution_type="gpu.h100")["execution_id"]


def values(answer, series):
    return [point["value"] for point in answer.json()[series]]


def test_memory_and_cpu_are_those_of_the_process(api, busy):
    answer = api.get(f"/execution/{busy}/metrics", step="1s")
    assert max(values(answer, "systemRamUsedBytes")) > 100_000_000
    assert max(values(answer, "systemRamUsedBytes")) < min(values(answer, "systemRamTotalBytes"))
    assert 0 < max(values(answer, "systemCpuUsagePercent")) <= 100


def test_points_lie_on_the_grid_of_the_step(api, busy):
    answer = api.get(f"/execution/{busy}/metrics", step="500ms")
    start = answer.json()["timeRange"]["start"]
    offsets = [seconds_between(start, point["timestamp"]) for point in answer.json()["systemRamUsedBytes"]]
    assert offsets
    assert all(offset % 0.5 == pytest.approx(0, abs=1e-5) for offset in offsets)
    assert start == api.record(busy)["start_time"]


def test_a_window_bounds_the_points(api, busy):
    record = api.record(busy)
    answer = api.get(f"/execution/{busy}/metrics", step="1s", start=record["end_time"])
    assert len(values(answer, "systemRamUsedBytes")) == 1
    assert values(api.get(f"/execution/{busy}/metrics", end="2020-01-01T00:00:00Z"), "systemRamUsedBytes") == []


def test_without_a_gpu_its_series_are_empty(api, busy):
    answer = api.get(f"/execution/{busy}/metrics", step="1s")
    assert values(answer, "gpuUtilizationPercent") == []
    assert "simulated" not in answer.json()["hostname"]


def test_a_simulated_gpu_says_so(make_api):
    api = make_api("--simulate-gpu")
    started = api.post("/execution/streaming/start", {"code": BUSY, "execution_type": "gpu.h100"}).json()
    assert started["pythia_decision"].endswith("Its GPU figures are simulated.")
    on_cpu = api.run("import time\ntime.sleep(0.2)")["execution_id"]
    api.ended(started["execution_id"])
    answer = api.get(f"/execution/{started['execution_id']}/metrics", step="1s")
    assert answer.json()["hostname"].endswith("(simulated GPU)")
    assert all(0 <= value <= 100 for value in values(answer, "gpuUtilizationPercent"))
    assert values(answer, "gpuPowerWatt") != []
    plain = api.get(f"/execution/{on_cpu}/metrics", step="1s")
    assert values(plain, "gpuPowerWatt") == []
    assert "simulated" not in plain.json()["hostname"]


@pytest.mark.parametrize("step", ["5", "s", "1x", "-1s", "0s", "1s 2s"])
def test_a_step_that_is_no_duration_is_refused(api, busy, step):
    answer = api.get(f"/execution/{busy}/metrics", step=step)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "step"]


@pytest.mark.parametrize("query", [{"start": "yesterday"}, {"end": "noon"}, {"start": "2020-01-01", "step": "1ms"}])
def test_a_window_that_cannot_be_answered_is_refused(api, busy, query):
    assert api.get(f"/execution/{busy}/metrics", **query).status_code == 422


def test_a_composed_duration_is_read(api, busy):
    assert api.get(f"/execution/{busy}/metrics", step="1m30s").status_code == 200


def seconds_between(start, end):
    return (moment(end) - moment(start)).total_seconds()
