"""Show an answer: its text grows in an output, and a line below shows progress and cost.

A terminal can't update an output. It prints each line of the answer when it is complete. A front end without display
updates gets the complete answer and the line that closes it.
"""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.inference.chat_target import Answerer
from lk_jupyter.inference.conversation import ChatReply
from lk_jupyter.magics._output.live import LiveOutput, StatusLine, has_kernel
from lk_jupyter.text.secrets import LineRedactor, redact
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import credits_label, duration_label
from lk_jupyter.views.markdown import render_markdown

#: Seconds between two updates of an answer, and the characters that add a second to this pause: each update sends the
#: entire answer, and Jupyter drops more than a megabyte per second.
PACE = 0.2
LETTERS = 200_000

#: Seconds between two updates of the waiting line.
_LOOK = 1.0

METADATA_KEY = "lk_jupyter"


class ChatMarkdown:
    """An answer rendered from Markdown, with the reasoning folded above; plain text is the fallback."""

    def __init__(self, answer: ChatReply, *, open_: bool = False) -> None:
        self.text = plain(answer.text)
        self.reasoning = plain(answer.reasoning).strip()
        self._open = " open" if open_ else ""

    def __str__(self) -> str:
        return f"[reasoning]\n{self.reasoning}\n[answer]\n{self.text}" if self.reasoning else self.text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if not str(self):
            return {"text/plain": "", "text/html": ""}
        return {"text/plain": str(self), "text/html": self._render_reasoning() + render_markdown(redact(self.text))}

    def _render_reasoning(self) -> str:
        if not self.reasoning:
            return ""
        summary = f"<summary>Reasoning, {len(self.reasoning.split()):,} words</summary>"
        reasoning = render_markdown(redact(self.reasoning))
        return f"<details{self._open}>{summary}<blockquote>{reasoning}</blockquote></details>"


class ChatView:
    """The outputs of a question: the answer and the status line."""

    def __init__(self, shell: InteractiveShell, who: Answerer) -> None:
        self._who = who
        self._prints = not has_kernel(shell)
        self._answer = LiveOutput(shell, PACE)
        self._line = LiveOutput(shell)
        self._printed = Printed()
        self._looked = -math.inf

    def begin(self) -> None:
        """Make the outputs, so that the line is below the answer."""
        if not self._prints:
            self._answer.show(ChatMarkdown(ChatReply(self._who.name)), now=True, passing=True)
            self._line.show(StatusLine("waiting", [f"for {self._who.label}"]), now=True, passing=True)

    def show(self, answer: ChatReply) -> None:
        """Show the text of an answer so far."""
        if self._prints:
            self._printed.show(answer.text)
        elif answer.first is None:
            self._show_wait_reason(answer)
        else:
            self._answer.pace = max(PACE, (len(answer.text) + len(answer.reasoning)) / LETTERS)
            self._answer.show(ChatMarkdown(answer, open_=not answer.text))
            doing = "answering" if answer.text else "reasoning"
            self._line.show(StatusLine(doing, [self._who.label, duration_label(answer.seconds)]))

    def _show_wait_reason(self, answer: ChatReply) -> None:
        """Show the reason of a wait, which may need a request to the server."""
        if time.monotonic() - self._looked >= _LOOK:
            state = self._who.waiting()
            line = StatusLine(state, [f"for {self._who.label}", duration_label(answer.seconds)])
            self._line.show(line, now=not self._prints and state != "waiting", passing=True)
            self._looked = time.monotonic()

    def end(self, answer: ChatReply, state: str) -> None:
        """Show the final answer and the receipt."""
        if self._prints:
            self._printed.end(answer.text)
        else:
            self._answer.show(ChatMarkdown(answer), now=True)
        self._line.show(receipt(answer, self._who.label, state), now=True)


class Printed:
    """Text that is printed line by line, without secrets."""

    def __init__(self) -> None:
        self._redactor = LineRedactor()
        self._at = 0

    def show(self, text: str) -> None:
        """Print the complete lines of a growing text."""
        end = text.rfind("\n") + 1
        if end > self._at:
            self._print_redacted(text[self._at : end - 1])
            self._at = end

    def end(self, text: str) -> None:
        """Print the rest."""
        self.show(text)
        if text[self._at :]:
            self._print_redacted(text[self._at :])

    def _print_redacted(self, text: str) -> None:
        print("\n".join(self._redactor.lines(plain(text).split("\n"))), flush=True)  # noqa: T201 (the answer itself)


def receipt(answer: ChatReply, label: str, state: str) -> StatusLine:
    """Return the receipt of an answer: tokens, speed, time, cost; the metadata has the same figures for programs."""
    line = StatusLine(state, [label, *_list_answer_facts(answer)], _format_length_notice(answer))
    line.mark = {"answered": "✓", "failed": "✗"}.get(state, "■")
    usage = answer.usage.model_dump(exclude_none=True) if answer.usage else None
    cost = None if answer.cost is None else f"{answer.cost:f}"
    line.metadata = {METADATA_KEY: {"model": answer.model, "usage": usage, "cost": cost, "state": state}}
    return line


def _list_answer_facts(answer: ChatReply) -> list[str]:
    speed, usage = answer.tokens_per_second, answer.usage
    return [
        f"{usage.prompt_tokens or 0:,} + {usage.completion_tokens or 0:,} tokens" if usage else "tokens unknown",
        f"{speed:,.0f} tokens/s" if speed else "",
        duration_label(answer.seconds),
        _format_cost(answer.cost),
    ]


def _format_cost(cost: Decimal | None) -> str:
    return "cost unknown" if cost is None else credits_label(cost) if cost else "no cost beyond the price of the GPUs"


def _format_length_notice(answer: ChatReply) -> str:
    if answer.finish_reason == "length":
        reason = "" if answer.text else "Reasoning used all tokens. "
        return f"The answer reached its maximum length. {reason}Allow more: --max-tokens"
    return ""
