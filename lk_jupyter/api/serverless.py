"""Shared models without own GPUs (``/serverless``): chat, embeddings, routing, billed per token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import AliasChoices, Field, model_validator

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._events import Event
from lk_jupyter.api._models import FewProblems, Items, Listing, Model, unless_null

#: Maximum number of tokens to request of an answer.
MAX_TOKENS = 65_536


class ServedModel(Model):
    """An active model; ids that differ in case only are different models."""

    id: str
    object: str | None = None
    created: int | None = None
    owned_by: str | None = None


class ModelList(Listing[ServedModel]):
    """The active models; the price book contains their prices."""

    _key = "data"
    object: str | None = None
    data: Items[ServedModel]

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, value: Any) -> Any:
        """Accept a plain list too."""
        return {"data": value} if isinstance(value, list) else value


class ImageUrl(Model):
    """An image, by web address or as ``data:image/png;base64,…``."""

    url: str


class ChatContentPart(Model):
    """A part of a message: text or an image."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatMessage(Model):
    """A message of a conversation; instructions have the role ``system``."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[ChatContentPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StreamOptions(Model):
    """Additional data in a stream."""

    include_usage: bool | None = Field(None, description="Add a last chunk with the token counts.")


class ChatCompletionParameters(Model):
    """A conversation to continue; further fields are sent too (``n``, for example)."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(
        None, ge=1, le=MAX_TOKENS, description="Maximum tokens of the answer, including reasoning."
    )
    temperature: float | None = Field(None, ge=0, le=2)
    stream: bool = False
    stream_options: StreamOptions | None = None
    top_p: float | None = None
    stop: str | list[str] | None = Field(
        None, description="When the model generates this text, the answer ends before the text."
    )
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class ChatCompletionRequest(ChatCompletionParameters):
    """A conversation and the model that continues the conversation."""

    model: str = Field(description="Model id, or lyceum/router to choose a model by the prompt.")


class ToolFunction(Model):
    """A function call requested by the model; ``arguments`` is JSON text."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Model):
    """A tool call requested by the model; in a stream the pieces of a call share ``index``."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ToolFunction | None = None


class AssistantMessage(Model):
    """The model's message, or a piece of the message in a stream; reasoning has one of two names."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class CachedTokens(Model):
    """The number of cached tokens of a prompt."""

    cached_tokens: int | None = None


class Usage(Model):
    """Token counts."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: CachedTokens | None = None


class ChatChoice(Model):
    """An answer; ``finish_reason`` is stop, length or tool_calls."""

    index: int | None = None
    message: Annotated[AssistantMessage, unless_null(AssistantMessage())] = AssistantMessage()
    finish_reason: str | None = None


class ChatCompletion(Model):
    """The answers to a conversation."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: Items[ChatChoice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The first answer."""
        return self.choices[0].message.content or "" if self.choices else ""


class ChatChunkChoice(Model):
    """A piece of an answer."""

    index: int | None = None
    # the complete message, if a server answers without a stream
    delta: Annotated[AssistantMessage, unless_null(AssistantMessage())] = Field(
        default_factory=AssistantMessage, validation_alias=AliasChoices("delta", "message")
    )
    finish_reason: str | None = None


class ChatCompletionChunk(Event):
    """A piece of the answers; the last piece may have token counts and no choices."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: Items[ChatChunkChoice] = []
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text that this piece adds to the first answer."""
        return "".join(choice.delta.content or "" for choice in self.choices if not choice.index)

    def holds_answer(self) -> bool:
        """Whether the piece contains an answer, not only an id."""
        return bool(self.choices)


#: Input of a vector: a text, or the ids of its tokens.
EmbeddingInput = str | list[int]


class EmbeddingRequest(Model):
    """Texts to convert into vectors; a text may be given as the ids of its tokens."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def inputs(self) -> list[EmbeddingInput]:
        """The input of each vector."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and all(isinstance(item, int) for item in self.input):
            return [cast("list[int]", self.input)]
        return cast("list[EmbeddingInput]", self.input)


class Embedding(Model):
    """The vector of a text: numbers, or base64 of little-endian 32-bit floats on request."""

    object: str | None = None
    index: int | None = None
    embedding: Annotated[list[float], Field(fail_fast=True)] | str


class EmbeddingResponse(Listing[Embedding]):
    """A vector for each text, in the order of the texts."""

    fails_fast: ClassVar = True  # millions of numbers

    _key = "data"
    object: str | None = None
    model: str | None = None
    data: FewProblems[Embedding]
    usage: Usage | None = None


class RoutePromptRequest(Model):
    """A prompt to find a model for."""

    input: str


class RoutePromptResponse(Model):
    """The difficulty of a prompt, and a suitable model."""

    complexity: str | None = None
    score: float | None = None
    model: str | None = None


class Serverless(Group):
    """Shared models, billed per token.

    Example:
        >>> from lk_jupyter.api.serverless import ChatCompletionRequest, EmbeddingRequest, RoutePromptRequest
        >>> [model.id for model in client.serverless.models()]
        [...'local/echo'...]
        >>> question = ChatCompletionRequest(model="local/echo", messages=[{"role": "user", "content": "hello"}])
        >>> client.serverless.chat_completions(question).usage.total_tokens > 0
        True
        >>> "".join(piece.text for piece in client.serverless.stream_chat_completions(question))
        '...hello'
        >>> vectors = client.serverless.embeddings(EmbeddingRequest(model="local/hash-embedding", input=["one"]))
        >>> [len(row.embedding) for row in vectors]
        [512]
        >>> client.serverless.route(RoutePromptRequest(input="hi")).model
        'local/echo'
    """

    @GET("/serverless/models", magic="%lk_models")
    def models(self) -> ModelList:
        """List the chat and embedding models."""
        ...

    @POST(
        "/serverless/chat/completions",
        effect="spends",
        no_magic="This operation has no magic, because `%%lk_chat` streams the answer. In Python: "
        "`lk_jupyter.openai()`",
    )
    def chat_completions(self, request: ChatCompletionRequest) -> ChatCompletion:
        """Answer a conversation. NotFound: no such model. PaymentRequired: no credits remain."""
        ...

    @POST("/serverless/chat/completions", effect="spends", magic="%%lk_chat")
    def stream_chat_completions(self, request: ChatCompletionRequest) -> Iterator[ChatCompletionChunk]:
        """Answer a conversation piece by piece."""
        ...

    @POST("/serverless/embeddings", effect="spends", timeout=60, magic="%lk_embed")
    def embeddings(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Convert texts into vectors. NotFound: no such model."""
        ...

    @POST(
        "/serverless/route",
        effect="reads",
        repeatable=True,
        no_magic="No magic is needed: `%%lk_chat lyceum/router` chooses a model and answers in one call.",
    )
    def route(self, request: RoutePromptRequest) -> RoutePromptResponse:
        """Return a suitable model for a prompt, without calling the model."""
        ...
