"""Chat with a model in a widget: questions, streamed answers, and their cost."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from html import escape
from typing import Any

from traitlets import Bool, List, Unicode

from lk_jupyter.errors import UsageError
from lk_jupyter.inference.catalogue import read_catalogue
from lk_jupyter.inference.chat_target import find_answerer
from lk_jupyter.inference.conversation import ChatReply, Coming, Talk
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.session import current
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import credits_label, duration_label
from lk_jupyter.views.markdown import render_markdown
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets._view import View, user_action

#: Seconds between two updates of an answer that comes.
_PACE = 0.15

#: Letters of a conversation that add a second to the pause between updates: each update sends the entire conversation.
_LETTERS = 400_000


class Chat(View):
    """A conversation with a model: ask, stream the answer, stop it, continue, start over.

    Args:
        model: Model, or the first characters of a deployment's id. Default: the setting ``model``.
        system: Instructions for the model. Default: none.

    Cost: tokens of prompt and answer.

    Example:
        >>> from lk_jupyter.widgets import Chat
        >>> chat = Chat("local/echo")
        >>> chat.load()
        >>> chat.ask("hello")
        >>> chat.messages[0]
        {'role': 'user', 'content': 'hello'}
        >>> chat.stop()
        >>> chat.clear()
        >>> chat.messages
        []
    """

    component = "chat"

    model = Unicode(help="the model or deployment that answers").tag(sync=True)
    models: List[Any] = List(help="the models that can be chosen").tag(sync=True)
    turns: List[Any] = List(help="author, text, HTML of the text, reasoning and facts of each turn").tag(sync=True)
    answering = Bool(help="whether an answer is being received").tag(sync=True)
    spent = Unicode(help="cost of the conversation so far").tag(sync=True)

    def __init__(self, model: str = "", *, system: str | None = None) -> None:
        super().__init__(model=model)
        self._talk = Talk(system=system)
        self._coming: Coming | None = None
        self._one = threading.Lock()
        self._cost = Decimal(0)
        self._is_counted = True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation in the form of the API: a list of dicts with ``role`` and ``content``."""
        return [message.model_dump(exclude_none=True) for message in self._talk.messages]

    def load(self) -> None:
        """Read the list of models."""
        self.models = [offer.id for offer in read_catalogue(current(start=False)) if offer.kind == "chat"]
        self.model = self.model or next(iter(self.models), "")

    @user_action
    def ask(self, text: str) -> None:
        """Send a question, and stream the answer.

        Args:
            text: The question.

        Raises:
            UsageError: The text is empty, or another answer is not complete yet.

        Cost: tokens of prompt and answer.
        """
        if not text.strip():
            raise UsageError("Type a question first.")
        permit_text(text, "The question")
        if not self._one.acquire(blocking=False):
            raise UsageError("An answer is still coming. Stop it first, or wait until it ends.")
        try:
            self.say("")
            self._send_question(text)
        finally:
            self.answering = False
            self._one.release()

    @user_action
    def stop(self) -> None:
        """Stop the answer; the text so far is kept."""
        if self._coming:
            self._coming.close()

    @user_action
    def clear(self) -> None:
        """Start over with an empty conversation."""
        self.stop()
        self._talk.messages.clear()
        self.turns, self.spent = [], ""
        self._cost, self._is_counted = Decimal(0), True

    def picture(self) -> StaticView:
        """Show the conversation."""
        lines = [f"{_speaker_name(turn)}: {turn['text']}" for turn in self.turns]
        title = f"Chat with {self.model}"
        body = "".join(_draw_turn(turn) for turn in self.turns)
        note = f"<p>{escape(self.spent)}</p>" if self.spent else ""
        html = f"<div><strong>{escape(title)}</strong>{body}{note}</div>"
        return StaticView("\n".join(filter(None, [title, *lines, self.spent])), html)

    def _send_question(self, text: str) -> None:
        who = find_answerer(current(), self.model)
        self.turns = [*self.turns, _turn_row("you", text), _turn_row(who.label, "", facts="waiting")]
        self.answering = True
        coming = self._coming = Coming(who, self._talk.parameters_for(text))
        try:
            for answer in coming.steps(_PACE):
                waits = who.waiting() if answer.first is None else ""
                self._show_answer(who.label, answer, waits or duration_label(answer.seconds))
                time.sleep(_PACE + self._conversation_size() / _LETTERS)
        finally:
            coming.close()
            self._show_answer(who.label, coming.answer, _answer_facts(coming.answer))
            if coming.answer.text:
                self._talk.keep(text, coming.answer)
            self._add_cost(coming.answer.cost)

    def _conversation_size(self) -> int:
        return sum(len(turn["text"]) + len(turn["reasoning"]) for turn in self.turns)

    def _show_answer(self, label: str, answer: ChatReply, facts: str) -> None:
        self.turns = [*self.turns[:-1], _turn_row(label, answer.text, answer.reasoning, facts)]

    def _add_cost(self, cost: Decimal | None) -> None:
        """Count the cost of an answer; an answer that was stopped, or whose model has no price, has none."""
        self._cost += cost or 0
        self._is_counted = self._is_counted and cost is not None
        rest = "" if self._is_counted else ", plus uncounted usage"
        self.spent = f"Cost so far: {credits_label(self._cost)}{rest}"


def _turn_row(who: str, text: str, reasoning: str = "", facts: str = "") -> dict[str, str]:
    redacted = redact(text)
    html = render_markdown(redacted) if who != "you" and redacted else ""
    return {"who": who, "text": redacted, "html": html, "reasoning": redact(reasoning.strip()), "facts": facts}


def _answer_facts(answer: ChatReply) -> str:
    usage, speed = answer.usage, answer.tokens_per_second
    counted = f"{usage.prompt_tokens or 0:,} + {usage.completion_tokens or 0:,} tokens" if usage else "incomplete"
    cost = credits_label(answer.cost) if answer.cost else ""
    fast = f"{speed:,.0f} tokens/s" if speed else ""
    return " · ".join(filter(None, [counted, fast, duration_label(answer.seconds), cost]))


def _speaker_name(turn: dict[str, str]) -> str:
    return "You" if turn["who"] == "you" else turn["who"]


def _draw_turn(turn: dict[str, str]) -> str:
    facts = f"<small>{escape(turn['facts'])}</small>" if turn["facts"] else ""
    text = turn["html"] or f'<pre style="white-space:pre-wrap;background:transparent">{escape(turn["text"])}</pre>'
    return f"<p><strong>{escape(_speaker_name(turn))}</strong> {facts}</p>{text}"
