"""A key that ends during a run: the run ends in time, its log and results stay readable, and the client shows why."""

from __future__ import annotations

import json
import time

import pytest
from broker.running import API, read_state, start, start_run, wait_settled
from broker.test_broker import SLEEP
from patience import PATIENCE, wait_until

import lk_jupyter
from lk_jupyter.api._events import Output
from lk_jupyter.broker.app import REVOKED_READ_SECONDS
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.cli import main
from lk_jupyter.errors import RunAborted


@pytest.fixture
def lk(broker, home, monkeypatch, capsys):
    """A function that executes a command with a key, and returns its exit code and records."""

    def execute(key, *words):
        monkeypatch.setenv("LK_BASE_URL", broker.base_url)
        monkeypatch.setenv("LK_API_KEY", key)
        code = main([*words, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return execute


def test_a_run_whose_key_is_revoked_shows_the_reason_and_keeps_its_log(broker, home, lk):
    child = broker.grant()
    with lk_jupyter.connect(broker.base_url, child.key) as session:
        run = session.run(SLEEP, gpu="A100", timeout=60)
        events = run.follow()
        assert next(event.content for event in events if isinstance(event, Output)) == "started\n"
        broker.operator.delete(f"/broker/keys/{child.id}")
        assert run.wait(PATIENCE)
        with pytest.raises(
            RunAborted,
            match=r"was stopped: the key was revoked at 20\d\d-.* UTC\. The abort gave the code no time to return",
        ):
            run.result()
    code, records = lk(child.key, "wait", run.execution_id)
    assert (code, records[-1]["state"], "the key was revoked" in records[-1]["message"]) == (1, "aborted", True)
    code, records = lk(child.key, "logs", run.execution_id)
    assert records[0]["text"] == "started\n"
    code, records = lk(child.key, "start", "-c", "print(1)", "--gpu", "A100")
    assert (code, "the key was revoked at" in records[-1]["message"]) == (4, True)


def test_a_revoked_key_reads_its_runs_for_some_minutes_only(broker):
    child = broker.grant()
    answer = start(child).json()
    wait_settled(child)
    broker.operator.delete(f"/broker/keys/{child.id}")
    paths = ("/user/status", f"/execution/{answer['execution_id']}", f"/logs/execution/{answer['execution_id']}")
    assert [child.get(API + path).status_code for path in paths] == [200] * 3
    assert child.post(answer["streaming_url"]).status_code == 200
    assert child.post(f"{API}/storage/credentials").status_code == 401
    ledger = GrantLedger(broker.data / "ledger.sqlite")
    ledger._database.execute("UPDATE grants SET revoked_at = revoked_at - ?", (REVOKED_READ_SECONDS,))
    ledger.close()
    refused = [*(child.get(API + path) for path in paths), child.post(answer["streaming_url"])]
    assert [each.status_code for each in refused] == [401] * 4
    assert {"the key was revoked at" in each.json()["detail"] for each in refused} == {True}


def test_the_runs_of_a_key_that_has_expired_are_aborted_until_they_end(odd_broker, odd_cloud):
    odd_cloud.answer = lambda request: odd_cloud.add_run("run-1", request) or (200, {"execution_id": "run-1"})
    child = odd_broker.grant(ends_in=3, scopes=["runs", "lease"])
    below = odd_broker.client(child.post("/broker/keys", json={"credits": 1}).json()["api_key"])
    start_run(below, timeout=1)
    wait_until(lambda: odd_cloud.aborts.count("run-1") > 2)
    assert time.time() > read_state(child)["ends_at"]
    odd_cloud.runs["run-1"] |= {"status": "aborted", "billed": 0.01}
    wait_settled(below)
    for path in ("/execution/run-1", "/execution/streaming/run-1/status"):
        odd_cloud.runs["streaming/run-1/status"] = odd_cloud.runs["run-1"]
        assert below.get(API + path).json()["status_details"].startswith("the lease ended at 20")


def test_the_runs_of_a_key_whose_credits_are_used_up_are_aborted(odd_broker, odd_cloud):
    odd_cloud.answer = lambda request: (200, {"execution_id": f"run-{len(odd_cloud.starts)}"})
    child = odd_broker.grant(credits=0.2)
    for number in (1, 2):
        start_run(child)
        odd_cloud.add_run(f"run-{number}", odd_cloud.starts[-1])
    odd_cloud.runs["run-1"] |= {"status": "completed", "billed": 0.19}
    wait_until(lambda: "run-2" in odd_cloud.aborts)
    odd_cloud.runs["run-2"] |= {"status": "aborted", "billed": 0.01}
    wait_settled(child)
    assert (
        child.get(f"{API}/execution/run-2").json()["status_details"].startswith("the credits of the key are used up. ")
    )
    assert "status_details" not in child.get(f"{API}/execution/run-1").json()


def test_a_run_without_a_time_limit_gets_the_limit_of_its_lease_and_saves_its_variables(broker, home):
    child = broker.grant(ends_in=14)
    with lk_jupyter.connect(broker.base_url, child.key) as session:
        run = session.run("import time; loss = [0.5]; time.sleep(600)", gpu="A100", outputs=["loss"])
        assert run.wait(PATIENCE).status == "failed"  # the code ended early, to save its variables
        assert run.outputs() == {"loss": [0.5]}
        assert session.client.lease_end == int(read_state(child)["ends_at"])
        assert session.client.assumptions.resolve("longest_run").source == "default"


@pytest.mark.nightly  # it waits for the end of a lease
def test_a_run_saves_its_variables_before_its_lease_ends_and_they_can_be_fetched_afterwards(broker, lk):
    child = broker.grant(ends_in=25)
    code = "import time; loss = list(range(100_000)); print('started', flush=True); time.sleep(600)"
    run = ("-c", code, "--gpu", "A100", "--out", "loss")
    status, records = lk(child.key, "start", *run, "--timeout", "60")
    assert (status, "this key expires after" in records[-1]["message"]) == (5, True)
    status, records = lk(child.key, "start", *run, "--timeout", "20")
    assert status == 0, records
    status, ends = lk(child.key, "wait", records[0]["id"])
    assert (status, ends[-1]["state"]) == (1, "failed")
    wait_until(lambda: time.time() > read_state(child)["ends_at"])
    _, fetched = lk(child.key, "fetch", records[0]["id"])
    assert fetched[0]["name"] == "loss"
    assert lk(child.key, "logs", records[0]["id"])[1][0]["text"].startswith("started\n")
