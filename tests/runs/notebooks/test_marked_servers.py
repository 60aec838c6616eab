"""Kept machines on a cloud whose single answers about them are wrong: no machine is lost from sight, or paid twice."""

import pytest
from stand_in import KEY, StandIn

from lk_jupyter import session as sessions
from lk_jupyter.api import _lifecycle
from lk_jupyter.errors import ConnectionFailed, UsageError
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.runs import abort
from lk_jupyter.runs.notebooks import servers
from lk_jupyter.runs.notebooks.servers import list_marked, start_server, stop_server
from lk_jupyter.runs.notebooks.warm_pythons import find_warm_python, open_run, stop_warm_python

UNKNOWN = (404, {"detail": "Execution not found"})


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(_lifecycle, "ABSENCE_SECONDS", 0.2)
    monkeypatch.setattr(servers, "_PACE", 0.05)
    stand_in = StandIn()
    stand_in.word = "running"
    yield stand_in
    stand_in.close()


@pytest.fixture
def connected(cloud, home):
    with sessions.connect(cloud.url, KEY) as session:
        yield session


@pytest.fixture
def run(connected):
    return start_server(connected, ServerOptions(name="session train"), {SESSION_KEY: "train"})


def list_names(connected):
    return [name for name, _ in list_marked(connected, SESSION_KEY)]


def hide(cloud, *, state=UNKNOWN, listed=()):
    """Let the cloud answer this about the state and the record, and list these runs."""
    cloud.on("GET /execution/{}", state)
    cloud.on("GET /execution/streaming/{}/status", state)
    cloud.on("GET /workloads/list", [{"execution_id": each, "status": "running"} for each in listed])


def test_one_404_and_an_empty_list_leave_a_kept_machine_in_sight(cloud, connected, run):
    hide(cloud)
    assert list_names(connected) == ["train"]
    assert open_run(connected, "train").execution_id == run.execution_id
    del cloud._scripts["GET /execution/{}"], cloud._scripts["GET /execution/streaming/{}/status"]
    assert list_names(connected) == ["train"]


def test_a_record_that_reports_an_end_too_early_leaves_a_listed_machine_in_sight(cloud, connected, run):
    cloud.word = "completed"
    cloud.on("GET /workloads/list", [{"execution_id": run.execution_id, "status": "running"}])
    assert [list_names(connected) for _ in range(3)] == [["train"]] * 3
    cloud.on("GET /workloads/list", [])
    assert list_names(connected) == []


def test_a_machine_that_several_answers_lack_has_ended_before_another_is_started(cloud, connected, run):
    hide(cloud)
    assert find_warm_python(connected, "train") is None
    assert cloud.calls["GET /workloads/list"] >= _lifecycle.ABSENCES
    assert list_names(connected) == []
    with pytest.raises(UsageError, match="Unknown session 'train'"):
        open_run(connected, "train")


def test_a_machine_that_is_only_listed_is_no_reason_to_start_another(cloud, connected, run):
    hide(cloud, listed=[run.execution_id])
    assert list_names(connected) == ["train"]
    with pytest.raises(Exception, match="not found"):
        find_warm_python(connected, "train")


def test_a_stop_without_effect_is_reported_within_its_time(cloud, connected, run, monkeypatch):
    monkeypatch.setattr(abort, "LET_GO", 0.2)
    monkeypatch.setattr(servers, "_GRACE", 0.1)
    cloud.on("POST /workloads/stop/{}", {"message": "accepted"})
    with pytest.raises(ConnectionFailed, match=f"may still be active and billed.*still running.*{run.execution_id}"):
        stop_warm_python(connected, "train", stop_server)
    assert list_names(connected) == ["train"]
    cloud.word = "aborted"
    assert list_names(connected) == []


def test_an_abort_without_effect_is_reported_by_a_warning(cloud, run, monkeypatch):
    monkeypatch.setattr(abort, "LET_GO", 0.2)
    with pytest.warns(UserWarning, match=f"accepted the abort, but the run is still running.*{run.execution_id}"):
        run.abort()
    cloud.word = "aborted"
    run.abort()
