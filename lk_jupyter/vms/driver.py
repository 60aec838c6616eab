"""Drive a run on a VM until its VM is deleted: a loop that chooses a step, takes the step, and survives each error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.user import is_same_user
from lk_jupyter.errors import InvalidResponse, LkError, UsageError
from lk_jupyter.vms.facts import final_state
from lk_jupyter.vms.replacing import continue_request, replace_vm
from lk_jupyter.vms.sending import send_code
from lk_jupyter.vms.steps import Step, choose_step
from lk_jupyter.vms.vms import NAME_PREFIX

if TYPE_CHECKING:
    from lk_jupyter.api.vms import VM
    from lk_jupyter.vms.hosted import VmRun

#: Seconds between two looks at an active run, and the most seconds between two attempts after errors.
LOOK_SECONDS, _LONGEST_PAUSE = 2.0, 30.0

#: Seconds that the code of a stopped run has to end after an interrupt.
_GRACE = 5.0

#: The reason of a run without a VM.
NO_VM = "The request for the VM had no response, and the cloud lists no VM for this run."


def drive(run: VmRun, request: Mapping[str, Any] | None = None) -> None:
    """Drive a run, which this process has locked, until its VM is deleted. ``request`` is the code with links.

    When the connection is closed, such as by another sign-in, the detached driver continues.
    """
    driver = VmDriver(run, request)
    failures = 0
    while (step := driver.choose_step()) is not Step.LEAVE:
        try:
            driver.take_step(step)
            failures = 0
        except (LkError, InvalidResponse, OSError, ValueError, TypeError):  # of the network, the disk, or an odd answer
            failures += 1
        if run.client.wait_until_closed(compute_pause(failures)):
            run.release_lock()
            return


def compute_pause(failures: int) -> float:
    """Return the seconds until the next step, after this many failed steps in a row: a network may be down for days."""
    return min(LOOK_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE)


def drive_in_thread(
    run: VmRun, request: Mapping[str, Any] | None = None, *, renew: Callable[[], Mapping[str, Any]] | None = None
) -> None:
    """Drive a run in a thread: start the code when the VM is ready, and delete the VM at the end of the code.

    ``request`` has the files, the script, the requirements and the time limit. ``renew`` returns the request with new
    links, for a VM that replaces the VM.
    """
    run.set_renewal(renew)
    thread = threading.Thread(target=drive, args=(run, request), name=f"lk-vm-{run.facts.token[:8]}", daemon=True)
    run.keep_driver(thread)
    thread.start()


def read_clock(run: VmRun) -> None:
    """Read the time of the cloud, which each answer has: the clock of this machine may have jumped."""
    while True:
        with suppress(LkError, InvalidResponse):
            run.client.vms.list(include_terminated=False)
            return
        time.sleep(_LONGEST_PAUSE)


def start_code(run: VmRun, request: Mapping[str, Any] | None = None) -> None:
    """Send the code to the VM. After a failure, replace the VM if the run has retries, or delete the VM."""
    failure, run._failure = run._failure, ""
    while True:
        try:
            if failure:
                request = replace_vm(run, failure)
            send_code(run, _renew_request(run) if request is None else request)
        except Exception as error:  # noqa: BLE001 (the run shows the reason)
            reason = str(error).partition("\n")[0] or type(error).__name__
            failure = f"The VM didn't start the code: {reason}"
            if isinstance(error, UsageError) or not run._can_replace():
                with suppress(LkError):
                    run.end(final_state("system_failure", failure))
                return
        else:
            return


def _renew_request(run: VmRun) -> Mapping[str, Any]:
    """Return the request with new links; for a VM that replaced another, with the last checkpoint."""
    assert run._renew  # noqa: S101 (a driver without the code deletes the VM)
    request = run._renew()
    return continue_request(run, request, run.facts.ttl) if run.facts.reasons else request


class VmDriver:
    """The steps of a driver."""

    def __init__(self, run: VmRun, request: Mapping[str, Any] | None) -> None:
        self._run = run
        self._request = request
        self._absences = 0

    def choose_step(self) -> Step:
        """Return the next step."""
        run = self._run
        run.read_changes()
        return choose_step(
            run.facts,
            now=run.now(),
            can_send=run.can_send or self._request is not None,
            is_stopped=run.is_stopped,
            absences=self._absences,
        )

    def take_step(self, step: Step) -> None:
        """Take a step. Raises the errors of the cloud and of the VM."""
        run = self._run
        if step is Step.FIND_VM:
            self._find_vm()
        elif step is Step.REPORT_NO_VM:
            run.store_end_without_vm(final_state("aborted" if run.is_stopped else "system_failure", NO_VM))
        elif step is Step.SEND_CODE:
            request, self._request = self._request, None
            start_code(run, request)
        elif step is Step.READ_STATE:
            state = run.state()
            if state.get("is_final"):
                run.end(state)
        elif run.is_stopped and not run.facts.state.get("is_final"):
            run.abort(_GRACE)
        else:
            run.release()

    def _find_vm(self) -> None:
        """Look for the VM of a request without an answer: the exact display name is the only mark of a VM."""
        client, name = self._run.client, NAME_PREFIX + self._run.facts.token[:12]
        rows = [vm for vm in client.vms.list() if name in {vm.display_name, vm.name}]
        user_id = client.user.status().user_id if rows else None
        user_vms = [vm for vm in rows if is_same_user(vm.user_id, user_id)]
        active = [vm for vm in user_vms if vm.phase is not LifecyclePhase.ENDED]
        if not user_vms:
            self._absences += 1
            return
        vm: VM = (active or user_vms)[0]
        self._run.store_vm(vm.vm_id)
