"""lk_jupyter.runs.notebooks.warm_python: when a session is given up."""

import time
from types import SimpleNamespace

import pytest
from localcloud.conftest import until

from lk_jupyter.api import _lifecycle
from lk_jupyter.api._polling import PATIENCE
from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.runs.notebooks import warm_python
from lk_jupyter.runs.notebooks.warm_python import WarmPython
from lk_jupyter.runs.notebooks.warm_pythons import list_warm_pythons
from lk_jupyter.session import connect


class Silent:
    """A run whose server doesn't answer."""

    @property
    def status(self):
        raise ConnectionFailed("Can't reach the server.")


@pytest.mark.parametrize(("waited", "said"), [(0, ""), (PATIENCE + 1, "No answer from the server for 15 minutes.")])
def test_a_session_whose_server_is_silent_for_long_is_given_up_with_the_way_to_stop_it(waited, said):
    warm = SimpleNamespace(name="train", run=Silent(), _last_answer=time.monotonic() - waited)
    advice = " The session may still be active. Stop it: %lk_sessions stop train"
    assert WarmPython._find_end_reason(warm) == (said + advice if said else "")


def test_a_session_whose_python_is_gone_is_stopped_and_its_bill_ends(monkeypatch):
    stopped = []
    monkeypatch.setattr(warm_python, "stop_server", stopped.append)
    run, kernel = SimpleNamespace(status="running"), SimpleNamespace(exists=lambda: bool(stopped))
    warm = SimpleNamespace(name="train", run=run, _kernel=kernel, _last_answer=0.0)
    assert (
        WarmPython._find_end_reason(warm) == "Session train was idle for too long. The next cell starts a new machine."
    )
    assert stopped == [run]
    assert WarmPython._find_end_reason(warm) == ""


def test_a_cloud_that_answers_404_for_a_while_does_not_hide_an_active_session(make_cloud, home, monkeypatch):
    monkeypatch.setattr(_lifecycle, "ABSENCE_SECONDS", 0.1)
    cloud = make_cloud("--faults")
    with connect(cloud.base_url, cloud.api_key) as session:
        run = session.run("import time\ntime.sleep(100)", metadata={SESSION_KEY: "train"})
        fault = {"method": "GET", "path": "/execution/", "status": 404, "times": None}
        cloud.http.post(f"{cloud.base_url}/_faults", json=fault).raise_for_status()
        assert [(name, each.execution_id) for name, each in list_warm_pythons(session)] == [("train", run.execution_id)]
        run.abort_soon()
        until(lambda: not list(cloud.client.workloads.list()))
        until(lambda: not list(list_warm_pythons(session)))
