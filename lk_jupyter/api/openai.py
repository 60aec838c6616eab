"""Shared models at the address for OpenAI's own clients (``/openai/v1``)."""

from __future__ import annotations

from collections.abc import Iterator

from lk_jupyter.api._endpoint import EXTERNAL, GET, OPENAI, POST, Group
from lk_jupyter.api.serverless import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelList,
)


class OpenAI(Group):
    """Shared models, billed per token.

    Example:
        >>> from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest
        >>> [model.id for model in client.openai.models()]
        [...'local/echo'...]
        >>> question = ChatCompletionRequest(model="local/echo", messages=[{"role": "user", "content": "hello"}])
        >>> client.openai.chat_completions(question).text
        '...hello'
        >>> "".join(piece.text for piece in client.openai.stream_chat_completions(question))
        '...hello'
        >>> vectors = client.openai.embeddings(EmbeddingRequest(model="local/hash-embedding", input=["one", "two"]))
        >>> [len(row.embedding) for row in vectors]
        [512, 512]
    """

    @GET("/models", server=OPENAI, magic="%lk_models")
    def models(self) -> ModelList:
        """List the chat and embedding models."""
        ...

    @POST("/chat/completions", effect="spends", server=(OPENAI, EXTERNAL), no_magic="`lk_jupyter.openai()`")
    def chat_completions(self, request: ChatCompletionRequest) -> ChatCompletion:
        """Answer a conversation. NotFound: no such model. PaymentRequired: no credits remain."""
        ...

    @POST("/chat/completions", effect="spends", server=(OPENAI, EXTERNAL), no_magic="`lk_jupyter.openai()`")
    def stream_chat_completions(self, request: ChatCompletionRequest) -> Iterator[ChatCompletionChunk]:
        """Answer a conversation piece by piece."""
        ...

    @POST("/embeddings", effect="spends", server=OPENAI, timeout=60, no_magic="`lk_jupyter.openai()`")
    def embeddings(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Convert texts into vectors. NotFound: no such model."""
        ...
