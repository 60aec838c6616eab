"""Runs on VMs when the cloud, the clock, another kernel or a member of the organization does something wrong."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest
from vms.on_vm import active_keys, facts_of, living, start, text_of, until
from vms.test_checkpoints import counting, reclaim
from vms.test_release import look

from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.protocol.vm_run import CHECKPOINT_LIST
from lk_jupyter.remote.sign import signature
from lk_jupyter.vms import facts, hosted
from lk_jupyter.vms.checkpoints import checkpoint_settings, read_checkpoint
from lk_jupyter.vms.offers import list_offers
from lk_jupyter.vms.sending import create_key

pytest.importorskip("asyncssh")


@pytest.fixture
def add_fault(vms):
    """Let the cloud answer requests with a fault."""

    def add(path, **fault):
        vms.http.post(f"{vms.base_url}/_faults", json={"path": path, **fault}).raise_for_status()

    return add


def rent(session):
    """Rent a VM whose code isn't sent: its run has facts and a VM, and nothing else."""
    offers = list_offers(session.client.vms.availability())
    return hosted.VmRun.rent(session, next(each for each in offers if each.machine == "vm.a100"), "a" * 32, 60, {})


@pytest.mark.parametrize(
    "body",
    [
        '{"vms": [{"vm_id": "0123',
        '{"vms": []}',
        *(
            pytest.param(body, marks=pytest.mark.nightly)
            for body in ('{"vms": [{"vm_id": 3, "status": null}]}', "<html>502</html>", "[]")
        ),
    ],
)
def test_a_torn_list_at_release_neither_ends_the_attempts_nor_confirms_the_end(session, vms, add_fault, body):
    run = rent(session)
    add_fault("/vms/", method="DELETE", status=502, times=1)
    add_fault("/vms/list", body=body, times=2)
    run.delete()
    vms.http.delete(f"{vms.base_url}/_faults")
    assert (living(vms), run.facts.is_deleted) == ([], True)


@pytest.mark.nightly
def test_a_deletion_that_no_answer_confirms_is_reported_with_the_command_that_deletes(
    session, vms, add_fault, monkeypatch
):
    monkeypatch.setattr("lk_jupyter.api._lifecycle.CONFIRM_SECONDS", 0.1)
    run = rent(session)
    add_fault("/vms/", status=502, times=None)
    with pytest.raises(LkError) as failure:
        run.delete()
    vm_id = run.facts.vm_id[:8]
    assert str(failure.value).startswith(f"VM {vm_id} may still be active and billed: ")
    assert str(failure.value).endswith(f"Delete it: %lk_vm delete {vm_id}")
    assert ("\n" in str(failure.value), run.facts.is_deleted) == (False, False)


def test_a_vm_that_never_gets_an_address_is_deleted_and_reported(session, vms, add_fault, monkeypatch):
    monkeypatch.setattr("lk_jupyter.vms.vms.PATIENCE", 0.2)
    add_fault("/status", method="GET", body=json.dumps({"vm_id": "1", "status": "ready", "ip_address": None}), times=2)
    run = start(session, "print(1)")
    record = run.wait()
    assert (record.status, record.status_details) == (
        "system_failure",
        "The VM didn't start the code: The VM got no address within 0.2 s.",
    )
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_a_clock_that_jumps_neither_deletes_an_active_vm_nor_makes_its_time_longer(session, vms, monkeypatch, jump):
    run = rent(session)
    run._store_facts(is_started=True)
    moment = time.time
    monkeypatch.setattr(time, "time", lambda: moment() + jump)
    assert asyncio.run(look()) == []
    assert len(living(vms)) == 1
    session.client.vms.list()  # as the last answer before the code is sent
    assert 0 < run.remaining_seconds() <= run.facts.ttl
    monkeypatch.setattr(facts, "RELEASE_SECONDS", -run.facts.ttl - 10)  # its time is over
    asyncio.run(look())
    assert living(vms) == []


def test_two_kernels_that_release_a_vm_delete_it_once_with_one_bill(session, vms):
    run = rent(session)
    create_key(run)
    kernels = [hosted.VmRun(session, facts.read_facts(run.facts.token)) for _ in range(2)]
    barrier, failures = threading.Barrier(2), []

    def release(kernel):
        barrier.wait()
        try:
            kernel.abort(1)
        except LkError as error:
            failures.append(error)

    threads = [threading.Thread(target=release, args=(kernel,)) for kernel in kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored, [vm] = facts.read_facts(run.facts.token), vms.client.vms.list()[:1]
    assert (failures, living(vms), active_keys(vms)) == ([], [], [])
    assert (stored.is_deleted, stored.billed, stored.state["status"]) == (True, vm.billed, "aborted")


ABORT = """
import sys, lk_jupyter
from lk_jupyter.runs.run import Run
run = Run.attach(lk_jupyter.connect(), sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
run.abort()
print(run.wait().status, run.cost)
"""


@pytest.mark.nightly
def test_two_kernels_that_abort_a_run_end_it_once_with_one_bill(session, vms):
    run = start(session, "import time; time.sleep(600)")
    until(lambda: run.status == "running")
    command = [sys.executable, "-c", ABORT, run.execution_id]
    kernels = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [kernel.stdout.readline() for kernel in kernels] == ["ready\n"] * 2
    for kernel in kernels:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    answers = [kernel.communicate() for kernel in kernels]
    assert {output for output, _ in answers} == {f"aborted {facts_of(run).billed}\n"}, answers
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_credits_that_end_rent_no_other_vm_and_the_reason_is_one_line(session, vms, add_fault):
    run = start(session, counting(), retries=2)
    until(lambda: read_checkpoint(session.storage, facts_of(run).token))
    add_fault("/vms/create", method="POST", status=402, detail="Insufficient credits: none are left", times=None)
    reclaim(vms, run)
    record = run.wait()
    assert record.status == "system_failure"
    assert record.status_details.startswith("The VM didn't start the code: Insufficient credits: none are left")
    assert "\n" not in record.status_details
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_a_key_of_a_vm_that_was_revoked_is_reported_and_the_notebook_saves_the_results(session, vms, tmp_path):
    waits = [f"while not os.path.exists({str(tmp_path / name)!r}): time.sleep(0.05)\n" for name in ("save", "end")]
    save = "(lk_jupyter.checkpoint_folder() / 'a').write_text('1')\n"
    code = f"import os, time, lk_jupyter\nprint('started', flush=True)\n{save.join(waits)}total = 42"
    run = start(session, code, outputs=["total"])
    next(iter(run.follow()))
    for key_id in facts_of(run).key_ids:
        vms.client.auth.revoke_api_key(key_id)
    (tmp_path / "save").touch()
    vm_run = hosted.open_run(session, run.execution_id)
    problem = until(lambda: run.status == "running" and vm_run.checkpoint.get("problem"))
    (tmp_path / "end").touch()
    assert problem.endswith("the API key of the VM was revoked, so keep Jupyter on until the run ends (HTTP 401)")
    assert text_of(run.follow()).startswith("started\n")
    assert (run.outputs(), run.status) == ({"total": 42}, "completed")
    assert (living(vms), active_keys(vms)) == ([], [])


def test_a_checkpoint_of_another_run_is_refused_by_its_signature(session):
    store, digest = session.storage, "0" * 64
    listing = json.dumps({"files": {"model.bin": [digest, 1]}, "log": []})
    for owner, stored in (("other", "other"), ("other", "victim")):
        signed = signature(signing_key(owner), CHECKPOINT_LIST, listing.encode()).hex()
        document = json.dumps({"list": listing, "signature": signed}).encode()
        store.put(document, checkpoint_settings(stored)["prefix"] + "list")
    assert read_checkpoint(store, "other")["files"] == {"model.bin": [digest, 1]}
    with pytest.raises(UsageError, match=r"isn't signed with the key of the run\. Nothing was restored\."):
        read_checkpoint(store, "victim")
    assert read_checkpoint(store, "missing") is None
    for torn in (document[:40], b"", b"[]", b'{"list": 3}'):
        store.put(torn, checkpoint_settings("victim")["prefix"] + "list")
        with pytest.raises(UsageError, match=r"can't be read\. Nothing was restored\."):
            read_checkpoint(store, "victim")
