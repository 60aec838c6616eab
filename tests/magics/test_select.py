"""lk_jupyter.magics.select: what becomes of a selection whose states fail, or that is interrupted."""

import os
import signal
from threading import Thread

import pytest
from localcloud.conftest import until

CELL = "%%lk_select --timeout 30 --yes\nimport time\ntime.sleep({})"


@pytest.fixture
def faulty(home, make_cloud, monkeypatch):
    """A cloud that fails as asked; it is the one in use."""
    cloud = make_cloud("--faults")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    return cloud


def fail(cloud, **fault):
    cloud.http.post(f"{cloud.base_url}/_faults", json=fault).raise_for_status()


def test_states_that_fail_for_a_while_do_not_end_the_waiting(faulty, run_cell):
    for status in (404, 500, 503):
        fail(faulty, path="/gpu_selection/", method="GET", status=status)
    shown = run_cell(CELL.format(0))
    assert "Error" not in shown
    assert "fastest: " in shown


def test_an_interrupted_selection_that_cannot_be_aborted_names_the_command_that_stops_it(faulty, run_cell):
    fail(faulty, path="abort", method="POST", status=503, times=None)

    def interrupt():
        until(lambda: any(run.status == "running" for run in faulty.client.workloads.list()))
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    shown = run_cell(CELL.format(20))
    assert "The run may still be active: A fault that a test requested (HTTP 503)." in shown
    assert "Stop it: %lk_abort " in shown
    faulty.http.delete(f"{faulty.base_url}/_faults")
    until(lambda: not list(faulty.client.workloads.list()))
