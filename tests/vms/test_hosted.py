"""Runs on a VM: started, followed, interrupted and ended on real VMs of a local cloud."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from patience import PATIENCE
from vms.on_vm import active_keys, facts_of, living, start, text_of, until

from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.errors import LkError, RunAborted, RunFailed, UsageError
from lk_jupyter.magics._output import unfinished_runs
from lk_jupyter.magics._output.run_status import receipt
from lk_jupyter.magics._output.unfinished_runs import GoingOn, _list_overdue_vms
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.vm import OffsetFollower
from lk_jupyter.vms import facts, hosted, sending, ssh_config
from lk_jupyter.vms.ends import VmWatch
from lk_jupyter.vms.shell import HostKeyChanged
from lk_jupyter.vms.ssh import SshEndpoint

asyncssh = pytest.importorskip("asyncssh")


def fail_to_write(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_code_on_a_vm_returns_log_result_variables_and_bill_and_the_vm_is_deleted(session, vms):
    code = "import os, sys\nfor i in range(2000): print('line', i)\nprint('ü', file=sys.stderr)\ntotal = 42"
    run = start(session, code, outputs=["total"])
    lines = [line for line in text_of(run.follow()).splitlines() if line.startswith(("line", "ü"))]
    assert lines == [*(f"line {i}" for i in range(2000)), "ü"]
    assert (run.result().return_code, run.status) == (0, "completed")
    assert run.outputs() == {"total": 42}
    assert (living(vms), active_keys(vms)) == ([], [])
    assert run.cost == facts_of(run).billed > 0
    assert facts_of(run).is_deleted
    assert run.log_path.read_text() == hosted.open_run(session, run.execution_id).log()


def test_the_receipt_of_a_run_has_the_gpu_that_the_cloud_reports_for_its_vm(session, vms, monkeypatch):
    read = VmWatch.add
    monkeypatch.setattr(
        VmWatch, "add", lambda watch, vm: read(watch, vm.model_copy(update={"hardware_profile": "h100"}))
    )
    run = start(session, "print(1)")
    run.result()
    assert run.record.hardware_profile == "vm.h100"
    assert "H100 VM" in (text := str(receipt(run.record, run)))
    assert "the request was for A100 VM" in text


@pytest.mark.nightly
def test_a_failure_has_its_traceback_and_exit_code_and_the_vm_is_deleted(session, vms):
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        start(session, "1 / 0").result()
    with pytest.raises(RunFailed, match="exit code 3"):
        start(session, "raise SystemExit(3)").result()
    assert living(vms) == []


def test_an_abort_interrupts_the_code_with_sigint_and_deletes_the_vm(session, vms):
    code = """
import time
from types import SimpleNamespace
print("ready", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted by SIGINT", flush=True)
    raise
"""
    run, text = start(session, code), ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if text == "ready\n":
            run.abort_soon()
    assert "interrupted by SIGINT" in text
    with pytest.raises(RunAborted):
        run.result()
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_an_abort_before_the_code_was_sent_deletes_the_vm(session, vms):
    run = start(session, "print(1)", gpu="2xA100")
    run.abort()
    with pytest.raises(RunAborted):
        run.result()
    assert (facts_of(run).machine, living(vms)) == ("vm.2xa100", [])


def test_an_abort_while_the_key_is_created_revokes_the_key(session, vms, monkeypatch):
    created, create = threading.Event(), sending.create_key

    def abort_and_create(vm_run):
        vm_run.abort(1)
        try:
            return create(vm_run)
        finally:
            created.set()

    monkeypatch.setattr(sending, "create_key", abort_and_create)
    run = start(session, "print(1)")
    assert created.wait(PATIENCE)
    hosted.open_run(session, run.execution_id)._start.join(PATIENCE)
    assert (living(vms), active_keys(vms)) == ([], [])


def test_without_a_record_nothing_is_rented(session, vms, monkeypatch):
    before = vms.client.vms.list().items
    monkeypatch.setattr(hosted, "write_private", fail_to_write)
    with pytest.raises(UsageError, match=r"No space left on device\. Nothing was rented\."):
        start(session, "print(1)")
    assert vms.client.vms.list().items == before


@pytest.mark.nightly
def test_an_installation_that_hangs_ends_with_the_time_of_the_vm(session, vms, monkeypatch):
    monkeypatch.setattr(hosted, "SETUP_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        package = f"silent @ http://127.0.0.1:{silent.getsockname()[1]}/silent-1.tar.gz"
        run = start(session, "print(1)", requirements=[package], timeout=1)
        until(lambda: not living(vms))
    record = run.wait()
    assert (record.status, record.status_details) == ("timeout", "The VM has reached its time limit")
    assert active_keys(vms) == []


@pytest.mark.nightly
def test_code_ends_before_the_time_of_its_vm_so_that_its_results_are_saved(session, vms, monkeypatch):
    monkeypatch.setattr(hosted, "SETUP_SECONDS", -585)
    run = start(session, "import time; print('started', flush=True); time.sleep(600)", timeout=600)
    assert text_of(run.follow()).startswith("started\n")
    record = run.wait()
    assert (record.status, record.status_details) == ("timeout", "The VM has reached its time limit")
    assert (living(vms), active_keys(vms)) == ([], [])


def test_the_stored_log_of_a_vm_has_each_sign_of_the_output(session, vms):
    run = start(session, r"print('10 %\r20 %\r\nü €\r\n')")
    text = text_of(run.follow())
    assert text.startswith("10 %\r20 %\r\nü €\r\n")
    assert hosted.open_run(session, run.execution_id).log() == text


@pytest.mark.parametrize("answer", [b"5", b"no JSON"])
def test_an_abort_deletes_a_vm_that_answers_oddly_while_the_disk_is_full(session, vms, monkeypatch, answer):
    run = start(session, "import time; time.sleep(600)")
    until(lambda: run.status == "running")
    vm_run, ask = hosted.open_run(session, run.execution_id), hosted.VmRun._run_agent
    monkeypatch.setattr(
        hosted.VmRun, "_run_agent", lambda self, words, *data: answer if words == "list" else ask(self, words)
    )
    monkeypatch.setattr(hosted, "write_private", fail_to_write if answer == b"5" else hosted.write_private)
    vm_run.abort(1)
    assert (living(vms), active_keys(vms), vm_run.facts.is_deleted) == ([], [], True)


@pytest.mark.nightly
def test_the_rest_of_a_run_on_a_vm_is_estimated_without_a_cell_that_follows(session, vms):
    code = "import time\nfor i in range(1, 151):\n    print(f'step {i}/150', flush=True)\n    time.sleep(0.2)"
    run = start(session, code)
    eta = until(lambda: (run.status == "running") and (estimate := run.eta()) and estimate.step > 4 and estimate)
    assert (eta.total, 10 < eta.seconds < 60, eta.cost > 0) == (150, True, True)
    run.abort()


@pytest.mark.nightly
def test_a_broken_connection_neither_loses_nor_repeats_a_line(session, vms, tmp_path):
    code = f"""
import os, time
for i in range(3000):
    print('line', i, flush=True)
    while i % 500 == 400 and not os.path.exists(f'{tmp_path}/broken-{{i // 500}}'):
        time.sleep(0.01)
"""
    run, text, breaks = start(session, code), "", 0
    vm_run = hosted.open_run(session, run.execution_id)
    for event in run.follow():
        text += getattr(event, "content", "")
        if breaks < 6 and text.count("\n") > 500 * breaks + 300:
            vm_run._shell.close()
            (tmp_path / f"broken-{breaks}").touch()  # the code waits for each break
            breaks += 1
    assert text.splitlines() == [f"line {i}" for i in range(3000)]
    assert breaks == 6
    assert isinstance(run.follower(type("Log", (), {"size": 0})()), OffsetFollower)


def test_a_lost_deletion_is_repeated_until_the_list_shows_the_end(session, vms):
    run = start(session, "print(1)")
    fault = {"path": "/vms/", "method": "DELETE", "times": 2, "status": 502}
    vms.http.post(f"{vms.base_url}/_faults", json=fault)
    assert run.result().stdout == "1\n"
    assert living(vms) == []


@pytest.mark.nightly
def test_a_changed_host_key_stops_the_run_and_sends_nothing(session, vms):
    run = start(session, "import time; time.sleep(600)")
    vm_run = hosted.open_run(session, run.execution_id)
    until(lambda: run.status == "running")
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    vm_run._shell.close()
    vm_run._shell._pinned = other
    with pytest.raises(HostKeyChanged, match="another host key"):
        _ = run.status
    run.abort()
    assert living(vms) == []


CHILD = """
import lk_jupyter, sys, time
run = lk_jupyter.connect().run(sys.argv[1], on="vm", gpu="A100", max_cost=5, timeout=7200, outputs=["total"])
while run.status == "pending":
    time.sleep(0.05)
print(run.execution_id, flush=True)
run.wait()
"""


def test_a_vm_whose_notebook_is_gone_saves_the_results_and_deletes_itself(session, vms, tmp_path):
    wait = f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)"
    code = f"import os, time\n{wait}\nprint('done')\ntotal = 42"
    program = "from lk_jupyter.vms import sending\nsending.LINGER_SECONDS = 1.0\n" + CHILD
    with subprocess.Popen([sys.executable, "-c", program, code], stdout=subprocess.PIPE, text=True) as child:
        execution_id = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)
    facts = hosted.read_facts(execution_id.removeprefix("vm-"))
    host, endpoint = ssh_config.host_name(f"lk-run-{facts.token[:12]}"), SshEndpoint.of(facts.address)
    ssh_config.add_host(host, ssh_config.host_block(host, endpoint, facts.vm_id, None))
    (tmp_path / "go").touch()
    until(lambda: not living(vms))
    run = Run.attach(session, execution_id)
    assert text_of(run.follow()).splitlines()[0] == "done"
    assert run.outputs() == {"total": 42}
    assert (run.status, facts_of(run).is_deleted, active_keys(vms)) == ("completed", True, [])
    assert list(Path("~/.ssh").expanduser().iterdir()) == []


@pytest.mark.nightly
def test_a_run_is_attached_from_another_process_and_its_vm_is_deleted_at_the_end(session, vms):
    code = "import time\nfor i in range(20):\n    print('line', i, flush=True)\n    time.sleep(0.1)\ntotal = 42"
    with subprocess.Popen([sys.executable, "-c", CHILD, code], stdout=subprocess.PIPE, text=True) as child:
        execution_id = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)
    run = Run.attach(session, execution_id)
    lines = text_of(run.follow()).splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(20)]
    assert run.outputs() == {"total": 42}
    assert (living(vms), active_keys(vms)) == ([], [])


def test_a_list_of_vms_without_runs_requests_no_states(monkeypatch):
    shown, started = [], []
    monkeypatch.setattr(unfinished_runs, "_list_entries", list)
    monkeypatch.setattr(unfinished_runs, "_list_overdue_vms", lambda: ["VM 1 should be deleted."])
    monkeypatch.setattr(unfinished_runs, "Thread", lambda **_: SimpleNamespace(start=lambda: started.append(True)))
    note = SimpleNamespace(in_place=True, show=lambda content, **_: shown.append(str(content)))
    monkeypatch.setattr("lk_jupyter.magics._output.live.LiveOutput", lambda _: note)
    unfinished_runs.list_unfinished_runs(SimpleNamespace(kernel=True))
    assert shown == ["VM 1 should be deleted."]
    assert not started


def test_a_vm_that_should_be_deleted_is_listed_in_red_with_its_cost(session, vms):
    run = start(session, "import time; time.sleep(600)")
    vm_run = hosted.open_run(session, run.execution_id)
    assert _list_overdue_vms() == []
    vm_run._store_facts(ttl=-60.0)
    [line] = _list_overdue_vms()
    vm_id = vm_run.facts.vm_id[:8]
    assert line.startswith(f"VM {vm_id} should already be deleted, but may still be billed: about")
    assert line.endswith(f"Delete it: %lk_vm delete {vm_id}")
    html = GoingOn([], warnings=[line])._repr_mimebundle_()["text/html"]
    assert "--jp-error-color1" in html
    run.abort()
    assert _list_overdue_vms() == []


def test_without_an_option_for_the_cost_nothing_is_rented(session, vms):
    with pytest.raises(UsageError, match=r"Nothing was rented. .*--on vm --max-cost 3\.31"):
        session.run("print(1)", on="vm", gpu="A100", timeout=7200)
    with pytest.raises(UsageError, match=r"--timeout must be 1 to 600 s"):
        session.run("print(1)", gpu="A100", timeout=7200)
    with pytest.raises(UsageError, match=r"is free now\. Nothing was rented"):
        start(session, "print(1)", gpu="H200")
    assert living(vms) == []


@pytest.mark.nightly
def test_a_vm_that_ends_before_its_results_are_saved_is_reported(session, vms):
    run = start(session, "import time; time.sleep(600)")
    until(lambda: run.status == "running")
    vms.client.vms.delete(facts_of(run).vm_id)
    with pytest.raises(LkError, match="before its results were saved"):
        run.result()


def test_the_log_of_a_vm_that_ends_before_its_log_is_read_may_be_incomplete(session, vms):
    run = start(session, "import time; print('first', flush=True); time.sleep(600)")
    events = run.follow()
    assert next(events).content == "first\n"
    vms.client.vms.delete(facts_of(run).active_id)
    assert text_of(events) == ""
    assert run.log_problem.startswith(INCOMPLETE)


@pytest.mark.parametrize("key", ["other/file", ".lk/o/other/1", ".lk/o/TOKEN/../x", ".lk/c/other.tar", 3])
def test_only_results_of_the_run_are_stored_in_the_bucket(key):
    assert not hosted.is_result(key, "TOKEN")
    assert hosted.is_result(".lk/o/TOKEN/0", "TOKEN")
    assert hosted.is_result(".lk/c/TOKEN.tar", "TOKEN")


@pytest.mark.parametrize("state", [None, [], {}, {"status": "paid"}, {"status": 3}])
def test_an_odd_state_of_a_vm_is_refused(state):
    with pytest.raises(LkError, match="unreadable state"):
        facts.check_state(state)


def test_fields_of_another_type_in_a_state_are_dropped():
    odd = {"status": "failed", "return_code": "1", "is_final": 1, "details": ["<b>"], "more": 1}
    assert facts.check_state(odd) == {"status": "failed"}
