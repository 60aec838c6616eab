"""Chat with your own deployments, through the Iris proxy, which is a separate server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lk_jupyter.api._endpoint import GET, IRIS, POST, Group, InHeader
from lk_jupyter.api._models import Id, Items, Listing, Model, State
from lk_jupyter.api.serverless import ChatCompletion, ChatCompletionChunk, ChatCompletionParameters
from lk_jupyter.api.states import UNKNOWN

#: Minimum and maximum seconds that the proxy waits for an answer.
TIMEOUT_RANGE = (10, 60)


class DedicatedChatCompletionRequest(ChatCompletionParameters):
    """A conversation to continue; ``model`` is a deployment's id unless a header contains the id."""

    model: str | None = None


class AsyncInferenceAccepted(Model):
    """The request id for reading the answer later."""

    request_id: Id


class AsyncInferenceResult(Model):
    """The result of an asynchronous request: pending, completed, or a failure with its ``error``."""

    status: State = UNKNOWN
    result: ChatCompletion | None = None
    error: str | None = None


class IrisModelMeta(Model):
    """The deployment behind a model."""

    hf_model_id: str | None = None
    hardware_profile: str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    healthy_replicas: int | None = None
    total_replicas: int | None = None


class IrisModel(Model):
    """An active deployment; ``id`` is its deployment id."""

    id: str
    object: str | None = None
    created: int | None = None
    meta: IrisModelMeta | None = None


class IrisModelList(Listing[IrisModel]):
    """The active deployments."""

    _key = "data"
    object: str | None = None
    data: Items[IrisModel]


class AnthropicModel(Model):
    """A shared model under a name for Anthropic-style clients."""

    id: str
    type: str | None = None
    display_name: str | None = None


class AnthropicModelList(Listing[AnthropicModel]):
    """The shared models, with aliases that start with ``claude-lyceum-``."""

    _key = "data"
    data: Items[AnthropicModel]

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, value: Any) -> Any:
        """Accept a plain list too."""
        return {"data": value} if isinstance(value, list) else value


def _limit_to_range(seconds: Any) -> Any:
    """Limit seconds to the range of the proxy."""
    low, high = TIMEOUT_RANGE
    try:
        return min(max(int(seconds), low), high)
    except (TypeError, ValueError, OverflowError):
        return seconds


DeploymentId = Annotated[str | None, InHeader("X-Deployment-ID")]
TimeoutSeconds = Annotated[
    int, InHeader("X-Timeout-S"), Field(ge=TIMEOUT_RANGE[0], le=TIMEOUT_RANGE[1]), BeforeValidator(_limit_to_range)
]

Later = Annotated[Literal["true"] | None, InHeader("X-Async")]

#: Seconds for one step of the call, since the proxy waits up to a minute.
_PATIENCE = TIMEOUT_RANGE[1] + 10


class Iris(Group):
    """Deployments, asked through the proxy.

    Example:
        >>> from lk_jupyter.api.iris import DedicatedChatCompletionRequest
        >>> [model.id for model in client.iris.models()]
        [...]
        >>> [model.id for model in client.iris.anthropic_models()]
        [...'local/echo'...]
        >>> question = DedicatedChatCompletionRequest(model=deployment, messages=[{"role": "user", "content": "hello"}])
        >>> client.iris.chat_completions(question).text
        '...hello'
        >>> "".join(piece.text for piece in client.iris.stream_chat_completions(question))
        '...hello'
        >>> later = client.iris.chat_completions(question, x_async="true")
        >>> [event.event for event in client.inference.follow(later.request_id)]
        ['queued', 'finished']
        >>> client.iris.chat_result(later.request_id).status
        'completed'
    """

    @POST(
        "/openai/v1/chat/completions",
        effect="spends",
        server=IRIS,
        timeout=_PATIENCE,
        no_magic="This operation has no magic, because `%%lk_chat` streams the answer. In Python: "
        "`lk_jupyter.openai(deployment=…)`",
    )
    def chat_completions(
        self,
        request: DedicatedChatCompletionRequest,
        deployment_id: DeploymentId = None,
        timeout_s: TimeoutSeconds = 60,
        x_async: Later = None,
    ) -> ChatCompletion | AsyncInferenceAccepted:
        """Answer a conversation; a paused deployment is woken up first.

        ``timeout_s`` is limited to 10 to 60. With ``x_async="true"`` the answer is an immediate request id, for
        ``chat_result``. NotFound: no such deployment. OutcomeUnknown: no answer in time.
        """
        ...

    @POST("/openai/v1/chat/completions", effect="spends", server=IRIS, timeout=_PATIENCE, magic="%%lk_chat")
    def stream_chat_completions(
        self,
        request: DedicatedChatCompletionRequest,
        deployment_id: DeploymentId = None,
        timeout_s: TimeoutSeconds = 60,
        x_async: Later = None,
    ) -> Iterator[ChatCompletionChunk]:
        """Answer a conversation piece by piece. A streamed answer can't be asynchronous (``x_async``)."""
        ...

    @GET(
        "/openai/v1/chat/completions/{request_id}",
        server=IRIS,
        no_magic="This operation has no magic, because `%%lk_chat` waits for the answer.",
    )
    def chat_result(self, request_id: str) -> AsyncInferenceResult:
        """Read the answer to an asynchronous request. Raises NotFound if the request is unknown or too old."""
        ...

    @GET("/openai/v1/models", server=IRIS, magic="%lk_models")
    def models(self) -> IrisModelList:
        """List the active deployments."""
        ...

    @GET("/anthropic/v1/models", server=IRIS, magic="%lk_models")
    def anthropic_models(self) -> AnthropicModelList:
        """List the shared models in the format of Anthropic-style clients."""
        ...
