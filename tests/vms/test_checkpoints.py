"""Checkpoints of runs on VMs: stored while the code runs, and continued on another VM within the same maximum cost."""

import json
import re

import cookbook
import pytest
from vms.on_vm import active_keys, facts_of, living, start, text_of, until

import lk_jupyter
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, RunFailed, UsageError
from lk_jupyter.protocol.bucket import checkpoint_key, returned_key
from lk_jupyter.protocol.vm_run import CHECKPOINT_LIST
from lk_jupyter.remote.sign import signature
from lk_jupyter.remote.vm import files
from lk_jupyter.runs.vm import REPEATED
from lk_jupyter.vms import hosted
from lk_jupyter.vms.checkpoints import log_size, read_checkpoint

pytest.importorskip("asyncssh")

#: Counts to LAST, and saves each 20th step. On the first VM, it waits at HOLD.
COUNT = """
import json, os, time
import lk_jupyter
from lk_jupyter.remote.checkpoints import report_saved

path = lk_jupyter.checkpoint_folder() / "state.json"
first = json.loads(path.read_text()) if path.exists() else 0
for step in range(first, LAST):
    print("line", step, flush=True)
    if step % 20 == 19:
        path.with_suffix(".tmp").write_text(json.dumps(step + 1))
        os.replace(path.with_suffix(".tmp"), path)
        report_saved()
    while step == HOLD and not first:
        time.sleep(0.05)
"""


def counting(last=100, hold=70):
    return COUNT.replace("LAST", str(last)).replace("HOLD", str(hold))


def reclaim(vms, run):
    """End the VM of a run as the cloud reclaims a spot VM: without the run, and without a warning."""
    vms.client.vms.delete(facts_of(run).active_id)


def wait_for_failure(run, before=0):
    """Wait until the run has noticed that another VM failed: reading the state notices it."""
    until(lambda: run.status and len(facts_of(run).reasons) > before)


def token_of(run):
    return facts_of(run).token


def follow_and_reclaim(vms, run, last_line):
    """Return the output of a run, whose VM is reclaimed after this line and after its last checkpoint was stored."""
    text, step, storage = "", int(last_line.split()[1]), run.session.storage
    for event in run.follow():
        text += getattr(event, "content", "")
        if not facts_of(run).reasons and f"{last_line}\n" in text:
            until(lambda: stored_lines(read_checkpoint(storage, token_of(run))) == step // 20 * 20)
            reclaim(vms, run)
            wait_for_failure(run)
    return text


def stored_lines(listing):
    """Return the number of lines in the log of a checkpoint, whose lines have the numbers from 0 on."""
    size = log_size(listing)
    return next(n for n in range(1000) if len("".join(f"line {i}\n" for i in range(n))) >= size)


def test_a_reclaimed_vm_is_replaced_and_each_line_comes_once_in_order_with_one_bill(session, vms):
    run = start(session, counting(), retries=1, spot=True)
    text = follow_and_reclaim(vms, run, "line 70")
    lines = [f"line {i}" for i in range(100)]
    assert (text.splitlines(), run.status) == (lines, "completed")
    assert (
        run.log_path.read_text().splitlines() == hosted.open_run(session, run.execution_id).log().splitlines() == lines
    )
    facts = facts_of(run)
    assert (facts.reasons, facts.active_id != facts.vm_id) == (
        ["The VM ended (terminated) before its results were saved."],
        True,
    )
    bills = {vm.vm_id.replace("-", ""): vm.billed for vm in vms.client.vms.list()}
    assert run.cost == facts.billed == bills[facts.vm_id] + bills[facts.active_id]
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_lines_that_differ_after_a_checkpoint_replace_the_lines_of_the_vm_before(session, vms):
    code = counting().replace('"line", step', '"line", step, "of", bool(first)')
    run = start(session, code.replace("step == HOLD", "step == 70"), retries=1)
    text = ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if "line 70 " in text and not facts_of(run).reasons:
            until(lambda: read_checkpoint(run.session.storage, token_of(run)))
            reclaim(vms, run)
            wait_for_failure(run)
    lines = run.log_path.read_text().splitlines()
    assert [line.split()[1] for line in lines] == [str(i) for i in range(100)]
    assert lines[-1].endswith("True")
    assert REPEATED.strip() in text


@pytest.mark.nightly
def test_without_retries_a_reclaimed_run_fails_and_another_run_resumes_from_its_checkpoint(session, vms):
    run = start(session, counting())
    follow_and_end(vms, run)
    with pytest.raises((RunFailed, LkError), match="before its results were saved"):
        run.result()
    resumed = start(session, counting(hold=-1), resume=run.execution_id)
    assert text_of(resumed.follow()).splitlines() == [f"line {i}" for i in range(60, 100)]
    with pytest.raises(UsageError, match=r"was on a VM, so its checkpoint needs a VM\. Nothing was sent\. Add --on vm"):
        session.run("1", resume=run.execution_id)
    assert living(vms) == []


def follow_and_end(vms, run):
    text = ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if "line 70\n" in text and living(vms):
            until(lambda: stored_lines(read_checkpoint(run.session.storage, token_of(run))) == 60)
            reclaim(vms, run)


def change_checkpoint(storage, listing, change):
    """Overwrite a checkpoint as a member of the organization can."""
    prefix = listing["prefix"]
    if change == "list":
        stored = bytes(storage.get_bytes(prefix + "list"))
        storage.put(stored.replace(b"state.json", b"other.json"), prefix + "list")
    else:
        storage.put(b"99", prefix + listing["files"]["state.json"][0])


@pytest.mark.nightly
@pytest.mark.parametrize("change", ["list", "file"])
def test_a_member_who_changes_a_checkpoint_is_not_continued_from(session, vms, change):
    run = start(session, counting(), retries=1)
    text = ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if "line 70\n" in text and not facts_of(run).reasons:
            until(lambda: stored_lines(read_checkpoint(session.storage, token_of(run))) == 60)
            change_checkpoint(session.storage, read_checkpoint(session.storage, token_of(run)), change)
            reclaim(vms, run)
            wait_for_failure(run)
    with pytest.raises((RunFailed, LkError), match=r"changed in the bucket|isn't signed with the key of the run"):
        run.result()
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_another_vm_is_rented_only_if_the_rest_of_the_maximum_cost_pays_for_it(session, vms):
    run = start(session, counting(), retries=1)
    vm_run = hosted.open_run(session, run.execution_id)
    until(lambda: vm_run.facts.is_started)
    vm_run._store_facts(cap=vm_run.facts.per_hour / 20)
    reclaim(vms, run)
    with pytest.raises(LkError, match=r"is too low for another VM\. Nothing was rented"):
        run.result()
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_the_saved_state_of_a_replaced_vm_is_not_the_state_of_the_vm_that_replaced_it(session, vms):
    run = start(session, counting().replace("and not first", ""), retries=1)
    until(lambda: read_checkpoint(session.storage, token_of(run)))
    reclaim(vms, run)
    wait_for_failure(run)
    saved = {"state": b'{"status": "completed", "is_final": true}', "log": b"line 0\n"}
    for name, content in saved.items():
        session.storage.put(content, returned_key(token_of(run), f"vm-{name}"))
    until(lambda: facts_of(run).is_started)
    reclaim(vms, run)
    with pytest.raises(LkError, match="before its results were saved"):
        run.result()
    assert living(vms) == []


@pytest.mark.nightly
def test_a_vm_whose_supervisor_was_killed_is_replaced(session, vms):
    run = start(session, counting(), retries=1)
    text = ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if "line 70\n" in text and not facts_of(run).reasons:
            until(lambda: stored_lines(read_checkpoint(run.session.storage, token_of(run))) == 60)
            vm_run = hosted.open_run(session, run.execution_id)
            vm_run._open_shell().run(f"kill -9 $(cat .lk/{token_of(run)[:12]}/pid)")
            wait_for_failure(run)
    assert text.splitlines() == [f"line {i}" for i in range(100)]
    assert (facts_of(run).reasons, living(vms)) == (["The supervisor on the VM has ended"], [])


def test_a_vm_that_ends_while_its_guest_reports_a_killed_supervisor_has_ended(session, vms, monkeypatch):
    run, looks = start(session, "import time; time.sleep(600)"), []
    vm_run = hosted.open_run(session, run.execution_id)
    until(lambda: vm_run.facts.is_started)
    vm_run._open_shell().run(f"kill -9 $(cat .lk/{token_of(run)[:12]}/pid)")
    read_status = vm_run._client.vms.status

    def read_and_reclaim(vm_id):
        """Read the record of the VM, which ends after the first look."""
        record = read_status(vm_id)
        looks.append(record.status)
        if len(looks) == 1:
            reclaim(vms, run)
        return record

    monkeypatch.setattr(vm_run._client.vms, "status", read_and_reclaim)
    with pytest.raises(LkError, match=r"The VM ended \(terminated\) before its results were saved"):
        run.result()
    assert len(looks) >= 2


def test_code_whose_variables_return_saves_its_checkpoint_before_a_short_time_limit(session, vms):
    code = """
import time

def lk_checkpoint(folder):
    (folder / "step").write_text(str(step))

for step in range(10_000):
    time.sleep(0.01)
"""
    run = start(session, code, timeout=6, outputs=["step"])
    text_of(run.follow())
    assert run.status == "failed"  # the code ended shortly before its limit, to return its variables
    assert session.storage.exists(checkpoint_key(token_of(run)))


@pytest.mark.nightly
def test_files_that_stay_unchanged_are_stored_without_a_report_of_the_code(session, vms, monkeypatch):
    code = """
import time, lk_jupyter
folder = lk_jupyter.checkpoint_folder()
(folder / "checkpoint-10").mkdir()
(folder / "checkpoint-10" / "model.bin").write_bytes(bytes(3_000_000))
print("saved", flush=True)
time.sleep(600)
"""
    run = start(session, code)
    listing = until(lambda: read_checkpoint(session.storage, token_of(run)))
    assert {name: size for name, (_, size) in listing["files"].items()} == {"checkpoint-10/model.bin": 3_000_000}
    until(lambda: hosted.open_run(session, run.execution_id).state().get("checkpoint", {}).get("bytes") == 3_000_000)
    run.abort()
    assert living(vms) == []


def test_a_list_of_a_checkpoint_with_a_name_outside_of_its_folder_is_refused(home):
    class Storage:
        def get_bytes(self, key):
            assert key == ".lk/c/token/list"
            text = json.dumps({"files": {self.name: ["0" * 64, 1]}, "log": []})
            signed = signature(signing_key("token"), CHECKPOINT_LIST, text.encode()).hex()
            return json.dumps({"list": text, "signature": signed}).encode()

    storage = Storage()
    storage.name = "a/b.bin"
    assert read_checkpoint(storage, "token")["files"] == {"a/b.bin": ["0" * 64, 1]}
    for name in ("../x", "/etc/passwd", "a/../../x", "a\\b", ""):
        storage.name = name
        with pytest.raises(UsageError, match="outside of its folder"):
            read_checkpoint(storage, "token")
    assert files.SIGNED == CHECKPOINT_LIST


def test_in_a_notebook_the_checkpoint_folder_is_next_to_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lk_jupyter.checkpoint_folder() == tmp_path / "lk_checkpoints"
    assert (tmp_path / "lk_checkpoints").is_dir()


TRAIN = """
import sys; sys.path.append(TORCH)
import hashlib, random, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import lk_jupyter

random.seed(7); torch.manual_seed(7); torch.set_num_threads(1)
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randn(64, 1)), batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
checkpoint = lk_jupyter.Checkpoint(model=model, optimizer=optimizer, scheduler=scheduler, every=0.2)
for epoch in checkpoint.epochs(10):
    for x, y in checkpoint.batches(loader):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x + random.random()), y)
        loss.backward()
        optimizer.step()
        time.sleep(PAUSE)
    scheduler.step()
    print("epoch", epoch + 1, "loss", loss.item(), flush=True)
weights = b"".join(bytes(each.detach().contiguous().untyped_storage()) for each in model.parameters())
print("weights", checkpoint.step, hashlib.sha256(weights).hexdigest())
"""


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("cookbook")
def test_a_training_that_is_reclaimed_twice_ends_with_bit_equal_weights(session, vms):
    code = TRAIN.replace("TORCH", repr(str(cookbook.site_packages())))
    uninterrupted = start(session, code.replace("PAUSE", "0"))
    expected = text_of(uninterrupted.follow()).splitlines()
    run, text = start(session, code.replace("PAUSE", "0.1"), retries=3, spot=True), ""
    for event in run.follow():
        text += getattr(event, "content", "")
        count = len(facts_of(run).reasons)
        if count < 2 and f"epoch {3 * count + 3} " in text:
            until(lambda: read_checkpoint(session.storage, token_of(run)))
            reclaim(vms, run)
            wait_for_failure(run, count)
    assert run.log_path.read_text().splitlines() == expected
    assert re.fullmatch(r"weights 80 [0-9a-f]{64}", expected[-1])
    assert len(facts_of(run).reasons) == 2
    assert (living(vms), active_keys(vms)) == ([], [])
