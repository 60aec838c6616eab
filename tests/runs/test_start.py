"""Starts whose answers are lost, over a real socket."""

import json

import pytest
from api.scripted import answer

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import OutcomeUnknown, PaymentRequired
from lk_jupyter.options import RunOptions
from lk_jupyter.runs import start
from lk_jupyter.runs.bundle import Limits, Source, bundle
from lk_jupyter.runs.start import start_once

from .conftest import CREATED, RUN, ok

ACCEPTED = {"execution_id": RUN, "status": "pending", "streaming_url": "http://127.0.0.1/secret-stream"}
EMPTY_HISTORY = {"executions": [], "total_executions": 0, "total_credits_spent": 0, "limit": 50, "offset": 0}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(start, "LOOK_PAUSE", 0)


@pytest.fixture
def package(tmp_path):
    machine = MachineType(hardware_profile="gpu.a100", price_per_hour=1.59)
    return bundle(Source("print(1)", folder=tmp_path), RunOptions(), machine, Limits(60, 600))


class Gateway:
    """Takes starts and gives the answers of the test; lists the runs that it took."""

    def __init__(self, *answers, takes=True):
        self.answers = list(answers)
        self.takes = takes
        self.starts = []
        self.aborted = []

    def __call__(self, request):
        if request.path.endswith("/streaming/start"):
            self.starts.append(request.json)
            reply = self.answers.pop(0)
            return reply() if callable(reply) else reply
        if request.path.endswith("/workloads/list"):
            return ok([self._workload(sent) for sent in self.starts] if self.takes else [])
        if "/workloads/abort/" in request.path:
            self.aborted.append(request.path.rpartition("/")[2])
            return ok({"execution_id": RUN, "status": "aborted", "message": "ok"})
        return ok(EMPTY_HISTORY)

    def _workload(self, sent):
        return {"execution_id": RUN, "status": "running", "created_at": CREATED, "metadata": sent["metadata"]}


def refusal(status, detail="no", **headers):
    return (answer(status, json.dumps({"detail": detail}), "application/json", **headers),)


def test_a_start_that_is_answered_is_sent_once(client, server, package):
    server.handler = gateway = Gateway(ok(ACCEPTED))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


@pytest.mark.parametrize("lost", [(), refusal(502), refusal(503, Retry_After="0"), refusal(504)])
def test_a_start_whose_answer_is_lost_is_found_and_not_sent_again(client, server, package, lost):
    server.handler = gateway = Gateway(lost)
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


def test_a_start_that_never_took_effect_is_sent_again(client, server, package):
    server.handler = gateway = Gateway((), ok(ACCEPTED), takes=False)
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 2
    assert gateway.starts[0] == gateway.starts[1]


def test_a_start_that_is_lost_every_time_says_to_look_first(client, server, package):
    server.handler = Gateway((), (), (), takes=False)
    with pytest.raises(OutcomeUnknown, match="%lk_runs"):
        start_once(client, package)


def test_a_rate_limited_start_is_sent_again(client, server, package):
    server.handler = gateway = Gateway(refusal(429, Retry_After="0"), ok(ACCEPTED))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 2


def test_a_refused_start_is_not_sent_again(client, server, package):
    server.handler = gateway = Gateway(refusal(402, "Insufficient credits"))
    with pytest.raises(PaymentRequired, match="Insufficient credits"):
        start_once(client, package)
    assert len(gateway.starts) == 1
