"""Targets of a chat: a shared model, or a dedicated deployment that may have to wake up first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, Protocol

from lk_jupyter.api.inference import Deployment, DeploymentDetail
from lk_jupyter.api.iris import DedicatedChatCompletionRequest
from lk_jupyter.api.serverless import (
    ChatCompletionChunk,
    ChatCompletionParameters,
    ChatCompletionRequest,
    RoutePromptRequest,
    Usage,
)
from lk_jupyter.config.assumptions import ROUTE, ROUTERS
from lk_jupyter.errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    LkError,
    NotFound,
    OutcomeUnknown,
    ServerError,
    UsageError,
)
from lk_jupyter.inference.catalogue import ModelOffer, TokenPrices, read_catalogue, suggest_models
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.session import Session

#: Maximum seconds for a deployment to wake up, if the server reports no limit.
_READY_SECONDS = 600.0

#: Seconds between two requests to a deployment that wakes up.
_WAKING = 0.5

_ENDED = {"failed", "stopped"}


class Pieces:
    """A streamed answer; ``close`` ends the stream from any thread."""

    def __init__(self, ask: Callable[[], Any], again: Callable[[LkError], bool] | None = None) -> None:
        self._ask = ask
        self._again = again or (lambda _: False)
        self._stream: Any = None
        self._closed = False

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        started = False
        while not self._closed:
            self._stream = self._ask()
            try:
                for piece in self._stream:
                    started = True
                    yield piece
            except (OutcomeUnknown, ServerError, ConnectionFailed, NotFound, BadRequest) as problem:
                if started or self._closed or not self._again(problem):
                    raise
            else:
                return

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()


class Answerer(Protocol):
    """A target of a chat."""

    @property
    def name(self) -> str:
        """The name on the line of the magic."""

    @property
    def label(self) -> str:
        """The name in texts."""

    def ask(self, request: ChatCompletionParameters) -> Pieces:
        """Return the answer; the request is sent when the answer is read."""

    def cost(self, usage: Usage | None) -> Decimal | None:
        """Return the cost of an answer, in credits; None if unknown."""

    def waiting(self) -> str:
        """Return a label for the wait, while no piece arrives."""


class SharedModel:
    """A model that is billed by tokens."""

    def __init__(self, session: Session, offer: ModelOffer) -> None:
        self._client = session.client
        self.offer = offer
        self.name = self.label = offer.id

    def ask(self, request: ChatCompletionParameters) -> Pieces:
        """Return the answer; the request is sent when the answer is read."""
        prepared = ChatCompletionRequest(model=self.name, **dict(request))
        assumed = self._client.assumptions

        def routed() -> bool:
            """Query which model a router selects; return whether the name is a router."""
            texts = (each.content for each in reversed(request.messages) if each.role == "user")
            prompt = next((text for text in texts if isinstance(text, str)), "")
            prepared.model = self._client.serverless.route(RoutePromptRequest(input=prompt)).model or self.name
            return prepared.model != self.name

        def ask() -> Any:
            if _is_router(prepared.model) and assumed["router_prefix"] == ROUTE:
                routed()
            return self._client.serverless.stream_chat_completions(prepared)

        def again(problem: LkError) -> bool:
            """Look for the model of a router where the server takes the router for none."""
            if not isinstance(problem, NotFound | BadRequest) or not _is_router(prepared.model) or not routed():
                return False
            assumed.store_finding("router_prefix", ROUTE)
            return True

        return Pieces(ask, again)

    def cost(self, usage: Usage | None) -> Decimal | None:
        """Return the cost of an answer, in credits; None for an unknown price."""
        return self.offer.prices.cost(usage)

    def waiting(self) -> str:
        """Return the label of the wait for the first piece."""
        return "waiting"


class DeploymentTarget:
    """A deployment, used through Iris; replicas are billed by the hour, tokens are free."""

    def __init__(self, session: Session, deployment: Deployment) -> None:
        self._client = session.client
        self.deployment_id = deployment.deployment_id
        self.name = self.deployment_id[:SHORT_ID]
        self.label = f"{deployment.hf_model_id} ({self.name})"

    def ask(self, request: ChatCompletionParameters) -> Pieces:
        """Return the answer; while the deployment wakes up, the request is repeated."""
        prepared = DedicatedChatCompletionRequest(**dict(request))
        until = time.monotonic() + _READY_SECONDS

        def again(problem: LkError) -> bool:
            may_wake = not isinstance(problem, NotFound | BadRequest) and time.monotonic() < until
            is_accepted = isinstance(problem, OutcomeUnknown | ConnectionFailed) and problem.is_accepted
            if is_accepted or not may_wake or self.state().status not in {"pending", "paused"}:
                return False
            time.sleep(_WAKING)
            return True

        return Pieces(lambda: self._client.iris.stream_chat_completions(prepared, self.deployment_id), again)

    def cost(self, usage: Usage | None) -> Decimal | None:  # noqa: ARG002 (the same for any)
        """Return that the tokens cost nothing beyond the replicas."""
        return Decimal(0)

    def state(self) -> DeploymentDetail:
        """Read the present state of the deployment."""
        return self._client.inference.get(self.deployment_id)

    def waiting(self) -> str:
        """Return a label with the states of replicas that don't serve yet."""
        with suppress(ApiError, ConnectionFailed):
            detail = self.state()
            if detail.status != "created":
                states = dict.fromkeys(
                    replica.status for replica in detail.replicas or [] if replica.status != "stopped"
                )
                return " · ".join(["waking up", *(state.replace("_", " ") for state in states)])
        return "waiting"


def find_answerer(session: Session, name: str) -> Answerer:
    """Return the shared model or the deployment of a name.

    Raises UsageError for an unknown name, and for a deployment that has ended.
    """
    offers = read_catalogue(session)
    if offers.get(name):
        return SharedModel(session, offers.find(name, "chat"))
    if _is_router(name):
        return SharedModel(session, ModelOffer(name, "", None, TokenPrices()))
    deployments = list(session.client.inference.list(include_terminated=True))
    fitting = [each for each in deployments if is_called(each, name)]
    alive = [each for each in fitting if each.status not in _ENDED] or fitting
    if not alive:
        models = [offer.id for offer in offers if offer.kind == "chat"]
        deployment_ids = [each.deployment_id[:SHORT_ID] for each in deployments if each.status not in _ENDED]
        raise UsageError(
            f"Unknown model or deployment '{name}'. {suggest_models(name, [*models, *deployment_ids])} "
            "List all: %lk_models, %lk_deployments"
        )
    if len(alive) > 1:
        raise UsageError(f"'{name}' matches several deployments: {', '.join(each.deployment_id for each in alive)}.")
    if alive[0].status in _ENDED:
        raise UsageError(_explain_end(alive[0]))
    return DeploymentTarget(session, alive[0])


def _is_router(name: str) -> bool:
    """Return whether a name is a router: the server selects a model by the prompt."""
    return name.startswith(ROUTERS)


def is_called(deployment: Deployment, name: str) -> bool:
    """Return whether a name identifies a deployment: by id, by the start of the id, or by model."""
    return bool(name) and (deployment.deployment_id.startswith(name) or deployment.hf_model_id == name)


def _explain_end(deployment: Deployment) -> str:
    short = deployment.deployment_id[:SHORT_ID]
    if deployment.status == "failed":
        return (
            f"Deployment {short} of {deployment.hf_model_id} failed: no replica is ready.\nReason: "
            f"%lk_deployments {short}. Delete it: %lk_undeploy {short}"
        )
    return f"Deployment {short} was stopped. Start it again: %lk_deploy {deployment.hf_model_id}"
