"""A start key starts one run of a key, also from several computers at the same moment and after the broker's death."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from broker.running import start, start_run, wait_settled
from patience import PATIENCE, wait_until

import lk_jupyter
from lk_jupyter.broker.grants import RefusedCall
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.code.source import Source
from lk_jupyter.errors import Conflict, OutcomeUnknown
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.calls import check_call
from lk_jupyter.protocol.metadata import REQUEST_KEY, SOURCE_KEY
from lk_jupyter.runs import start_key
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run

KEYED = {"metadata": {REQUEST_KEY: "5f" * 16, SOURCE_KEY: "c0" * 16}}


def test_parallel_starts_with_one_key_give_one_run_for_each_grant(broker):
    children = [broker.grant(parallel=1), broker.grant(parallel=1)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda number: start(children[number % 2], **KEYED), range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [409] * 38
    for child in children:
        wait_settled(child)
        refusal, runs = start(child, **KEYED), child.get("/broker/runs").json()
        assert [run["run"] for run in runs] == [refusal.json()["execution_id"]]
        assert "was started with the same start key. Nothing was started." in refusal.json()["detail"]
    start_run(children[0], metadata={REQUEST_KEY: "5f" * 16})  # a run without a start key
    wait_settled(children[0])


def test_parallel_starts_of_several_computers_give_one_run(broker, home, tmp_path):
    environment = {**os.environ, "LK_BASE_URL": broker.base_url, "LK_API_KEY": broker.grant().key}
    command = [sys.executable, "-m", "lk_jupyter.cli", "start", "-c", "print(1)", "--key", "night-1", "--json"]
    started = [
        subprocess.Popen(
            [*command, "--gpu", "A100", "--timeout", "1m"],
            env={**environment, "LK_JOURNAL": str(tmp_path / str(number) / "journal.sqlite")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    records = [json.loads(process.communicate(timeout=PATIENCE)[0].splitlines()[-1]) for process in started]
    assert len({record.get("id") for record in records}) == 1, records
    assert records[0]["id"] is not None


def test_a_start_that_the_cloud_refused_frees_its_key(odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (429, {"detail": "Too many requests."})
    child = odd_broker.grant()
    assert start(child, **KEYED).status_code == 429
    odd_cloud.answer = lambda _: (200, {"execution_id": "run-1"})
    assert start_run(child, **KEYED) == "run-1"
    assert start(child, **KEYED).json()["execution_id"] == "run-1"


def test_a_key_whose_start_has_no_answer_starts_no_second_run_after_the_broker_was_killed(odd_broker, odd_cloud):
    is_over = threading.Event()
    odd_cloud.answer = lambda _: (is_over.wait(PATIENCE), (200, {"execution_id": "run-1"}))[1]
    child = odd_broker.grant()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(start, child, **KEYED)
        assert odd_cloud.start_received.wait(PATIENCE)
        refusal = start(child, **KEYED)
        assert (refusal.status_code, refusal.json()["execution_id"]) == (409, None)
        assert "A run is being started with the same start key." in refusal.json()["detail"]
        odd_broker.kill()
        is_over.set()
        assert first.exception(PATIENCE) is not None
    odd_broker.start()
    child.base_url = odd_broker.base_url
    assert start(child, **KEYED).status_code == 409
    odd_cloud.add_run("run-1", odd_cloud.starts[0])
    wait_until(lambda: start(child, **KEYED).json()["execution_id"] == "run-1")
    assert len(odd_cloud.starts) == 1


def reserve(ledger, grant, key):
    return ledger.reserve(
        grant, operation="x", machine="gpu.a100", price=1, timeout=60, margin=0, start_key=key
    )  # fmt: skip


def test_the_ledger_of_an_earlier_version_gets_start_keys_and_keeps_its_runs(ledger, tmp_path):
    ledger.activate(reserve(ledger, ledger.grant("root"), None), "run-1", None)
    ledger._database.executescript("DROP INDEX start_keys; ALTER TABLE runs DROP COLUMN start_key")
    for _ in range(2):  # the second start of the broker changes nothing
        newer = GrantLedger(tmp_path / "ledger.sqlite")
        assert newer.run("run-1").machine == "gpu.a100"
        newer.release(reserve(newer, newer.grant("root"), "night"))
        newer.close()


def test_a_refused_start_that_started_anyway_takes_no_key_from_a_later_run(ledger):
    grant = ledger.grant("root")
    refused = reserve(ledger, grant, "night")
    ledger.release(refused)
    ledger.activate(reserve(ledger, grant, "night"), "run-2", None)
    ledger.revive(refused, "run-1", "The cloud refused a start, but started the run anyway.")
    with pytest.raises(RefusedCall, match=r"Run run-2 was started with the same start key\."):
        reserve(ledger, grant, "night")


@pytest.fixture
def computers(broker, home):
    """A computer with a bundle, while another computer starts a run with the key ``night``: its ledger and mark."""
    child, ledger = broker.grant(), GrantLedger(broker.data / "ledger.sqlite")
    with lk_jupyter.connect(broker.base_url, child.key) as session:
        options = check_call("session.run", {"gpu": "A100", "timeout": 60})
        bundle = prepare(session, Source("print(1)", "script.py"), options)
        mark = reserve(ledger, ledger.grant(child.id), start_key._compute_token(session, "night"))
        yield SimpleNamespace(session=session, bundle=bundle, ledger=ledger, mark=mark, child=child)
    ledger.release(mark)
    ledger.close()


def test_a_computer_waits_for_the_start_of_another_and_starts_the_run_if_that_was_refused(computers, monkeypatch):
    conflicts, submit = [], Run.submit

    def release_after_conflict(*arguments):
        try:
            return submit(*arguments)
        except Conflict as refusal:
            conflicts.append(refusal.detail)
            computers.ledger.release(computers.mark)
            raise

    monkeypatch.setattr(Run, "submit", release_after_conflict)
    run = start_key.start_with_key(computers.session, computers.bundle, "night")
    assert conflicts == ["A run is being started with the same start key. Nothing was started."]
    assert run.wait(PATIENCE).status == "completed"
    assert start_key.start_with_key(computers.session, computers.bundle, "night").execution_id == run.execution_id


@pytest.mark.parametrize("run_id", [None, "deleted-run"])
def test_a_run_of_another_computer_that_no_list_shows_is_reported_and_not_started_again(run_id, computers, monkeypatch):
    monkeypatch.setattr(start_key, "_PATIENCE", 0.1)
    if run_id:
        computers.ledger.activate(computers.mark, run_id, None)
    run = f"Run {run_id} was" if run_id else "A run is being"
    expected = rf"start key 'night': {run} started with the same start key\. Nothing was started\. Check: %lk_runs"
    with pytest.raises(OutcomeUnknown, match=expected):
        start_key.start_with_key(computers.session, computers.bundle, "night")
    assert [run["run"] for run in computers.child.get("/broker/runs").json()] == [run_id]
    assert list(journal().entries()) == []


def test_a_conflict_of_another_kind_is_the_error(computers, monkeypatch):
    def refuse(*_):
        raise Conflict(409, "The name is taken.")

    monkeypatch.setattr(Run, "submit", refuse)
    with pytest.raises(Conflict, match="The name is taken"):
        start_key.start_with_key(computers.session, computers.bundle, "night")
