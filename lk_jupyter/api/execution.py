"""Runs: start, status, record, timing, metrics, output stream (``/execution``, ``/stream``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from lk_jupyter.api._endpoint import DELETE, GET, POST, V1, Group
from lk_jupyter.api._events import StreamEvent
from lk_jupyter.api._models import Cost, Items, Message, Model, RunId, RunStatus, Text, Texts, Timestamp
from lk_jupyter.api.states import FINAL_STATES as FINAL_STATES  # noqa: PLC0414 (known by this place too)
from lk_jupyter.api.states import SUCCEEDED_STATES as SUCCEEDED_STATES  # noqa: PLC0414
from lk_jupyter.api.states import UNKNOWN, guess_end_state, is_known
from lk_jupyter.api.states import is_final as is_final  # noqa: PLC0414
from lk_jupyter.protocol.json_limits import load_json

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_TIMEOUT = 60
MAX_TIMEOUT = 600


def _parse_metadata(value: Any) -> Any:
    """Read metadata sent as JSON text; text without an object gives no metadata."""
    try:
        parsed = load_json(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return {}
    return {} if isinstance(value, str) and not isinstance(parsed, dict) else parsed


Metadata = Annotated[dict[str, Any], BeforeValidator(_parse_metadata, json_schema_input_type=dict[str, Any] | str)]


class _Script(Model):
    """Common fields of all starts of Python code."""

    code: str = Field(description="Python source.")
    nbcode: int = Field(0, description="0 for a plain script, 1 for notebook code.")
    timeout: int = Field(
        DEFAULT_TIMEOUT,
        ge=1,
        le=MAX_TIMEOUT,
        description="Maximum duration of the run, in seconds.",
        json_schema_extra={"unit": "s"},
    )
    requirements_content: str | None = Field(
        None, description="Text of a requirements.txt. Its packages are installed before the code runs."
    )
    prior_imports: list[str] | None = Field(None, description="Modules or import statements to run before the code.")
    kernel_state: str | None = Field(None, description="Serialized interpreter state to start from.")
    import_files: str | None = Field(
        None,
        repr=False,
        description="JSON object as text. Each key is the relative path of a file, and each value is the file's text.",
    )
    file_name: str | None = Field(None, description="Script name, also the display name when run_name is missing.")


class StreamingExecutionRequest(_Script):
    """A Python run to start."""

    execution_type: str = Field("cpu", pattern=r"^[a-zA-Z0-9_.]+$", description="Machine to run on.")
    user_callback_urls: list[str] | None = Field(
        None, description="HTTPS addresses that the cloud calls when the run ends."
    )
    run_name: str | None = Field(None, description="Display name, in place of the file name.")
    labels: list[str] | None = Field(None, description="Tags of your choice, to find the run later.")
    metadata: dict[str, str] | None = Field(None, description="Key-value pairs of your choice.")


class _Container(Model):
    """Common fields of all starts of containers."""

    import_files: ClassVar[str | None] = None  # fields that only Python runs may have
    requirements_content: ClassVar[str | None] = None
    docker_registry_credential_type: str | None = Field(None, description="Registry login: basic or aws.")
    aws_access_key_id: str | None = Field(None, repr=False)
    aws_secret_access_key: str | None = Field(None, repr=False)
    aws_session_token: str | None = Field(None, repr=False)
    aws_region: str | None = Field("us-east-1", description="Region of the ECR registry.")
    docker_username: str | None = Field(None, description="For a basic login.")
    docker_password: str | None = Field(None, repr=False, description="For a basic login.")
    timeout: int = Field(
        DEFAULT_TIMEOUT,
        ge=1,
        le=MAX_TIMEOUT,
        description="Maximum duration of the run, in seconds.",
        json_schema_extra={"unit": "s"},
    )
    execution_type: str = Field("cpu", pattern=r"^[a-zA-Z0-9_.]+$", description="Machine to run on.")
    file_name: str | None = Field(None, description="Display name when run_name is missing.")
    user_callback_urls: list[str] | None = Field(
        None, description="HTTPS addresses that the cloud calls when the run ends."
    )
    graceful_timeout: int | None = Field(
        None, ge=1, le=300, description="Seconds between the stop signal and the kill. Default: 10."
    )
    run_name: str | None = Field(None, description="Display name.")
    labels: list[str] | None = Field(None, description="Tags of your choice, to find the run later.")
    metadata: dict[str, str] | None = Field(None, description="Key-value pairs of your choice.")


class DockerExecutionRequest(_Container):
    """A container image to run."""

    docker_image_ref: str = Field(description="Image, such as python:3.11.")
    docker_run_cmd: list[str] | None = Field(
        None, repr=False, description="Command and arguments that replace the image's command."
    )
    docker_run_env: str | None = Field(
        None, repr=False, description="Environment variables as NAME=value, one per line."
    )
    docker_run_user: str | None = Field(None, description="User in the container: a name, uid, or uid:gid.")
    job_type: str | None = Field(None, description="customer_image, or customer_notebook for a Jupyter server.")
    enable_s3_mount: bool = Field(default=True, description="Mount the account's bucket.")
    s3_mount_path: str = Field("/mnt/s3", description="Folder at which the container finds the bucket.")


class DockerComposeExecutionRequest(_Container):
    """A stack of containers to run."""

    compose_file_code: str = Field(repr=False, description="Text of the compose file.")
    enable_s3_mount: bool = Field(default=False, description="Mount the account's bucket at /mnt/s3 in each service.")


StartRequest = StreamingExecutionRequest | DockerExecutionRequest | DockerComposeExecutionRequest


class GpuSelectionRequest(_Script):
    """A script to try on each GPU profile of the account."""

    timeout: int = Field(
        DEFAULT_TIMEOUT,
        ge=1,
        le=MAX_TIMEOUT,
        description="Maximum duration of each try, in seconds.",
        json_schema_extra={"unit": "s"},
    )
    file_name: str | None = Field(None, description="Script name.")


class StartResponse(Model):
    """An accepted run."""

    execution_id: RunId
    status: RunStatus = UNKNOWN
    streaming_url: Text = Field("", description="Address of the output stream; treat it as a secret.", repr=False)


class StreamingStartResponse(StartResponse):
    """An accepted Python run."""

    pythia_decision: str | None = Field(None, description="Hardware advice of the scheduler, for display.")


class RunState(Model):
    """The state of a run. An unknown word counts as an end if another field proves the end."""

    status: RunStatus = UNKNOWN
    _word: str = PrivateAttr("")

    @model_validator(mode="after")
    def _map_status(self) -> Self:
        if not is_known(self.status):
            facts = {**(self.model_extra or {}), **self.__dict__}
            code = next((facts[name] for name in _EXIT_CODES if facts.get(name) is not None), None)
            if code is not None or any(facts.get(name) for name in _END_TIMES):
                self._word = self.status
                self.status = guess_end_state(self._word, code, failed=any(facts.get(name) for name in _ERRORS))
        return self

    @property
    def word(self) -> str:
        """The server's own word for the state."""
        return self._word or self.status

    @property
    def known_since(self) -> datetime | None:
        """The first known time: of the request, otherwise of the start or the end."""
        names = ("created_at", "execelet_start", "start_time", "job_start", "end_time", "finish_time")
        return next((moment for name in names if (moment := getattr(self, name, None))), None)


_END_TIMES = ("end_time", "finish_time", "job_end", "ended_at", "finished_at", "completed_at")
_EXIT_CODES = ("return_code", "exit_code", "returnCode", "exitCode")
_ERRORS = ("errors", "system_errors", "error", "errors_docker")


class StreamingStatus(RunState):
    """The present state of a run."""

    execution_id: str | None = None
    errors: Texts | None = None


class AbortResponse(Model):
    """The answer to an abort or a stop; the run may stay active for a while."""

    execution_id: str | None = None
    status: RunStatus = UNKNOWN
    message: Text = ""


class GpuSelectionStartResponse(Model):
    """An accepted selection, which has no stream."""

    execution_id: RunId
    status: RunStatus = UNKNOWN
    message: Text = ""


class MemoryRequirements(Model):
    """Memory in GB that a model needs, by use; ``parameter_count`` in billions."""

    parameter_count: float | None = None
    model_weights: float | None = None
    gradients: float | None = None
    optimizer_states: float | None = None
    activations: float | None = None
    largest_layer: float | None = None


class MinimalConfig(Model):
    """The minimum number of GPUs of a type for a model."""

    gpu_type: str | None = None
    per_gpu_vram_gb: float | None = None
    min_gpu_count: int | None = None
    vram_utilization_percent: float | None = None


class MemoryConfig(Model):
    """Findings about the memory that a script needs."""

    memory_requirements: MemoryRequirements | None = None
    minimal_configs: list[MinimalConfig] | None = None


class ExtractionResult(Model):
    """Facts read from a script before the run."""

    status: str | None = None
    memory_config: MemoryConfig | None = None


class TrainIteration(Model):
    """Speed of the training loop."""

    train_iterations_per_second: float | None = None


class TrainTime(Model):
    """Time of a training step."""

    avg_train_time_ms: float | None = None


class RuntimeReport(Model):
    """Measurements of a running script; times in seconds."""

    estimated_per_epoch_time_s: float | None = None
    train_iteration: TrainIteration | None = None
    training: TrainTime | None = None
    peak_vram_mb: float | None = Field(None, alias="Peak VRAM Allocated (MB)")


class ProfilingResult(Model):
    """An attempt: ``execution_time`` in seconds, ``cost`` in credits."""

    profile: str | None = None
    status: str | None = None
    execution_time: float | None = None
    cost: Cost | None = None
    runtime_report: RuntimeReport | None = None


class SelectionMetrics(Model):
    """A row of the result table; ``htime`` is ``time`` (seconds) for display."""

    status: str | None = None
    time: float | None = None
    htime: str | None = None
    cost: Cost | None = None
    is_per_epoch: bool | None = None


class SelectionResults(Model):
    """The best profiles, and the table of all profiles."""

    best: str | None = None
    fastest: str | None = None
    cheapest: str | None = None
    metrics: dict[str, SelectionMetrics] | None = None


class GpuSelectionMetadata(Model):
    """The findings of a selection so far; a part is missing until its phase ends."""

    extraction_result: ExtractionResult | None = None
    profiling_results: list[ProfilingResult] | None = None
    selection_results: SelectionResults | None = None


class GpuSelectionStatus(RunState):
    """State and results of a selection."""

    execution_id: str | None = None
    system_errors: list[str] | None = None
    metadata: Annotated[
        GpuSelectionMetadata | None,
        BeforeValidator(_parse_metadata, json_schema_input_type=dict[str, Any] | str | None),
    ] = None


class ExecutionRecord(RunState):
    """The complete record of a run. Times are UTC, ``billed`` is in credits."""

    execution_id: RunId
    created_at: Timestamp | None = Field(None, description="Request received.")
    user_id: str | None = None
    status_details: str | None = None
    execution_type: str | None = Field(
        None, description="Kind of run. In the request, execution_type is the machine type."
    )
    job_type: str | None = None
    hardware_profile: str | None = Field(None, description="Requested machine type.")
    parent_execution_id: str | None = None
    file_name: str | None = None
    run_name: str | None = None
    labels: list[str] | None = None
    metadata: Metadata | None = None
    execelet_start: Timestamp | None = Field(None, description="A machine accepted the run.")
    start_time: Timestamp | None = Field(None, description="The code started.")
    end_time: Timestamp | None = Field(None, description="The code ended.")
    finish_time: Timestamp | None = Field(None, description="The result was processed.")
    job_start: Timestamp | None = Field(None, description="Older name of start_time.")
    job_end: Timestamp | None = Field(None, description="Older name of end_time.")
    return_code: int | None = None
    stdout: str | None = Field(None, description="Output of the run; missing if very long. The logs contain it.")
    stderr: str | None = Field(None, description="Error output of the run; missing if very long.")
    combined_output: str | None = Field(None, description="Lines of stdout and stderr in order; missing if very long.")
    install_log: str | None = Field(None, description="Output of the requirements install.")
    install_return_code: int | None = None
    errors: Texts | None = None
    warnings: Texts | None = None
    system_errors: list[str] | None = Field(None, description="Failures of the platform.")
    errors_docker: str | None = None
    billed: Cost | None = Field(None, description="Credits charged so far.")
    python_code: str | None = None
    python_requirements: str | None = None
    python_globals_in: str | None = None
    python_globals_out: str | None = Field(None, description="Interpreter state after the run.")
    local_imports: str | list[str] | None = None
    docker_image_ref: str | None = None
    docker_run_cmd: str | list[str] | None = Field(None, repr=False)
    docker_run_env: str | None = Field(None, repr=False)


class Phase(Model):
    """A phase of a run; ``duration`` in seconds."""

    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    duration: float | None = None


class Timing(Model):
    """The duration of a run in seconds, by phase."""

    total_duration: float | None = None
    jobRequestSent: float | None = None  # noqa: N815
    queued: float | None = None
    launchingContainer: float | None = None  # noqa: N815
    executingJob: float | None = None  # noqa: N815
    shuttingDown: float | None = None  # noqa: N815
    total: float | None = None
    phases: dict[str, Phase] | None = None


class TimingResponse(Model):
    """Timing of a run."""

    execution_id: str | None = None
    timing: Timing | None = None


class MetricPoint(Model):
    """A sample; a null value is a gap."""

    timestamp: Timestamp
    value: float | None = None


class TimeRange(Model):
    """The time span of the samples."""

    start: Timestamp | None = None
    end: Timestamp | None = None


class ExecutionMetrics(Model):
    """GPU and host series of a run; a series without samples is empty."""

    executionId: str | None = None  # noqa: N815
    hostname: str | None = None
    timeRange: TimeRange | None = None  # noqa: N815
    gpuUtilizationPercent: Items[MetricPoint] = []  # noqa: N815
    gpuMemoryUtilizationPercent: Items[MetricPoint] = []  # noqa: N815
    gpuTemperatureCelsius: Items[MetricPoint] = []  # noqa: N815
    gpuPowerWatt: Items[MetricPoint] = []  # noqa: N815
    gpuPowerLimitWatt: Items[MetricPoint] = []  # noqa: N815
    gpuClockSmMhz: Items[MetricPoint] = []  # noqa: N815
    gpuClockMemMhz: Items[MetricPoint] = []  # noqa: N815
    gpuPcieThroughputRxBytesPerSec: Items[MetricPoint] = []  # noqa: N815
    gpuPcieThroughputTxBytesPerSec: Items[MetricPoint] = []  # noqa: N815
    systemRamTotalBytes: Items[MetricPoint] = []  # noqa: N815
    systemRamUsedBytes: Items[MetricPoint] = []  # noqa: N815
    systemCpuUsagePercent: Items[MetricPoint] = []  # noqa: N815


class Execution(Group):
    """Starts of every kind of run, and the record of any run.

    Example:
        >>> from lk_jupyter.api.execution import StreamingExecutionRequest
        >>> run = client.execution.start_streaming(StreamingExecutionRequest(code="print(6 * 7)", timeout=60))
        >>> _ = list(client.stream.output(run.execution_id))
        >>> client.execution.status(run.execution_id).status
        'completed'
        >>> client.execution.get(run.execution_id).stdout.strip()
        '42'
        >>> client.execution.timing(run.execution_id).timing.executingJob > 0
        True
        >>> client.execution.metrics(run.execution_id, step="5s").executionId == run.execution_id
        True
        >>> _ = client.execution.delete(run.execution_id)

        >>> # Containers, stacks and a try of every GPU are started alike; each has its way to end.
        >>> from lk_jupyter.api.execution import DockerExecutionRequest
        >>> run = client.execution.start_image(DockerExecutionRequest(docker_image_ref="python:3.11"))
        >>> _ = client.execution.abort_image(run.execution_id)
        >>> from lk_jupyter.api.execution import DockerComposeExecutionRequest
        >>> stack = "services: {app: {image: python:3.11}}"
        >>> run = client.execution.start_compose(DockerComposeExecutionRequest(compose_file_code=stack))
        >>> _ = client.workloads.abort(run.execution_id)
        >>> from lk_jupyter.api.execution import GpuSelectionRequest
        >>> run = client.execution.start_gpu_selection(GpuSelectionRequest(code="print(1)"))
        >>> client.execution.gpu_selection_status(run.execution_id).execution_id == run.execution_id
        True
        >>> _ = client.workloads.abort(run.execution_id)
        >>> for end in (client.execution.abort_streaming, client.execution.complete_streaming):
        ...     run = client.execution.start_streaming(StreamingExecutionRequest(code="input()"))
        ...     _ = end(run.execution_id)
    """

    @POST("/execution/streaming/start", effect="spends", creates=True, magic="%%lk_run, %lk_run_notebook")
    def start_streaming(self, request: StreamingExecutionRequest) -> StreamingStartResponse:
        """Submit a Python run; the answer arrives immediately, with the id and the address of the output."""
        ...

    @GET("/execution/streaming/{execution_id}/status", magic="%%lk_run, %lk_sessions list")
    def status(self, execution_id: str) -> StreamingStatus:
        """Read the present state of a run, cheaply."""
        ...

    @POST(
        "/execution/streaming/abort/{execution_id}",
        effect="stops",
        repeatable=True,
        no_magic="This operation has no magic, because `%lk_abort` calls its newer form.",
    )
    def abort_streaming(self, execution_id: str) -> AbortResponse | None:
        """Abort a Python run; an older form of ``workloads.abort``."""
        ...

    @POST(
        "/execution/streaming/complete/{execution_id}",
        effect="stops",
        repeatable=True,
        no_magic="This older operation has no magic, because runs no longer need the operation.",
    )
    def complete_streaming(self, execution_id: str) -> AbortResponse | None:
        """Mark a run as completed by the client. This is an older operation."""
        ...

    @POST("/execution/image/start", effect="spends", creates=True, magic="%%lk_docker, %lk_notebook start")
    def start_image(self, request: DockerExecutionRequest) -> StartResponse:
        """Submit a run of a container image, or a hosted Jupyter server (``job_type`` customer_notebook)."""
        ...

    @POST(
        "/execution/image/abort/{execution_id}",
        effect="stops",
        repeatable=True,
        no_magic="This operation has no magic, because `%lk_abort` calls its newer form.",
    )
    def abort_image(self, execution_id: str) -> AbortResponse | None:
        """Abort a container run; an older form of ``workloads.abort``."""
        ...

    @POST("/execution/compose/start", effect="spends", creates=True, magic="%%lk_compose")
    def start_compose(self, request: DockerComposeExecutionRequest) -> StartResponse:
        """Submit a stack of containers, defined by the text of a compose file."""
        ...

    @POST("/execution/gpu_selection/start", effect="spends", creates=True, magic="%%lk_select")
    def start_gpu_selection(self, request: GpuSelectionRequest) -> GpuSelectionStartResponse:
        """Try a script on each GPU machine type of the account; each attempt is billed as a separate run."""
        ...

    @GET("/execution/gpu_selection/{execution_id}/status", magic="%%lk_select")
    def gpu_selection_status(self, execution_id: str) -> GpuSelectionStatus:
        """Read the phase of a GPU selection, and its results so far."""
        ...

    @GET("/execution/{execution_id}", magic="%%lk_run, %lk_sessions list, %lk_status")
    def get(self, execution_id: str) -> ExecutionRecord:
        """Read the full record of a run: state, output, result and cost."""
        ...

    @DELETE("/execution/{execution_id}", magic="%lk_delete")
    def delete(self, execution_id: str) -> Message | None:
        """Remove the record of a run."""
        ...

    @GET("/execution/{execution_id}/timing", magic="%lk_status")
    def timing(self, execution_id: str) -> TimingResponse:
        """Read start, end, duration and phases of a run, in seconds."""
        ...

    @GET("/execution/{execution_id}/metrics", magic="%%lk_run")
    def metrics(
        self, execution_id: str, start: str | None = None, end: str | None = None, step: str = "15s"
    ) -> ExecutionMetrics:
        """Read the GPU and host metrics of one run over time.

        ``start`` and ``end`` are ISO 8601 times and default to the entire run; ``step`` is a
        Prometheus duration such as ``5s`` or ``1m``.
        """
        ...


class Stream(Group):
    """The output of a run while it is written, and again from its beginning later.

    Example:
        >>> from lk_jupyter.api.execution import StreamingExecutionRequest
        >>> run = client.execution.start_streaming(StreamingExecutionRequest(code="print(6 * 7)"))
        >>> list(client.stream.output(run.execution_id))
        [Output(...), Finished(...)]
    """

    @POST("/stream/{execution_id}", effect="reads", server=V1, auth=False, repeatable=True, magic="%%lk_run")
    def output(self, execution_id: str) -> Iterator[StreamEvent]:
        """Follow the output of a run; the last event reports the end of the run."""
        ...
