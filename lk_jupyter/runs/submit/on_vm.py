"""Start a run on a VM that is rented for it, after the user has agreed to the price."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import StreamingExecutionRequest, StreamingStartResponse
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import own_name
from lk_jupyter.protocol.vm_run import SETUP_SECONDS
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.submit.start import use_separate_folder
from lk_jupyter.text.units import credits_label, duration_label, moment_label
from lk_jupyter.vms.hosted import KEY_SECONDS, VmRun, keep_run
from lk_jupyter.vms.shell import ssh_library

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def question(bundle: Bundle) -> str:
    """Return the question before a VM is rented: machine, highest cost, and how the VM ends."""
    end = time.time() + bundle.timeout + SETUP_SECONDS
    until, key_until = (
        moment_label(datetime.fromtimestamp(at, timezone.utc), "%H:%M") for at in (end, end + KEY_SECONDS)
    )
    cost = "price unknown" if bundle.worst_case is None else f"at most {credits_label(bundle.worst_case)}"
    plan = f"Rent VM {bundle.vm_offer} for this cell: {cost} for {duration_label(bundle.timeout)}."
    if has_key(bundle):
        return (
            f"{plan} It deletes itself at {until} with an API key that has your account's rights until {key_until}; "
            "the key is revoked when the cell ends. [y/N] "
        )
    return f"{plan} It can't delete itself: this notebook must stay on until {until}. [y/N] "


def has_key(bundle: Bundle) -> bool:
    """Return whether the VM gets an API key to delete itself."""
    return not getattr(bundle.options, "no_vm_key", False)


def require_consent(bundle: Bundle) -> None:
    """Refuse to rent a VM without consent: an answer, or an option with a maximum cost. Raises UsageError."""
    ssh_library()
    options = bundle.options
    if bundle.vm_allowed or (getattr(options, "on", None) == "vm" and options.max_cost is not None):
        return
    cost = bundle.worst_case
    example = "" if cost is None else f" {cost:.2f}"
    raise UsageError(
        f"{bundle.timeout} s needs a VM ({bundle.vm_offer}): runs are limited to 1 to {setting('max_timeout')} s here. "
        f"Nothing was rented. Without a question, rent it with: --on vm --max-cost{example or ' CREDITS'}"
    )


def start_on_vm(connection: Connection, bundle: Bundle) -> StreamingStartResponse:
    """Rent a VM and start the run on it as soon as the VM is ready. Raises the errors of the API."""
    request = bundle.request
    if bundle.vm_offer is None or not isinstance(request, StreamingExecutionRequest):
        raise UsageError("Only Python code runs on a VM. Nothing was rented. Leave out --on vm.")
    script = own_name(request.file_name or bundle.source.file_name, bundle.token)
    request = use_separate_folder(request.model_copy(update={"file_name": script}), bundle.token)
    facts = request.model_dump(mode="json", include={"file_name", "run_name", "labels", "metadata"})
    files = json.loads(request.import_files or "{}")
    job = {
        "files": {**files, script: request.code},
        "script": script,
        "requirements": request.requirements_content,
        "timeout": bundle.timeout,
    }
    run = VmRun.rent(connection, bundle.vm_offer, bundle.token, bundle.timeout, facts)
    keep_run(connection, run)
    run.start(job, has_key=has_key(bundle))
    return StreamingStartResponse(execution_id=run.execution_id, status="pending", streaming_url="")
