"""A session at a broker saves its variables before its key ends, and they can be read afterwards."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from broker.running import RunningBroker, read_state
from magics.conftest import run_cell as run_cell  # noqa: PLC0414 (a fixture)
from magics.conftest import shell as shell  # noqa: PLC0414
from patience import wait_until

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import DockerExecutionRequest
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.notebooks import warm_python
from lk_jupyter.runs.notebooks.servers import release_label
from lk_jupyter.runs.notebooks.warm_python import WarmPython
from lk_jupyter.runs.submit import start
from lk_jupyter.session import current

NOW = 1_800_000_000


def make_warm(lease_end, limit=3600, **fields):
    """A session whose machine was submitted now, and whose key ends at a moment; None for a key without an end."""
    client = SimpleNamespace(lease_end=lease_end, now=lambda: NOW)
    run = SimpleNamespace(
        session=SimpleNamespace(client=client), time_limit=limit, submitted_at=None, execution_id="run-1"
    )
    warm = WarmPython.__new__(WarmPython)
    vars(warm).update(name="train", idle=20.0, run=run, saves=True, _restored=[], **fields)
    return warm


@pytest.mark.parametrize(
    ("lease_end", "seconds", "is_ending"),
    [
        (None, 3600, False),
        (NOW + 7200, 3600, False),
        (NOW + 600, 600, False),
        (NOW + 50, 50, True),
        (NOW - 9, -9, True),
    ],
)
def test_a_session_ends_with_its_machine_or_before_its_key(lease_end, seconds, is_ending):
    warm = make_warm(lease_end)
    assert warm.remaining_seconds == pytest.approx(seconds, abs=1)
    assert warm.machine_seconds == pytest.approx(3600, abs=1)
    assert bool(warm.ending_key) == is_ending


def test_the_notice_of_a_session_has_the_end_of_its_key_if_that_is_before_the_time_limit():
    label = time.strftime("%H:%M", time.localtime(NOW + 600))
    client = SimpleNamespace(lease_end=NOW + 600, now=lambda: NOW)
    assert release_label(20, 3600, client) == f"before the key ends at {label}"
    assert release_label(5, 3600, client) == f"after 5 min without work, or before the key ends at {label}"
    assert release_label(20, 300, client) == "at its time limit of 5 min"
    assert release_label(5, 3600, SimpleNamespace(lease_end=None)).endswith("at its time limit of 1 h")


def test_a_cell_that_would_start_while_its_session_saves_is_refused():
    warm = make_warm(NOW + 30, prepare=lambda: None, _margin=60.0)
    bundle = SimpleNamespace(phases={})
    with pytest.raises(UsageError, match=r"The key ends at \d\d:\d\d.*wasn't run.*%lk_sessions restore train"):
        warm.begin(bundle)


def test_a_session_that_cannot_save_its_variables_shows_the_end_of_its_key(monkeypatch):
    monkeypatch.setattr(warm_python, "place_to_save", lambda *_: None)
    answer = SimpleNamespace(answer=lambda: {"status": "ok"})
    fields = {"_prepared": -1, "channel": SimpleNamespace(died=0), "_key": b"", "execute": lambda *_, **__: answer}
    warm, other = make_warm(NOW + 600, **fields), make_warm(None, **fields)
    warm.prepare()
    other.prepare()
    [notice] = warm._restored
    assert re.search(r"The key ends at \d\d:\d\d\. Session train can't save its variables before", str(notice))
    assert (warm._margin, other._restored) == (60, [])


def test_the_end_of_a_key_limits_a_server_and_is_no_limit_of_the_cloud(odd_broker, odd_cloud, home):
    odd_cloud.answer = lambda _: (200, {"execution_id": "run-1", "status": "pending", "streaming_url": ""})
    request = DockerExecutionRequest(
        docker_image_ref="image", execution_type="gpu.a100", job_type=start.JOB_TYPE, timeout=600
    )
    with Client(odd_broker.base_url, odd_broker.grant(ends_in=400).key) as client:
        start._start_as_long_as_allowed(client, request)
        assert 380 < odd_cloud.starts[0]["timeout"] <= 395
        assert client.assumptions.resolve("notebook_limit").source == "default"


@pytest.fixture
def sign_in(home, monkeypatch):
    """A function that signs in with a new key of a broker, and returns the key."""

    def sign_in_with(broker, **limits):
        child = broker.grant(**limits)
        monkeypatch.setenv("LK_BASE_URL", broker.base_url)
        monkeypatch.setenv("LK_API_KEY", child.key)
        return child

    yield sign_in_with
    for warm in [*warm_python.connected_warm_pythons.values()]:
        warm.close()


def test_a_session_without_time_for_a_cell_is_refused_before_anything_is_sent(broker, sign_in, run_cell):
    child = sign_in(broker, ends_in=50)
    output = run_cell("%%lk_run --session train --gpu A100\nprint(1)")
    assert re.search(r"The key ends at \d\d:\d\d, so a session has no time for a cell", output), output
    assert "Nothing was sent. Restore saved variables: %lk_sessions restore train" in output
    assert child.get("/broker/runs").json() == []
    assert "Session 'train' has saved no variables." in run_cell("%lk_sessions restore train")


@pytest.fixture
def real_broker(make_cloud, tmp_path):
    """A broker of a cloud with the real clock, whose notebook runs are Jupyter servers of this environment."""
    cloud = make_cloud("--engine", "none")
    running = RunningBroker(tmp_path / "broker" / "data", cloud.base_url, cloud.api_key)
    yield running
    running.stop()


@pytest.mark.nightly  # it waits for the end of a lease
def test_a_session_saves_its_variables_before_its_key_ends_and_they_can_be_read_afterwards(
    real_broker, sign_in, run_cell, shell
):
    child = sign_in(real_broker, ends_in=85)
    ends_at = read_state(child)["ends_at"]
    output = run_cell("%%lk_run --session train --gpu A100 --fresh\nx, steps = bytes(100_000), [1]\nprint('up')")
    assert "up\n" in output
    assert re.search(
        r"Billed until you stop it \(%lk_sessions stop train\), or before the key ends at \d\d:\d\d\.", output
    )
    assert "Session 'train' is active. Nothing was restored." in run_cell("%lk_sessions restore train")
    output = run_cell("%%lk_run --session train --fresh\nsteps.append(2)\nimport time; time.sleep(600)")
    assert re.search(r"✗ timeout .*", output), output
    assert re.search(r"the key ends at \d\d:\d\d\. Restore the saved variables: %lk_sessions restore train", output), (
        output
    )
    wait_until(lambda: not read_state(child)["active"])
    assert time.time() < ends_at
    assert [run["alarm"] for run in child.get("/broker/runs").json()] == [""]
    assert "so a session has no time for a cell" in run_cell("%%lk_run --session train --fresh\nprint(1)")
    wait_until(lambda: time.time() > ends_at)
    output = run_cell("%lk_sessions restore train")
    assert "These variables were read from the saved state of session train: steps, time, x" in output, output
    assert (shell.user_ns["x"], shell.user_ns["steps"]) == (bytes(100_000), [1, 2])
    assert current().client.assumptions.resolve("notebook_limit").source == "default"
