"""A run ends early enough to return its variables: at an interrupt, a stop, its time limit or its maximum cost."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.errors import RunAborted, RunFailed
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._output.run_status import receipt
from lk_jupyter.protocol.bucket import stop_key
from lk_jupyter.remote.script import stop as stop_watch

pytestmark = pytest.mark.usefixtures("home")

#: A training: each step takes 20 ms and changes the model, which the run got and returns.
TRAINING = """
import time
print('training', flush=True)
while True:
    model['step'] += 1
    time.sleep(0.02)
"""


@pytest.fixture
def session(cloud):
    with closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as connected:
        yield connected


def train(session, code=TRAINING, model=None, **options):
    """Start a training, and wait until it runs."""
    options = {"carry": True, "timeout": 100, "gpu": "A100", **options}
    run = session.run(code, inputs={"model": model or {"step": 0}}, **options)
    text = ""
    with closing(run.follow()) as events:
        while "training" not in text:
            text += getattr(next(events), "content", "")
    return run


def stop(run):
    """Abort a run, and wait for its end."""
    assert run.abort_soon().wait(PATIENCE)


def test_a_run_that_waited_for_its_machine_returns_its_state_before_its_lease_ends(session, monkeypatch):
    monkeypatch.setattr(session.client._http, "lease_end", time.time() + 10)
    run = train(session, timeout=60)
    with pytest.raises(RunAborted, match="was stopped: the lease of the key ended"):
        run.result()
    assert time.time() < session.client.lease_end
    assert run.outputs()["model"]["step"] >= 1


def test_a_stopped_run_returns_its_variables_and_has_the_state_of_the_clouds_record(session):
    run = train(session)
    stop(run)
    recorded = session.client.execution.get(run.execution_id).status
    assert run.status == run.record.status == journal().get(run.execution_id).state == recorded == "failed"
    assert "stopped early to return its variables" in str(receipt(run.record, run))
    with pytest.raises(RunAborted):
        run.result()
    assert run.outputs()["model"]["step"] >= 1


def test_a_run_returns_its_state_before_its_time_limit(session):
    run = train(session, timeout=4)
    with pytest.raises(RunFailed, match="was stopped: its time limit was reached"):
        run.result()
    assert run.record.status == session.client.execution.get(run.execution_id).status == "failed"
    assert "stopped shortly before its time limit" in str(receipt(run.record, run))
    assert run.outputs()["model"]["step"] >= 1


def test_a_run_returns_its_state_before_its_maximum_cost(session):
    run = train(session, max_cost="0.002")  # 4 s of an A100
    with pytest.raises(RunAborted, match="--max-cost"):
        run.result()
    assert run.outputs()["model"]["step"] >= 1


def test_a_stop_object_of_another_member_stops_nothing(session):
    run = train(session, TRAINING.replace("while True", "while model['step'] < 100"))
    session.storage.put(b"stop" * 8, stop_key(run.bundle.token))
    assert run.wait().status == "completed"
    assert run.outputs()["model"]["step"] == 100


def test_code_that_catches_the_interrupt_ends_as_it_wants(session):
    code = TRAINING.replace("while True:", "while not model.get('interrupts'):").replace(
        "    model['step'] += 1\n    time.sleep(0.02)",
        "    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        model['interrupts'] = 1",
    )
    run = train(session, code)
    stop(run)
    assert run.status == "completed"
    assert run.outputs()["model"]["interrupts"] == 1


def test_code_that_catches_every_interrupt_is_aborted(session):
    code = "import time\nprint('training', flush=True)\nwhile True:\n    try:\n        time.sleep(60)\n"
    run = train(session, f"{code}    except KeyboardInterrupt:\n        pass")
    assert run.abort_soon(grace=1.0).wait(PATIENCE)
    assert run.status == "aborted"
    assert "finished before sending it" in run.outputs().missing["state"]


def test_a_second_interrupt_aborts_immediately(session):
    run = train(session, "print('training', flush=True)\nsum(range(10**12))")  # no interrupt reaches the loop in C
    pending = run.abort_soon(grace=PATIENCE)
    pending.hurry()
    assert pending.wait(PATIENCE)
    assert run.status == "aborted"


def test_what_cannot_be_returned_is_listed_and_the_rest_returns(session):
    code = TRAINING.replace(
        "while True:",
        "import threading\nlock = threading.Lock()\nclass Stubborn:\n    def __reduce__(self):\n"
        "        raise ValueError('not me')\nstubborn = Stubborn()\nwhile True:",
    )
    run = train(session, code)
    stop(run)
    outputs = run.outputs()
    assert outputs["model"]["step"] >= 1
    assert {"lock", "stubborn"} <= outputs.missing.keys()


@pytest.mark.nightly
def test_a_state_of_200_mb_returns_within_the_grace(session):
    code = "import time\nprint('training', flush=True)\nwhile True:\n    state[0] += 1\n    time.sleep(0.02)"
    state = np.zeros(25_000_000)
    run = session.run(code, inputs={"state": state}, carry=True, timeout=300, gpu="A100", allow_secrets=True)
    with closing(run.follow()) as events:
        while "training" not in getattr(next(events), "content", ""):
            pass
    stop(run)
    assert run.status == "failed"
    assert run.outputs()["state"][0] >= 1


def test_a_run_keeps_watching_for_a_stop_after_an_answer_that_is_no_http():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"no status line\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert stop_watch._read_stop_object(f"http://127.0.0.1:{server.getsockname()[1]}/stop") == b""
        thread.join(PATIENCE)


def test_a_look_for_the_stop_object_while_python_ends_writes_no_traceback():
    code = "import threading\nfrom lk_jupyter.remote.script import stop\nthreading._shutdown()\n"
    code += "print(stop._read_stop_object('http://127.0.0.1:9/'))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("b''\n", "")


def test_the_watch_for_a_stop_ends_before_python_does():
    code = "import threading\nfrom lk_jupyter.remote.script import stop\n"
    code += "stop.watch_for_stop('http://127.0.0.1:9/', 600)\nstop.end_watch()\n"
    code += "print([thread.name for thread in threading.enumerate()])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("['MainThread']\n", "")
