"""A sample of ``make interrupts``: two interrupts close together, in every place and in every phase once."""

from __future__ import annotations

from contextlib import ExitStack

import interrupted
import interrupted_cells
import pytest
from conftest import RunningCloud
from interrupted import Case, Places
from interrupted_cells import DEFECTS, KINDS, Worker

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


#: Runs that no interrupt could end, and that nothing reported.
REPORTED = [
    interrupted_cells.Case("cell", "abort and state", "404", None, (1.5, 0.1)),
    interrupted_cells.Case("server", "abort", "202 without effect", None, (1.5, 0.1, 0.1)),
]
NIGHTLY = [interrupted_cells.Case(kind, "abort and state", "5xx", None, (1.5, 0.1)) for kind in KINDS]
NIGHTLY += [interrupted_cells.Case("session", "state", "404", 3, (1.5,), seed) for seed in ("1", "2", "3")]


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with ExitStack() as stack:
        running = RunningCloud(tmp_path_factory.mktemp("cloud"), "--faults", has_lab=False)
        stack.callback(running.stop)
        yield Worker(stack, running, tmp_path_factory.mktemp("cells") / "home")


@pytest.mark.parametrize(
    "case", [*REPORTED, *(pytest.param(case, marks=pytest.mark.nightly) for case in NIGHTLY)], ids=str
)
def test_each_run_of_an_interrupted_cell_ends_or_is_reported_with_the_command_that_stops_it(worker, case):
    result = worker.try_case(case)
    assert result.outcome not in DEFECTS, result.text
