"""The two models of this cloud: an echo of the prompt, and a hash of words to a vector.

With these models, people can try programs without a GPU and without an external bill. Both models state their name, and
give the same answer to the same request.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import uuid4

from lk_jupyter.api.serverless import ChatCompletionParameters, EmbeddingInput
from lk_jupyter.localcloud.models import tokens
from lk_jupyter.localcloud.models.envelope import Refusal

ECHO = "local/echo"
HASH_EMBEDDING = "local/hash-embedding"

#: A model whose deployment always fails, to demonstrate a failure.
BROKEN = "local/broken"

#: The roles of a message in the API description; an upstream supports further roles.
_ROLES = ("system", "user", "assistant", "tool")

DIMENSIONS = 512

#: Maximum tokens of a prompt for the chat model.
CONTEXT = 131_072

MOST_CHOICES = 16
MOST_DIMENSIONS = 4096
MOST_INPUTS = 2048

#: Elements of a vector that a word changes.
_PLACES = 8

_OPENINGS = ("You said:", "You wrote:", "Here it is again:", "Word for word:")
_FORMATS = ("text", "json_object")

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer: tokens, reason of the end, and the stop word, if any."""

    tokens: list[str]
    finish_reason: str
    stop_reason: str | None = None


class Echo:
    """The chat model: a sentence about this model, and the last message of the user."""

    async def complete(self, model: str, request: ChatCompletionParameters) -> Json:
        """Return the complete answer."""
        replies = _build_replies(request)
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(reply.tokens)},
                "finish_reason": reply.finish_reason,
                "stop_reason": reply.stop_reason,
            }
            for index, reply in enumerate(replies)
        ]
        return {**_build_head(model, "chat.completion"), "choices": choices, "usage": _count_usage(request, replies)}

    async def stream(self, model: str, request: ChatCompletionParameters) -> AsyncIterator[Json]:
        """Yield the completion token by token, and the token counts last."""
        replies = _build_replies(request)
        head = _build_head(model, "chat.completion.chunk")
        for index, reply in enumerate(replies):
            for place, token in enumerate(reply.tokens):
                delta = {"content": token} if place else {"role": "assistant", "content": token}
                yield {**head, "choices": [_build_choice_delta(index, delta)]}
                await asyncio.sleep(0)  # let other tasks run, and notice a client that hangs up
            yield {
                **head,
                "choices": [_build_choice_delta(index, {}, reply.finish_reason) | {"stop_reason": reply.stop_reason}],
            }
        yield {**head, "choices": [], "usage": _count_usage(request, replies)}

    async def embed(self, model: str, inputs: list[EmbeddingInput], options: Json) -> Json:
        """Return the vectors of some inputs, in the order of the inputs."""
        dimensions = _read_integer(options, "dimensions", DIMENSIONS, MOST_DIMENSIONS)
        if len(inputs) > MOST_INPUTS:
            raise Refusal(400, f"A request has at most {MOST_INPUTS} texts, not {len(inputs)}", "input")
        rows = [
            {"object": "embedding", "index": index, "embedding": compute_vector(text, dimensions)}
            for index, text in enumerate(inputs)
        ]
        counted = sum(map(tokens.count_input, inputs))
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        return {"object": "list", "model": model, "data": rows, "usage": usage}


def compute_vector(text: EmbeddingInput, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the direction of a text, of length 1: the hash of each word selects the elements that the word changes.

    Texts that share words point in similar directions. A text without words has a direction too. The id of a token
    counts as a word, because this model has no vocabulary.
    """
    sums = [0.0] * dimensions
    words = [token.strip().lower() for token in tokens.split(text)] if isinstance(text, str) else map(repr, text)
    for word, times in Counter(words).items():
        for number in struct.unpack(f">{_PLACES}I", blake2b(word.encode(), digest_size=4 * _PLACES).digest()):
            sums[(number >> 1) % dimensions] += times if number & 1 else -times
    length = math.hypot(*sums)
    return [x / length for x in sums] if length else [1.0, *sums[1:]]


def _build_replies(request: ChatCompletionParameters) -> list[Reply]:
    _check_request(request)
    extra = request.model_extra or {}
    choices = _read_integer(extra, "n", 1, MOST_CHOICES)
    return [_cut_at_limits(_compose_text(request, index), request) for index in range(choices)]


def _check_request(request: ChatCompletionParameters) -> None:
    """Refuse requests that this model can't answer."""
    for message in request.messages:
        if message.role not in _ROLES:
            raise Refusal(400, f"{ECHO} has no role {message.role!r}: use {', '.join(_ROLES)}", "messages")
        if isinstance(message.content, list) and (kinds := {part.type for part in message.content} - {"text"}):
            raise Refusal(400, f"{ECHO} reads text only, no {' and no '.join(sorted(kinds))}", "messages")
    if (prompt := tokens.count_messages(request.messages)) > CONTEXT:
        raise Refusal(400, f"The context of {ECHO} is {CONTEXT} tokens, and the prompt has {prompt}", "messages")
    if (extra := request.model_extra or {}).get("logprobs") or extra.get("top_logprobs"):
        raise Refusal(400, f"{ECHO} computes no logprobs: leave logprobs out", "logprobs")
    if request.tool_choice == "required" or isinstance(request.tool_choice, dict):
        raise Refusal(400, f"{ECHO} calls no tools", "tool_choice")
    if (kind := (request.response_format or {}).get("type", "text")) not in _FORMATS:
        raise Refusal(400, f"{ECHO} answers as {' or '.join(_FORMATS)}, not as {kind!r}", "response_format")


def _compose_text(request: ChatCompletionParameters, index: int) -> str:
    question = next((tokens.message_text(m) for m in reversed(request.messages) if m.role == "user"), "")
    if request.response_format and request.response_format.get("type") == "json_object":
        return json.dumps({"model": ECHO, "is_a_stand_in": True, "echo": question}, ensure_ascii=False)
    opening = _OPENINGS[((request.seed or 0) + index) % len(_OPENINGS)]
    return f"I am {ECHO}, a stand-in that repeats. {opening} {question}".rstrip()


def _cut_at_limits(text: str, request: ChatCompletionParameters) -> Reply:
    """End a text before its first stop word, and at the token budget."""
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    ends = [(place, stop) for stop in stops if stop and (place := text.find(stop)) >= 0]
    end, stop = min(ends, default=(len(text), None))
    pieces = tokens.split(text[:end])
    budget = _read_token_budget(request)
    if budget is not None and len(pieces) > budget:
        return Reply(pieces[:budget], "length")
    return Reply(pieces, "stop", stop)


def _read_token_budget(request: ChatCompletionParameters) -> int | None:
    """Return the token budget; newer clients use another field."""
    extra = request.model_extra or {}
    if request.max_tokens is None and extra.get("max_completion_tokens") is not None:
        return _read_integer(extra, "max_completion_tokens", 1, 65_536)
    return request.max_tokens


def _read_integer(fields: Json, name: str, default: int, most: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refusal(400, f"{name}: give a whole number from 1 to {most}", name)
    return value


def _build_head(model: str, kind: str) -> Json:
    return {"id": f"chatcmpl-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _build_choice_delta(index: int, delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


def _count_usage(request: ChatCompletionParameters, replies: list[Reply]) -> Json:
    prompt, completion = tokens.count_messages(request.messages), sum(len(reply.tokens) for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
