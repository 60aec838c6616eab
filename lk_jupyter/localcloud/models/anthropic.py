"""Messages in the form of Anthropic, as the chats that this cloud answers: requests there, answers and streams back.

The description of the API names the address of these clients and their list of models, and no more: the form is that
of their own SDK.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from lk_jupyter.api.serverless import ChatCompletionRequest
from lk_jupyter.localcloud.models import sse
from lk_jupyter.localcloud.models.envelope import Refusal

Json = dict[str, Any]

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CHOICES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "overloaded_error"}

#: The kind of a block → its field in a block, and the kind of its pieces in a stream.
_TEXTS = {"thinking": ("thinking", "thinking_delta"), "text": ("text", "text_delta")}


class Message(BaseModel):
    """One turn: text, or blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Json]


class MessagesRequest(BaseModel):
    """A conversation to go on with; what is not named here is passed over."""

    model_config = ConfigDict(extra="ignore")

    model: str
    max_tokens: int = Field(ge=1)
    messages: list[Message] = Field(min_length=1)
    system: str | list[Json] | None = None
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[Json] | None = None
    tool_choice: Json | None = None


def chat_of(request: MessagesRequest, model: str) -> ChatCompletionRequest:
    """Return a request as a chat with a model of this cloud."""
    told = [{"role": "system", "content": _text(request.system)}] if request.system else []
    fields = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stop_sequences or None,
        "tools": [_tool(tool) for tool in request.tools or []] or None,
        "tool_choice": _choice(request.tool_choice) if request.tool_choice else None,
    }
    return ChatCompletionRequest(
        model=model,
        messages=[*told, *(turn for message in request.messages for turn in _turns(message))],
        max_tokens=request.max_tokens,
        stream=request.stream,
        **{name: value for name, value in fields.items() if value is not None},
    )


def _turns(message: Message) -> Iterator[Json]:
    """Yield the turns that a message is: the results of tools are turns of their own, before what is said."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    blocks = message.content
    for block in (block for block in blocks if block.get("type") == "tool_result"):
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _text(block.get("content") or "")}
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    parts = [part for block in blocks for part in _parts(block)]
    if calls or parts:
        yield {"role": message.role, "content": parts or None, **({"tool_calls": calls} if calls else {})}


def _parts(block: Json) -> Iterator[Json]:
    kind = block.get("type")
    if kind == "text":
        yield {"type": "text", "text": block.get("text", "")}
    elif kind == "image":
        yield {"type": "image_url", "image_url": {"url": _address(block.get("source") or {})}}
    elif kind not in {"tool_use", "tool_result", "thinking", "redacted_thinking"}:
        raise Refusal(
            400, f"A block of the type {str(kind)[:50]!r} cannot be passed on: send text or images", "messages"
        )


def _address(source: Json) -> str:
    return str(source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}")


def _text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "".join(str(block.get("text", "")) for block in content)


def _call(block: Json) -> Json:
    function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {})}
    return {"id": block.get("id"), "type": "function", "function": function}


def _tool(tool: Json) -> Json:
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {}}
    described = {"description": tool["description"]} if tool.get("description") else {}
    return {"type": "function", "function": {**function, **described}}


def _choice(choice: Json) -> Any:
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return _CHOICES.get(str(choice.get("type")), "auto")


def message_of(completion: Json) -> Json:
    """Return a completion as a message."""
    choice = completion["choices"][0]
    said = choice["message"]
    blocks = [{"type": kind, _TEXTS[kind][0]: text, **_signed(kind)} for kind, text in _said(said)]
    calls = [_use(call) for call in said.get("tool_calls") or []]
    return {
        **_head(completion.get("model")),
        "content": [*blocks, *calls],
        "stop_reason": _STOPS.get(choice.get("finish_reason") or "stop", "end_turn"),
        "usage": _usage(completion.get("usage")),
    }


def _said(message: Json) -> Iterator[tuple[str, str]]:
    """Yield the texts of a message or a piece of one, by the kind of their block."""
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        yield "thinking", thought
    if text := message.get("content"):
        yield "text", text


def _signed(kind: str) -> Json:
    return {"signature": ""} if kind == "thinking" else {}


def _use(call: Json) -> Json:
    function = call.get("function") or {}
    try:
        given = json.loads(function.get("arguments") or "{}")
    except ValueError:
        given = {"arguments": function["arguments"]}  # what the model wrote is no JSON
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given}


def _head(model: Any) -> Json:
    facts: Json = {"stop_reason": None, "stop_sequence": None, "content": [], "usage": _usage(None)}
    return {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": model, **facts}


def _usage(usage: Json | None) -> Json:
    counted = usage or {}
    return {"input_tokens": counted.get("prompt_tokens") or 0, "output_tokens": counted.get("completion_tokens") or 0}


async def events(model: str, first: Json, rest: AsyncIterator[Json]) -> AsyncIterator[str]:
    """Yield the events of a stream for the pieces of a completion."""
    blocks = _Blocks()
    yield _event("message_start", message=_head(model))
    try:
        for event in blocks.take(first):
            yield event
        async for piece in rest:
            for event in blocks.take(piece):
                yield event
    except Refusal as refusal:
        yield _event("error", error=error_of(refusal)["error"])
        return
    for event in blocks.end():
        yield event


class _Blocks:
    """Which block of a stream is open, and what is to be said at its end."""

    def __init__(self) -> None:
        self._index = -1
        self._open: Any = None
        self._stop = "end_turn"
        self._usage: Json | None = None

    def take(self, piece: Json) -> Iterator[str]:
        """Yield the events of one piece."""
        self._usage = piece.get("usage") or self._usage
        for choice in (choice for choice in piece.get("choices") or [] if not choice.get("index")):
            delta = choice.get("delta") or {}
            for kind, text in _said(delta):
                field, step = _TEXTS[kind]
                yield from self._switch(kind, {"type": kind, field: "", **_signed(kind)})
                yield self._delta({"type": step, field: text})
            for call in delta.get("tool_calls") or []:
                yield from self._calling(call)
            self._stop = _STOPS.get(choice.get("finish_reason"), self._stop)

    def end(self) -> Iterator[str]:
        """Yield the events that close the message."""
        yield from self._close()
        delta = {"stop_reason": self._stop, "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage=_usage(self._usage))
        yield _event("message_stop")

    def _calling(self, call: Json) -> Iterator[str]:
        function = call.get("function") or {}
        block: Json = {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": {}}
        yield from self._switch(("tool_use", call.get("index")), block)
        if function.get("arguments"):
            yield self._delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _switch(self, kind: Any, block: Json) -> Iterator[str]:
        if kind != self._open:
            yield from self._close()
            self._open = kind
            self._index += 1
            yield _event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> Iterator[str]:
        if self._open is not None:
            yield _event("content_block_stop", index=self._index)
        self._open = None

    def _delta(self, delta: Json) -> str:
        return _event("content_block_delta", index=self._index, delta=delta)


def _event(name: str, **fields: Any) -> str:
    return sse.event({"type": name, **fields}, name)


def error_of(refusal: Refusal) -> Json:
    """Return a refusal as these clients read it."""
    kind = _TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}}
