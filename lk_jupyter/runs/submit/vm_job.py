"""The code of a run on a VM: as the VM receives it, with links, and as this machine stores it, without links."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import StreamingExecutionRequest
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import add_token_to_name
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.start import use_separate_folder
from lk_jupyter.runs.submit.upload import add_links, upload_inputs
from lk_jupyter.vms.checkpoints import checkpoint_settings
from lk_jupyter.vms.facts import job_path

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.vms.facts import VmFacts


def build_job(bundle: Bundle) -> dict[str, Any]:
    """Return the request for the VM: files with links, the script, the requirements and the time limit."""
    assert isinstance(bundle.request, StreamingExecutionRequest)  # noqa: S101 (checked before)
    script = add_token_to_name(bundle.request.file_name or bundle.source.file_name, bundle.token)
    request = use_separate_folder(bundle.request.model_copy(update={"file_name": script}), bundle.token)
    return {
        "files": {**json.loads(request.import_files or "{}"), script: request.code},
        "script": script,
        "requirements": request.requirements_content,
        "timeout": bundle.timeout,
        "checkpoints": checkpoint_settings(bundle.token),
    }


def write_job(bundle: Bundle, restore: dict[str, Any]) -> str:
    """Return a run without links as text, from which ``renew_job`` builds the request for a VM."""
    request = bundle.request.model_dump(mode="json", exclude_none=True)
    file_name = bundle.request.file_name or bundle.source.file_name
    return json.dumps({"request": {**request, "file_name": file_name}, "timeout": bundle.timeout, "restore": restore})


def read_job(token: str) -> str:
    """Return the stored text of a run; empty if no file has the code of the run."""
    with suppress(OSError, UnicodeDecodeError):
        return job_path(token).read_text("utf-8")
    return ""


def renew_job(connection: Connection, facts: VmFacts, text: str) -> dict[str, Any]:
    """Return the request for a VM with links that are valid from now. Raises StorageError, UsageError."""
    stored = json.loads(text)
    fields = {name: value for name, value in stored["request"].items() if name != "timeout"}
    request = StreamingExecutionRequest.model_validate(fields)  # accounts differ in their longest run
    bundle = Bundle(
        Source("", request.file_name or Source.file_name),
        RunOptions(),
        request.model_copy(update={"timeout": stored["timeout"]}),
        MachineType(hardware_profile=facts.machine, price_per_hour=facts.per_hour),
        {},
        0,
        vm_offer=facts.offer,
    )
    complete = replace(bundle, request=upload_inputs(connection, bundle, lambda _: None))
    return {**build_job(add_links(connection, complete)), **stored["restore"]}
