"""Runs on VMs that a command starts: a detached process drives them to their end."""

import json
import subprocess
import sys

import pytest
from vms.on_vm import active_keys, living, until

from lk_jupyter.vms import facts as vm_facts

pytest.importorskip("asyncssh")

START = ("start", "--on", "vm", "--gpu", "A100", "--max-cost", "5", "--timeout", "2h")


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
