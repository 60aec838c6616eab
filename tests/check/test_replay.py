"""A recording of a check, replayed by a local cloud: a check of the replay finds the same as the recorded check."""

from __future__ import annotations

import re

import pytest
from conftest import RunningCloud
from magics.conftest import run_cell, shell
from patience import PATIENCE

from lk_jupyter import session
from lk_jupyter.api import _http
from lk_jupyter.api._client import Client
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.localcloud.options import SWITCHES

__all__ = ["run_cell", "shell"]

OPTIONS = ("--engine", "none", "--clock-speed", "100")

#: All in the night, and each alone; by day none, and half of them.
ALL = tuple(SWITCHES)
CLOUDS = [
    pytest.param((), id="none"),
    pytest.param(ALL[::2], id="half"),
    pytest.param(ALL, id="all", marks=pytest.mark.nightly),
    *(pytest.param((name,), id=name, marks=pytest.mark.nightly) for name in ALL),
]


@pytest.fixture(autouse=True)
def patient(home, monkeypatch):
    """Wait as long as a busy machine takes."""
    monkeypatch.setattr(_http, "PROBE_TIMEOUT", PATIENCE)
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout", PATIENCE)


@pytest.fixture
def start_cloud(tmp_path):
    clouds = []

    def start(*options):
        clouds.append(RunningCloud(tmp_path / f"cloud{len(clouds)}", *OPTIONS, *options))
        return clouds[-1]

    yield start
    for cloud in clouds:
        cloud.stop()


def check(cloud, record=None):
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        work = Check(connected.client, connected, LevelRequest(spend=True, record=record))
        work.run(lambda _: None)
    return work.report


@pytest.fixture
def run_on(shell, run_cell, monkeypatch):
    """Run a cell on a cloud, and return what the cell shows."""

    def run(cloud, cell):
        monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
        monkeypatch.setenv("LK_API_KEY", cloud.api_key)
        return run_cell(cell)

    return run


def list_findings(report):
    """Return what differs, without figures of the clock, and the value of each assumption."""
    rows = {(each.operation, each.expected, re.sub(r"[\d.]+", "N", each.found)) for each in report.deviations}
    return rows | set(report.values.items())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", CLOUDS)
def test_a_check_of_a_replay_finds_the_same_as_the_recorded_check(names, start_cloud, tmp_path, run_on):
    recording = tmp_path / "check.json"
    recorded = check(start_cloud(*(option for name in names for option in ("--strange", name))), recording)
    replay = start_cloud("--replay", str(recording))
    assert list_findings(check(replay)) ^ list_findings(recorded) == set()
    assert "hello\n" in run_on(replay, "%%lk_run --gpu L40S\nprint('hel' + 'lo')")
