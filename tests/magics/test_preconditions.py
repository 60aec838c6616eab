"""What a paid start needs is checked before the question about money."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from magics.kernels import fail
from magics.people import answers
from vms.on_vm import active_keys, cloud_with_faults, living

from lk_jupyter.api.vms import VMStatus
from lk_jupyter.errors import UsageError
from lk_jupyter.session import connect
from lk_jupyter.vms.ends import describe_reason

pytest.importorskip("asyncssh")

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO5Lc8oWn0c9iX0rZ0l1sT7vW3k1Hb2m4k8mY1pJmZ3q mira@laptop"
CELL = "%%lk_run --gpu A100 --timeout 3h\n1"

#: Lines that start something that costs credits, after a question.
STARTS = {
    "a cell on a VM": CELL,
    "a VM": "%lk_vm create --gpu A100",
    "a deployment": "%lk_deploy local/echo --gpu A100",
    "a batch": "%lk_batch texts -m local/echo --max-tokens 5",
}


@pytest.fixture(scope="module")
def vms(tmp_path_factory):
    yield from cloud_with_faults(tmp_path_factory.mktemp("vms"), clock_speed=50)


@pytest.fixture(autouse=True)
def user(vms, home, shell, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", vms.base_url)
    monkeypatch.setenv("LK_API_KEY", vms.api_key)
    monkeypatch.setattr("builtins.input", fail)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text(PUBLIC + "\n")
    shell.user_ns["texts"] = ["one", "two"]
    yield
    vms.http.delete(f"{vms.base_url}/_faults")


def _list_rented(vms):
    return [*living(vms), *vms.client.inference.list(), *vms.client.batches.list()]


def test_a_missing_package_is_reported_before_the_question_with_the_command_of_this_environment(
    run_cell, vms, monkeypatch
):
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert 'UsageError: Code on a VM needs asyncssh: %pip install "asyncssh>=2.17" "websockets>=15"' in run_cell(CELL)
    with connect() as session, pytest.raises(UsageError, match="needs asyncssh"):
        session.run("1", on="vm", gpu="A100", max_cost=5, timeout=7200)
    assert _list_rented(vms) == []


def test_the_install_command_fits_a_shell_and_an_environment_without_pip(monkeypatch):
    code = (
        "import sys; from lk_jupyter._extras import build_install_command as build; print(build('a[b]'));"
        "sys.modules['pip'] = None; print(build('a[b]'))"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [
        f'{sys.executable} -m pip install "a[b]"',
        f'uv pip install --python {sys.executable} "a[b]"',
    ]


@pytest.mark.parametrize("kind", list(STARTS))
def test_a_folder_that_cannot_record_a_start_is_reported_before_the_question(
    kind, run_cell, vms, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "file" / "journal.sqlite"))
    shown = run_cell(STARTS[kind])
    assert f"Can't write to '{tmp_path}/file'" in shown
    assert "Nothing was sent. Use another folder: %env LK_JOURNAL=" in shown
    assert _list_rented(vms) == []


@pytest.mark.parametrize("kind", list(STARTS))
def test_a_budget_is_compared_before_the_question(kind, run_cell, vms, monkeypatch):
    monkeypatch.setenv("LK_DAY_BUDGET", "0.0000001")
    shown = run_cell(STARTS[kind])
    assert "The day budget of this computer is" in shown
    assert "Nothing was sent." in shown
    assert _list_rented(vms) == []


def test_an_account_that_may_not_create_a_key_is_reported_before_the_question(run_cell, vms):
    fault = {"path": "/auth/api-keys/", "status": 403, "times": 9}
    vms.http.post(f"{vms.base_url}/_faults", json=fault).raise_for_status()
    shown = run_cell(CELL)
    assert "The VM needs an API key to delete itself, but the cloud refuses to create one" in shown
    assert "Nothing was rented. Rent the VM without a key" in shown
    assert _list_rented(vms) == []


def test_the_check_of_the_rights_leaves_no_key(run_cell, vms, monkeypatch):
    before = {key.id for key in vms.client.auth.list_api_keys() if key.is_active}
    monkeypatch.setattr("builtins.input", answers("n"))
    assert "Nothing was rented." in run_cell(CELL)
    assert {key.id for key in vms.client.auth.list_api_keys() if key.is_active} == before
    assert active_keys(vms) == []


def test_a_local_cloud_without_ssh_rents_and_bills_no_vm_and_gives_the_reason(run_cell, home, monkeypatch, tmp_path):
    code = "import runpy, sys; sys.modules['asyncssh'] = None\n"
    code += "runpy.run_module('lk_jupyter.localcloud', alter_sys=True, run_name='__main__')"
    command = [sys.executable, "-c", code, "--data", str(tmp_path / "cloud")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        try:
            address = json.loads(process.stdout.readline())
            monkeypatch.setenv("LK_BASE_URL", address["base_url"])
            monkeypatch.setenv("LK_API_KEY", address["api_key"])
            for line in (CELL, "%lk_vm create --gpu A100 --yes"):
                shown = run_cell(line)
                assert "This local cloud has no SSH server for VMs" in shown
                assert 'pip install "asyncssh>=2.17" "websockets>=15". Nothing was rented.' in shown
            with connect() as session:
                assert list(session.client.vms.list()) == []
        finally:
            process.terminate()


def test_the_explanation_of_the_cloud_is_a_short_line_without_control_sequences():
    status = VMStatus(vm_id="a", status="pending", polling_message="No host\x1b[31m is\nfree. " + "x" * 1000)
    reason = describe_reason(status)
    assert reason.startswith("No host is free. xxx")
    assert len(reason) <= 200
