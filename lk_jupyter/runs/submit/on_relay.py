"""Start a relay, a chain of runs for long work, after the user has agreed to its price."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import StreamingExecutionRequest, StreamingStartResponse
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import machine_name
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.relay import RelayFacts, RelayRun, count_runs, keep_relay
from lk_jupyter.text.units import credits_label, limit_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def question(bundle: Bundle) -> str:
    """Return the question before a relay: number of starts, highest cost, and which process must stay on."""
    starts = count_runs(bundle.timeout, setting("max_timeout"))
    cost = "price unknown" if bundle.worst_case is None else f"at most {credits_label(_compute_highest_cost(bundle))}"
    machine = machine_name(bundle.machine.hardware_profile)
    return (
        f"Run this cell as a relay of about {starts} runs on {machine}: {cost} for {limit_label(bundle.timeout)}. Each "
        "run waits in the queue, installs packages and loads data again, which counts toward the time and the cost. "
        "The relay continues while this notebook or its Jupyter server is on. [y/N] "
    )


def require_consent(bundle: Bundle) -> None:
    """Refuse a relay without consent: an answer, or an option with a maximum cost. Raises UsageError."""
    if bundle.secrets:
        raise UsageError(
            "--relay stores the code and the files of the run on this machine, and they seem to contain a secret. "
            "Nothing was sent. Store the secret: %lk_secrets set NAME"
        )
    if bundle.vm_allowed or bundle.options.max_cost is not None:
        return
    raise UsageError(
        "A relay needs your consent. Nothing was sent. To start it without a question, add: "
        f"--max-cost {bundle.max_cost_example}"
    )


def _compute_highest_cost(bundle: Bundle) -> Decimal | None:
    return bundle.worst_case if bundle.max_cost is None else min(bundle.max_cost, bundle.worst_case or bundle.max_cost)


def start_relay(connection: Connection, bundle: Bundle) -> StreamingStartResponse:
    """Store a relay, and start its first run in a thread. Raises UsageError."""
    request = bundle.request
    if not isinstance(request, StreamingExecutionRequest):
        raise UsageError("--relay works for Python code only. Nothing was sent. Leave out --relay.")
    names = request.model_dump(mode="json", include={"run_name", "labels", "metadata"})
    facts = RelayFacts(
        token=bundle.token,
        base_url=connection.base_url,
        machine=bundle.machine.hardware_profile,
        created_at=time.time(),
        job=request.model_dump(mode="json", exclude_none=True),
        request={**names, "file_name": request.file_name or bundle.source.file_name},
        seconds=bundle.timeout,
        limit=setting("max_timeout"),
        per_hour=bundle.machine.price_per_hour,
        cap=bundle.worst_case if bundle.max_cost is None else bundle.max_cost,
    )
    relay = RelayRun(connection, facts)
    relay.start()
    keep_relay(connection, relay)
    return StreamingStartResponse(execution_id=relay.execution_id, status="pending", streaming_url="")
