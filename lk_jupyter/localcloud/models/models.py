"""The available models, the engines that answer for them, and the prices of their tokens."""

from __future__ import annotations

import base64
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from lk_jupyter.api.serverless import (
    ChatCompletion,
    ChatCompletionParameters,
    EmbeddingInput,
    EmbeddingRequest,
    EmbeddingResponse,
)
from lk_jupyter.localcloud.billing import catalogue
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.models import tokens
from lk_jupyter.localcloud.models.builtin import BROKEN, CONTEXT, ECHO, HASH_EMBEDDING, Echo
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.models.upstream import ModelUpstream

Json = dict[str, Any]

#: A function that receives the token counts of an answer.
Bill = Callable[[Json], None]

#: Names of routes, each of which selects a model for the prompt.
ROUTES = ("lyceum/router", "lyceum/simple", "lyceum/complex", "lyceum/reasoning")

_CREATED = 1_767_225_600  # the built-in models are as old as 2026


class ModelEngine(Protocol):
    """An engine that answers for models."""

    async def complete(self, model: str, request: ChatCompletionParameters) -> Json:
        """Return the complete answer."""
        ...

    def stream(self, model: str, request: ChatCompletionParameters) -> AsyncIterator[Json]:
        """Yield the completion piece by piece, token counts included."""
        ...

    async def embed(self, model: str, inputs: list[EmbeddingInput], options: Json) -> Json:
        """Return a vector for each input."""
        ...


@dataclass(frozen=True)
class Chosen:
    """An available model, and its engine."""

    id: str
    engine: ModelEngine

    async def complete(self, request: ChatCompletionParameters) -> Json:
        """Return the complete answer, with token counts."""
        answer = _check_answer(ChatCompletion, await self.engine.complete(self.id, request))
        texts = [choice.get("message", {}).get("content") or "" for choice in answer["choices"]]
        return {**answer, "usage": answer.get("usage") or count(request, texts)}

    async def stream(self, request: ChatCompletionParameters, bill: Bill) -> AsyncIterator[Json]:
        """Yield the answer piece by piece; token counts follow last, in a separate piece.

        The tokens are billed before that piece, even if the client stops reading.
        """
        usage, texts, head = (
            None,
            [],
            {"object": "chat.completion.chunk", "created": int(time.time()), "model": self.id},
        )
        try:
            async for piece in self.engine.stream(self.id, request):
                usage = piece.get("usage") or usage
                if piece.get("choices"):
                    head |= {"id": piece["id"]} if piece.get("id") else {}
                    texts += [(choice.get("delta") or {}).get("content") or "" for choice in piece["choices"]]
                    yield {key: value for key, value in piece.items() if key != "usage"}
        finally:
            usage = usage or count(request, texts)
            if texts:
                bill(usage)
        yield {**head, "choices": [], "usage": usage}

    async def embed(self, inputs: list[EmbeddingInput], options: Json) -> Json:
        """Return a vector for each input, with token counts."""
        answer = _check_answer(EmbeddingResponse, await self.engine.embed(self.id, inputs, options))
        counted = sum(map(tokens.count_input, inputs))
        return {**answer, "usage": answer.get("usage") or {"prompt_tokens": counted, "total_tokens": counted}}


class Models:
    """The models of this cloud: the built-in models, and the models of the upstream, if any."""

    def __init__(self, upstream: ModelUpstream | None) -> None:
        self._upstream = upstream
        self._builtin = Echo()

    async def list_models(self) -> list[Json]:
        """List the models; an upstream that doesn't answer adds none."""
        builtin = [
            _build_model_row(ECHO, "local") | {"max_model_len": CONTEXT},
            _build_model_row(HASH_EMBEDDING, "local"),
        ]
        return [*builtin, *(await self._list_upstream_models()), *(_build_model_row(name, "lyceum") for name in ROUTES)]

    async def list_priced_names(self) -> list[str]:
        """Return the names of the models with a price: all except routes, whose price is the selected model's."""
        return [row["id"] for row in await self.list_models() if row["id"] not in ROUTES]

    async def choose_chat_model(self, name: str) -> Chosen:
        """Return the model of a name, or the model that a route selects; 404 for an unknown name."""
        if name in ROUTES:
            name = await self.choose_route_target()
        if name == HASH_EMBEDDING:
            raise Refusal(400, f"{HASH_EMBEDDING} is an embedding model: use /embeddings", "model")
        return await self._find_model(name)

    async def choose_embedding_model(self, name: str) -> Chosen:
        """Return the model of a name; 404 for an unknown name."""
        if name in {ECHO, *ROUTES}:
            raise Refusal(400, f"{name} isn't an embedding model: use {HASH_EMBEDDING}", "model")
        return await self._find_model(name)

    async def embed(self, request: EmbeddingRequest) -> tuple[Chosen, Json]:
        """Return the model and the vectors of a request, in the requested encoding."""
        if not request.inputs:
            raise Refusal(400, "input: give at least one text", "input")
        chosen = await self.choose_embedding_model(request.model)
        answer = await chosen.embed(request.inputs, request.model_extra or {})
        if request.encoding_format == "base64":
            answer["data"] = [{**row, "embedding": _encode_base64(row["embedding"])} for row in answer["data"]]
        return chosen, answer

    async def choose_route_target(self) -> str:
        """Return the model that routes select: the upstream's first chat model, else the built-in model."""
        return next(
            (row["id"] for row in await self._list_upstream_models() if not _is_embedding_model(row["id"])), ECHO
        )

    async def list_deployable(self) -> list[str]:
        """Name the models that can be deployed."""
        return [
            ECHO,
            BROKEN,
            *(row["id"] for row in await self._list_upstream_models() if not _is_embedding_model(row["id"])),
        ]

    async def _find_model(self, name: str) -> Chosen:
        if name in {ECHO, HASH_EMBEDDING}:
            return Chosen(name, self._builtin)
        upstream_ids = [row["id"] for row in await self._upstream.models()] if self._upstream else []
        if self._upstream is None or name not in upstream_ids:
            near = get_close_matches(name, [ECHO, HASH_EMBEDDING, *upstream_ids], n=3) or [ECHO, HASH_EMBEDDING]
            raise Refusal(404, f"model not found: {name[:100]!r}; similar: {', '.join(near)}", "model")
        return Chosen(name, self._upstream)

    async def _list_upstream_models(self) -> list[Json]:
        try:
            return await self._upstream.models() if self._upstream else []
        except Refusal:
            return []


def charge(  # noqa: PLR0913 (one bill)
    db: sqlite3.Connection, ledger: Ledger, org_id: str, *, source: str, model: str, usage: Json
) -> None:
    """Bill the tokens of a request, once, within the transaction that stores the answer."""
    price = catalogue.find_token_price(model)
    prompt, completion = (max(0, usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion"))
    facts = {"model": model, "deployment_id": f"serverless:{model}", "description": model}
    for category, tokens_used, unit_price in (
        ("serverless_inference_prompt_tokens", prompt, price.prompt),
        ("serverless_inference_completion_tokens", completion, price.completion),
    ):
        ledger.charge(db, org_id, category, source, tokens_used * unit_price, tokens=tokens_used, **facts)  # type: ignore[arg-type]


def count(request: ChatCompletionParameters, texts: list[str]) -> Json:
    """Count the tokens of a completion whose engine did not."""
    prompt, completion = tokens.count_messages(request.messages), tokens.count("".join(texts))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _encode_base64(vector: list[float]) -> str:
    """Encode numbers for OpenAI clients: little-endian, 32 bits each."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _is_embedding_model(model: str) -> bool:
    return "embed" in model.lower()


def _build_model_row(name: str, owner: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}


def _check_answer(kind: type[BaseModel], answer: Json) -> Json:
    """Refuse an answer that no client could read."""
    try:
        kind.model_validate(answer)
    except ValidationError:
        raise Refusal(503, "the upstream service's answer isn't in the format of the API") from None
    return answer
