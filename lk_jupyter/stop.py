"""List everything that this account pays for by time, and stop it: runs, relays, VMs and deployments.

Each stop is repeated until the cloud confirms the end, or reported with its id and a command. Volumes contain data:
they are listed with their cost, and never deleted here. Resources of other members are listed too, and stay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from lk_jupyter._threads import start
from lk_jupyter.account.active import (
    ActiveList,
    ActiveResource,
    Rate,
    counts_label,
    hardware_label,
    list_active,
    sum_prices,
)
from lk_jupyter.api._lifecycle import iterate_repeats
from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.user import is_same_user
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.protocol import relay, vm_run
from lk_jupyter.text.terminal import one_line

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.relay import RelayFacts
    from lk_jupyter.vms.facts import VmFacts

#: Seconds within which a stop must be confirmed, before it is reported as unconfirmed.
CONFIRM_SECONDS = 30.0

#: Stops at the same time.
_AT_ONCE = 16

#: Looks at the lists after the stops, which may be late, and seconds between two looks.
_LIST_LOOKS, _LIST_PAUSE = 4, 1.0

#: Kind → the magic that stops or deletes one resource.
_COMMANDS = {
    "run": "%lk_abort",
    "relay": "%lk_abort",
    "VM": "%lk_vm delete",
    "deployment": "%lk_undeploy",
    "volume": "%lk_volumes delete",
}


class ExcludedResource(NamedTuple):
    """A resource that stays active, and the reason; ``may_be_yours`` is whether its user is unknown."""

    resource: ActiveResource
    reason: str
    may_be_yours: bool = False

    @property
    def message(self) -> str:
        """The resource and the reason in words."""
        return f"Not stopped: {self.resource.kind} {one_line(self.resource.id)} {self.reason}"


@dataclass(frozen=True)
class StopPlan:
    """What a stop of everything stops, what stays active with the reason, and the lists that couldn't be read."""

    resources: tuple[ActiveResource, ...]
    excluded: tuple[ExcludedResource, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def rate(self) -> Rate:
        """The cost per hour that the stop ends; includes what isn't billed yet, but will be."""
        return sum_prices(self.resources)

    @property
    def question(self) -> str:
        """The question before the stop, with the cost per hour that ends and the loss."""
        kinds = {each.kind for each in self.resources}
        losses = [loss for kind, loss in _LOSSES.items() if kind in kinds]
        return " ".join([f"Stop {counts_label(self.resources)} ({self.rate.label})?", *losses])

    @property
    def notes(self) -> list[str]:
        """The lists that couldn't be read, and each resource that stays, in words."""
        return [*self.problems, *(each.message for each in self.excluded)]


#: Kind → the loss by a stop.
_LOSSES = {
    "VM": "VMs are deleted with their disks.",
    "run": "Runs lose the variables and files that they haven't saved.",
}


@dataclass(frozen=True)
class StopResult:
    """The outcome of a stop. ``problem`` is why the resource may still be active and billed; empty after its end."""

    resource: ActiveResource
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the cloud confirmed the end."""
        return not self.problem

    @property
    def message(self) -> str:
        """The outcome in words; with the command that stops the resource if it may still be active."""
        kind, resource_id = self.resource.kind, one_line(self.resource.id)
        name = f"{kind} {resource_id}"
        if self.has_ended:
            return f"{'Deleted' if kind == 'VM' else 'Stopped'} {name}."
        reason = one_line(self.problem).rstrip(".")
        command = _COMMANDS[kind]
        return f"{name[0].upper()}{name[1:]} may still be active and billed: {reason}. Stop it: {command} {resource_id}"


def read_active(connection: Connection) -> ActiveList:
    """Return everything that the account pays for by time: the lists of the cloud, and what only this machine knows.

    A relay of this machine starts the next run when its run is stopped, so it replaces its run. A VM of this machine
    whose deletion wasn't confirmed is listed even if the cloud doesn't list it.
    """
    active = list_active(connection)
    relays = list(_iterate_active_relays(connection))
    members = {leg.execution_id for facts in relays for leg in facts.legs if leg.execution_id}
    by_id = {each.id: each for each in active.resources}
    cloud = (each for each in active.resources if each.kind != "run" or each.id not in members)
    relay_resources = (_describe_relay(facts, by_id) for facts in relays)
    vms = _iterate_unlisted_vms(connection, [each.id for each in active.resources if each.kind == "VM"])
    resources = (*relay_resources, *cloud, *vms)
    unconfirmed = _iterate_unconfirmed_ends(connection, {(each.kind, each.id) for each in resources})
    return replace(active, resources=_add_vm_runs(connection, (*resources, *unconfirmed)))


def _iterate_unconfirmed_ends(connection: Connection, listed: set[tuple[str, str]]) -> Iterator[ActiveResource]:
    """Yield what this process is deleting without a proof of its end, and the cloud doesn't list."""
    for kind, object_id in iterate_repeats(connection.client):
        if (kind, object_id) not in listed:
            yield ActiveResource(kind, object_id, "", "", None, "end not confirmed")


def _add_vm_runs(connection: Connection, resources: Sequence[ActiveResource]) -> tuple[ActiveResource, ...]:
    """Add the run and the stated end to each VM that a run of this machine has rented."""
    from lk_jupyter.vms.facts import describe_end  # noqa: PLC0415 (few accounts have runs on VMs)

    runs = {vm_run.normalize_id(facts.active_id): facts for facts in _iterate_undeleted_vms(connection)}

    def describe(resource: ActiveResource) -> ActiveResource:
        facts = runs.get(vm_run.normalize_id(resource.id)) if resource.kind == "VM" else None
        if facts is None:
            return resource
        run_id = vm_run.PREFIX + facts.token
        title = str(facts.request.get("run_name") or "")
        name = f"{title}, run {run_id}" if title else f"run {run_id}"
        return replace(resource, name=name, end=describe_end(facts), run_id=run_id)

    return tuple(map(describe, resources)) if runs else tuple(resources)


def plan_stop(connection: Connection, active: ActiveList) -> StopPlan:
    """Return what may be stopped: no volume, and nothing that belongs to another member of the organization."""
    volumes = [each for each in active.resources if each.kind == "volume"]
    foreign = _list_foreign(connection, [each for each in active.resources if each.kind not in {"volume", "relay"}])
    excluded = [*foreign, *(ExcludedResource(each, _explain_volume(each)) for each in volumes)]
    excluded_ids = {each.resource.id for each in excluded}
    resources = tuple(each for each in active.resources if each.id not in excluded_ids)
    return StopPlan(resources, tuple(excluded), active.problems)


def _explain_volume(volume: ActiveResource) -> str:
    return f"contains data and is billed until you delete it: {_COMMANDS['volume']} {one_line(volume.id)}"


def stop_resources(
    connection: Connection, resources: Sequence[ActiveResource], report: Callable[[StopResult], object] | None = None
) -> list[StopResult]:
    """Stop resources, and wait at most ``CONFIRM_SECONDS`` for their confirmed ends; return a result for each.

    After a failure, the other stops continue. ``report`` is called with each result. A resource that the cloud lists
    after its end isn't reported as ended.
    """
    end = time.monotonic() + CONFIRM_SECONDS
    waiting: SimpleQueue[int] = SimpleQueue()
    finished: SimpleQueue[tuple[int, str]] = SimpleQueue()
    for index in range(len(resources)):
        waiting.put(index)

    def work() -> None:
        with suppress(Empty):
            while True:
                index = waiting.get_nowait()
                finished.put((index, _stop_and_confirm(connection, resources[index], end)))

    for _ in range(min(_AT_ONCE, len(resources))):
        start(threading.Thread(target=work, name="lk-stop", daemon=True))
    problems: dict[int, str] = {}
    with suppress(Empty):
        while len(problems) < len(resources):
            index, problem = finished.get(timeout=max(0.0, end - time.monotonic()))
            problems[index] = problem
            if problem and report:
                report(StopResult(resources[index], problem))
    late = f"the cloud didn't confirm its end within {CONFIRM_SECONDS:.0f} s"
    results = [StopResult(each, problems.get(index, late)) for index, each in enumerate(resources)]
    listed = _list_still_active(connection, {each.resource.id for each in results if each.has_ended})
    checked = []
    for index, each in enumerate(results):
        is_listed = each.has_ended and each.resource.id in listed
        result = replace(each, problem="the cloud still lists it as active") if is_listed else each
        if report and (result.has_ended or index not in problems or is_listed):
            report(result)
        checked.append(result)
    return checked


def _list_still_active(connection: Connection, ids: set[str]) -> set[str]:
    """Return which of the stopped resources the cloud still lists, after some looks: a list may be late."""
    for look in range(_LIST_LOOKS if ids else 0):
        if look:
            time.sleep(_LIST_PAUSE)
        try:
            listed = {each.id for each in read_active(connection).resources}
        except LkError:
            return set()  # each end was confirmed before
        if not (still_active := ids & listed):
            return set()
    return still_active if ids else set()


def _stop_and_confirm(connection: Connection, resource: ActiveResource, end: float) -> str:
    """Stop a resource, and wait for its end; return why it may still be active, or "" after its end."""
    try:
        if resource.kind == "VM":
            return _stop_vm(connection, resource.id, end)
        if resource.kind == "deployment":
            return _stop_deployment(connection.client, resource.id, end)
        return _stop_run(connection, resource.id, end)
    except Exception as error:  # noqa: BLE001 (whatever it is, the other stops continue, and it is reported)
        return str(error).partition("\n")[0] or type(error).__name__


def _stop_run(connection: Connection, execution_id: str, end: float) -> str:
    """Stop a run, a relay or a run on a VM. The stop is repeated by ``Abort`` until the end."""
    from lk_jupyter.runs.run import Run  # noqa: PLC0415 (the Jupyter server loads it at the first stop)

    abort = Run(connection, execution_id).abort_soon()
    while not abort.ended.is_set() and not (abort.has_arrived and abort.is_stuck):
        if time.monotonic() > end:
            break
        abort.ended.wait(0.1)
    if abort.ended.is_set():
        return ""
    if abort.error:
        return str(abort.error).partition("\n")[0] or type(abort.error).__name__
    state = abort.state or "active"
    return f"the cloud accepted the stop, but reports '{state}'" if abort.accepted else "the cloud didn't answer"


def _stop_vm(connection: Connection, vm_id: str, end: float) -> str:
    """Delete a VM; a VM with a run of this machine interrupts its code and saves the results first."""
    from lk_jupyter.vms.ends import delete_vm  # noqa: PLC0415 (most accounts have no VMs)
    from lk_jupyter.vms.ids import is_same_id  # noqa: PLC0415

    facts = next((each for each in _iterate_undeleted_vms(connection) if is_same_id(each.active_id, vm_id)), None)
    if facts is not None:
        return _stop_run(connection, vm_run.PREFIX + facts.token, end)
    delete_vm(connection.client, vm_id)
    return ""


def _stop_deployment(client: Client, deployment_id: str, end: float) -> str:
    """Stop a deployment, repeatedly, until its end is proven."""
    from lk_jupyter.vms.ends import DeploymentDeletion  # noqa: PLC0415 (most accounts have no deployments)

    DeploymentDeletion(client, deployment_id).run(seconds=end - time.monotonic())
    return ""


def _iterate_active_relays(connection: Connection) -> Iterator[RelayFacts]:
    """Yield the relays of this machine that start further runs on this server."""
    folder = setting("journal").parent / relay.FOLDER
    for path in sorted(folder.glob("*.json")):
        from lk_jupyter.runs.relay import read_relay  # noqa: PLC0415 (few accounts have relays)

        with suppress(UsageError):
            facts = read_relay(path.stem)
            if connection.speaks_to(facts.base_url) and not facts.state.get("is_final"):
                yield facts


def _describe_relay(facts: RelayFacts, listed: dict[str, ActiveResource]) -> ActiveResource:
    """Return a relay as a resource, with the price and the state of its current run."""
    execution_id = next((leg.execution_id for leg in reversed(facts.legs) if leg.execution_id), None)
    run = listed.get(execution_id or "")
    name = str(facts.request.get("run_name") or "") or (run.name if run else "")
    hardware = run.hardware if run else hardware_label(facts.machine)
    price = (run.per_hour if run else None) or facts.per_hour
    state, is_billed = (run.state, run.is_billed) if run else ("between runs", False)
    return ActiveResource("relay", relay.PREFIX + facts.token, name, hardware, price, state, is_billed=is_billed)


def _iterate_undeleted_vms(connection: Connection) -> Iterator[VmFacts]:
    """Yield the facts of the VMs of this machine whose end the cloud hasn't confirmed."""
    folder = setting("journal").parent / "vms"
    for path in sorted(folder.glob("*.json")):
        from lk_jupyter.vms.facts import read_facts  # noqa: PLC0415 (few accounts have runs on VMs)

        with suppress(UsageError):
            facts = read_facts(path.stem)
            if not facts.is_deleted and connection.speaks_to(facts.base_url):
                yield facts


def _iterate_unlisted_vms(connection: Connection, listed: Sequence[str]) -> Iterator[ActiveResource]:
    """Yield the VMs of this machine whose deletion isn't confirmed, and that the cloud doesn't list."""
    for facts in _iterate_undeleted_vms(connection):
        vm_id = facts.active_id
        if vm_run.normalize_id(vm_id) in map(vm_run.normalize_id, listed):
            continue
        state = "not listed"
        with suppress(LkError):
            record = connection.client.vms.status(vm_id)
            if record.phase is LifecyclePhase.ENDED:
                continue
            state = record.status
        hardware, price = facts.machine.removeprefix("vm.").upper(), facts.per_hour or None
        yield ActiveResource("VM", vm_id, str(facts.request.get("run_name") or ""), hardware, price, state)


def _list_foreign(connection: Connection, resources: Sequence[ActiveResource]) -> list[ExcludedResource]:
    """Return the resources that aren't certainly the user's: no one stops the work of another member."""
    client, excluded = connection.client, []
    user_id = email = None
    if any(each.owner for each in resources):
        with suppress(LkError):
            status = client.user.status()
            user_id, email = status.user_id, status.email
    is_team: bool | None = None
    for each in resources:
        has_owner = bool(each.owner and (user_id or email))
        if has_owner:
            is_yours = is_same_user(each.owner, user_id) or str(each.owner).lower() == (email or "").lower()
        else:
            is_team = _acts_for_team(client) if is_team is None else is_team
            is_yours = not is_team
        if not is_yours and not _has_local_start(connection, each):
            stop = f"Stop it: {_COMMANDS[each.kind]} {one_line(each.id)}"
            whose = f"belongs to another member of your organization ({one_line(str(each.owner))})."
            reason = whose if has_owner else "may belong to another member: the cloud doesn't report its user."
            excluded.append(ExcludedResource(each, f"{reason} {stop}", may_be_yours=not has_owner))
    return excluded


def _acts_for_team(client: Client) -> bool:
    """Return whether the lists may contain resources of other members. A broker lists only the user's own."""
    if client.has_broker:
        return False
    with suppress(LkError):
        return client.user.org().is_personal is False
    return False


def _has_local_start(connection: Connection, resource: ActiveResource) -> bool:
    """Return whether this user started the resource on this machine."""
    from lk_jupyter.journal.charges import charge_book  # noqa: PLC0415 (only for resources without a known owner)
    from lk_jupyter.journal.journal import journal  # noqa: PLC0415

    if resource.kind == "run":
        return journal().get(resource.id) is not None
    return any(charge.resource == resource.id for charge in charge_book().charges(connection.base_url))


def _has_run(vm_id: str, run_id: str) -> bool:
    """Return whether a run of this machine with this id has the VM now."""
    from lk_jupyter.vms.facts import read_facts  # noqa: PLC0415 (most accounts have no VMs)
    from lk_jupyter.vms.ids import is_same_id  # noqa: PLC0415

    token = vm_run.parse_run_key(run_id)
    if token is None:
        return False
    with suppress(UsageError):
        return is_same_id(read_facts(token).active_id, vm_id)
    return False


def find_resource(active: ActiveList, text: str) -> ActiveResource | None:
    """Return the active resource with this id, start of an id, or name; None without one. Raises UsageError."""
    wish = vm_run.normalize_id(text)
    exact = [each for each in active.resources if text in {each.id, each.name} or wish == vm_run.normalize_id(each.id)]
    exact = exact or [each for each in active.resources if each.kind == "VM" and _has_run(each.id, text)]
    fitting = exact or [
        each for each in active.resources if len(wish) >= 4 and vm_run.normalize_id(each.id).startswith(wish)
    ]
    if len(fitting) > 1:
        ids = ", ".join(one_line(each.id) for each in fitting[:5])
        raise UsageError(f"'{text}' matches several active resources: {ids}. Nothing was stopped. Use an id.")
    return next(iter(fitting), None)


def cost_label(per_hour: Decimal | None) -> str:
    """Return a cost per hour in words; an unknown price is never 0."""
    return "price unknown" if per_hour is None else f"{per_hour.normalize():f} credits/h"
