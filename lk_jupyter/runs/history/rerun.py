"""Prepare a run of the journal to be sent again unchanged."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    StartRequest,
    StreamingExecutionRequest,
)
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import JournalEntry
from lk_jupyter.machines.catalogue import seconds_for
from lk_jupyter.options.runs import ComposeOptions, DockerOptions, RunOptions, StartOptions
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import REQUEST_KEY, read_ports
from lk_jupyter.protocol.parts import is_internal
from lk_jupyter.runs.package.bundle import Bundle, require_allowed_timeout
from lk_jupyter.text.secrets import MARK

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Metadata keys that connect the runs of a group.
_GROUP_KEYS = {"lk_group", "lk_lane"}


def stored_request(name: str, entry: JournalEntry | None) -> dict[str, Any]:
    """Return the stored request of a run.

    Raises UsageError if another machine sent the request, or if the request contained data that the journal doesn't
    store.
    """
    if entry is None or not entry.request:
        raise UsageError(
            f"This machine's journal doesn't have the request of run {name[:8]}, and the cloud doesn't store complete "
            "requests. Nothing was sent. Show its code: session.client.execution.get(...).python_code"
        )
    text = json.dumps(entry.request, ensure_ascii=False)
    if "X-Amz-" in text or f"?{MARK}" in text:
        raise UsageError(
            f"Run {name[:8]} read its variables through links that have expired. Nothing was sent. Run its cell "
            "again; stored variables aren't uploaded twice."
        )
    if MARK in text:
        raise UsageError(
            f"Run {name[:8]} can't be repeated: its code contained a possible secret, which the journal doesn't "
            "store. Nothing was sent. Rerun its cell, or store the secret: %lk_secrets set NAME"
        )
    return entry.request


def rebuild_run(
    session: Connection,
    name: str,
    entry: JournalEntry | None,
    machine: str | None = None,
    timeout: int | None = None,
) -> Bundle:
    """Return the same run, not sent yet, on the same or on another machine type, with the same or another time limit.

    ``timeout`` is in seconds. Raises UsageError.
    """
    request = _renew_tokens(stored_request(name, entry))
    code, options = (entry.code, _restore_options(entry, request)) if entry else ("", RunOptions())
    machine_type = session.machines().resolve(machine or request.execution_type)
    if timeout is not None:
        require_allowed_timeout(timeout, setting("max_timeout"))
    time_limit = timeout or options.timeout or setting("timeout")
    seconds = timeout or request.timeout
    if (machine or timeout) and options.max_cost is not None:
        seconds = min(time_limit, seconds_for(machine_type, options.max_cost))
    return Bundle(
        _build_source(request, code),
        options,
        request.model_copy(update={"execution_type": machine_type.hardware_profile, "timeout": seconds}),
        machine_type,
        _select_author_files(request),
        _compute_line_shift(request, code),
        options.max_cost,
        cost_binds=options.max_cost is not None and seconds < time_limit,
        secrets_allowed=True,  # the journal keeps none
        ports=read_ports(request.metadata),
    )


#: The field that only this kind of request has → the kind, and its options.
_KINDS: dict[str, tuple[type[StartRequest], type[StartOptions]]] = {
    "code": (StreamingExecutionRequest, RunOptions),
    "docker_image_ref": (DockerExecutionRequest, DockerOptions),
    "compose_file_code": (DockerComposeExecutionRequest, ComposeOptions),
}


def _renew_tokens(stored: dict[str, Any]) -> StartRequest:
    """Return the request with a new token and a new nonce of its frames."""
    metadata = {key: value for key, value in (stored.get("metadata") or {}).items() if key not in _GROUP_KEYS}
    files = stored.get("import_files")
    if files and (nonce := metadata.get(FRAMES_KEY)):  # the nonce of a cell in an image is in its command
        metadata[FRAMES_KEY] = uuid.uuid4().hex
        files = files.replace(nonce, metadata[FRAMES_KEY])
    metadata[REQUEST_KEY] = uuid.uuid4().hex
    request = {**stored, "metadata": metadata, **({"import_files": files} if files else {})}
    # Accounts differ in their longest run, so the limit is a setting and not the model's.
    timeout = request.pop("timeout")
    kind = next(kind for name, (kind, _) in _KINDS.items() if name in stored)
    return kind.model_validate(request).model_copy(update={"timeout": timeout})


def _restore_options(entry: JournalEntry, request: StartRequest) -> StartOptions:
    """Return the options of the run, as far as today's version still has these options."""
    kind = next(options for request_type, options in _KINDS.values() if isinstance(request, request_type))
    with suppress(ValidationError):
        return kind.model_validate(entry.options)
    return RunOptions()


def _build_source(request: StartRequest, code: str) -> Source:
    name = request.file_name or Source.file_name
    is_cell = name != Source.file_name
    return Source(code, name, first_line=2 if is_cell else 1, is_cell=is_cell)


def _select_author_files(request: StartRequest) -> dict[str, str]:
    files: dict[str, str] = json.loads(request.import_files or "{}")
    return {name: text for name, text in files.items() if not is_internal(name)}


def _compute_line_shift(request: StartRequest, code: str) -> int:
    """Return the offset for line numbers of the script: unlike a cell, a script has no spare line for arguments."""
    if not isinstance(request, StreamingExecutionRequest):
        return 0
    before = request.code.partition(code)[0] if code else ""
    return -1 if request.file_name == Source.file_name and before.count("\n") == 1 else 0
