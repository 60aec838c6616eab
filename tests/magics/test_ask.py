"""Cells with ``--ask`` or the tag ``lk-ask`` start only after a person's yes."""

from __future__ import annotations

import builtins
from types import SimpleNamespace

import pytest

from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._engine import start_question
from lk_jupyter.magics._engine.start_question import TAG, require_answer


@pytest.fixture
def person(monkeypatch):
    """A person at a terminal, who answers questions in turn."""
    questions, answers = [], []

    def answer(question):
        questions.append(question)
        return answers.pop(0)

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr(start_question, "answerer", lambda _: "user")
    return SimpleNamespace(questions=questions, answers=answers)


def test_a_run_is_sent_only_after_a_yes_to_its_highest_cost(signed_in, run_cell, person):
    person.answers[:] = ["", "x = 1", "y"]
    for _ in range(2):
        assert "Nothing was sent" in run_cell("%%lk_run --fresh --ask --gpu A100 --timeout 60\nprint(6 * 7)")
    assert journal().entries() == []
    assert "42" in run_cell("%%lk_run --fresh --ask --gpu A100 --timeout 60\nprint(6 * 7)")
    assert person.questions == ["Start 1 run on gpu.a100, at most 0.0269 credits? [y/N] "] * 3


def test_several_runs_have_one_question_with_the_sum(signed_in, run_cell, person):
    person.answers[:] = ["n"]
    run_cell("%%lk_run --fresh --ask --gpu A100 --timeout 60 --sweep x=1,2\nprint(x)")
    assert person.questions == ["Start 2 runs on gpu.a100, at most 0.0539 credits? [y/N] "]
    assert journal().entries() == []


def test_a_program_that_executes_the_notebook_starts_no_such_cell(signed_in, run_cell):
    output = run_cell("%%lk_run --fresh --ask --gpu A100 --timeout 60\nprint(6 * 7)")
    assert "Not confirmed: 1 run on gpu.a100, at most 0.0269 credits. Nothing was sent." in output
    assert journal().entries() == []


def test_the_tag_of_a_cell_requires_the_answer_too():
    parent = {"metadata": {"tags": [TAG]}, "content": {"allow_stdin": False}}
    kernel = SimpleNamespace(get_parent=lambda *_: parent)
    machine = SimpleNamespace(hardware_profile="gpu.a100")
    bundle = SimpleNamespace(machine=machine, worst_case=None)
    with pytest.raises(UsageError, match="at an unknown price"):
        require_answer([bundle], SimpleNamespace(ask=False), SimpleNamespace(kernel=kernel))
    parent["metadata"]["tags"] = ["other"]
    require_answer([bundle], SimpleNamespace(ask=False), SimpleNamespace(kernel=kernel))
