"""Permission to start the machine of a kernel: what is shown, and which answer counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal

import pytest

from lk_jupyter.config import settings
from lk_jupyter.errors import UsageError
from lk_jupyter.machines import start_approval
from lk_jupyter.machines.start_approval import StartPlan, StartQuestions, require_approval

PLAN = StartPlan("A100", "gpu.a100", Decimal("1.59"), Decimal(5), Decimal("0.265"), "at most 0.2650 credits", 20)
UNPRICED = StartPlan("cpu", "cpu", None, None, None, "price unknown, 600 s at most", 20)


@pytest.fixture
def asked(monkeypatch):
    """The questions of a Jupyter server, whose pages may take a moment."""
    questions = StartQuestions()
    questions.expect_pages()
    monkeypatch.setattr(start_approval, "start_questions", questions)
    monkeypatch.setattr(start_approval, "PAGE_SECONDS", 0.1)
    monkeypatch.setattr(start_approval, "ANSWER_SECONDS", 0.1)
    return questions


def refusal_of(plan):
    with pytest.raises(UsageError) as refused:
        asyncio.run(require_approval(plan))
    return str(refused.value)


@pytest.mark.usefixtures("home")
def test_a_server_without_a_page_starts_what_its_setting_allows_and_nothing_else(asked, monkeypatch):
    assert "no page of JupyterLab or Notebook can show the question" in refusal_of(PLAN)
    monkeypatch.setenv("LK_APPROVED_KERNELS", PLAN.approval)
    asyncio.run(require_approval(PLAN))


@pytest.mark.usefixtures("home")
def test_the_setting_does_not_answer_for_the_user_of_a_page(asked, monkeypatch):
    monkeypatch.setenv("LK_APPROVED_KERNELS", PLAN.approval)
    shown = []
    asked.connect(shown.append)
    assert "had no answer within" in refusal_of(PLAN)
    assert [len(questions) for questions in shown] == [0, 1, 0]


FORK = """
import os
from lk_jupyter.machines.start_approval import start_questions
start_questions.expect_pages()
if child := os.fork():
    os.wait()  # both write to one pipe
print(bool(child), start_questions.is_served, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no fork")
def test_a_fork_of_a_server_such_as_a_schedule_has_no_pages():
    shown = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True).stdout
    assert shown == "False False\nTrue True\n"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("approval", "plan", "is_approved"),
    [
        ("gpu.a100=5@1.59", PLAN, True),
        ("cpu=unknown, gpu.a100=0.265@2", PLAN, True),
        ("gpu.a100=0.26@1.59", PLAN, False),
        ("gpu.a100=5@1.58", PLAN, False),
        ("gpu.h100=5@1.59", PLAN, False),
        ("gpu.a100=unknown", PLAN, False),
        ("cpu=unknown", UNPRICED, True),
        ("cpu=5@1", UNPRICED, False),
        ("", UNPRICED, False),
    ],
)
def test_the_setting_allows_a_machine_up_to_a_cost_and_a_price(monkeypatch, approval, plan, is_approved):
    monkeypatch.setenv("LK_APPROVED_KERNELS", approval)
    assert plan.is_approved is is_approved


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("text", ["gpu.a100", "gpu.a100=5", "gpu.a100=5@", "gpu.a100=-1@1", "=5@1", "*=5@1", "a=nan@1"])
def test_a_value_of_another_form_is_refused(text):
    with pytest.raises(UsageError, match="approved_kernels takes MACHINE=CREDITS@PRICE, such as"):
        settings.save("approved_kernels", text)


@pytest.mark.usefixtures("home")
def test_the_setting_is_kept_where_only_its_user_can_read_it():
    settings.save("approved_kernels", UNPRICED.approval)
    assert settings.config_file().stat().st_mode & 0o777 == 0o600
    assert UNPRICED.is_approved


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/analysis.ipynb", "analysis.ipynb"),
        ("C:\\me\\analysis.ipynb", "analysis.ipynb"),
        ("/x/free\n\x1b[2Jkernel\u202e\u061c.ipynb", "free[2Jkernel.ipynb"),
        ("/x/" + "a" * 500, "a" * 79 + "…"),
    ],
)
def test_the_name_of_a_notebook_adds_no_words_to_the_question(path, name):
    plan = StartPlan("A100", "gpu.a100", Decimal("1.59"), None, None, "at most 5.00 credits", 20, path)
    assert plan.question == f"Start A100 for '{name}'? 1.59 credits/h, at most 5.00 credits."
