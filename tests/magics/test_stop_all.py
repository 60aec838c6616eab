"""``%lk_runs --stop-all``: one list of everything that costs by time, one question, and the end of all of it."""

from __future__ import annotations

import builtins

import pytest

import lk_jupyter
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.magics import _stop_all


@pytest.fixture
def account(make_cloud, home, monkeypatch, tmp_path):
    """A session on a cloud of its own, with a run, a VM and its volume."""
    cloud = make_cloud("--clock-speed", "1000")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    with lk_jupyter.connect() as connected:
        connected.vm = connected.client.vms.create(
            CreateVMRequest(user_public_key="ssh-ed25519 A u@h", hardware_profile="a100", new_volume={"size_gb": 10})
        )
        connected.active_run = connected.run("import time; time.sleep(600)", gpu="A100", timeout=600)
        yield connected


def list_kinds(account):
    return sorted(each.kind for each in account.active().resources)


def test_everything_stops_after_a_yes_and_nothing_without_a_person(account, run_cell, monkeypatch):
    refusal = run_cell("%lk_runs --stop-all")
    assert account.vm.vm_id in refusal
    assert account.active_run.execution_id in refusal
    assert "Not confirmed. Nothing was stopped. Stop everything in this list: %lk_runs --stop-all --yes" in refusal
    questions, answers = [], ["n", "y"]
    monkeypatch.setattr(builtins, "input", lambda question: questions.append(question) or answers.pop(0))
    monkeypatch.setattr(_stop_all, "identify_answerer", lambda _: "user")
    assert "Nothing was stopped" in run_cell("%lk_runs --stop-all")
    assert list_kinds(account) == ["VM", "run", "volume"]
    output = run_cell("%lk_runs --stop-all")
    assert f"Stopped run {account.active_run.execution_id}." in output
    assert f"Deleted VM {account.vm.vm_id}." in output
    assert "contains data and is billed until you delete it: %lk_volumes delete vol-" in output.replace("\n", " ")
    assert list_kinds(account) == ["volume"]
    assert questions[0].replace("\n", " ").startswith("Stop 1 run, 1 VM (")
    assert "Nothing to stop." in run_cell("%lk_runs --stop-all")
