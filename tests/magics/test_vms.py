"""``%lk_vm`` and ``%lk_volumes``: rented once, with the price told before, and ended for good."""

import json
import os
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from magics.kernels import fail
from magics.people import answers, interrupt_at
from vms.on_vm import cloud_with_faults, living, until

from lk_jupyter.journal.charges import charge_book
from lk_jupyter.vms.facts import host_keys_path

KEYGEN = "mkdir -p -m 700 ~/.ssh && ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519"
LOGIN = r"ssh -p \d+ lyceum@127\.0\.0\.1"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO5Lc8oWn0c9iX0rZ0l1sT7vW3k1Hb2m4k8mY1pJmZ3q mira@laptop"


@pytest.fixture(scope="module")
def vms(tmp_path_factory):
    yield from cloud_with_faults(tmp_path_factory.mktemp("vms"), clock_speed=20)


@pytest.fixture(autouse=True)
def user(vms, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", vms.base_url)
    monkeypatch.setenv("LK_API_KEY", vms.api_key)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text(PUBLIC + "\n")
    yield
    for each in vms.client.vms.list():
        vms.client.vms.delete(each.vm_id)
    for each in vms.client.block.list():
        vms.client.block.delete(each.volume_id)


def test_a_plan_tells_availability_price_and_key_and_rents_nothing(run_cell, vms):
    shown = run_cell("%lk_vm create --gpu A100 --count 2 --dry-run")
    assert re.search(r"Machine +2 A100 at 3\.18 credits/h", shown)
    assert re.search(r"Free now +yes", shown)
    without_broker, at_broker = (
        r"25\.44 credits for 8 h, until .*\d\d:\d\d",
        r"at most 3\.18 credits in the lease of 1 h",
    )
    assert re.search(rf"Cost +3\.18 credits per hour, ({without_broker}|{at_broker})", shown)
    assert re.search(r"Your key +\S+/\.ssh/id_ed25519\.pub \(ssh-ed25519\)", shown)
    assert living(vms) == []


def test_a_vm_whose_request_was_interrupted_is_named_with_the_command_that_deletes_it(run_cell, vms):
    interrupt_at(vms, "/vms/create")
    shown = run_cell("%lk_vm create --gpu A100 --yes")
    vms.http.delete(f"{vms.base_url}/_faults")
    assert re.search(
        r"KeyboardInterrupt: VM '(a100-\w+)' may exist and be billed\. "
        r"Check: %lk_vm list\. Delete it: %lk_vm delete \1",
        shown,
    )


def test_a_vm_is_rented_when_the_user_says_so_and_told_how_to_log_in(run_cell, shell, vms, monkeypatch):
    monkeypatch.setattr("builtins.input", answers("n", "y"))
    assert "Nothing was rented." in run_cell("%lk_vm create --gpu L40S --name 'my train'")
    shown = run_cell("%lk_vm create --gpu L40S --name 'my train' --save vm")
    assert re.search(LOGIN, shown)
    block = r"Host my-train\n    HostName 127\.0\.0\.1\n    Port \d+\n    User lyceum\n    IdentityFile .~/\.ssh/id_ed"
    assert re.search(block, shown)
    assert shell.user_ns["vm"].usable
    (made,) = living(vms)
    assert re.search(rf"{made.vm_id[:8]} +my train +running +1 L40S +127\.0\.0\.1", run_cell("%lk_vm"))
    assert "running" in run_cell("%lk_vm status 'my train'")
    assert f"VM {made.vm_id[:8]} is now named other." in run_cell(f"%lk_vm rename {made.vm_id[:6]} other")
    assert "Host other" in run_cell("%lk_vm ssh other")
    assert re.search(r"Deleted other after (under )?[\d.]+ credits\.", run_cell("%lk_vm delete other --yes"))
    assert living(vms) == []
    assert "terminated" in run_cell("%lk_vm list --all")


def test_without_waiting_it_returns_at_once(run_cell, vms):
    shown = run_cell("%lk_vm create --gpu A100 --yes --no-wait --name soon")
    assert "%lk_vm ssh" in shown
    assert len(living(vms)) == 1


def test_without_a_key_the_error_has_the_command_that_creates_one(run_cell, home, vms):
    (home / ".ssh" / "id_ed25519.pub").unlink()
    for options in ("--dry-run", "--dry-run --yes", ""):
        assert run_cell(f"%lk_vm create --gpu A100 {options}").endswith(
            f"UsageError: No public SSH key in '{home}/.ssh'. Nothing was rented. "
            f"Create a key, then run this line again: !{KEYGEN}\n"
        )
    (home / ".ssh" / "id_rsa.pub").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert "id_rsa.pub' isn't a public key of OpenSSH" in run_cell("%lk_vm create --gpu A100 --yes")
    assert living(vms) == []


@pytest.mark.parametrize("options", ["--dry-run", "--yes"])
def test_a_private_key_without_its_public_half_is_kept_and_the_error_shows_how_to_write_that(
    run_cell, home, vms, options
):
    private = home / ".ssh" / "id_ed25519"
    private.with_suffix(".pub").unlink()
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
    subprocess.run([*keygen, str(private)], check=True)
    private.with_suffix(".pub").unlink()
    before = private.read_bytes()
    shown = run_cell(f"%lk_vm create --gpu A100 {options}")
    assert (private.read_bytes(), living(vms)) == (before, [])
    command = shown.rpartition("run this line again: !")[2]
    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL, env={**os.environ, "HOME": str(home)})
    assert private.read_bytes() == before
    assert "(ssh-ed25519)" in run_cell("%lk_vm create --gpu A100 --dry-run")


@pytest.mark.parametrize("agrees", [True, False])
def test_without_a_key_one_is_created_if_the_user_agrees(run_cell, home, vms, monkeypatch, agrees):
    (home / ".ssh" / "id_ed25519.pub").unlink()
    (home / ".ssh").rmdir()
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or ("y" if agrees else "n"))
    shown = run_cell("%lk_vm create --gpu A100 --name first")
    assert asked[0] == "No SSH key in ~/.ssh. Create ~/.ssh/id_ed25519? [y/N] "
    assert (home / ".ssh" / "id_ed25519.pub").exists() == agrees
    assert len(living(vms)) == agrees
    if agrees:
        assert f"Created the SSH key {home}/.ssh/id_ed25519, without a passphrase." in shown
        assert re.search(LOGIN, shown)
        assert (home / ".ssh" / "id_ed25519").stat().st_mode & 0o077 == 0


def test_another_key_is_taken_by_its_name(run_cell, home):
    (home / "work.pub").write_text(PUBLIC)
    shown = run_cell(f"%lk_vm create --gpu A100 --key {home}/work --yes")
    assert re.search(r"ssh -i ~/work -p \d+ lyceum@127\.0\.0\.1", shown)
    assert "No public key at" in run_cell("%lk_vm create --gpu A100 --key ~/gone --yes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--gpu A10", "No VM with A10. Nothing was rented. Did you mean A100? VMs: A100, "),
        ("--gpu A100 --count 3", "--count: a VM with A100 has 1, 2, 4, 8 GPUs, got 3. Nothing was rented."),
        ("--gpu L40S --spot", "L40S isn't sold as spot. Nothing was rented. Leave out --spot."),
        ("--gpu A100 --volume a --new-volume 5", "takes --new-volume or --volume, not both"),
        ("--gpu A100 --volume gone", "Unknown volume 'gone'. Nothing was changed. See your volumes: %lk_volumes"),
        ("", "needs --gpu"),
    ],
)
def test_a_shape_that_is_not_sold_is_refused_before_anything_is_sent(run_cell, vms, options, message):
    assert message in run_cell(f"%lk_vm create {options} --yes")
    assert living(vms) == []


def test_no_capacity_offers_what_can_be_had_with_prices(run_cell, vms):
    shown = run_cell("%lk_vm create --gpu H200 --yes")
    assert (
        "No H200 at 4.29 credits/h is free now. Nothing was rented. Free now: H100 at 2.79 credits/h (--gpu H100);"
        in shown
    )
    assert living(vms) == []


def test_capacity_that_ends_meanwhile_offers_the_same_and_asks_once(run_cell, vms):
    detail = "The instance could not be provisioned right now. Please try another shape."
    fail(vms, path="/vms/create", status=500, detail=detail)
    shown = run_cell("%lk_vm create --gpu A100 --yes")
    assert "could not be provisioned right now. Please try another shape (HTTP 500" in shown
    assert "Free now: " in shown.splitlines()[-2]
    assert living(vms) == []


def test_a_vm_whose_address_cannot_be_read_is_named_with_the_command_that_deletes_it(run_cell, vms):
    row = {"vm_id": "3f0c", "status": "ready", "ip_address": "-oProxyCommand=id"}
    vms.http.post(f"{vms.base_url}/_faults", json=[{"path": "/status", "body": json.dumps(row), "times": None}])
    shown = run_cell("%lk_vm create --gpu A100 --name train --yes")
    vms.http.delete(f"{vms.base_url}/_faults")
    assert "invalid address of the VM: '-oProxyCommand=id'" in shown
    assert "VM 'train' is still active and costs credits." in shown
    assert "Delete: %lk_vm delete train" in shown


def test_a_vm_whose_answer_was_lost_is_found_and_not_rented_twice(run_cell, vms):
    fail(vms, path="/vms/create", lose_answer=True)
    assert re.search(
        LOGIN,
        run_cell("%lk_vm create --gpu A100 --yes"),
    )
    assert len(living(vms)) == 1


def test_a_gateway_that_hides_the_outcome_does_not_make_it_ask_again(run_cell, vms, monkeypatch):
    monkeypatch.setattr("lk_jupyter.api._creation.LOOK_PAUSE", 0)
    fail(vms, path="/vms/create", status=502, times=1)
    assert "The request was not sent again. Check first: %lk_vm list" in run_cell("%lk_vm create --gpu A100 --yes")
    assert living(vms) == []


def test_reads_that_fail_now_and_then_do_not_end_the_waiting(run_cell, vms):
    fail(vms, path="/status", method="GET", status=503, times=2)
    assert re.search(
        LOGIN,
        run_cell("%lk_vm create --gpu A100 --yes"),
    )


def test_a_volume_outlives_its_vm(run_cell, vms):
    run_cell("%lk_vm create --gpu A100 --name keeper --new-volume 200 --yes")
    (disk,) = vms.client.block.list()
    assert f"{disk.size_gb} GB at {disk.mount_path}" in run_cell("%lk_vm status keeper")
    assert "Nothing was deleted. Delete the VM first: %lk_vm delete" in run_cell(
        f"%lk_volumes delete {disk.volume_id} --yes"
    )
    assert "1 of its volumes remain and cost credits: %lk_volumes" in run_cell("%lk_vm delete keeper --yes")
    assert re.search(rf"{disk.volume_id} +200 GB +active +free", run_cell("%lk_volumes"))
    run_cell(f"%lk_vm create --gpu A100 --name again --volume {disk.volume_id[:7]} --yes")
    run_cell("%lk_vm delete again --yes")
    assert f"Deleted {disk.volume_id} (200 GB)." in run_cell(f"%lk_volumes delete {disk.volume_id} --yes")
    assert "No volumes." in run_cell("%lk_volumes")


def test_an_unknown_vm_is_named_with_the_command_that_lists_all(run_cell):
    shown = run_cell("%lk_vm delete gone --yes")
    assert "UsageError: Unknown VM 'gone'. Nothing was changed. See your VMs: %lk_vm list --all" in shown


def test_offers_tell_what_is_free(run_cell):
    shown = run_cell("%lk_vm offers")
    assert re.search(r"^H200 +on-demand +4\.29 +1, 2, 4, 8 +none$", shown, re.MULTILINE)
    assert re.search(r"^A100 +spot +0\.80 +1, 2, 4, 8 +1, 2, 4, 8$", shown, re.MULTILINE)


# Budgets


def test_a_vm_beyond_the_budget_is_refused_before_the_question_and_one_that_exceeds_it_is_reported(
    run_cell, vms, monkeypatch
):
    monkeypatch.setenv("LK_DAY_BUDGET", "2")
    monkeypatch.setattr("builtins.input", fail)
    refused = run_cell("%lk_vm create --gpu A100 --timeout 24h")
    assert "The day budget of this computer is 2.00 credits" in refused
    assert "A100 at 1.59 credits/h for 24 h may cost 38.16 credits. Nothing was sent." in refused
    assert "Or use less: --timeout 75m." in refused
    assert not living(vms)
    shown = run_cell("%lk_vm create --gpu A100 --yes --no-wait --name box")
    assert re.search(r"1\.99 credits for 1 h 15 min \(as long as the day budget pays\), until .*\d\d:\d\d", shown)
    for line in ("%lk_vm list", "%lk_vm status box"):
        assert re.search(r"\d\d:\d\d by this computer", run_cell(line)), line
    until(lambda: re.search(r"\d\d:\d\d by this computer", run_cell("%lk_balance")))  # when it is billed
    [charge] = charge_book().charges(vms.base_url)
    charge_book().update(charge.token, rate=Decimal(1_000_000), begins=charge.begins - 1)
    for line in ("%lk_vm list", "%lk_balance"):
        assert "The day budget of this computer, 2 credits, is exceeded" in run_cell(line)
    assert len(living(vms)) == 1
    run_cell("%lk_vm delete box --yes")
    assert "is exceeded" not in run_cell("%lk_vm list")


def test_a_vm_that_was_sold_out_reserves_nothing(run_cell, vms, monkeypatch):
    monkeypatch.setenv("LK_DAY_BUDGET", "9")
    for _ in range(3):
        assert "Nothing was rented" in run_cell("%lk_vm create --gpu H200 --yes")
    assert charge_book().charges(vms.base_url) == []


def test_vs_code_opens_on_a_vm_by_a_host_that_ssh_knows_until_the_vm_is_deleted(run_cell, vms, tmp_path, monkeypatch):
    calls, program = tmp_path / "calls", tmp_path / "bin" / "code"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    run_cell("%lk_vm create --gpu A100 --name notes --yes")
    output = run_cell("%lk_vm code notes")
    assert "opened" in output
    assert calls.read_text() == "--remote ssh-remote+lk-notes /home/lyceum\n"
    hosts = Path("~/.ssh/lk_jupyter_config").expanduser()
    assert "Host lk-notes\n    HostName 127.0.0.1\n    Port" in hosts.read_text()
    run_cell("%lk_vm delete notes --yes")
    assert not hosts.exists()


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH")
def test_the_shown_ssh_line_logs_in_and_a_changed_host_key_is_refused_by_ssh_and_by_the_magic(run_cell, vms, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    output = run_cell(f"%lk_vm create --gpu A100 --name notes --key {tmp_path / 'key.pub'} --yes")
    login = re.search(r"ssh -i \S+ -p \d+ lyceum@\S+ -o \S+ -o \S+", output)[0]
    login += " -F none -o BatchMode=yes 'echo $USER'"  # no question: the key is stored
    assert "ssh refuses a VM with another host key" in output
    assert subprocess.run(login, shell=True, capture_output=True, text=True, check=False).stdout == "lyceum\n"
    pins = host_keys_path()
    pins.write_text(f"{pins.read_text().split()[0]} {' '.join(PUBLIC.split()[:2])}\n")
    done = subprocess.run(login, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr) == (255, True)
    for verb in ("ssh", "code"):
        output = run_cell(f"%lk_vm {verb} notes")
        assert re.search(r"HostKeyChanged: .*Nothing was sent\. .*Delete the VM: %lk_vm delete \w{8}", output)
        assert "lyceum@" not in output
    run_cell("%lk_vm delete notes --yes")
    assert pins.read_text() == ""
