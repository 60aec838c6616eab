"""Count the tokens of a text for the built-in models, which have no vocabulary.

A token is a run of up to eight letters and digits, or a single other character, with the blanks before. A message
counts the text and three more tokens, for role and frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lk_jupyter.api.serverless import ChatMessage, EmbeddingInput

FRAME_TOKENS = 3

_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")


def split(text: str) -> list[str]:
    """Split a text into tokens; the joined tokens are the text again."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """Return the number of tokens of a text."""
    return sum(1 for _ in _TOKEN.finditer(text))


def count_input(text: EmbeddingInput) -> int:
    """Return the number of tokens of the input of a vector."""
    return count(text) if isinstance(text, str) else len(text)


def count_messages(messages: Iterable[ChatMessage]) -> int:
    """Return the number of tokens of a conversation."""
    return sum(FRAME_TOKENS + count(message_text(message)) for message in messages)


def message_text(message: ChatMessage) -> str:
    """Return the text of a message."""
    return "".join(_iterate_texts(message))


def _iterate_texts(message: ChatMessage) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
    elif message.content:
        yield from (part.text or "" for part in message.content)
