"""Models on GPUs of one's own: which can be deployed, at which price, and how far a deployment is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from lk_jupyter.api.inference import CreateDeploymentRequest, DedicatedModel, Deployment, DeploymentDetail
from lk_jupyter.errors import DeploymentFailed, UsageError
from lk_jupyter.inference.answerer import is_called
from lk_jupyter.inference.catalogue import near
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.session import Session

#: Seconds between two looks at a deployment that starts.
PACE = 1.0

OVER = frozenset({"failed", "stopped"})


@dataclass(frozen=True)
class Plan:
    """A deployment that may be asked for; ``per_hour`` is the price of one replica, where it is known."""

    request: CreateDeploymentRequest
    per_hour: Decimal | None
    ready_seconds: int
    gpu_is_free: bool | None

    @property
    def hardware(self) -> str:
        """The GPUs of a replica, in words."""
        count = self.request.gpu_count or 1
        return f"{count} x {self.request.hardware_profile}" if count > 1 else str(self.request.hardware_profile)


def plan(session: Session, model: str, gpu: str | None, count: int | None, replicas: str) -> Plan:
    """Return what to ask for. Raises UsageError for a model, a card or a number of replicas that there is not."""
    models = {each.serving_name: each for each in session.client.inference.models()}
    if model not in models:
        raise UsageError(f"There is no model {model!r} to deploy. {near(model, models)} Nothing was started.")
    offer, (least, most) = models[model], _replicas(replicas)
    profile, gpus, price = _shape(session, offer, gpu, count)
    request = CreateDeploymentRequest(
        hf_model_id=model, hardware_profile=profile, gpu_count=gpus, min_replicas=least, max_replicas=most
    )
    is_default = (profile.removeprefix("gpu."), gpus) == (offer.gpu_type.lower(), offer.gpu_count)
    return Plan(request, price, offer.ready_timeout_s, offer.is_gpu_available if is_default else None)


def _replicas(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    if not least.isdecimal() or not (most or least).isdecimal() or not 1 <= int(least) <= int(most or least):
        raise UsageError(f"--replicas takes a number, or the least and the most such as 1-3, not {text!r}.")
    return int(least), int(most or least)


def _shape(
    session: Session, offer: DedicatedModel, gpu: str | None, count: int | None
) -> tuple[str, int, Decimal | None]:
    """Return profile, GPUs and price of a replica: the model's own, or those of the machine that is wished for."""
    card, gpus = offer.gpu_type.lower(), count or offer.gpu_count
    machine = session.machines().resolve(gpu) if gpu else None
    profile = machine.hardware_profile if machine else f"gpu.{card}"
    if profile == f"gpu.{card}" and gpus == offer.gpu_count:
        return profile, gpus, offer.price_per_hour
    known = machine or session.machines().resolve(profile)
    return profile, gpus, None if known.price_per_hour is None else known.price_per_hour * gpus


def starting(
    session: Session, deployment_id: str, seconds: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[DeploymentDetail]:
    """Yield a deployment as it starts, until a replica serves or the time is up.

    Raises DeploymentFailed when none will.
    """
    until = time.monotonic() + seconds
    while True:
        found = session.client.inference.get(deployment_id, include_terminated=True)
        yield found
        if serves(found) or time.monotonic() > until:
            return
        if found.status in OVER:
            raise failed(found)
        pause(PACE)


def serves(deployment: DeploymentDetail) -> bool:
    """Whether a replica answers."""
    return any(replica.healthy and replica.status not in OVER for replica in deployment.replicas or [])


def failed(deployment: DeploymentDetail) -> DeploymentFailed:
    """Return the error of a deployment that does not serve."""
    short = deployment.deployment_id[:SHORT_ID]
    reason = next((replica.fail_reason for replica in deployment.replicas or [] if replica.fail_reason), None)
    if deployment.status == "stopped":
        return DeploymentFailed(f"Deployment {short} was stopped before it served.")
    return DeploymentFailed(
        f"Deployment {short} of {deployment.hf_model_id} failed: {reason or 'no reason was given'}.\n"
        f"%lk_undeploy {short} takes it away; %lk_deploy with another --gpu may help when memory was short."
    )


def logs(session: Session, deployment: DeploymentDetail) -> list[tuple[str, str]]:
    """Return what the replicas that failed wrote last, by their ids."""
    found = []
    for replica in deployment.replicas or []:
        if replica.status == "failed":
            text = session.client.inference.replica_logs(replica.replica_id).error_logs
            found.append((replica.replica_id, text or ""))
    return found


def find(session: Session, name: str) -> Deployment:
    """Return the deployment of a name: its id, the beginning of it, or its model. Raises UsageError."""
    found = [each for each in session.client.inference.list(include_terminated=True) if is_called(each, name)]
    alive = [each for each in found if each.status != "stopped"] or found
    if len(alive) == 1:
        return alive[0]
    if not alive:
        raise UsageError(f"There is no deployment {name!r}. %lk_deployments lists yours.")
    raise UsageError(f"{name!r} may be several: {', '.join(each.deployment_id[:SHORT_ID] for each in alive)}.")
