"""A sample of ``make interrupts``: two interrupts close together, in every place and in every phase once."""

from __future__ import annotations

import interrupted
import pytest
from conftest import RunningCloud
from interrupted import Case, Places

pytestmark = pytest.mark.xdist_group("interrupts")

SAMPLE = [
    Case("kernel: %%lk_run", "sending", 0.05),
    Case("kernel: %%lk_run, fan-out", "running", 0.3),
    Case("kernel: %lk_run_notebook", "installing", 0.15),
    Case("kernel: %lk_attach", "running", 0),
    Case("terminal: %%lk_run", "last fetch", 0.05),
    Case("script: Run.wait", "lost answer", 0.05),
    Case("script: Run.wait", "uploading", 0),
    Case("script: fan-out", "sending", 0.15),
    Case("script: Executor", "running", 0.3),
]


@pytest.fixture(scope="module")
def places(faulty_cloud, tmp_path_factory):
    found = Places(faulty_cloud, tmp_path_factory.mktemp("interrupted"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def faulty_cloud(tmp_path_factory):
    running = RunningCloud(tmp_path_factory.mktemp("cloud"), "--faults")
    yield running
    running.stop()


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_no_run_outlives_two_interrupts_and_none_is_billed_beyond_the_stop(places, case):
    assert case in interrupted.cases()
    assert interrupted.interrupted(places, case) == []


def test_the_sample_has_every_place_and_every_phase():
    assert {case.place for case in SAMPLE} == {case.place for case in interrupted.cases()}
    assert {case.phase for case in SAMPLE} == set(interrupted.PHASES)
