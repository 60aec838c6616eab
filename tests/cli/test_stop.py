"""``lk stop``: one list of everything that costs by time, and one command that stops all of it."""

import json
import os
import pty
import subprocess
import sys

import pytest
from vms.on_vm import cloud_with_faults, facts_of, until

import lk_jupyter
from lk_jupyter import stop
from lk_jupyter.api.inference import CreateDeploymentRequest
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.cli import main
from lk_jupyter.runs.run import Run

SLEEP = "import time; print('begun', flush=True); time.sleep(600)"
KEY = "ssh-ed25519 AAAA u@h"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A cloud whose VMs start quickly, and that fails as ordered."""
    yield from cloud_with_faults(tmp_path_factory.mktemp("cloud"), clock_speed=1000)


@pytest.fixture
def account(server, home, monkeypatch, tmp_path):
    """A session on this cloud; everything that it rented is stopped at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LK_BASE_URL", server.base_url)
    monkeypatch.setenv("LK_API_KEY", server.api_key)
    with lk_jupyter.connect() as connected:
        yield connected
        server.http.delete(f"{server.base_url}/_faults")
        stop.stop_resources(connected, stop.plan_stop(connected, connected.active()).resources)
        for volume in connected.client.block.list():
            connected.client.block.delete(volume.volume_id)


@pytest.fixture
def lk(capsys):
    """A function that executes a command in this process and returns its exit code and records."""

    def execute(*words):
        code = main([*words, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return execute


def fail(server, *faults):
    server.http.post(f"{server.base_url}/_faults", json=list(faults))


def rent(account, **options):
    return account.client.vms.create(CreateVMRequest(user_public_key=KEY, hardware_profile="a100", **options))


def start_run(account):
    run = account.run(SLEEP, gpu="A100")
    next(iter(run.follow()))
    return run


def ids(records, event):
    return {record["id"] for record in records if record["event"] == event}


def test_all_is_listed_with_its_cost_per_hour_and_stopped_and_volumes_stay(account, lk):
    run, vm = start_run(account), rent(account, new_volume={"size_gb": 100})
    deployment = account.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    [volume] = account.client.block.list()
    started = {run.execution_id, vm.vm_id, deployment.deployment_id}
    code, records = lk("stop", "--all")
    listed = [record for record in records if record["event"] == "active"]
    assert code == 2
    assert "Nothing was stopped." in records[-1]["message"]
    assert {record["id"] for record in listed if record["stops"]} == started
    assert next(record["per_hour"] for record in listed if record["id"] == run.execution_id) == 1.59
    assert {each.id for each in account.active().resources} == {*started, volume.volume_id}

    code, records = lk("stop", "--all", "--yes")
    assert (code, ids(records, "stopped")) == (0, started)
    [kept] = [record for record in records if record["event"] == "active" and not record["stops"]]
    assert (kept["id"], "contains data" in kept["reason"]) == (volume.volume_id, True)
    assert {each.id for each in account.active().resources} == {volume.volume_id}
    assert lk("stop", "--all", "--yes")[0] == 0


def test_single_things_of_any_kind_are_stopped_by_their_ids(account, lk):
    run, vm, other = start_run(account), rent(account, display_name="mine"), rent(account)
    deployment = account.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    code, records = lk("stop", run.short_id, "mine", deployment.deployment_id)
    assert (code, ids(records, "stopped")) == (0, {run.execution_id, vm.vm_id, deployment.deployment_id})
    assert next(record["state"] for record in records if record.get("kind") == "run") == "aborted"
    assert {each.id for each in account.active().resources} == {other.vm_id}
    assert lk("stop", run.execution_id)[1][0]["message"].endswith("has already ended: aborted.")
    assert lk("stop", "nothing")[0] == lk("stop")[0] == lk("stop", "--all", "nothing")[0] == 2
    assert {each.id for each in account.active().resources} == {other.vm_id}


def test_an_accepted_stop_that_is_ignored_is_reported_and_the_others_end(account, server, lk, monkeypatch):
    monkeypatch.setattr(stop, "CONFIRM_SECONDS", 3.0)
    run, vm = start_run(account), rent(account)
    fail(server, {"path": f"/vms/{vm.vm_id}", "method": "DELETE", "times": None, "status": 200, "body": "{}"})
    code, records = lk("stop", "--all", "--yes")
    assert (code, ids(records, "stopped"), ids(records, "unconfirmed")) == (3, {run.execution_id}, {vm.vm_id})
    assert (records[-1]["ids"], records[-1]["next"]) == ([vm.vm_id], f"lk stop {vm.vm_id}")
    [words] = [record["message"] for record in records if record["event"] == "unconfirmed"]
    assert "may still be active and billed" in words
    assert words.endswith(f"lk stop {vm.vm_id}")


def test_a_list_that_cannot_be_read_is_reported_and_never_counts_as_empty(account, server, lk, capsys):
    run = start_run(account)
    fail(server, {"path": "/vms/list", "times": None, "status": 503, "detail": "Try later"})
    balance = account.balance()
    assert (balance.rate.complete, balance.rate.label) == (False, "at least 1.59 credits/h")
    assert balance.problems[0].startswith("VMs couldn't be listed: ")
    assert "VMs couldn't be listed" in str(balance)
    assert main(["balance"]) == 0
    assert "VMs couldn't be listed" in capsys.readouterr().err
    code, records = lk("stop", "--all", "--yes")
    assert (code, ids(records, "stopped")) == (7, {run.execution_id})
    assert any("VMs couldn't be listed" in record.get("message", "") for record in records)


def test_a_vm_of_this_machine_whose_end_is_unconfirmed_is_listed_and_deleted_though_no_list_has_it(
    account, server, lk, tmp_path
):
    run = account.run(SLEEP, on="vm", gpu="A100", max_cost=5, timeout=7200)
    fail(server, {"path": "/vms/list", "times": None, "body": '{"vms": [], "total": 0}'})
    vm_id = facts_of(run).active_id
    [listed] = account.active().resources
    assert (listed.kind, listed.id, listed.per_hour is not None) == ("VM", vm_id, True)
    server.http.delete(f"{server.base_url}/_faults")
    code, records = lk("stop", "--all", "--yes")
    assert (code, ids(records, "stopped")) == (0, {vm_id})
    assert account.client.vms.status(vm_id).status == "terminated"
    assert Run.attach(account, run.execution_id).status == "aborted"


def test_things_of_other_members_are_listed_and_stay(server, account, lk, home, monkeypatch):
    vm = rent(account)
    rows = [{"vm_id": vm.vm_id, "status": "ready", "user_id": "another-user", "hardware_profile": "a100"}]
    fail(server, {"path": "/vms/list", "times": 1, "body": json.dumps({"vms": rows})})
    monkeypatch.setenv("LK_JOURNAL", str(home / "elsewhere.sqlite"))
    code, records = lk("stop", "--all", "--yes")
    [listed] = [record for record in records if record["event"] == "active"]
    assert (code, listed["stops"]) == (0, False)
    assert "belongs to another member of your organization (another-user)" in listed["reason"]
    assert account.client.vms.status(vm.vm_id).status != "terminated"


@pytest.mark.parametrize(("answer", "is_stopped"), [("y", True), ("n", False)])
def test_a_terminal_prompts_after_the_list(account, answer, is_stopped):
    vm = rent(account)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lk_jupyter.cli", "stop", "--all"],
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ,
    )
    os.close(child)
    text = b""
    while b"[y/N]" not in text:
        text += os.read(parent, 1000)
    assert vm.vm_id in text.decode()
    assert "credits/h" in text.decode()
    os.write(parent, f"{answer}\n".encode())
    assert process.wait(60) == (0 if is_stopped else 2)
    os.close(parent)
    assert (account.client.vms.status(vm.vm_id).status == "terminated") is is_stopped


def test_a_relay_is_listed_in_place_of_its_run_and_starts_no_further_run(account, lk, monkeypatch):
    monkeypatch.setenv("LK_MAX_TIMEOUT", "60")
    code = f"import lk_jupyter\nprint(lk_jupyter.checkpoint_folder())\n{SLEEP}"
    run = account.run(code, relay=True, timeout=300, max_cost=2, gpu="A100")
    until(lambda: list(account.client.workloads.list()))
    [listed] = account.active().resources
    assert (listed.kind, listed.id, str(listed.per_hour)) == ("relay", run.execution_id, "1.59")
    code, records = lk("stop", "--all", "--yes")
    assert (code, ids(records, "stopped")) == (0, {run.execution_id})
    assert (list(account.client.workloads.list()), run.status) == ([], "aborted")
