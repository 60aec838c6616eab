"""Calls of models: limit the tokens of an answer, reserve its highest price, and count the tokens that it used."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest
from lk_jupyter.broker.grants import Grant, RefusedCall
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.broker.starts import REFUSED_STATUSES
from lk_jupyter.broker.upstream import MAX_ANSWER, Answer, OddAnswer, OrganizationClient, TokenRates, read_body

CHAT_PATH, EMBEDDINGS_PATH = "/serverless/chat/completions", "/serverless/embeddings"

#: Path of a call → fields that are forwarded. Other fields are removed: some request several answers.
MODEL_FIELDS: dict[str, frozenset[str]] = {
    CHAT_PATH: frozenset(ChatCompletionRequest.model_fields),
    EMBEDDINGS_PATH: frozenset(EmbeddingRequest.model_fields),
}

#: Tokens of an answer whose request has no limit, and highest limit. The cloud refuses more than the highest.
DEFAULT_TOKENS, _MAX_TOKENS = 4096, 65_536

#: Tokens that the template of a model may add to a conversation. A token of the prompt has at least one byte.
_TEMPLATE_TOKENS = 1024

_UNCOUNTED = "The cloud didn't report the number of tokens, so the reserved amount counts as the cost."


@dataclass(frozen=True)
class _Call:
    """A call of a model: its grant, path, forwarded fields, token prices, mark in the ledger, and reservation."""

    grant: Grant
    path: str
    fields: dict[str, Any]
    prices: TokenRates
    mark: str
    reserved: int
    wants_usage: bool

    def price_used(self, usage: Any) -> int | None:
        """Return the price of the tokens in an answer, in billionths; None if the answer doesn't report them."""
        counts = usage if isinstance(usage, dict) else {}
        prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens") or 0
        if not (_is_count(prompt) and _is_count(completion)):
            return None
        return self.prices.cost(int(prompt or 0), completion)


class ModelStream:
    """An answer that is passed in pieces. ``close`` settles its call, also if no piece was read."""

    def __init__(self, ledger: GrantLedger, call: _Call, response: httpx.Response) -> None:
        self.response = response
        self._ledger = ledger
        self._call = call
        self._used: int | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the lines. The line with the token counts is removed if the child didn't request it."""
        try:
            async for line in self.response.aiter_lines():
                usage, is_extra = _read_usage(line)
                if (used := self._call.price_used(usage)) is not None:
                    self._used = max(used, self._used or 0)
                if not (is_extra and not self._call.wants_usage):
                    yield f"{line}\n".encode()
        except httpx.HTTPError:
            return  # a reader notices that the last line is missing

    async def close(self) -> None:
        """Close the answer and settle the call."""
        _settle_call(self._ledger, self._call, self._used)
        await self.response.aclose()


class ModelCaller:
    """Call models for child keys."""

    def __init__(self, ledger: GrantLedger, upstream: OrganizationClient) -> None:
        self._ledger = ledger
        self._upstream = upstream

    async def call(self, grant: Grant, path: str, body: Any) -> Answer | ModelStream:
        """Call a model for a grant. Raises RefusedCall, OddAnswer.

        The reservation is on disk before the request is sent. It counts as the bill unless the answer reports tokens.
        """
        call = await self._reserve_call(grant, path, body)
        used: int | None = None
        stream: ModelStream | None = None
        try:
            response = await self._upstream.stream(None, EXTERNAL + path, call.fields)
            if response.is_success and call.fields.get("stream"):
                stream = ModelStream(self._ledger, call, response)
                return stream
            answer = await _read_answer(response)
            used = call.price_used((answer.fields or {}).get("usage"))
            if answer.status in REFUSED_STATUSES:
                used = 0
            return answer
        finally:
            if stream is None:
                _settle_call(self._ledger, call, used)

    async def _reserve_call(self, grant: Grant, path: str, body: Any) -> _Call:
        """Return a call whose price is reserved. Raises RefusedCall."""
        fields, prompt_tokens, answer_tokens = read_request(path, body)
        grant.require("models")
        try:
            prices = await self._upstream.token_prices(fields["model"], has_answer=path == CHAT_PATH)
        except OddAnswer as problem:
            raise RefusedCall(502, f"{problem} Nothing was sent. Try again.") from None
        if prices is None:
            name = fields["model"][:100]
            raise RefusedCall(403, f"{name} has no published price. Nothing was sent. Use another model.")
        reserved = prices.cost(prompt_tokens, answer_tokens)
        mark = self._ledger.reserve(
            grant, operation=path, machine=fields["model"], price=0, timeout=0, margin=0, tokens=reserved
        )
        wants_usage = bool((fields.get("stream_options") or {}).get("include_usage"))
        if fields.get("stream"):
            fields["stream_options"] = {"include_usage": True}
        return _Call(grant, path, fields, prices, mark, reserved, wants_usage)


def _settle_call(ledger: GrantLedger, call: _Call, used: int | None) -> None:
    """Replace the reservation of a call by the price of its tokens; without counts, the reservation is the bill."""
    ledger.settle(call.mark, call.reserved if used is None else used, 0, _UNCOUNTED if used is None else "")
    if used is not None and used > call.reserved:
        ledger.block(call.grant.id, "A call of a model cost more than the reserved credits.")


def read_request(path: str, body: Any) -> tuple[dict[str, Any], int, int]:
    """Return the forwarded fields of a call, and the most tokens of prompt and answer. Raises RefusedCall."""
    if not isinstance(body, dict):
        raise RefusedCall(422, "Send a JSON object. Nothing was sent.")
    fields = {name: value for name, value in body.items() if name in MODEL_FIELDS[path]}
    if not isinstance(fields.get("model"), str):
        raise RefusedCall(422, "model must be the id of a model. Nothing was sent.")
    if body.get("n") not in {None, 1}:
        raise RefusedCall(403, "Child keys get one answer for each call. Nothing was sent. Omit the field n.")
    if not isinstance(fields.get("stream_options") or {}, dict):
        raise RefusedCall(422, "stream_options must be an object. Nothing was sent.")
    prompt_tokens = len(json.dumps(fields, ensure_ascii=False).encode(errors="replace")) + _TEMPLATE_TOKENS
    if path == EMBEDDINGS_PATH:
        return fields, prompt_tokens, 0
    if _has_media(fields.get("messages")):
        raise RefusedCall(403, "The price of images, sound and files isn't known before the answer. Nothing was sent.")
    tokens = body.get("max_completion_tokens") if fields.get("max_tokens") is None else fields["max_tokens"]
    tokens = DEFAULT_TOKENS if tokens is None else tokens
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MAX_TOKENS:
        raise RefusedCall(422, f"max_tokens must be a whole number from 1 to {_MAX_TOKENS}. Nothing was sent.")
    fields["max_tokens"] = tokens
    return fields, prompt_tokens, tokens


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _has_media(messages: Any) -> bool:
    """Return whether a message has a part that isn't text."""
    contents = [message.get("content") for message in messages or () if isinstance(message, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(not isinstance(part, dict) or part.get("type") != "text" for part in parts)


async def _read_answer(response: httpx.Response) -> Answer:
    """Return an answer that isn't a stream. Raises OddAnswer."""
    body = await read_body(response, response.aiter_bytes(), MAX_ANSWER, "cloud")
    if response.is_redirect:
        raise OddAnswer("The answer of the cloud can't be forwarded.")
    return Answer.parse(response, body)


def _read_usage(line: str) -> tuple[Any, bool]:
    """Return the token counts in a line of a stream, and whether the line has nothing else."""
    if not line.startswith("data:") or '"usage"' not in line:
        return None, False
    try:
        chunk = json.loads(line.removeprefix("data:"))
    except ValueError:
        return None, False
    if not isinstance(chunk, dict):
        return None, False
    return chunk.get("usage"), bool(chunk.get("usage")) and not chunk.get("choices")
