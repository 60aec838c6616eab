"""Cells with ``--ask`` or the tag ``lk-ask`` start only after a person's yes."""

from __future__ import annotations

import builtins
import subprocess
import sys
from decimal import Decimal
from types import SimpleNamespace

import nbformat
import pytest

from lk_jupyter.config.approvals import approve, is_listed, use_approval, withdraw
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics import plan
from lk_jupyter.magics._engine import start_question
from lk_jupyter.magics._engine.start_question import TAG, require_answer

CELL = "%%lk_run --fresh --ask --gpu A100 --timeout 60\nprint(6 * 7)"


@pytest.fixture
def person(monkeypatch):
    """A person at a terminal, who answers questions in turn."""
    questions, answers = [], []

    def answer(question):
        questions.append(question)
        return answers.pop(0)

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr(start_question, "identify_answerer", lambda _: "user")
    monkeypatch.setattr(plan, "identify_answerer", lambda _: "user")
    return SimpleNamespace(questions=questions, answers=answers)


def test_a_run_is_sent_only_after_a_yes_to_its_highest_cost(signed_in, run_cell, person):
    person.answers[:] = ["", "x = 1", "y"]
    for _ in range(2):
        assert "Nothing was sent" in run_cell(CELL)
    assert journal().entries() == []
    assert "42" in run_cell(CELL)
    assert person.questions == ["Start 1 run on gpu.a100, at most 0.0269 credits? [y/N] "] * 3


def test_several_runs_have_one_question_with_the_sum(signed_in, run_cell, person):
    person.answers[:] = ["n"]
    run_cell("%%lk_run --fresh --ask --gpu A100 --timeout 60 --sweep x=1,2\nprint(x)")
    assert person.questions == ["Start 2 runs on gpu.a100, at most 0.0539 credits? [y/N] "]
    assert journal().entries() == []


def test_a_program_that_executes_the_notebook_starts_no_such_cell(signed_in, run_cell):
    output = run_cell(CELL)
    assert "Not confirmed: 1 run on gpu.a100, at most 0.0269 credits. Nothing was sent." in output
    assert journal().entries() == []


@pytest.fixture
def notebook(tmp_path):
    """The path of a notebook with remote cells of all kinds."""
    cells = ["x = 1", CELL, "%%lk_run --fresh --gpu A100 --timeout 60 --sweep x=1,2\nprint(x)", "%lk_vm list"]
    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    return path


def test_a_plan_prices_each_remote_cell_of_a_notebook(signed_in, run_cell, notebook):
    output = run_cell(f"%lk_plan {notebook}")
    assert "Run All costs at most 0.0808 credits. Cells with unknown cost: 1." in output
    assert journal().entries() == []


def test_an_approved_cell_starts_once_without_a_question(signed_in, shell, run_cell, notebook, person):
    person.answers[:] = ["y"]
    assert "Approved cells of book.ipynb: 2." in run_cell(f"%lk_plan {notebook}")
    person.answers[:] = ["n"] * 3
    shell.run_cell(CELL.replace("7", "8"), store_history=True)
    assert (len(person.questions), journal().entries()) == (2, [])
    shell.run_cell(f"{CELL}\n", store_history=True)
    assert (len(person.questions), len(journal().entries())) == (2, 1)
    shell.run_cell(CELL, store_history=True)
    assert (len(person.questions), len(journal().entries())) == (3, 1)


@pytest.mark.nightly
def test_papermill_and_nbconvert_start_an_approved_cell_and_refuse_a_changed_cell(
    signed_in, run_cell, notebook, person
):
    cells = list(map(nbformat.v4.new_code_cell, ["%load_ext lk_jupyter", CELL]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    person.answers[:] = ["y"]
    run_cell(f"%lk_plan {notebook} --times 2")
    copy = notebook.with_name("executed.ipynb")
    programs = [
        ["papermill", str(notebook), str(copy), "--kernel", "python3"],
        ["jupyter_core", "nbconvert", "--execute", "--to", "notebook", str(notebook), "--output", copy.name],
    ]
    for number, program in enumerate(programs, 1):
        subprocess.run([sys.executable, "-m", *program], check=True, capture_output=True)
        assert "42" in copy.read_text()
        assert len(journal().entries()) == number
    refused = subprocess.run([sys.executable, "-m", *programs[0]], check=False, capture_output=True, text=True)
    assert "approve the notebook with %lk_plan" in refused.stdout + refused.stderr + copy.read_text()
    assert len(journal().entries()) == 2


def test_an_approval_counts_for_its_account_cost_and_number_of_executions(home):
    approve("server", "org", {"digest": Decimal("0.5")}, 2)
    assert not use_approval("server", "org", "digest", Decimal("0.51"))
    assert not use_approval("server", "other", "digest", Decimal("0.5"))
    assert not use_approval("server", "org", "other", Decimal("0.5"))
    assert [use_approval("server", "org", "digest", Decimal("0.5")) for _ in range(3)] == [True, True, False]
    approve("server", "org", {"digest": Decimal("0.5")}, 2)
    assert (withdraw(["digest", "other"]), is_listed("digest")) == (1, False)


def test_the_tag_of_a_cell_requires_the_answer_too():
    parent = {"metadata": {"tags": [TAG]}, "content": {"allow_stdin": False}}
    kernel = SimpleNamespace(get_parent=lambda *_: parent)
    machine = SimpleNamespace(hardware_profile="gpu.a100")
    bundle = SimpleNamespace(machine=machine, worst_case=None)
    with pytest.raises(UsageError, match="at an unknown price"):
        require_answer([bundle], SimpleNamespace(ask=False), SimpleNamespace(kernel=kernel))
    parent["metadata"]["tags"] = ["other"]
    require_answer([bundle], SimpleNamespace(ask=False), SimpleNamespace(kernel=kernel))
