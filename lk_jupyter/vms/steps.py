"""Decide what the driver of a run on a VM does next: facts in, one step out."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lk_jupyter.vms import facts as vm_facts

if TYPE_CHECKING:
    from lk_jupyter.vms.facts import VmFacts

#: Seconds after the request for a VM, and answers of the cloud without that VM, after which the search for it ends.
SEARCH_SECONDS, SEARCH_ANSWERS = 600.0, 5


class Step(Enum):
    """A step of a driver."""

    FIND_VM = "find the VM of a request that had no answer"
    REPORT_NO_VM = "record that the cloud lists no VM for the request"
    SEND_CODE = "wait until the VM is ready, and send the code"
    READ_STATE = "read the state of the code, and save its results at the end"
    DELETE_VM = "end the code and delete the VM"
    LEAVE = "leave the run, which has ended"


def choose_step(facts: VmFacts, *, now: float, can_send: bool, is_stopped: bool, absences: int = 0) -> Step:
    """Return the next step.

    ``now`` is the time in Unix seconds by the clock of the cloud, ``can_send`` whether this process knows the code,
    ``is_stopped`` whether the user has stopped the run, ``absences`` the number of answers of the cloud that lack the
    VM of a request without an answer.
    """
    if facts.is_deleted:
        return Step.LEAVE
    if not facts.vm_id:
        is_absent = absences >= SEARCH_ANSWERS and now > facts.created_at + SEARCH_SECONDS
        return Step.REPORT_NO_VM if is_absent else Step.FIND_VM
    if is_stopped or facts.state.get("is_final") or now > facts.ends_at + vm_facts.RELEASE_SECONDS:
        return Step.DELETE_VM
    if facts.is_started:
        return Step.READ_STATE
    return Step.SEND_CODE if can_send else Step.DELETE_VM
