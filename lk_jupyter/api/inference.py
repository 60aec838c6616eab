"""Models on your own GPUs (``/inference``): deployments, replicas, and asynchronous requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, Field, model_validator

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._events import Event
from lk_jupyter.api._models import (
    GpuCount,
    GpuPriceString,
    Id,
    Items,
    Listing,
    Model,
    State,
    Text,
    Timestamp,
    count_problem,
    unless_null,
)
from lk_jupyter.api.states import DEPLOYMENT_PHASES, UNKNOWN, LifecyclePhase, read_phase

if TYPE_CHECKING:
    from typing_extensions import Self

#: The id of a deployment, under any name of a server.
DeploymentId = Annotated[
    str, Field(validation_alias=AliasChoices("deployment_id", "deploymentId", "id"), coerce_numbers_to_str=True)
]


class CreateDeploymentRequest(Model):
    """A model to serve and the GPUs; the server chooses omitted values."""

    hf_model_id: str = Field(description="Model to deploy: a serving_name from the list of deployable models.")
    hardware_profile: str | None = Field(None, description="Machine type of each replica, such as gpu.a100.")
    gpu_type: str | None = Field(None, description="GPU type of each replica, such as h100.")
    gpu_count: GpuCount | None = Field(None, description="GPUs of each replica.")
    gpu_vram_gb: int | None = None
    vllm_args: str | None = None
    target_rps: float | None = Field(
        None, description="Requests per second to a replica. Above this rate, another replica starts."
    )
    target_latency_p95_ms: float | None = Field(
        None, description="95th percentile of the latency, in ms. Above this latency, another replica starts."
    )
    stabilisation_window: int | None = Field(None, description="Seconds without requests before a replica ends.")
    hf_token: str | None = Field(None, repr=False, description="Hugging Face token for gated models.")
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)

    def problem(self) -> str:
        """Return why a deployment must not be requested."""
        return count_problem("gpu_count", self.gpu_count)


class DeploymentState(Model):
    """A deployment and the state: pending, created (serves), paused, stopped, failed."""

    deployment_id: DeploymentId
    status: State = UNKNOWN


class Replica(Model):
    """A replica of the model; the replica answers once ``healthy`` is true."""

    replica_id: Id
    status: State = UNKNOWN
    healthy: bool | None = None
    last_health_check: Timestamp | None = None
    fail_reason: str | None = None


class Deployment(Model):
    """A deployment in a list."""

    deployment_id: DeploymentId
    hf_model_id: Text = ""
    hardware_profile: Text = ""
    status: State = UNKNOWN
    current_replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    created_at: Timestamp | None = None

    @property
    def phase(self) -> LifecyclePhase:
        """The meaning of the state."""
        return read_phase(self.status, DEPLOYMENT_PHASES)

    @model_validator(mode="after")
    def _name_hardware(self) -> Self:
        """Use the GPU type if a server sends no profile."""
        card = (self.model_extra or {}).get("gpu_type")
        if card and not self.hardware_profile:
            self.hardware_profile = f"gpu.{str(card).lower()}"
        return self


class DeploymentDetail(Deployment):
    """A deployment with scaling and replicas."""

    desired_replicas: int | None = None
    target_rps: float | None = None
    target_latency_p95_ms: float | None = None
    stabilisation_window: int | None = None
    replicas: list[Replica] | None = None


class DeploymentList(Listing[Deployment]):
    """The deployments of an organization."""

    _key = "deployments"
    deployments: Items[Deployment]


class StopDeploymentRequest(Model):
    """The deployment to stop."""

    deployment_id: str


class DedicatedModel(Model):
    """A deployable model, with its default GPUs.

    ``price_per_hour`` is in credits for one replica; ``is_gpu_available`` is None if unknown; ``ready_timeout_s``
    is the seconds to wait for the first healthy replica.
    """

    serving_name: str
    hf_model_id: Text = ""
    gpu_type: Text = ""
    gpu_count: Annotated[int, unless_null(1)] = 1
    price_per_hour: GpuPriceString = None
    is_gpu_available: bool | None = None
    ready_timeout_s: Annotated[int, unless_null(600)] = 600


class DedicatedModelList(Listing[DedicatedModel]):
    """The deployable models."""

    _key = "models"
    models: Items[DedicatedModel]


class ReplicaLogs(Model):
    """The last output of a failed replica; None without output."""

    replica_id: str | None = None
    error_logs: str | None = None


class InferenceEvent(Event):
    """An event of an asynchronous request: queued, then finished with a result or failed with an error."""

    event: str | None = None
    inference_id: str | None = None
    result: Any = None
    error: str | dict[str, Any] | None = None

    def is_last(self) -> bool:
        """Whether this is the last event."""
        return self.event in {"finished", "failed"}


class Inference(Group):
    """Deployments and asynchronous requests.

    Example:
        >>> from lk_jupyter.api.inference import CreateDeploymentRequest, StopDeploymentRequest
        >>> [model.serving_name for model in client.inference.models()]
        [...'local/echo'...]
        >>> created = client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo", gpu_type="h100"))
        >>> deployment = client.inference.get(created.deployment_id)
        >>> deployment.hardware_profile
        'gpu.h100'
        >>> created.deployment_id in {row.deployment_id for row in client.inference.list()}
        True
        >>> logs = client.inference.replica_logs(deployment.replicas[0].replica_id)
        >>> client.inference.stop(StopDeploymentRequest(deployment_id=created.deployment_id)).status
        'stopped'
        >>> next(client.inference.follow("no-such-request"))
        Traceback (most recent call last):
        lk_jupyter.errors.NotFound: ...
    """

    is_audited = True

    @POST("/inference/create", effect="spends", creates=True, magic="%lk_deploy")
    def create(self, request: CreateDeploymentRequest) -> DeploymentState:
        """Request replicas for a model. To wait for a healthy replica, read the deployment repeatedly.

        Billed by the second for each replica. Raises PaymentRequired without credits, Forbidden without access
        to the GPU.
        """
        ...

    @GET("/inference/get", timeout=15, magic="%%lk_chat, %lk_deploy, %lk_deployments")
    def get(self, deployment_id: str, include_terminated: bool = False) -> DeploymentDetail:  # noqa: FBT001, FBT002
        """Read a deployment with all replicas. Stopped deployments are included only on request."""
        ...

    @GET("/inference/list", timeout=15, magic="%%lk_chat, %lk_deployments")
    def list(self, include_terminated: bool = False) -> DeploymentList:  # noqa: FBT001, FBT002
        """List the deployments. Stopped deployments are included only on request."""
        ...

    @DELETE("/inference/stop", magic="%lk_undeploy")
    def stop(self, request: StopDeploymentRequest) -> DeploymentState | None:
        """Stop a deployment and all replicas."""
        ...

    @GET("/inference/models", timeout=20, magic="%lk_deploy")
    def models(self) -> DedicatedModelList:
        """List the deployable models."""
        ...

    @GET("/inference/replica/{replica_id}/logs", timeout=15, magic="%lk_deployments")
    def replica_logs(self, replica_id: str) -> ReplicaLogs:
        """Read the last output of a failed replica."""
        ...

    @GET(
        "/inference/streaming/stream/{inference_id}",
        no_magic="This operation has no magic, because no operation of the API starts such a stream.",
    )
    def follow(self, inference_id: str) -> Iterator[InferenceEvent]:
        """Follow an asynchronous request. Its first state is queued, and its last state is finished or failed."""
        ...
