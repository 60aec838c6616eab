"""Dedicated deployments: deployable models, prices, and the progress of a deployment."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from lk_jupyter.api import _creation
from lk_jupyter.api._client import Client
from lk_jupyter.api._creation import Candidates
from lk_jupyter.api._lifecycle import StateDoubt, delete_or_repeat
from lk_jupyter.api._models import count_problem
from lk_jupyter.api._polling import poll
from lk_jupyter.api.inference import (
    CreateDeploymentRequest,
    DedicatedModel,
    Deployment,
    DeploymentDetail,
    DeploymentState,
)
from lk_jupyter.api.states import DEPLOYMENT_PHASES, LifecyclePhase, list_states, read_phase
from lk_jupyter.errors import BadRequest, DeploymentFailed, Invalid, UsageError
from lk_jupyter.inference.catalogue import suggest_models
from lk_jupyter.inference.chat_target import is_called
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.session import Session
from lk_jupyter.text.terminal import one_line
from lk_jupyter.vms.ends import DeploymentDeletion

#: Seconds between two looks at a deployment that starts.
PACE = 1.0

#: Fields by which servers pick the GPU of a deployment.
_SELECTORS = re.compile("hardware_profile|gpu_type", re.IGNORECASE)

OVER = list_states(LifecyclePhase.ENDED, DEPLOYMENT_PHASES)


@dataclass(frozen=True)
class DeploymentPlan:
    """A planned deployment; ``per_hour`` is the price of a replica in credits, if known."""

    request: CreateDeploymentRequest
    per_hour: Decimal | None
    ready_seconds: int
    gpu_is_free: bool | None

    @property
    def hardware(self) -> str:
        """The GPUs of a replica, in words."""
        count = self.request.gpu_count or 1
        return f"{count} x {self.request.hardware_profile}" if count > 1 else str(self.request.hardware_profile)


def plan_deployment(session: Session, model: str, gpu: str | None, count: int | None, replicas: str) -> DeploymentPlan:
    """Return the plan of a deployment. Raises UsageError for an unknown model, card or number of replicas."""
    if problem := count_problem("--count", count):
        raise UsageError(f"{problem} Nothing was started.")
    models = {each.serving_name: each for each in session.client.inference.models()}
    if model not in models:
        raise UsageError(f"Unknown model '{model}'. Nothing was started. {suggest_models(model, models)}")
    offer, (least, most) = models[model], _parse_replicas(replicas)
    profile, gpus, price = _choose_replica_shape(session, offer, gpu, count)
    request = CreateDeploymentRequest(
        hf_model_id=model, hardware_profile=profile, gpu_count=gpus, min_replicas=least, max_replicas=most
    )
    is_default = (profile.removeprefix("gpu."), gpus) == (offer.gpu_type.lower(), offer.gpu_count)
    return DeploymentPlan(request, price, offer.ready_timeout_s, offer.is_gpu_available if is_default else None)


def _parse_replicas(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    if not least.isdecimal() or not (most or least).isdecimal() or not 1 <= int(least) <= int(most or least):
        raise UsageError(
            f"--replicas takes a number, or minimum and maximum, got '{text}'. Nothing was "
            "started. Example: --replicas 1-3"
        )
    return int(least), int(most or least)


def _choose_replica_shape(
    session: Session, offer: DedicatedModel, gpu: str | None, count: int | None
) -> tuple[str, int, Decimal | None]:
    """Return profile, GPUs and price of a replica: the model's own, or the wanted machine's."""
    card, gpus = offer.gpu_type.lower(), count or offer.gpu_count
    machine = session.machines().resolve(gpu) if gpu else None
    profile = machine.hardware_profile if machine else f"gpu.{card}"
    if profile == f"gpu.{card}" and gpus == offer.gpu_count:
        return profile, gpus, offer.price_per_hour
    machine_type = machine or session.machines().resolve(profile)
    return profile, gpus, None if machine_type.price_per_hour is None else machine_type.price_per_hour * gpus


def create_once(client: Client, request: CreateDeploymentRequest) -> DeploymentState | Deployment:
    """Create a deployment once; after any failure, look for a new deployment of this model.

    Raises OutcomeUnknown if the result stays unknown.
    """
    earlier_ids = {each.deployment_id for each in client.inference.list(include_terminated=True)}
    new: list[Deployment] = []

    def find() -> Candidates[DeploymentState | Deployment]:
        every = client.inference.list(include_terminated=True)
        new[:] = [
            each for each in every if each.deployment_id not in earlier_ids and each.phase is not LifecyclePhase.ENDED
        ]
        fitting = [each for each in new if each.hf_model_id in {request.hf_model_id, ""}]
        ids = ", ".join(each.deployment_id for each in new)
        advice = f" New since then: {ids}. Stop it: %lk_undeploy {new[0].deployment_id}" if new else ""
        return Candidates(fitting[0] if len(fitting) == 1 else None, advice)

    return _creation.create_once(
        lambda: _create_deployment(client, request),
        find,
        lambda: (
            f"A deployment of {request.hf_model_id!r} may exist and be billed. The request was not sent again.\n"
            "Check before you deploy again: %lk_deployments"
        ),
    )


def stop_deployment(client: Client, deployment_id: str) -> str:
    """Stop a deployment, repeatedly, until its end is proven, and return its state.

    Raises ConnectionFailed after 20 s without a proof; the request is repeated in the background.
    """
    deletion = DeploymentDeletion(client, deployment_id)
    delete_or_repeat(client, deletion)
    return deletion.state or "stopped"


def _create_deployment(client: Client, request: CreateDeploymentRequest) -> DeploymentState:
    """Create a deployment with the assumed GPU field; with the other field, if the server refuses the first."""
    if not request.hardware_profile:
        return client.inference.create(request)
    card = request.hardware_profile.removeprefix("gpu.")
    forms = {
        "hardware_profile": request,
        "gpu_type": request.model_copy(update={"hardware_profile": None, "gpu_type": card}),
    }
    first = forms.pop(client.assumptions["deployment_gpu_field"])
    try:
        return client.inference.create(first)
    except (BadRequest, Invalid) as refusal:
        if not _SELECTORS.search(refusal.detail):
            raise
    name, other = forms.popitem()
    created = client.inference.create(other)
    client.assumptions.store_finding("deployment_gpu_field", name)
    return created


def follow_start(
    session: Session, deployment_id: str, seconds: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[DeploymentDetail]:
    """Yield the state of a starting deployment, until a replica serves or the time is up.

    Raises DeploymentFailed if no replica will serve, and after 60 s in a state that is neither starting, running nor
    final.
    """
    doubt = StateDoubt()
    advice = f"The deployment may still start and be billed. Stop it: %lk_undeploy {deployment_id[:SHORT_ID]}"

    def read() -> DeploymentDetail:
        return session.client.inference.get(deployment_id, include_terminated=True)

    for detail in poll(read, seconds, [PACE], advice, pause):
        yield detail
        if has_serving_replica(detail):
            return
        if detail.phase is LifecyclePhase.ENDED:
            raise deployment_failed_error(detail)
        if doubt.add(detail.phase):
            raise DeploymentFailed(describe_odd_state(detail))


#: Phases in which a deployment neither starts nor serves, and may be billed.
_ODD_PHASES = {LifecyclePhase.ENDING, LifecyclePhase.HALTED, LifecyclePhase.UNKNOWN}


def describe_odd_state(deployment: Deployment) -> str:
    """Return the text about a state that is neither starting, running nor final; empty for any other state."""
    if deployment.phase not in _ODD_PHASES:
        return ""
    short = deployment.deployment_id[:SHORT_ID]
    state = one_line(deployment.status)
    return f"The cloud reports deployment {short} as '{state}', and may bill it. Stop it: %lk_undeploy {short}"


def has_serving_replica(deployment: DeploymentDetail) -> bool:
    """Whether a replica answers. Of a deployment without a list of replicas, the state decides."""
    if deployment.replicas is None:
        return deployment.phase is LifecyclePhase.RUNNING
    return any(replica.healthy and not _has_ended(replica.status) for replica in deployment.replicas)


def _has_ended(status: str) -> bool:
    return read_phase(status, DEPLOYMENT_PHASES) is LifecyclePhase.ENDED


def deployment_failed_error(deployment: DeploymentDetail) -> DeploymentFailed:
    """Return the error of a deployment that does not serve."""
    short = deployment.deployment_id[:SHORT_ID]
    reason = next((replica.fail_reason for replica in deployment.replicas or [] if replica.fail_reason), None)
    if deployment.status.lower() == "stopped":
        return DeploymentFailed(f"Deployment {short} was stopped before it was ready.")
    return DeploymentFailed(
        f"Deployment {short} of {deployment.hf_model_id} failed: {reason or 'no reason was given'}.\nDelete it: "
        f"%lk_undeploy {short}. If memory was short, deploy with another --gpu."
    )


def read_replica_logs(session: Session, deployment: DeploymentDetail) -> list[tuple[str, str]]:
    """Return the last log lines of failed replicas, with the replicas' ids."""
    replica_logs = []
    for replica in deployment.replicas or []:
        if replica.status == "failed":
            text = session.client.inference.replica_logs(replica.replica_id).error_logs
            replica_logs.append((replica.replica_id, text or ""))
    return replica_logs


def find_deployment(session: Session, name: str) -> Deployment:
    """Return the deployment of a name: an id, the start of an id, or a model. Raises UsageError."""
    every = {each.deployment_id: each for each in session.client.inference.list(include_terminated=True)}
    matches = [every[name]] if name in every else [each for each in every.values() if is_called(each, name)]
    alive = [each for each in matches if each.status not in OVER] or matches
    if len(alive) == 1:
        return alive[0]
    if not alive:
        raise UsageError(f"Unknown deployment '{name}'. List them: %lk_deployments")
    raise UsageError(
        f"'{name}' matches several deployments: {', '.join(each.deployment_id[:SHORT_ID] for each in alive)}."
    )
