"""lk_jupyter.runs.notebooks.warm_python: when a session is given up."""

import time
from types import SimpleNamespace

import pytest

from lk_jupyter.api._polling import PATIENCE
from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.runs.notebooks import warm_python
from lk_jupyter.runs.notebooks.warm_python import WarmPython


class Silent:
    """A run whose server doesn't answer."""

    @property
    def status(self):
        raise ConnectionFailed("Can't reach the server.")


@pytest.mark.parametrize(("waited", "said"), [(0, ""), (PATIENCE + 1, "No sign of the server for 15 minutes.")])
def test_a_session_whose_server_is_silent_for_long_is_given_up_with_the_way_to_stop_it(waited, said):
    warm = SimpleNamespace(name="train", run=Silent(), _heard=time.monotonic() - waited)
    advice = " The session may still be active. Stop it: %lk_sessions stop train"
    assert WarmPython._reason(warm) == (said + advice if said else "")


def test_a_session_whose_python_is_gone_is_stopped_and_its_bill_ends(monkeypatch):
    stopped = []
    monkeypatch.setattr(warm_python, "stop_server", stopped.append)
    run, kernel = SimpleNamespace(status="running"), SimpleNamespace(is_known=lambda: bool(stopped))
    warm = SimpleNamespace(name="train", run=run, _kernel=kernel, _heard=0.0)
    assert WarmPython._reason(warm) == "Session train was idle for too long. The next cell starts a new machine."
    assert stopped == [run]
    assert WarmPython._reason(warm) == ""
