"""Starts whose answers are lost, over a real socket."""

import json
from datetime import datetime, timezone

import pytest
from api.scripted import answer
from runs.conftest import RUN, ok

import lk_jupyter
from lk_jupyter.api import _creation
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.errors import Invalid, OutcomeUnknown, PaymentRequired, RateLimited, ServerError, UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits
from lk_jupyter.runs.submit.start import start_once

ACCEPTED = {"execution_id": RUN, "status": "pending", "streaming_url": "http://127.0.0.1/secret-stream"}
ME, MEMBER = "user-1", "user-2"
EMPTY_HISTORY = {"executions": [], "total_executions": 0, "total_credits_spent": 0, "limit": 50, "offset": 0}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(_creation, "LOOK_PAUSE", 0)


@pytest.fixture
def package(tmp_path):
    machine = MachineType(hardware_profile="gpu.a100", price_per_hour=1.59)
    return BundleBuilder(Source("print(1)", folder=tmp_path), RunOptions(), machine, Limits(60, 600)).build()


class Gateway:
    """Takes starts and gives the answers of the test; lists the runs that it took."""

    def __init__(self, *answers, takes=True):
        self.answers = list(answers)
        self.takes = takes
        self.starts = []
        self.aborted = []
        self.echoed = ("metadata",)
        self.user_id = ME
        self.record = {}
        self.created_at = datetime.now(timezone.utc).isoformat()

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
        return self._read(request.path)

    def _read(self, path):
        if path.endswith("/user/status"):
            return ok({"user_id": self.user_id})
        if not path.endswith(f"/execution/{RUN}"):
            return ok(EMPTY_HISTORY)
        if isinstance(self.record, int):
            return refusal(self.record)
        return ok({"execution_id": RUN, "status": "running", "user_id": ME, **self.record})

    def _workload(self, sent):
        echo = {name: sent[name] for name in self.echoed if name in sent}
        return {"execution_id": RUN, "status": "running", "created_at": self.created_at, **echo}


def refusal(status, detail="no", **headers):
    return (answer(status, json.dumps({"detail": detail}), "application/json", **headers),)


def test_a_start_that_is_answered_is_sent_once(client, server, package):
    server.handler = gateway = Gateway(ok(ACCEPTED))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


#: An answer of success that is larger than what is read.
LARGE = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n", *[b" " * (1 << 20)] * 34)


@pytest.mark.parametrize("lost", [(), refusal(502), refusal(503, Retry_After="0"), refusal(504), LARGE])
def test_a_start_whose_answer_is_lost_is_found_and_not_sent_again(client, server, package, lost):
    server.handler = gateway = Gateway(lost)
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


@pytest.mark.parametrize("lost", [(), refusal(502), refusal(504)])
def test_a_start_whose_answer_is_lost_is_never_sent_again_though_no_list_has_the_run(client, server, package, lost):
    server.handler = gateway = Gateway(lost, ok(ACCEPTED), takes=False)
    with pytest.raises(OutcomeUnknown, match=r"may be active and billed[\s\S]*not sent again[\s\S]*%lk_runs"):
        start_once(client, package)
    assert len(gateway.starts) == 1


def test_a_lost_start_is_found_by_the_name_of_its_file_where_lists_have_no_metadata(client, server, package):
    server.handler = gateway = Gateway(())
    gateway.echoed = ("file_name",)
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1
    assert remove_token_from_name(gateway.starts[0]["file_name"]) == "script.py"


def test_a_lost_start_that_no_list_marks_names_the_runs_that_began_then(client, server, package):
    server.handler = gateway = Gateway(())
    gateway.echoed = ()
    with pytest.raises(OutcomeUnknown, match=f"Runs that started at about the same time: {RUN}"):
        start_once(client, package)
    assert len(gateway.starts) == 1


def test_a_members_copy_of_a_run_whose_start_got_no_answer_is_not_followed(client, server, package):
    server.handler = gateway = Gateway(refusal(500))  # a copy shows that the start took effect
    gateway.record = {"user_id": MEMBER, "python_code": package.request.code}
    with pytest.raises(OutcomeUnknown) as error:
        start_once(client, package)
    assert "not sent again" in str(error.value)
    assert f"A run of another user has the same token as this run: {RUN}" in str(error.value)
    assert "%lk_attach" not in str(error.value)
    assert len(gateway.starts) == 1


def test_of_several_runs_with_the_mark_of_a_start_the_users_own_is_followed(client, server, package):
    copy = "00000000-5b1d-4c7e-9a52-6d1f8e0b7a44"

    def rows(sent):
        run = gateway_row(sent)
        return [{**run, "execution_id": copy}, run]

    server.handler = gateway = Gateway(refusal(504))
    gateway_row = gateway._workload
    answered = gateway.__call__

    def handler(request):
        if request.path.endswith("/workloads/list"):
            return ok(rows(gateway.starts[0]))
        if request.path.endswith(f"/execution/{copy}"):
            return ok({"execution_id": copy, "status": "running", "user_id": MEMBER})
        return answered(request)

    server.handler = handler
    assert start_once(client, package).execution_id == RUN


def test_a_user_id_counts_with_dashes_and_without(client, server, package):
    server.handler = gateway = Gateway(refusal(504))
    gateway.user_id, gateway.record = RUN, {"user_id": RUN.replace("-", "").upper()}
    assert start_once(client, package).execution_id == RUN


@pytest.mark.parametrize("record", [404, 500, {"user_id": None}, {"python_code": "other()"}])
def test_a_run_whose_record_does_not_show_whose_it_is_is_reported_and_not_followed(client, server, package, record):
    server.handler = gateway = Gateway(refusal(504))
    gateway.record = record
    words = rf"not sent again[\s\S]*This run may be yours: {RUN}[\s\S]*%lk_attach {RUN}[\s\S]*%lk_abort {RUN}"
    with pytest.raises(OutcomeUnknown, match=words):
        start_once(client, package)
    assert len(gateway.starts) == 1


def test_a_start_of_a_user_without_an_id_is_reported_and_not_followed(client, server, package):
    server.handler = gateway = Gateway(refusal(500))
    gateway.user_id = None
    with pytest.raises(OutcomeUnknown, match=f"This run may be yours: {RUN}"):
        start_once(client, package)


def test_a_start_that_the_server_broke_on_after_it_took_effect_is_found(client, server, package):
    server.handler = gateway = Gateway(refusal(500, "Internal Server Error"))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


def test_a_start_that_the_server_broke_on_and_lists_nowhere_is_its_error(client, server, package):
    server.handler = gateway = Gateway(refusal(500, "Internal Server Error"), takes=False)
    with pytest.raises(ServerError, match="Internal Server Error"):
        start_once(client, package)
    assert len(gateway.starts) == 1


def test_a_lost_start_stays_unknown_while_the_lists_are_out_of_reach(client, server, package):
    gateway = Gateway(refusal(500))
    server.handler = lambda request: gateway(request) if request.method == "POST" else refusal(500)
    with pytest.raises(OutcomeUnknown, match="not sent again"):
        start_once(client, package)
    assert len(gateway.starts) == 1


BARE = [
    {"execution_id": RUN},
    {"executionId": RUN},
    {"id": RUN, "state": "ok"},
    {"job_id": RUN},
    {"data": {"execution_id": RUN, "status": "queued"}},
    {"result": {"id": RUN}},
    {"success": True, "data": {"run_id": RUN}},
    {"execution": {"id": RUN, "status": None}},
    {"execution_id": RUN, "status": 7, "streaming_url": None, "pythia_decision": {"gpu": "a100"}},
]


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("body", BARE, ids=json.dumps)
def test_the_id_of_a_start_is_read_from_whatever_success_holds_it(client, server, package, status, body):
    server.handler = gateway = Gateway((answer(status, json.dumps(body), "application/json"),))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


@pytest.mark.parametrize("text", ["", "OK", "{}", '"accepted"', "[]", "null", "{", '{"message": "queued"}'])
def test_a_success_without_an_id_is_looked_up(client, server, package, text):
    server.handler = gateway = Gateway((answer(202, text, "text/plain"),))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


def test_a_rate_limited_start_is_sent_again_after_a_look_at_the_lists(client, server, package):
    server.handler = gateway = Gateway(refusal(429, Retry_After="0"), ok(ACCEPTED), takes=False)
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 2


def test_a_rate_limited_start_that_created_a_run_is_not_sent_again(client, server, package):
    server.handler = gateway = Gateway(refusal(429, Retry_After="0"), ok(ACCEPTED))
    assert start_once(client, package).execution_id == RUN
    assert len(gateway.starts) == 1


def test_a_start_that_stays_rate_limited_is_refused_after_four_requests(client, server, package):
    server.handler = gateway = Gateway(*[refusal(429, Retry_After="0")] * 5, takes=False)
    with pytest.raises(RateLimited):
        start_once(client, package)
    assert len(gateway.starts) == 4


def test_a_refused_start_is_not_sent_again(client, server, package):
    server.handler = gateway = Gateway(refusal(402, "Insufficient credits"), takes=False)
    with pytest.raises(PaymentRequired, match="Insufficient credits"):
        start_once(client, package)
    assert len(gateway.starts) == 1


def test_a_default_time_limit_that_the_cloud_refuses_is_shortened_and_one_of_the_user_is_not(
    make_cloud, home, monkeypatch
):
    cloud = make_cloud("--strange", "longest_run")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    with lk_jupyter.connect() as session:
        with pytest.raises(Invalid, match="less than or equal to 300"):
            session.run("print(1)", timeout=600)
        run = session.run("print(1)")
        assert (run.bundle.timeout, run.result().stdout) == (300, "1\n")
        assert session.run("print(2)").bundle.timeout == 300
        with pytest.raises(UsageError, match="--timeout must be 1 to 300 s here"):
            session.run("print(1)", timeout=600)
