"""The time and the bill of a run by phase: only what the cloud and the run report."""

from decimal import Decimal

import pytest

from lk_jupyter.api.execution import ExecutionRecord, Timing
from lk_jupyter.runs.timing import split_time

HOUR = Decimal(3600)


def record(**facts):
    stamps = {"created_at": 0, "execelet_start": 2, "start_time": 42, "end_time": 102}
    moments = {name: f"2026-11-30T10:{second // 60:02}:{second % 60:02}Z" for name, second in stamps.items()}
    return ExecutionRecord.model_validate({"execution_id": "3f0c", "status": "completed", **moments, **facts})


def test_phases_are_those_of_the_time_stamps_and_unknown_phases_stay_unknown():
    timing = split_time(record(python_requirements="torch\n", billed=60), None, HOUR, 0.5)
    assert (timing.transfer, timing.queue, timing.launch, timing.code) == (0.5, 2, 40, 60)
    assert (timing.image, timing.installation, timing.start) == (None, None, None)
    assert timing.costs == {"code": 60}
    assert timing.label == (
        "transfer 0.5 s · queue 2.0 s · image, installation, start 40.0 s · code 1 min 00 s (60.00 credits)"
    )


def test_a_run_without_packages_installed_nothing():
    assert split_time(record(), None, None, has_packages=False).installation == 0
    assert split_time(record(), None, None).installation is None


def test_the_packages_that_a_run_installs_itself_are_a_phase_with_its_cost():
    timing = split_time(record(billed=60), None, HOUR, provided=20)
    assert (timing.launch, timing.installation, timing.code) == (40, 20, 40)
    assert timing.costs == {"installation": 20, "code": 40}
    assert timing.label == (
        "queue 2.0 s · image, start 40.0 s · installation 20.0 s (20.00 credits) · code 40.0 s (40.00 credits)"
    )


def test_phases_that_the_cloud_reports_are_split():
    phases = {"pulling_image": {"duration": 10}, "installRequirements": {"duration": 25}}
    timing = split_time(record(billed=100), Timing.model_validate({"phases": phases}), HOUR)
    assert (timing.image, timing.installation, timing.start) == (10, 25, 5)
    assert timing.costs == {"launch": 40, "code": 60}


@pytest.mark.parametrize(("billed", "costs"), [(60, {"code"}), (100, {"launch", "code"}), (80, set()), (None, set())])
def test_a_bill_that_fits_no_phases_is_not_split(billed, costs):
    timing = split_time(record(billed=billed), None, HOUR)
    assert timing.costs.keys() == costs
    assert sum(timing.costs.values()) in {0, billed}


def test_without_time_stamps_the_phases_are_those_of_the_timing():
    reported = Timing.model_validate({"queued": 1, "launchingContainer": 3, "executingJob": 5})
    bare = ExecutionRecord.model_validate({"execution_id": "3f0c", "status": "completed", "created_at": None})
    timing = split_time(bare, reported, None)
    assert (timing.queue, timing.launch, timing.code) == (1, 3, 5)
    assert split_time(bare, None, None).label == ""


def test_a_real_run_reports_its_phases(session):
    run = session.run("import time; time.sleep(0.1)")
    run.result()
    timing = run.timing()
    assert timing.code >= 0.1
    assert timing.transfer is not None
    assert timing.costs["code"] == run.cost
    assert timing.queue is not None
    assert timing.launch > 0
    assert timing.installation == 0
