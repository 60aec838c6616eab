"""Chat with a model: the conversation so far, and the streamed answer."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lk_jupyter.api.serverless import (
    ChatCompletionChunk,
    ChatCompletionParameters,
    ChatMessage,
    StreamOptions,
    Usage,
)
from lk_jupyter.errors import BadRequest, LkError, UsageError
from lk_jupyter.inference.chat_target import Answerer, Pieces
from lk_jupyter.inference.prompt import Content

_TOO_LONG = re.compile(r"context|too long|too many tokens|maximum.{0,40}tokens", re.IGNORECASE)

#: Seconds below which an answer is too fast for a speed measurement.
_TOO_FAST = 0.05


@dataclass
class ChatReply:
    """The answer of a model so far; ``str()`` returns the text.

    ``usage`` has the token counts once the answer is complete, ``cost`` the price in credits, None if unknown.
    ``seconds`` is the duration of the answer, ``tokens_per_second`` the speed after the first piece.
    """

    model: str
    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None
    cost: Decimal | None = None
    start_time: float = field(default_factory=time.monotonic, repr=False)
    first: float | None = field(default=None, repr=False)
    last: float | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text

    def take(self, piece: ChatCompletionChunk, moment: float) -> None:
        """Add a piece that arrived at this moment of the monotonic clock."""
        self.last = moment
        self.usage = piece.usage or self.usage
        for choice in (choice for choice in piece.choices if not choice.index):
            answer, thought = choice.delta.content or "", choice.delta.reasoning_content or choice.delta.reasoning or ""
            self.text += answer
            self.reasoning += thought
            self.finish_reason = choice.finish_reason or self.finish_reason
            if self.first is None and (answer or thought):
                self.first = self.last

    @property
    def seconds(self) -> float:
        """Seconds from the question to the last piece, or until now while none came."""
        return (self.last or time.monotonic()) - self.start_time

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the answer by the time from its first piece to its last.

        None while the count is unknown, and for an answer that is too fast to measure.
        """
        counted = self.usage.completion_tokens if self.usage else None
        if not counted or self.first is None or self.last is None or self.last - self.first < _TOO_FAST:
            return None
        return counted / (self.last - self.first)


@dataclass
class Talk:
    """The conversation of a notebook: alternating questions and answers, and the instructions before."""

    messages: list[ChatMessage] = field(default_factory=list)
    system: str | None = None
    model: str | None = None

    def parameters_for(self, content: Content, **parameters: Any) -> ChatCompletionParameters:
        """Return the request for a question that continues the conversation."""
        system = [ChatMessage(role="system", content=self.system)] if self.system else []
        messages = [*system, *self.messages, ChatMessage(role="user", content=content)]
        options = {name: value for name, value in parameters.items() if value is not None}
        return ChatCompletionParameters(messages=messages, stream_options=StreamOptions(include_usage=True), **options)

    def keep(self, content: Content, answer: ChatReply) -> None:
        """Store a question and its answer."""
        self.messages += [
            ChatMessage(role="user", content=content),
            ChatMessage(role="assistant", content=answer.text),
        ]

    def forget(self) -> None:
        """Delete the conversation, to start again."""
        self.messages.clear()
        self.system = None


#: A piece, and its arrival on the monotonic clock.
_Arrival = tuple[ChatCompletionChunk, float]


class Coming:
    """An answer that a thread reads, so that the reader can look around meanwhile."""

    def __init__(self, who: Answerer, request: ChatCompletionParameters) -> None:
        self.who = who
        self.answer = ChatReply(who.name)
        self.problem: Exception | None = None
        self._pieces: Pieces = who.ask(request)
        self._queue: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_pieces, name="lk_jupyter answer", daemon=True).start()

    def steps(self, pace: float) -> Iterator[ChatReply]:
        """Yield the growing answer, after a piece or after ``pace`` seconds without a piece.

        Raises the error of the stream; the text so far is in ``answer``.
        """
        while True:
            pieces = self._take_pieces(pace)
            for arrival in filter(None, pieces):
                self.answer.take(*arrival)
            if None in pieces:
                break
            yield self.answer
        if self.problem:
            raise explain_error(self.problem)
        self.answer.cost = self.who.cost(self.answer.usage)

    def close(self) -> None:
        """End the stream; the text so far stays."""
        self._pieces.close()

    def _read_pieces(self) -> None:
        try:
            for piece in self._pieces:
                self._queue.put((piece, time.monotonic()))
        except Exception as problem:  # noqa: BLE001 (raised where the answer is waited for)
            self.problem = problem
        finally:
            self._queue.put(None)

    def _take_pieces(self, pace: float) -> list[_Arrival | None]:
        """Return the pieces so far; wait at most ``pace`` seconds for the first piece."""
        pieces: list[_Arrival | None] = []
        with suppress(queue.Empty):
            pieces.append(self._queue.get(timeout=pace))
            while pieces[-1] is not None:
                pieces.append(self._queue.get_nowait())
        return pieces


def explain_error(problem: Exception) -> Exception:
    """Return an error with the fix, if the server's message describes the cause."""
    if isinstance(problem, BadRequest) and _TOO_LONG.search(problem.detail):
        return UsageError(
            f"The prompt is too long: {problem.detail.rstrip('.')}.\nShorten it, start a new conversation with "
            "--new, or use a model with a longer context: %lk_models"
        )
    return problem if isinstance(problem, LkError) else LkError(f"Can't read the answer: {problem!r}")
