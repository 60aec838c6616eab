"""Runs on VMs that a command starts: a detached process drives them to their end."""

import json
import re
import subprocess
import sys
import threading
from datetime import datetime, timezone

import pytest
from patience import PATIENCE
from vms.on_vm import active_keys, living, start, until

from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.journal import drivers
from lk_jupyter.magics._output.unfinished_runs import list_unfinished_runs
from lk_jupyter.vms import driver, hosted
from lk_jupyter.vms import facts as vm_facts

pytest.importorskip("asyncssh")

START = ("start", "--on", "vm", "--gpu", "A100", "--max-cost", "5", "--timeout", "2h")

#: Starts a run on a VM, and ends with its driver before the VM is ready.
KILLED = """
import os, lk_jupyter
from lk_jupyter.errors import ConnectionFailed
from lk_jupyter.journal import drivers
run = lk_jupyter.connect().run("print(1)", on="vm", gpu="A100", max_cost=5, timeout=7200)
print(run.execution_id, flush=True)
for driver in sum(drivers._drivers.values(), []):
    driver.kill()
os._exit(0)
"""


def lk(*words):
    """Execute a command in a process of its own; return its exit code and its records."""
    command = [sys.executable, "-m", "lk_jupyter.cli", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def facts_of(run_id):
    return vm_facts.read_facts(run_id.removeprefix("vm-"))


def test_a_started_run_executes_after_its_command_ended_and_its_vm_is_deleted(session, vms):
    code, (started,) = lk(*START, "-c", "for i in range(500): print('line', i)\ntotal = 42", "--out", "total")
    run_id = started["id"]
    assert (code, started["max_cost"] > 0) == (0, True)
    code, records = lk("wait", run_id)
    assert (code, records[-1]["state"]) == (0, "completed"), records
    text = "".join(record.get("text", "") for record in lk("logs", run_id)[1])
    assert text.splitlines()[:500] == [f"line {i}" for i in range(500)]
    variables = [record for record in lk("fetch", run_id)[1] if record["event"] == "variable"]
    assert [(each["name"], each["value"]) for each in variables] == [("total", 42)]
    until(lambda: facts_of(run_id).is_deleted)
    assert (living(vms), active_keys(vms)) == ([], [])
    assert records[-1]["cost"] == pytest.approx(float(facts_of(run_id).billed), abs=1e-6)
    until(lambda: not list(vm_facts.facts_folder().glob(f"{run_id.removeprefix('vm-')}.[!jl]*")))


@pytest.mark.parametrize("look", [lambda: lk("machines"), lambda: list_unfinished_runs(None)], ids=["lk", "load_ext"])
def test_the_next_command_deletes_a_vm_whose_end_passed_without_a_driver(look, session, vms):
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=True)
    run_id = done.stdout.strip()
    expired = facts_of(run_id).model_copy(update={"ttl": -60.0})
    (vm_facts.facts_folder() / f"{expired.token}.json").write_text(expired.model_dump_json())
    assert len(living(vms)) == 1
    look()
    until(lambda: facts_of(run_id).is_deleted)
    assert (living(vms), active_keys(vms)) == ([], [])
    for process in drivers._drivers[run_id]:
        process.wait(PATIENCE)


def test_a_vm_gets_its_guard_before_code_and_deletes_itself_though_no_code_arrives(session, vms, monkeypatch):
    monkeypatch.setattr(hosted, "SETUP_SECONDS", 5)
    run_agent, words, is_over = hosted.VmRun._run_agent, [], threading.Event()

    def break_before_code(vm_run, command, data=b""):
        words.append(command)
        if command == "start":
            is_over.wait(PATIENCE)
            raise ConnectionFailed("The test has ended.")
        return run_agent(vm_run, command, data)

    monkeypatch.setattr(hosted.VmRun, "_run_agent", break_before_code)
    run = start(session, "print(1)", timeout=1)
    for process in drivers._drivers[run.execution_id]:
        process.kill()
        process.wait()
    until(lambda: words == ["guard", "start"])
    assert facts_of(run.execution_id).is_guarded
    until(lambda: not living(vms))
    is_over.set()
    hosted.open_run(session, run.execution_id)._start.join(PATIENCE)
    assert active_keys(vms) == []


def test_every_list_has_the_id_the_cost_and_the_end_of_a_run_on_a_vm(session, vms):
    _, (started,) = lk(*START, "-c", "import time; time.sleep(600)", "--name", "training")
    run_id, ends = started["id"], started["ends"]
    until(lambda: facts_of(run_id).is_guarded)
    assert abs(datetime.fromisoformat(ends).timestamp() - facts_of(run_id).ends_at) < 5
    records = [record for record in lk("runs")[1] if record["id"] == run_id]
    ends = datetime.fromtimestamp(facts_of(run_id).ends_at, timezone.utc).isoformat()
    assert [(each["ends"], each["cost"] > 0) for each in records] == [(ends, True)]
    [resource] = [record for record in lk("balance")[1] if record["event"] == "active"]
    assert (resource["name"], resource["run"]) == (f"training, run {run_id}", run_id)
    assert re.fullmatch(r".*\d\d:\d\d by the VM itself", resource["ends"])
    _, records = lk("wait", run_id, "--seconds", "1")
    assert records[-1]["event"] == "running", records
    assert (records[-1]["event"], records[-1]["ends"]) == ("running", ends)
    cell = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", "%load_ext lk_jupyter\n%lk_runs"]
    text = subprocess.run(cell, capture_output=True, text=True, check=True).stdout
    row = next(line for line in text.splitlines() if run_id[:8] in line and "credits" in line)
    assert re.search(r"vm\.a100 .* credits +training +.*\d\d:\d\d by the VM itself", row)
    code, records = lk("stop", run_id)
    assert (code, records[-1].get("cost", 0) > 0) == (0, True), records
    cost = float(facts_of(run_id).billed)
    [record] = [record for record in lk("runs")[1] if record["id"] == run_id]
    assert (record["state"], record["cost"], "ends" in record) == ("aborted", pytest.approx(cost, abs=1e-6), False)


def test_a_driver_continues_after_days_without_a_network():
    assert [driver.compute_pause(failures) for failures in (0, 1, 4, 100_000)] == [2, 4, 30, 30]
