"""Permission to start the machine of a kernel: an open notebook chooses a kernel, whoever wrote the notebook.

A page of JupyterLab or Notebook shows the question, a terminal shows it too. Elsewhere the setting ``approved_kernels``
of this machine decides. Nothing in a notebook does.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from typing import Any, Literal

from lk_jupyter.config.settings import approvals_in, setting
from lk_jupyter.errors import UsageError
from lk_jupyter.text.terminal import plain, shorten_text

#: Seconds to wait for an answer, and for a page that can show the question: a loading page connects late.
ANSWER_SECONDS, PAGE_SECONDS = 120.0, 15.0
_PAGE_PACE = 0.05
_MOST_NAME = 80

Answer = Literal["start", "cancel", "replaced", "no answer", "nobody"]

#: A page gets all questions that wait, each time they change.
Page = Callable[[list[dict[str, Any]]], None]

_REASONS: dict[Answer, str] = {
    "cancel": "Cancel was clicked",
    "replaced": "the same notebook was started again",
    "no answer": f"the question had no answer within {ANSWER_SECONDS:g} s",
    "nobody": "no page of JupyterLab or Notebook can show the question",
}


@dataclass(frozen=True)
class StartPlan:
    """A start that needs permission.

    ``name`` is the name of the card, ``price_per_hour``, ``max_cost`` and ``highest_cost`` are in credits (None:
    unknown), ``cost_label`` is the highest cost with limits, ``notebook`` the path or empty.
    """

    name: str
    machine: str
    price_per_hour: Decimal | None
    max_cost: Decimal | None
    highest_cost: Decimal | None
    cost_label: str
    idle_minutes: float
    notebook: str = ""

    @property
    def notebook_name(self) -> str:
        """Return a short file name without line breaks or reversed text: another person may have written it."""
        name = re.split(r"[/\\]", self.notebook)[-1]
        return shorten_text("".join(filter(str.isprintable, name)), _MOST_NAME)

    @property
    def question(self) -> str:
        """Return the question as a terminal shows it."""
        notebook = f" for '{self.notebook_name}'" if self.notebook else ""
        price = "" if self.price_per_hour is None else f"{self.price_per_hour.normalize():f} credits/h, "
        return f"Start {self.name}{notebook}? {price}{self.cost_label}."

    @property
    def approval(self) -> str:
        """Return the value of the setting ``approved_kernels`` that allows this start."""
        cost = self.max_cost or self.highest_cost
        if cost is None or self.price_per_hour is None:
            return f"{self.machine}=unknown"
        return f"{self.machine}={_round_up(cost)}@{self.price_per_hour.normalize():f}"

    @property
    def is_approved(self) -> bool:
        """Return whether the setting allows the start: this machine, up to this cost and price."""
        approvals = approvals_in(setting("approved_kernels") or "")
        if self.machine not in approvals:
            return False
        limits = approvals[self.machine]
        if limits is None or self.highest_cost is None or self.price_per_hour is None:
            return limits is None and self.price_per_hour is None
        return self.highest_cost <= limits[0] and self.price_per_hour <= limits[1]


def _round_up(amount: Decimal) -> str:
    """Return an amount in credits with at most six decimals, never below the amount."""
    return f"{amount.quantize(Decimal('0.000001'), ROUND_UP).normalize():f}"


@dataclass(frozen=True)
class _Question:
    plan: StartPlan
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    answer: Future[Answer] = field(default_factory=Future)

    @property
    def content(self) -> dict[str, Any]:
        """Return the question as a page receives it."""
        plan = self.plan
        amounts = {name: getattr(plan, name) for name in ("price_per_hour", "highest_cost")}
        texts = {name: None if amount is None else _round_up(amount) for name, amount in amounts.items()}
        facts = {"name": plan.name, "machine": plan.machine, "idle_minutes": plan.idle_minutes}
        return {"id": self.id, "notebook": plan.notebook_name, **facts, **texts}


class StartQuestions:
    """The pending questions of this process, and the pages that show the questions."""

    def __init__(self) -> None:
        self._server = 0
        self._waiting: dict[str, _Question] = {}
        self._pages: list[Page] = []

    @property
    def is_served(self) -> bool:
        """Return whether pages connect to this process; none do to a fork of the Jupyter server, such as a schedule."""
        return self._server == os.getpid()

    def expect_pages(self) -> None:
        """Expect pages: this process is a Jupyter server with our extension."""
        self._server = os.getpid()

    def connect(self, page: Page) -> None:
        """Show the questions on a page from now on."""
        self._pages.append(page)
        page(self._question_rows())

    def disconnect(self, page: Page) -> None:
        """Forget a page that was closed."""
        if page in self._pages:
            self._pages.remove(page)

    def answer(self, question_id: str, *, start: bool) -> None:
        """Give the answer of a user; an unknown question was answered before."""
        if question := self._waiting.get(question_id):
            _settle_question(question, "start" if start else "cancel")

    async def ask(self, plan: StartPlan) -> Answer:
        """Show a question and return the answer. Replace the question of an earlier start of the same notebook."""
        for earlier in self._waiting.values():
            if plan.notebook and earlier.plan.notebook == plan.notebook:
                _settle_question(earlier, "replaced")
        question = _Question(plan)
        self._waiting[question.id] = question
        self._publish_questions()
        try:
            await self._await_page(question)
            if not self._pages and not question.answer.done():
                return "nobody"
            return await asyncio.wait_for(asyncio.wrap_future(question.answer), ANSWER_SECONDS)
        except asyncio.TimeoutError:
            return "no answer"
        finally:
            del self._waiting[question.id]
            self._publish_questions()

    async def _await_page(self, question: _Question) -> None:
        deadline = time.monotonic() + PAGE_SECONDS
        while (  # noqa: ASYNC110 (a page may connect in another loop)
            not self._pages and not question.answer.done() and time.monotonic() < deadline
        ):
            await asyncio.sleep(_PAGE_PACE)

    def _publish_questions(self) -> None:
        for page in list(self._pages):
            page(self._question_rows())

    def _question_rows(self) -> list[dict[str, Any]]:
        return [question.content for question in self._waiting.values()]


#: The questions of this process.
start_questions = StartQuestions()


async def require_approval(plan: StartPlan) -> None:
    """Return when this start is allowed. Raises UsageError for a refused start; nothing was started then."""
    if start_questions.is_served:
        answer = await start_questions.ask(plan)
    else:
        answer = "nobody" if plan.is_approved else await asyncio.to_thread(_ask_terminal, plan)
    if answer != "start" and not (answer == "nobody" and plan.is_approved):
        raise UsageError(_refusal(plan, answer))


def _refusal(plan: StartPlan, answer: Answer) -> str:
    words = f"{plan.name} wasn't started: {_REASONS[answer]}. No machine was started, and nothing is billed."
    if answer != "nobody":
        return f"{words} To see the question again, restart the kernel."
    if approved := setting("approved_kernels"):
        words += f" The setting approved_kernels allows '{approved}' only."
    return (
        f"{words} Allow it on this machine: %lk_config approved_kernels {plan.approval} "
        f"(in a shell: export LK_APPROVED_KERNELS={plan.approval})"
    )


def _ask_terminal(plan: StartPlan) -> Answer:
    """Ask the user of a terminal, if this process has one."""
    if sys.platform == "win32" or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return "nobody"
    import select  # noqa: PLC0415 (terminals only; Windows can't wait for one)

    sys.stderr.write(plain(f"{plan.question} [y/N] "))
    sys.stderr.flush()
    if not select.select([sys.stdin], [], [], ANSWER_SECONDS)[0]:
        return "no answer"
    return "start" if sys.stdin.readline().strip().lower() in {"y", "yes"} else "cancel"


def _settle_question(question: _Question, answer: Answer) -> None:
    if not question.answer.done():
        question.answer.set_result(answer)
