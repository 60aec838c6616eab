"""Start a run on a VM that is rented for it, after the user has agreed to the price."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import StreamingExecutionRequest, StreamingStartResponse
from lk_jupyter.config.settings import setting
from lk_jupyter.connection.rental import ENFORCEMENT
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.vm_run import PREFIX, SETUP_SECONDS
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.rented import find_vm_checkpoint
from lk_jupyter.runs.submit.vm_job import build_job, write_job
from lk_jupyter.text.units import credits_label, limit_label, moment_label
from lk_jupyter.vms.driver import drive_in_thread
from lk_jupyter.vms.hosted import VmRun, keep_run
from lk_jupyter.vms.sending import KEY_SECONDS
from lk_jupyter.vms.shell import ssh_library

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: When the guard of a VM works, and who deletes the VM before.
GUARD_NOTICE = (
    "The VM can do so when its SSH works, 130 to 221 s after the start in measurements. If this computer is off before "
    "that, billing continues. Its Jupyter server or the next lk_jupyter command deletes the VM."
)

#: Why the key of a VM is a risk: the API reports no host key, and keys have no scopes.
KEY_RISK_NOTICE = (
    "The first SSH connection can't verify the VM, so who controls the network in between could take the key. To send "
    "no key: --no-vm-key."
)


def question(bundle: Bundle, purpose: str = "cell") -> str:
    """Return the question before a VM is rented for a cell or a cluster: machine, highest cost, and end of the VM."""
    end = time.time() + bundle.timeout + SETUP_SECONDS
    until, key_until = (
        moment_label(datetime.fromtimestamp(at, timezone.utc), "%H:%M") for at in (end, end + KEY_SECONDS)
    )
    cost = "price unknown" if bundle.worst_case is None else f"at most {credits_label(bundle.worst_case)}"
    plan = f"Rent VM {bundle.vm_offer} for this {purpose}: {cost} for {limit_label(bundle.timeout)}."
    plan += _format_end_notice(bundle) if purpose == "cell" else ""
    if volume := bundle.vm_volume:
        plan += f" The {volume.label} still exists after the {purpose}. It {volume.price_label} until you delete it."
    if has_key(bundle):
        return (
            f"{plan} At {until}, the VM deletes itself with an API key. {GUARD_NOTICE} The key has your account's "
            f"rights until {key_until}, and is revoked when the {purpose} ends. {KEY_RISK_NOTICE} [y/N] "
        )
    if bundle.vm_offer and bundle.vm_offer.is_leased:
        return (
            f"{plan} At {until}, the broker deletes the VM. The VM gets no API key, so this notebook must stay on to "
            "receive the results. [y/N] "
        )
    return f"{plan} The VM can't delete itself. At {until}, {ENFORCEMENT} [y/N] "


def _format_end_notice(bundle: Bundle) -> str:
    """Return how a run continues after its VM failed or was reclaimed; empty if neither spot nor retries are chosen."""
    retries = getattr(bundle.options, "retries", 0)
    is_spot = bundle.vm_offer is not None and bundle.vm_offer.instance_type == "spot"
    advice = ": --retries 3 continues on another VM" if has_key(bundle) else ""
    if retries:
        times = "once" if retries == 1 else f"up to {retries} times"
        return (
            f" If the VM fails or is reclaimed, another VM continues the work {times}. Jupyter must stay on for "
            "this, and the maximum cost stays the same."
        )
    if is_spot:
        return f" The cloud may reclaim the VM at any time{advice}."
    spot = bundle.vm_offer.spot_per_hour if bundle.vm_offer else None
    return f" Cheaper: --spot at {spot:.2f} credits/h, but the cloud may reclaim the VM." if spot else ""


def has_key(bundle: Bundle) -> bool:
    """Return whether the VM gets an API key to delete itself; keys of a broker can't issue a key."""
    is_leased = bundle.vm_offer is not None and bundle.vm_offer.is_leased
    return not is_leased and not getattr(bundle.options, "no_vm_key", False)


def require_consent(bundle: Bundle) -> None:
    """Refuse to rent a VM without consent: an answer, or an option with a maximum cost. Raises UsageError."""
    ssh_library()
    options = bundle.options
    for name in ("retries", "resume"):
        if getattr(options, name, None) and not has_key(bundle):
            is_chosen = getattr(options, "no_vm_key", False)
            cause = "--no-vm-key" if is_chosen else f"--{name}, because a key of a broker can't issue another key"
            raise UsageError(
                f"--{name} needs an API key on the VM, to store and read checkpoints. Nothing was rented. Leave "
                f"out {cause}."
            )
    if bundle.vm_allowed or (getattr(options, "on", None) == "vm" and options.max_cost is not None):
        return
    reason = (
        f"A time limit of {bundle.timeout} s needs a VM ({bundle.vm_offer}). Without a VM, the limit of a run is "
        f"1 to {setting('max_timeout')} s here."
    )
    if bundle.timeout <= setting("max_timeout"):
        reason = f"The cell needs a VM ({bundle.vm_offer}): runs can't use this machine."
    raise UsageError(
        f"{reason} Nothing was rented. To rent it without a question: --on vm --max-cost {bundle.max_cost_example}"
    )


def start_on_vm(
    connection: Connection, bundle: Bundle, plain: Bundle, renew: Callable[[], Bundle]
) -> StreamingStartResponse:
    """Rent a VM and start the run on it as soon as the VM is ready. Raises the errors of the API.

    ``bundle`` has links, and ``plain`` is the same without links, for other processes of this machine. ``renew``
    returns the bundle with new links, for a VM that replaces a failed VM.
    """
    request = bundle.request
    if bundle.vm_offer is None or not isinstance(request, StreamingExecutionRequest):
        raise UsageError("Only Python code runs on a VM. Nothing was rented. Leave out --on vm.")
    resume = getattr(bundle.options, "resume", None)
    restore = {"restore": find_vm_checkpoint(connection, resume)} if resume else {}
    job = {**build_job(bundle), **restore}
    facts = {**request.model_dump(mode="json", include={"run_name", "labels", "metadata"}), "file_name": job["script"]}
    cap = bundle.worst_case if bundle.max_cost is None else bundle.max_cost
    retries = getattr(bundle.options, "retries", 0)
    journal().update(bundle.token, execution_id=PREFIX + bundle.token)
    run = VmRun.rent(
        connection,
        bundle.vm_offer,
        bundle.token,
        bundle.timeout,
        facts,
        cap=cap,
        retries=retries,
        volume=bundle.vm_volume,
        has_key=has_key(bundle),
        job=write_job(plain, restore),
        is_job_secret=bool(bundle.secrets or bundle.hidden),
    )
    keep_run(connection, run)
    drive_in_thread(run, job, renew=lambda: {**build_job(renew()), **restore})
    return StreamingStartResponse(execution_id=run.execution_id, status="pending", streaming_url="")
