"""``%%lk_run --on vm``: a cell on a VM, with the variables, the receipt and the history of a run."""

import re

import pytest
from conftest import RunningCloud
from magics.people import answers

from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.vm_run import vm_id_in
from lk_jupyter.session import current

pytest.importorskip("asyncssh")


@pytest.fixture(scope="module")
def vms(tmp_path_factory):
    running = RunningCloud(tmp_path_factory.mktemp("vms"), "--clock-speed", "50", "--credits", "1000")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def user(vms, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", vms.base_url)
    monkeypatch.setenv("LK_API_KEY", vms.api_key)
    monkeypatch.setenv("LK_CARRY", "always")


def living(vms):
    return [vm for vm in vms.client.vms.list() if vm.status != "terminated"]


def test_a_cell_of_three_hours_runs_on_a_vm_after_one_question_and_changes_the_variables(
    run_cell, shell, vms, monkeypatch
):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "y")
    shell.user_ns["steps"] = [1, 2]
    output = run_cell("%%lk_run --gpu A100 --timeout 3h\nsteps.append(len(steps) + 1)\nprint('sum', sum(steps))")
    assert "sum 6" in output
    assert re.search(r"completed", output)
    assert shell.user_ns["steps"] == [1, 2, 3]
    [question] = questions
    assert question.startswith("Rent VM A100 at 1.59 credits/h for this cell: at most 4.90 credits for 3 h 00 min.")
    assert re.search(r"deletes itself at \d\d:\d\d with an API key that has your account's rights until", question)
    assert living(vms) == []
    [entry] = journal().entries(limit=1)
    assert (entry.machine, entry.state, bool(vm_id_in(entry.execution_id))) == ("vm.a100", "completed", True)
    assert entry.cost > 0


def test_without_an_answer_no_vm_is_rented_and_the_options_are_named(run_cell, vms, monkeypatch):
    monkeypatch.setattr("builtins.input", answers("n"))
    output = run_cell("%%lk_run --gpu A100 --timeout 3h\nprint(1)")
    assert "Nothing was rented. Without a question, rent it with: --on vm --max-cost 4.90" in output
    assert vms.client.vms.list().items == [] or living(vms) == []


@pytest.mark.nightly
def test_a_vm_stages_a_folder_of_the_bucket_before_its_code(run_cell, vms, tmp_path):
    current().storage.put(b"1,2\n", "vm-stage/a.csv")
    cell = f"from pathlib import Path\nprint('read', Path({str(tmp_path / 'a.csv')!r}).read_text())"
    options = f"--gpu A100 --on vm --max-cost 9 --timeout 3h --fresh --stage lk://vm-stage:{tmp_path}"
    output = run_cell(f"%%lk_run {options}\n{cell}")
    assert "Staged 1 file, 4 B" in output
    assert "read 1,2" in output
    assert living(vms) == []
