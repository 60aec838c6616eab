"""An OpenAI-compatible service whose answers this cloud forwards, through httpx."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.api.serverless import ChatCompletionParameters, ChatContentPart, ChatMessage, EmbeddingInput
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.protocol.json_limits import load_json

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

#: Statuses that are forwarded, and their new value; a key that the upstream refuses, for example, isn't the caller's
#: fault.
_PASSED_ON = {400: 400, 404: 404, 413: 400, 422: 400, 429: 429}

_LIST_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0


class _UpstreamPart(ChatContentPart):
    type: Literal["text", "image_url", "input_audio"]  # type: ignore[assignment]


class _UpstreamMessage(ChatMessage):
    role: Literal["developer", "system", "user", "assistant", "tool"]  # type: ignore[assignment]
    content: str | list[_UpstreamPart] | None = None  # type: ignore[assignment]


def restrict_for_upstream(model: Any) -> Any:
    """Return the model of a body that an upstream can also get: the API's chats have no developer and no audio."""
    if not (isinstance(model, type) and issubclass(model, ChatCompletionParameters)):
        return model
    messages: Any = (list[_UpstreamMessage], Field(min_length=1))
    return create_model(model.__name__, __base__=model, messages=messages)


class ModelUpstream:
    """A service at a base URL that ends where ``/chat/completions`` starts; the key never leaves this object."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/")
        self._uses_proxies = uses_proxies(url)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._listed: tuple[float, list[Json]] = (0.0, [])
        self._listing = asyncio.Lock()

    async def models(self) -> list[Json]:
        """Return the upstream's list of models, which is refreshed after a while."""
        async with self._listing:
            if self._listed[0] < time.monotonic():
                answer = await self._get_json("/models")
                rows = answer.get("data") if isinstance(answer, dict) else answer
                models = [row for row in rows or [] if isinstance(row, dict) and isinstance(row.get("id"), str)]
                self._listed = (time.monotonic() + _LIST_SECONDS, models)
        return self._listed[1]

    async def complete(self, model: str, request: ChatCompletionParameters) -> Json:
        """Return the complete answer."""
        return await self._post_json("/chat/completions", _build_body(model, request, stream=False))

    async def stream(self, model: str, request: ChatCompletionParameters) -> AsyncIterator[Json]:
        """Yield the frames of the completion immediately, token counts included."""
        from httpx_sse import EventSource  # noqa: PLC0415 (loads what most clouds never need)

        body = _build_body(model, request, stream=True) | {"stream_options": {"include_usage": True}}
        async with self._open_response("POST", "/chat/completions", body) as response:
            async for event in EventSource(response).aiter_sse():
                if event.data == "[DONE]":
                    return
                yield _parse_frame(event.data)
        raise Refusal(503, "the upstream service ended its answer early")

    async def embed(self, model: str, inputs: list[EmbeddingInput], options: Json) -> Json:
        """Return the vectors of some inputs."""
        return await self._post_json(
            "/embeddings", {**options, "model": model, "input": inputs, "encoding_format": "float"}
        )

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415

        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        headers = {"Content-Type": "application/json", **self._headers}
        return httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=self._uses_proxies)

    async def _get_json(self, path: str) -> Any:
        async with self._open_response("GET", path) as response:
            return _parse_json(await response.aread())

    async def _post_json(self, path: str, body: Json) -> Json:
        async with self._open_response("POST", path, body) as response:
            answer = _parse_json(await response.aread())
        if not isinstance(answer, dict):
            raise Refusal(503, "the upstream service's answer isn't in the format of the API")
        return answer

    @asynccontextmanager
    async def _open_response(self, method: str, path: str, body: Json | None = None) -> AsyncIterator[httpx.Response]:
        """Open an answer that is a success; whatever else happens becomes a refusal."""
        import httpx  # noqa: PLC0415

        content = None if body is None else _encode_json(body)
        try:
            async with self._client.stream(method, self._url + path, content=content) as response:
                if not response.is_success:
                    raise _build_refusal(response.status_code, await response.aread())
                yield response
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            raise Refusal(503, f"the upstream service can't be reached: {type(failure).__name__}") from None


def _build_body(model: str, request: ChatCompletionParameters, *, stream: bool) -> Json:
    """Return the caller's request with the upstream's name of the model."""
    fields = request.model_dump(mode="json", exclude_unset=True, exclude={"stream_options"})
    return {**fields, "model": model, "stream": stream}


def _encode_json(body: Json) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise Refusal(400, "the request contains a number or a text that JSON cannot represent") from None


def _parse_json(text: bytes) -> Any:
    try:
        return load_json(text)
    except ValueError:
        raise Refusal(503, "the upstream service answered with something that is not JSON") from None


def _parse_frame(data: str) -> Json:
    frame = _parse_json(data.encode())
    if not isinstance(frame, dict) or "error" in frame:
        raise Refusal(503, _read_error_message(frame) or "the upstream service failed in the middle of its answer")
    return frame


def _build_refusal(status: int, text: bytes) -> Refusal:
    try:
        reason = _read_error_message(load_json(text))
    except ValueError:
        reason = None
    if status in _PASSED_ON:
        return Refusal(_PASSED_ON[status], reason or f"the upstream service refused with HTTP {status}")
    if status in {401, 403}:
        return Refusal(503, "the upstream service doesn't accept this cloud's key (LK_INFERENCE_UPSTREAM_KEY)")
    return Refusal(503, f"the upstream service answered HTTP {status}: {reason or 'no reason given'}")


def _read_error_message(body: Any) -> str | None:
    """Return the message of an error, in any form."""
    error = body.get("error", body.get("detail")) if isinstance(body, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return str(error)[:500] if error else None
