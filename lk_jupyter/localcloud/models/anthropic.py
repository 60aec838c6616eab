"""Translate messages in the form of Anthropic into the chats of this cloud, and answers and streams back.

The description of the API has only the address of these clients and their list of models. The form comes from
their SDK.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lk_jupyter.api.serverless import ChatCompletionParameters, ChatCompletionRequest
from lk_jupyter.localcloud.models import sse, tokens
from lk_jupyter.localcloud.models.envelope import Refusal, first_refusal

Json = dict[str, Any]
Chat = TypeVar("Chat", bound=ChatCompletionParameters)

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CHOICES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "overloaded_error"}

#: Kind of a block → field of the block, and kind of the pieces in a stream.
_TEXTS = {"thinking": ("thinking", "thinking_delta"), "text": ("text", "text_delta")}


class AnthropicMessage(BaseModel):
    """A turn of a conversation: text, or blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Json]


class CountRequest(BaseModel):
    """A conversation whose tokens are counted; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[AnthropicMessage] = Field(min_length=1)
    system: str | list[Json] | None = None
    tools: list[Json] | None = None
    tool_choice: Json | None = None


class MessagesRequest(CountRequest):
    """A conversation to answer."""

    max_tokens: int = Field(ge=1)
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None


def token_count(request: CountRequest) -> Json:
    """Count the tokens of a conversation, tools included, with the tokenizer of the built-in models."""
    messages = _build_chat(ChatCompletionParameters, messages=_convert_messages(request)).messages
    tools = tokens.count(json.dumps(request.tools)) if request.tools else 0
    return {"input_tokens": tokens.count_messages(messages) + tools}


def build_chat_request(request: MessagesRequest, model: str) -> ChatCompletionRequest:
    """Return a request as a chat with a model of this cloud."""
    fields = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stop_sequences or None,
        "tools": [_convert_tool(tool) for tool in request.tools or []] or None,
        "tool_choice": _convert_tool_choice(request.tool_choice) if request.tool_choice else None,
    }
    return _build_chat(
        ChatCompletionRequest,
        model=model,
        messages=_convert_messages(request),
        max_tokens=request.max_tokens,
        stream=request.stream,
        **{name: value for name, value in fields.items() if value is not None},
    )


def _build_chat(kind: type[Chat], **fields: Any) -> Chat:
    """Return a chat with these fields; refuse invalid fields."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise first_refusal([{**row, "loc": ("body", *row["loc"])} for row in error.errors()]) from None


def _convert_messages(request: CountRequest) -> list[Json]:
    system = [{"role": "system", "content": _join_text(request.system)}] if request.system else []
    return [*system, *(turn for message in request.messages for turn in _split_turns(message))]


def _split_turns(message: AnthropicMessage) -> Iterator[Json]:
    """Yield the turns of a message: each result of a tool is a separate turn, before the text."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    blocks = message.content
    for block in (block for block in blocks if block.get("type") == "tool_result"):
        yield {
            "role": "tool",
            "tool_call_id": block.get("tool_use_id"),
            "content": _join_text(block.get("content") or ""),
        }
    calls = [_convert_call(block) for block in blocks if block.get("type") == "tool_use"]
    parts = [part for block in blocks for part in _convert_block(block)]
    if calls or parts:
        yield {"role": message.role, "content": parts or None, **({"tool_calls": calls} if calls else {})}


def _convert_block(block: Json) -> Iterator[Json]:
    kind = block.get("type")
    if kind == "text":
        yield {"type": "text", "text": block.get("text", "")}
    elif kind == "image":
        yield {"type": "image_url", "image_url": {"url": _format_image_url(block.get("source") or {})}}
    elif kind not in {"tool_use", "tool_result", "thinking", "redacted_thinking"}:
        raise Refusal(
            400, f"A block of the type {str(kind)[:50]!r} cannot be passed on: send text or images", "messages"
        )


def _format_image_url(source: Json) -> str:
    return str(source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}")


def _join_text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "".join(str(block.get("text", "")) for block in content)


def _convert_call(block: Json) -> Json:
    function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {})}
    return {"id": block.get("id"), "type": "function", "function": function}


def _convert_tool(tool: Json) -> Json:
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {}}
    described = {"description": tool["description"]} if tool.get("description") else {}
    return {"type": "function", "function": {**function, **described}}


def _convert_tool_choice(choice: Json) -> Any:
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return _CHOICES.get(str(choice.get("type")), "auto")


def build_message(completion: Json, stops: list[str]) -> Json:
    """Return a completion as a message; ``stops`` are the stop sequences of its request."""
    choice = completion["choices"][0]
    reply = choice["message"]
    blocks = [
        {"type": kind, _TEXTS[kind][0]: text, **_build_signature_field(kind)} for kind, text in _iterate_texts(reply)
    ]
    calls = [_build_tool_use(call) for call in reply.get("tool_calls") or []]
    return {
        **_build_message_head(completion.get("model")),
        "content": [*blocks, *calls],
        **_convert_ending(choice, stops),
        "usage": _convert_usage(completion.get("usage")),
    }


def _convert_ending(choice: Json, stops: list[str]) -> Json:
    """Return why a message ends; some engines report the stop word of a chat in ``stop_reason``."""
    if (stop := choice.get("stop_reason")) in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    return {"stop_reason": _STOPS.get(choice.get("finish_reason") or "stop", "end_turn"), "stop_sequence": None}


def _iterate_texts(message: Json) -> Iterator[tuple[str, str]]:
    """Yield the texts of a message, or of a piece of a message, by the kind of the block."""
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield "thinking", thought
    if text := message.get("content"):
        yield "text", text


def _build_signature_field(kind: str) -> Json:
    return {"signature": ""} if kind == "thinking" else {}


def _build_tool_use(call: Json) -> Json:
    function = call.get("function") or {}
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = {"arguments": function["arguments"]}  # the model wrote invalid JSON
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _build_message_head(model: Any) -> Json:
    facts: Json = {"stop_reason": None, "stop_sequence": None, "content": [], "usage": _convert_usage(None)}
    return {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": model, **facts}


def _convert_usage(usage: Json | None) -> Json:
    counted = usage or {}
    return {"input_tokens": counted.get("prompt_tokens") or 0, "output_tokens": counted.get("completion_tokens") or 0}


async def events(request: MessagesRequest, first: Json, rest: AsyncIterator[Json]) -> AsyncIterator[str]:
    """Yield the events of a stream for the pieces of the completion that answers a request."""
    blocks = _Blocks(request.stop_sequences or [])
    yield _format_event("message_start", message=_build_message_head(request.model))
    try:
        for event in blocks.add_piece(first):
            yield event
        async for piece in rest:
            for event in blocks.add_piece(piece):
                yield event
    except Refusal as refusal:
        yield _format_event("error", error=build_error_body(refusal)["error"])
        return
    for event in blocks.end():
        yield event


class _Blocks:
    """The open block of a stream, and the facts for the end of the stream."""

    def __init__(self, stops: list[str]) -> None:
        self._index = -1
        self._open: Any = None
        self._stops = stops
        self._ending = _convert_ending({}, stops)
        self._usage: Json | None = None

    def add_piece(self, piece: Json) -> Iterator[str]:
        """Yield the events of a piece."""
        self._usage = piece.get("usage") or self._usage
        for choice in (choice for choice in piece.get("choices") or [] if not choice.get("index")):
            delta = choice.get("delta") or {}
            for kind, text in _iterate_texts(delta):
                field, step = _TEXTS[kind]
                yield from self._switch_block(kind, {"type": kind, field: "", **_build_signature_field(kind)})
                yield self._format_delta({"type": step, field: text})
            for call in delta.get("tool_calls") or []:
                yield from self._add_call(call)
            if choice.get("finish_reason"):
                self._ending = _convert_ending(choice, self._stops)

    def end(self) -> Iterator[str]:
        """Yield the events that close the message."""
        yield from self._close_block()
        yield _format_event("message_delta", delta=self._ending, usage=_convert_usage(self._usage))
        yield _format_event("message_stop")

    def _add_call(self, call: Json) -> Iterator[str]:
        function = call.get("function") or {}
        block: Json = {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": {}}
        yield from self._switch_block(("tool_use", call.get("index")), block)
        if function.get("arguments"):
            yield self._format_delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _switch_block(self, kind: Any, block: Json) -> Iterator[str]:
        if kind != self._open:
            yield from self._close_block()
            self._open = kind
            self._index += 1
            yield _format_event("content_block_start", index=self._index, content_block=block)

    def _close_block(self) -> Iterator[str]:
        if self._open is not None:
            yield _format_event("content_block_stop", index=self._index)
        self._open = None

    def _format_delta(self, delta: Json) -> str:
        return _format_event("content_block_delta", index=self._index, delta=delta)


def _format_event(name: str, **fields: Any) -> str:
    return sse.format_event({"type": name, **fields}, name)


def build_error_body(refusal: Refusal) -> Json:
    """Return a refusal in Anthropic's form."""
    kind = _TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}}
