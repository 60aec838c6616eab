"""Ways in which the real cloud may differ from the local cloud, each behind a switch in this module.

A switch has the name of the broken assumption, and a value of the assumption. ``mount`` calls this module for the path,
the handler and the body of each operation; other switches change answers, or parts of the cloud when the cloud is
created.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from fastapi import Depends, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import InitErrorDetails
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lk_jupyter.api._endpoint import EXTERNAL, OPENAI, V1, Endpoint, endpoint_of
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    GpuSelectionRequest,
    Stream,
    StreamingExecutionRequest,
)
from lk_jupyter.api.inference import CreateDeploymentRequest
from lk_jupyter.config.assumptions import ABSENT, ROUTE, SEPARATOR, find_assumption
from lk_jupyter.localcloud.buckets.s3 import Bucket, BucketStorage
from lk_jupyter.localcloud.clock import now, to_seconds
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.context import AnonymousContext
from lk_jupyter.localcloud.models import models
from lk_jupyter.localcloud.models.envelope import Refusal
from lk_jupyter.localcloud.models.upstream import restrict_for_upstream
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.recorded import Recording
from lk_jupyter.localcloud.routes.stream import follow
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.notebook_run import JOB_TYPE
from lk_jupyter.localcloud.runs.python_run import PythonRun
from lk_jupyter.localcloud.runs.records import is_active

if TYPE_CHECKING:
    from lk_jupyter.localcloud.accounts.accounts import Caller

_CHATS = re.compile(r"/serverless/(models|chat/completions|embeddings)")
_BATCHES = re.compile(r"/(batches|files)(/.*)?")

_SELECTIONS = re.compile(r"/execution/gpu_selection/.*")

_STREAM = endpoint_of(Stream.output)

#: The switch that is on in front of an upstream, without a name in the options.
UPSTREAM = "upstream"

#: Switches of a recording, without a name in the options: aborts and time limits without effect, and the seconds from
#: the end of a run to its bill.
ABORTS, LIMITS, BILL_SECONDS = "aborts", "limits", "bill_seconds"


@dataclass(frozen=True)
class RunLimit:
    """The longest time limit of runs in seconds, None as documented; a longer limit is refused, or shortened."""

    seconds: int | None = None
    shortens: bool = False


class Strange:
    """The switches that are on, each with its value, and the time limit of runs."""

    def __init__(self, values: Mapping[str, str] = MappingProxyType({}), run_limit: RunLimit = RunLimit()) -> None:
        self.values = dict(values)
        longest = self.values.get("longest_run")
        self._run_limit = RunLimit(int(longest)) if longest and not run_limit.seconds else run_limit

    @property
    def changes_routes(self) -> bool:
        """Whether a route differs from the documented route."""
        return bool(self.values or self._run_limit.seconds)

    def places(self, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        """Yield method and path of every route of an operation."""
        if self._lacks(endpoint):
            return
        moved = "batch_prefix" in self.values and _BATCHES.fullmatch(endpoint.path)
        method = "GET" if endpoint is _STREAM and "stream_method" in self.values else endpoint.method
        for server in (OPENAI,) if moved else endpoint.servers:
            yield method, server + endpoint.path

    def _lacks(self, endpoint: Endpoint) -> bool:
        """Return whether the cloud doesn't have an operation."""
        groups = [
            _CHATS if "chat_prefix" in self.values else None,
            _SELECTIONS if "gpu_selection" in self.values else None,
            _BATCHES if self.values.get("batch_prefix") == ABSENT else None,
        ]
        operations = self.values.get("absent_operations", "").split(SEPARATOR)
        if lookup := self.values.get("signin_lookup"):
            candidates = (find_assumption("signin_lookup").default, *find_assumption("signin_lookup").alternatives)
            operations += candidates[: candidates.index(lookup)]
        return str(endpoint) in operations or any(group and group.fullmatch(endpoint.path) for group in groups)

    def handler(self, endpoint: Endpoint, usual: Callable[..., Any]) -> Callable[..., Any]:
        """Return the handler of an operation."""
        return _stream_from_now if endpoint is _STREAM and "late_attach" in self.values else usual

    def dependencies(self, endpoint: Endpoint) -> list[Any]:
        """Return the undeclared requirements of an operation."""
        return [Depends(_require_bearer)] if endpoint is _STREAM and "stream_auth" in self.values else []

    def body(self, model: Any) -> Any:
        """Return the model of a body."""
        for name, change in _BODIES:
            if name in self.values:
                model = change(model, self.values[name])
        return _change_timeout(model, self._run_limit) if self._run_limit.seconds else model

    def create_cloud(self, data: Path, options: CloudOptions, base_url: str) -> Cloud:
        """Return a cloud whose parts are changed."""
        kind = _UnmadeStorage if "bucket_creation" in self.values else BucketStorage
        storage = kind(data / "storage", options.s3_credential_seconds, options.storage_bytes)
        cloud = Cloud(data, options, base_url, storage)
        if "bucket_folder_python" in self.values:
            cloud.provider.mount = Path(self.values["bucket_folder_python"])
        if "bucket_folder_image" in self.values:
            cloud.runs.mount = self.values["bucket_folder_image"]
        if "working_folder" in self.values:
            cloud.runs.run_folder = _SharedFolders(cloud.data)
        if ABORTS in self.values:
            cloud.runs.end = lambda *_, **__: True  # type: ignore[method-assign]
        if LIMITS in self.values:
            cloud.runs.keeps_limits = False
        if self.values.get("router_prefix") == ROUTE:
            cloud.models.choose_chat_model = _NoRoutes(cloud.models.choose_chat_model)  # type: ignore[method-assign]
        return cloud

    def wrap_application(self, app: ASGIApp) -> ASGIApp:
        """Return an application that changes the answers of another."""
        answers = [
            (method, where, partial(change, value=self.values[name]))
            for name, method, where, change in _ANSWERS
            if name in self.values
        ]
        stream = [change for name, change in _STREAMED if name in self.values]
        return _Answers(app, answers, stream) if answers or stream else app


def list_recorded_values(recording: Recording) -> dict[str, str]:
    """Return the switches with which a cloud behaves as the recorded cloud."""
    values = dict(recording.values)
    if recording.ignores_abort:
        values[ABORTS] = ""
    if recording.ignores_limit:
        values[LIMITS] = ""
    if recording.bill_seconds > _SECOND:
        values[BILL_SECONDS] = str(recording.bill_seconds)
    return values


#: Seconds of a delay of a bill that a busy computer has too.
_SECOND = 1.0


# Bodies


def _extend_model(model: Any, **fields: Any) -> Any:
    return create_model(model.__name__, __base__=model, **fields)


def _change_timeout(model: Any, limit: RunLimit) -> Any:
    kinds = (StreamingExecutionRequest, DockerExecutionRequest, DockerComposeExecutionRequest, GpuSelectionRequest)
    if not (isinstance(model, type) and issubclass(model, kinds)):
        return model
    default = cast("type[BaseModel]", model).model_fields["timeout"].default
    if limit.shortens:
        shortened = Annotated[int, AfterValidator(lambda seconds: min(seconds, limit.seconds or seconds))]
        return _extend_model(model, timeout=(shortened, Field(default, ge=1)))
    return _extend_model(model, timeout=(int, Field(default, ge=1, le=limit.seconds)))


def _limit_notebooks(model: Any, longest: str) -> Any:
    if not (isinstance(model, type) and issubclass(model, DockerExecutionRequest)):
        return model

    class Limited(model):  # type: ignore[misc]
        @model_validator(mode="before")
        @classmethod
        def _check_limit(cls, value: Any) -> Any:
            seconds = value.get("timeout") if isinstance(value, dict) and value.get("job_type") == JOB_TYPE else None
            if isinstance(seconds, int) and seconds > int(longest):
                facts = {"type": "less_than_equal", "ctx": {"le": int(longest)}}
                error = InitErrorDetails(**facts, loc=("timeout",), input=seconds)  # type: ignore[typeddict-item]
                raise ValidationError.from_exception_data(cls.__name__, [error])
            return value

    Limited.__name__ = model.__name__
    return Limited


def _move_mount(model: Any, folder: str) -> Any:
    is_image = isinstance(model, type) and issubclass(model, DockerExecutionRequest)
    return _extend_model(model, s3_mount_path=(str, folder)) if is_image else model


class _ByType(BaseModel):
    model_config = ConfigDict(extra="forbid")
    hardware_profile: ClassVar[None] = None


def _require_gpu_type(model: Any, _: str) -> Any:
    if model is not CreateDeploymentRequest:
        return model
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in model.model_fields.items() if name != "hardware_profile"
    }
    return create_model(model.__name__, __base__=_ByType, **{**fields, "gpu_type": (str, ...)})


def _refuse_fields(model: Any, names: str) -> Any:
    declared = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    refused = {name: (None, None) for name in names.split(SEPARATOR) if name in declared}
    return _extend_model(model, **refused) if refused else model


def _ignore_files(model: Any, _: str) -> Any:
    is_python = isinstance(model, type) and issubclass(model, StreamingExecutionRequest)
    ignored = Annotated[str | None, AfterValidator(lambda _: None)]
    return _extend_model(model, import_files=(ignored, None)) if is_python else model


_BODIES: tuple[tuple[str, Callable[[Any, str], Any]], ...] = (
    ("refused_fields", _refuse_fields),
    ("import_files", _ignore_files),
    ("notebook_limit", _limit_notebooks),
    ("bucket_folder_image", _move_mount),
    ("deployment_gpu_field", _require_gpu_type),
    (UPSTREAM, lambda model, _: restrict_for_upstream(model)),
)


# Streams


async def _require_bearer(
    credentials: Annotated[
        HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False, scheme_name="bearerAuth"))
    ],
) -> None:
    if credentials is None:
        raise HTTPException(401, "Not authenticated")


async def _stream_from_now(ctx: AnonymousContext, execution_id: str) -> StreamingResponse:
    """Follow a run from now on."""
    try:
        facts = ctx.cloud.records.read_facts(execution_id)
    except HTTPException:
        facts = None
    if facts is None or not is_active(facts):
        raise HTTPException(404, "Stream not found")
    chunks = ctx.cloud.output.read_chunks_after(execution_id, 0)
    seq = chunks[-1][0] if chunks else 0
    return StreamingResponse(follow(ctx.cloud, execution_id, seq), media_type="text/event-stream")


#: Control characters in JSON, and an escaped backslash, which must not be mistaken for the start of such a character.
_ESCAPED = re.compile(rb"\\\\|\\u00[01][0-9a-f]|\\[bf]|\x7f")
_LINE_BREAK = re.compile(rb"\\\\|\\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _remove_controls(piece: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: match[0] if match[0] == rb"\\" else b"", piece)


def _double_line_breaks(piece: bytes) -> bytes:
    return _LINE_BREAK.sub(lambda match: match[0] if match[0] == rb"\\" else rb"\n\n", piece)


_STREAMED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("frames", _remove_controls),
    ("newlines", _double_line_breaks),
)


# Answers


def _change_objects(content: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change every object in an answer."""
    if isinstance(content, dict):
        return change({key: _change_objects(value, change) for key, value in content.items()})
    return [_change_objects(value, change) for value in content] if isinstance(content, list) else content


def _replace_states(content: Any, pairs: str) -> Any:
    words = {meaning: word for word, _, meaning in (pair.partition("=") for pair in pairs.split(SEPARATOR))}

    def replace(row: dict[str, Any]) -> dict[str, Any]:
        status = row.get("status")
        return {**row, "status": words.get(status, status)} if isinstance(status, str) else row

    return _change_objects(content, replace)


def _strip_control_characters(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _CONTROL.sub("", value) if isinstance(value, str) else value for key, value in row.items()}


def _remove_metadata(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "metadata"}


def _delay_bill(row: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a record without a bill that the cloud hasn't written yet."""
    end = row.get("finish_time") or row.get("end_time")
    is_late = isinstance(end, str) and "billed" in row and to_seconds(now()) - to_seconds(end) < seconds
    return {**row, "billed": None} if is_late else row


#: Switch, method, path below a server's prefix, and a function that changes status and content of successful answers.
_ANSWERS: tuple[tuple[str, str, str, Callable[..., tuple[int, Any]]], ...] = (
    ("pricing_count", "GET", "/pricing", lambda status, book, **_: (status, {**book, "count": len(book["prices"])})),
    (
        "metadata_echo",
        "GET",
        r"/execution/[^/]+|/workloads/list|/billing/history|/batches(/.*)?",
        lambda status, content, **_: (status, _change_objects(content, _remove_metadata)),
    ),
    (
        "final_words",
        "GET",
        r"/execution/.*|/workloads/list|/billing/history",
        lambda status, content, value: (status, _replace_states(content, value)),
    ),
    (
        "frames",
        "GET",
        r"/execution/[^/]+|/logs/.*",
        lambda status, content, **_: (status, _change_objects(content, _strip_control_characters)),
    ),
    (
        "kernel_state",
        "GET",
        r"/execution/[^/]+",
        lambda status, row, **_: (status, {**row, "python_globals_out": "e30="}),
    ),
    (
        BILL_SECONDS,
        "GET",
        r"/execution/[^/]+|/billing/history",
        lambda status, content, value: (
            status,
            _change_objects(content, partial(_delay_bill, seconds=float(value))),
        ),
    ),
    (
        "start_answer",
        "POST",
        r"/execution/\w+/start|/vms/create|/inference/create|/batches",
        lambda *_, **__: (HTTPStatus.ACCEPTED, {"status": "accepted"}),
    ),
    ("abort_answer", "POST", "/workloads/(abort|stop)/.*", lambda *_, **__: (HTTPStatus.NO_CONTENT, None)),
)


class _Answers:
    """An application whose answers are changed on their way out."""

    def __init__(self, app: ASGIApp, answers: list[Any], stream: list[Callable[[bytes], bytes]]) -> None:
        self._app = app
        self._answers = answers
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(f"{V1}/stream/"):
            await self._app(scope, receive, lambda message: self._send_piece(message, send))
            return
        request_method, below = scope.get("method"), path.removeprefix(EXTERNAL).removeprefix(OPENAI)
        changes = [
            change for method, where, change in self._answers if request_method == method and re.fullmatch(where, below)
        ]
        await self._app(scope, receive, _Changed(send, changes) if changes else send)

    async def _send_piece(self, message: Message, send: Send) -> None:
        for change in self._stream:
            if message.get("body"):
                message = {**message, "body": change(message["body"])}
        await send(message)


class _Changed:
    """A wrapper that delays an answer until it is complete, and sends the changed answer."""

    def __init__(self, send: Send, changes: list[Callable[[int, Any], tuple[int, Any]]]) -> None:
        self._send = send
        self._changes = changes
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        status, body = self._start["status"], self._body
        if status < HTTPStatus.MULTIPLE_CHOICES:
            content = json.loads(body)
            for change in self._changes:
                status, content = change(status, content)
            body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
        other_headers = [row for row in self._start["headers"] if row[0].lower() != b"content-length"]
        headers = (
            other_headers
            if status == HTTPStatus.NO_CONTENT
            else [*other_headers, (b"content-length", str(len(body)).encode())]
        )
        await self._send({**self._start, "status": int(status), "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


# Parts of the cloud


class _SharedFolders:
    """A shared folder for all Python runs of an organization, and a separate folder for every other run."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __call__(self, kind: type[LiveRun], run_id: str, caller: Caller) -> Path:
        """Return the folder of a run; for a shared folder a link, which is all that the run's deletion removes."""
        folder = self._data / "runs" / run_id
        if issubclass(kind, PythonRun):
            shared = self._data / "runs" / f"of-{caller.org_id}"
            shared.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(shared, target_is_directory=True)
        return folder


class _NoRoutes:
    """A finder of models for chats that doesn't accept names of routes."""

    def __init__(self, usual: Callable[[str], Any]) -> None:
        self._usual = usual

    async def __call__(self, name: str) -> models.Chosen:
        if name in models.ROUTES:
            raise Refusal(404, f"model not found: {name!r}", "model")
        chosen: models.Chosen = await self._usual(name)
        return chosen


class _UnmadeStorage(BucketStorage):
    """A storage whose buckets their owners make."""

    def issue_credentials(self, org_id: str) -> dict[str, Any]:
        """Issue credentials for a bucket that may not exist."""
        return self._issue_credentials(self.bucket_name(org_id), creating=True)

    def get_or_create_bucket(self, org_id: str) -> Bucket:
        """Return a bucket; a missing bucket is empty, and created by the first file."""
        if self.exists(org_id):
            return super().get_or_create_bucket(org_id)
        return _Unmade(self.bucket_name(org_id), lambda: super(_UnmadeStorage, self).get_or_create_bucket(org_id))

    def mount_folder(self, org_id: str) -> Path | None:
        """Return the folder of an existing bucket."""
        return super().mount_folder(org_id) if self.exists(org_id) else None


class _Unmade(Bucket):
    """A bucket that doesn't exist yet."""

    def __init__(self, name: str, make: Callable[[], Bucket]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_make", make)

    def put(self, key: str, file: Any) -> Any:
        """Create the bucket with its first file."""
        return self._make().put(key, file)  # type: ignore[attr-defined]

    def open(self, key: str) -> Any:
        """Find nothing."""
        raise FileNotFoundError(key)

    def delete(self, key: str) -> None:
        """Find nothing."""
        raise FileNotFoundError(key)

    def list(self, prefix: str = "") -> Iterator[Any]:  # noqa: ARG002 (there is nothing)
        """Find nothing."""
        return iter(())
