"""Replace the VM of a run, a VM that failed or was reclaimed by another, within the same maximum cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from lk_jupyter.errors import ConnectionFailed, ServerError, UsageError
from lk_jupyter.protocol.vm_run import SETUP_SECONDS
from lk_jupyter.vms.checkpoints import log_size, read_checkpoint
from lk_jupyter.vms.ends import VmWatch, delete_vm
from lk_jupyter.vms.hosted import VmRun, rent_vm

if TYPE_CHECKING:
    from typing import Any

    from lk_jupyter.api.vms import VM

#: Seconds for attempts to rent a VM in place of another, and between the attempts.
_REPLACE_SECONDS, _REPLACE_PAUSE = 600.0, 10.0

#: The shortest time of code for which a VM is rented in place of another, in seconds.
_LEAST_SECONDS = 30


def replace_vm(run: VmRun, failure: str) -> Mapping[str, Any]:
    """Delete the VM and rent another; return the request for the code, which starts with the last checkpoint.

    Raises UsageError if the rest of the maximum cost doesn't pay for another VM, or the checkpoint was changed.
    """
    assert run._renew  # noqa: S101 (checked before)
    run._disconnect()
    moment = run._client.now()
    try:
        billed = delete_vm(run._client, run.facts.active_id, run.watch.proof).billed
    except ConnectionFailed as problem:
        raise UsageError(f"{failure.rstrip('.')}. {problem} No other VM was rented.") from None
    run._revoke_keys()
    run._forget_host()
    cost = run.facts.earlier_cost + (run.facts.cost_at(moment) if billed is None else billed)
    run._store_facts(
        earlier_cost=cost,
        is_counted=True,
        reasons=[*run.facts.reasons, failure],
        address=None,
        pinned=None,
        key_ids=[],
        is_guarded=False,
    )
    request = run._renew()
    ttl = _compute_affordable_seconds(run, request["timeout"] + SETUP_SECONDS)
    request = continue_request(run, request, ttl)
    vm = _rent_again(run)
    start = {"current_id": vm.vm_id, "rented_at": run._client.now(), "is_counted": False}
    with run._lock:
        run._store_facts(**start, ttl=ttl, log_start=log_size(request.get("restore")), is_deleted=False)
        run.watch = VmWatch(run._client, vm.vm_id)
        if run.facts.state.get("is_final"):
            run.delete()
            raise UsageError("The run was aborted before its code was sent again.")
    return request


def _compute_affordable_seconds(run: VmRun, wish: float) -> float:
    """Return the time of another VM, at most ``wish`` seconds, that the rest of the maximum cost pays for."""
    if run.facts.cap is None or not run.facts.per_hour:
        return wish
    rest = run.facts.cap - run.facts.earlier_cost
    seconds = min(wish, float(rest * 3600 / run.facts.per_hour))
    if seconds < SETUP_SECONDS + _LEAST_SECONDS:
        raise UsageError(
            f"The rest of the maximum cost, {max(rest, Decimal(0)):.2f} credits, is too low for another VM. "
            f"Nothing was rented. Raise --max-cost and add: --resume {run.execution_id}"
        )
    return seconds


def _rent_again(run: VmRun) -> VM:
    """Rent another VM; repeat that while the cloud has no capacity. Raises the errors of the API."""
    volume_ids = [run.facts.volume_id] if run.facts.volume_id else []
    if run.facts.has_volume and not volume_ids:
        raise UsageError("The VM ended before the id of its new volume was known. See your volumes: %lk_volumes")
    end = time.monotonic() + _REPLACE_SECONDS
    while True:
        if run.is_stopped:
            raise UsageError("The run was aborted before another VM was rented.")
        try:
            return rent_vm(run._connection, run._restore_offer(), run.facts.token, volume_ids)
        except (ServerError, ConnectionFailed):  # neither leaves a VM whose answer was lost
            if time.monotonic() > end:
                raise
        time.sleep(_REPLACE_PAUSE)


def continue_request(run: VmRun, request: Mapping[str, Any], ttl: float) -> Mapping[str, Any]:
    """Return the request for a VM that continues the code from the last checkpoint, within ``ttl`` seconds."""
    listing = read_checkpoint(run._connection.storage, run.facts.token)
    seconds = min(request["timeout"], int(ttl - SETUP_SECONDS))
    changes = {"timeout": seconds, "attempt": len(run.facts.reasons) + 1}
    return {**request, **changes, **({"restore": listing} if listing else {})}
