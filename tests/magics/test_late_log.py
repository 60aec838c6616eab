"""Cells and ``%lk_logs`` for runs whose output is stored late, without a stream."""

import pytest
from stand_in import IDS, KEY, StandIn

from lk_jupyter.api.logs import INCOMPLETE

LINES = [f"epoch {number}" for number in range(4)]


@pytest.fixture
def cloud(home, monkeypatch):
    cloud = StandIn()
    cloud.stream = (404, {"detail": "Stream not found"})
    monkeypatch.setenv("LK_BASE_URL", cloud.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    yield cloud
    cloud.close()


def store(cloud, lines):
    entries = [{"timestamp": f"2026-12-03T08:00:0{at}Z", "message": line} for at, line in enumerate(lines)]
    cloud.on("GET /logs/execution/{}", {"logs": entries})


CELLS = {
    "python": "%%lk_run --gpu A100\nprint()",
    "image": "%%lk_docker python:3.11 --gpu A100\ntrue",
    "compose": "%%lk_compose --gpu A100\nservices:\n  a:\n    image: python:3.11",
}


@pytest.mark.parametrize("kind", CELLS)
def test_the_receipt_of_each_kind_of_run_reports_a_log_that_may_be_incomplete(cloud, run_cell, kind):
    shown = run_cell(CELLS[kind])
    assert INCOMPLETE in shown
    store(cloud, LINES)
    later = run_cell(f"%lk_attach {IDS[0]}")
    assert all(line in later for line in LINES)


def test_stored_lines_of_a_run_that_just_ended_may_be_incomplete(cloud, run_cell):
    run_cell(CELLS["image"])
    assert INCOMPLETE in run_cell(f"%lk_logs {IDS[0]}")
    store(cloud, LINES[:2])
    shown = run_cell(f"%lk_logs {IDS[0]}")
    assert LINES[1] in shown
    assert INCOMPLETE in shown


def test_the_record_replaces_a_stored_log_that_lacks_lines(cloud, run_cell):
    cloud.record = {"stdout": "\n".join(LINES)}
    run_cell(CELLS["image"])
    store(cloud, LINES[:2])
    shown = run_cell(f"%lk_logs {IDS[0]}")
    assert all(line in shown for line in LINES)
    assert (
        "Only 2 of 4 log lines were stored in the last 24 hours. These lines are from the record of the run." in shown
    )
    assert INCOMPLETE not in shown
