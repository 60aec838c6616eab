"""Refuse requests that might exceed the budget of a day or of a notebook, before they are sent.

A budget counts everything started on this computer: runs, VMs, deployments, batches, chats and embeddings. Ended runs
count with their cost, active runs with their maximum cost. A VM or a deployment counts with its cost until its stated
end, which this computer enforces (``rental.py``). Two kernels can't both spend the last credits: each kernel writes its
reservation to a file before it reads the reservations of the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import partial
from typing import TYPE_CHECKING, Protocol

from lk_jupyter.api.states import DEPLOYMENT_PHASES, FINAL_STATES, LifecyclePhase, read_phase
from lk_jupyter.config import settings
from lk_jupyter.config.files import CONFIG_FILE
from lk_jupyter.errors import ApiError, InvalidResponse, LkError, NotFound, UsageError
from lk_jupyter.journal.charges import RUN as RUN  # noqa: PLC0414 (known by this place too)
from lk_jupyter.journal.charges import RecordedCharge, charge_book
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import BudgetCharge, Journal, journal
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.protocol.vm_run import normalize_id
from lk_jupyter.text.units import credits_label

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.machines.catalogue import Catalogue

#: Hours that a budget must cover before a request wakes up a deployment, which pauses after an hour without a request.
LEAST_HOURS = 1

#: Seconds after a lost answer during which the started resource can still appear in a list.
_MAY_APPEAR = 15.0

#: Seconds after which a second list without a resource means that the resource has ended.
_ABSENT_SECONDS = 60.0

#: Seconds after which a request without a waiting caller has ended.
_LONGEST_REQUEST = 900.0

VM, VOLUME, DEPLOYMENT, BATCH, CHAT = "VM", "volume", "deployment", "batch", "chat"
_PLURALS = {RUN: "runs", VM: "VMs", VOLUME: "volumes", DEPLOYMENT: "deployments", BATCH: "batches", CHAT: "chats"}


class Spender(Protocol):
    """The parts of a connection that a budget reads."""

    @property
    def base_url(self) -> str:
        """Address of the server."""

    @property
    def client(self) -> Client:
        """The typed client."""

    def machines(self) -> Catalogue:
        """Return the machine types with their prices."""


@dataclass(frozen=True)
class Budget:
    """A budget: setting, name, period in words, start (Unix seconds), and which runs count."""

    setting: str
    name: str
    spent: str
    begins: Callable[[], float]
    is_notebook_only: bool = False

    @property
    def title(self) -> str:
        """The budget as the start of a sentence: only this computer enforces it."""
        return f"{self.name[:1].upper()}{self.name[1:]} of this computer"


def _compute_last_midnight() -> float:
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


BUDGETS = (
    Budget("day_budget", "the day budget", "spent since midnight", _compute_last_midnight),
    Budget("notebook_budget", "the notebook budget", "spent by its runs", lambda: 0.0, is_notebook_only=True),
)


@dataclass(frozen=True)
class BudgetUsage:
    """The used part of a budget, in credits: spent, and the maximum of active uses; spent by kind."""

    spent: Decimal
    open: Decimal
    kinds: dict[str, Decimal] = field(default_factory=dict, compare=False)

    def __add__(self, other: BudgetUsage) -> BudgetUsage:
        kinds = {kind: self.kinds.get(kind, Decimal(0)) for kind in {**self.kinds, **other.kinds}}
        kinds = {kind: amount + other.kinds.get(kind, Decimal(0)) for kind, amount in kinds.items()}
        return BudgetUsage(self.spent + other.spent, self.open + other.open, kinds)

    @property
    def detail(self) -> str:
        """The spent credits by kind, in words; empty if runs are all that spent."""
        kinds = {kind: amount for kind, amount in self.kinds.items() if amount}
        if not set(kinds) - {RUN}:
            return ""
        return f" ({', '.join(f'{_PLURALS.get(kind, kind)} {amount:.4f}' for kind, amount in kinds.items())})"

    @property
    def reserved(self) -> str:
        """The credits that active things may still use, in words; empty for none."""
        kinds = " and ".join(f"active {_PLURALS.get(kind, kind)}" for kind in dict.fromkeys([RUN, *self.kinds]))
        return f", {credits_label(self.open)} may still be used by {kinds}" if self.open else ""


@dataclass(frozen=True)
class CostRequest:
    """A request to be sent, and its maximum cost in credits; None if unknown.

    ``unpriced`` is the reason for None. ``run`` or ``charge`` is the token of the reservation. ``saves`` is an option
    that reduces the cost.
    """

    words: str
    amount: Decimal | None
    unpriced: str = ""
    run: str = ""
    charge: str = ""
    saves: str = "--timeout SECONDS, --max-cost CREDITS"


def active_budgets() -> list[tuple[Budget, Decimal]]:
    """Return the budgets that are set, with their limits in credits."""
    limits = {budget: settings.setting(budget.setting) for budget in BUDGETS}
    return [(budget, limit) for budget, limit in limits.items() if limit is not None]


def refuse_over_budget(
    connection: Spender, request: CostRequest, look_again: Callable[[BudgetCharge], None] | None = None
) -> None:
    """Raise UsageError if a request might exceed a budget.

    ``look_again`` reads the state of a run whose last known state is active.
    """
    for budget, limit in active_budgets():
        if request.amount is None:
            raise UsageError(
                f"{budget.title} can't be enforced: {request.unpriced} Nothing was sent. To remove the budget: "
                f"%lk_config {budget.setting} --unset"
            )
        if _fits_limit(read_usage(connection, budget, request), request.amount, limit):
            continue
        # Runs that have ended since may have cost less than their maximum.
        refresh_charges(connection, budget, look_again)
        use = read_usage(connection, budget, request)
        if not _fits_limit(use, request.amount, limit):
            raise UsageError(_format_refusal(budget, limit, use, request, request.amount))


def read_usage(connection: Spender, budget: Budget, request: CostRequest | None = None) -> BudgetUsage:
    """Return the used part of a budget. Of simultaneous reservations, only earlier ones count."""
    before_run, before_charge = (request.run, request.charge) if request else ("", "")
    runs = sum_charges(_list_counted_runs(connection, journal(), budget, before_run))
    return runs + _sum_usage(_list_counted_charges(connection, budget, before_charge), budget.begins())


def remaining_credits(connection: Spender) -> Decimal | None:
    """Return the credits that all active budgets leave for the next request; None without a budget."""
    limits = active_budgets()
    uses = [(limit, read_usage(connection, budget)) for budget, limit in limits]
    return min((max(Decimal(0), limit - use.spent - use.open) for limit, use in uses), default=None)


def sum_charges(charges: Iterable[BudgetCharge]) -> BudgetUsage:
    """Sum up runs. A run that ended without a bill counts with its maximum cost."""
    spent, open_ = Decimal(0), Decimal(0)
    for charge in charges:
        if charge.cost is not None and not charge.going_on:
            spent += charge.cost
        else:
            open_ += cost_at_limit(charge.price_per_hour, charge.timeout) or Decimal(0)
    return BudgetUsage(spent, open_, {RUN: spent})


def _sum_usage(charges: Iterable[RecordedCharge], since: float) -> BudgetUsage:
    use, now = BudgetUsage(Decimal(0), Decimal(0)), time.time()
    for charge in charges:
        spent = charge.spent(since, now)
        use += BudgetUsage(spent, charge.open(since, now), {charge.kind: spent})
    return use


def _list_counted_runs(connection: Spender, records: Journal, budget: Budget, before: str = "") -> list[BudgetCharge]:
    """Return the runs that count: all runs, or the runs before the run with this token."""
    entry = records.get(before) if before else None
    place = CellContext(entry.notebook) if entry else current_cell()
    notebook = place if budget.is_notebook_only else None
    charges = records.charges(connection.base_url, since=budget.begins(), place=notebook, before=before)
    if records.trouble:
        raise UsageError(f"{budget.title} can't be enforced, so nothing was sent. {records.trouble}")
    return charges


def _list_counted_charges(connection: Spender, budget: Budget, before: str = "") -> list[RecordedCharge]:
    """Return the other charges that count: all charges, or the charges before the charge with this token."""
    book = charge_book()
    charges = book.charges(connection.base_url, since=budget.begins(), before=before)
    if book.trouble:
        raise UsageError(f"{budget.title} can't be enforced, so nothing was sent. {book.trouble}")
    if not budget.is_notebook_only:
        return charges
    notebook = current_cell().notebook
    return [charge for charge in charges if charge.notebook == notebook]


def _fits_limit(use: BudgetUsage, amount: Decimal, limit: Decimal) -> bool:
    return use.spent + use.open + amount <= limit


def _format_refusal(budget: Budget, limit: Decimal, use: BudgetUsage, request: CostRequest, amount: Decimal) -> str:
    enough = (use.spent + use.open + amount).quantize(Decimal("0.01"), ROUND_UP)
    source = settings.resolve(budget.setting).source
    how = f"%lk_config {budget.setting} {enough:f}" if source == CONFIG_FILE else f"%env {source}={enough:f}"
    saves = f" Or use less: {request.saves}." if request.saves else ""
    return (
        f"{budget.title} is {credits_label(limit)}: {credits_label(use.spent)} were {budget.spent}{use.detail}"
        f"{use.reserved}, and {request.words} may cost {credits_label(amount)}. Nothing was sent.\nRaise it: {how}."
        f"{saves}"
    )


def budget_usage(connection: Spender) -> list[str]:
    """Return the used part of each active budget, in words."""
    uses = [(read_usage(connection, budget), budget, limit) for budget, limit in active_budgets()]
    return [
        f"{credits_label(use.spent)} of {limit:f} {budget.spent}{use.detail}{use.reserved}"
        for use, budget, limit in uses
    ]


def list_exceeded_budgets(connection: Spender) -> list[str]:
    """Return, for each budget exceeded by VMs or deployments, the spent credits and the commands that end them.

    This function ends nothing: a VM may contain work of its user.
    """
    words = []
    for budget, limit in active_budgets():
        if not _list_unlimited_charges(connection, budget) or read_usage(connection, budget).spent <= limit:
            continue
        refresh_charges(connection, budget)
        use, active = read_usage(connection, budget), _list_unlimited_charges(connection, budget)
        if active and use.spent > limit:
            names = ", ".join(f"{charge.kind} {charge.name!r}" for charge in active[:3])
            verbs = {VM: "%lk_vm delete NAME", VOLUME: "%lk_volumes delete ID", DEPLOYMENT: "%lk_undeploy ID"}
            ends = " or ".join(dict.fromkeys(verbs[charge.kind] for charge in active if charge.kind in verbs))
            words.append(
                f"{budget.title}, {limit:f} credits, is exceeded: {credits_label(use.spent)} were {budget.spent}"
                f"{use.detail}. Still active: {names}. End it: {ends}"
            )
    return words


def _list_unlimited_charges(connection: Spender, budget: Budget) -> list[RecordedCharge]:
    """Return the active VMs and deployments, which have no time limit."""
    return [charge for charge in _list_counted_charges(connection, budget) if charge.rate and charge.is_active]


def refresh_charges(
    connection: Spender, budget: Budget, look_again: Callable[[BudgetCharge], None] | None = None
) -> None:
    """Read the resources whose last known state is active from the server, and record ends and costs."""
    look_again = look_again or partial(_record_run_end, connection, journal())
    for run in _list_counted_runs(connection, journal(), budget):
        if run.going_on:
            look_again(run)
    record_ends(connection, [charge for charge in _list_counted_charges(connection, budget) if charge.is_active])


def record_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    """Read the resources of these charges from the server, and record their ends and costs."""
    for kind, look in _LOOKS.items():
        if same_kind := [charge for charge in charges if charge.kind == kind]:
            look(connection, same_kind)


def _record_run_end(connection: Spender, records: Journal, run: BudgetCharge) -> None:
    """Record the end of a run in the journal, if the run has ended."""
    if run.execution_id is None:
        return
    try:
        record = connection.client.execution.get(run.execution_id)
    except NotFound:
        # Members can delete records: without a bill, the run counts with its maximum cost.
        records.update(run.token, state="failed", cost=None, reason="The server no longer knows this run.")
        return
    if record.status.lower() in FINAL_STATES and record.billed is not None:
        records.update(run.token, state=record.status.lower(), cost=record.billed, ended_at=time.time())


def _iterate_started_resources(charges: list[RecordedCharge]) -> Iterator[tuple[RecordedCharge, str]]:
    """Yield each charge with the id of the started resource; drop a charge whose start never had an answer."""
    for charge in charges:
        if charge.resource is None:
            _drop_unlisted(charge)
        else:
            yield charge, charge.resource


def _record_run_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    for charge, resource in _iterate_started_resources(charges):
        with suppress(LkError):
            record = connection.client.execution.get(resource)
            if record.status.lower() in FINAL_STATES and record.billed is not None:
                charge_book().update(charge.token, cost=record.billed, ends=time.time())


def _record_vm_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    """Record the ends of VMs that were deleted elsewhere, and the ids of VMs whose answers were lost."""
    with suppress(ApiError, InvalidResponse):
        rows = {normalize_id(vm.vm_id): vm for vm in connection.client.vms.list()}
        recorded = {normalize_id(charge.resource or "") for charge in charge_book().charges(connection.base_url)}
        unrecorded = [vm for key, vm in rows.items() if key not in recorded and vm.phase is not LifecyclePhase.ENDED]
        for charge in charges:
            if charge.resource is None:
                fitting = [vm for vm in unrecorded if charge.name in {vm.display_name, vm.name}]
                if fitting:  # several VMs may have the same name
                    unrecorded.remove(fitting[0])
                    charge_book().update(charge.token, resource=fitting[0].vm_id, unclear_at=None)
                else:
                    _drop_unlisted(charge)
                continue
            vm = rows.get(normalize_id(charge.resource))
            if vm is None:
                _record_absence(connection, charge)
            elif vm.phase is LifecyclePhase.ENDED:
                billed = vm.billed if vm.croesus_billed is None else vm.croesus_billed
                charge_book().update(charge.token, ends=time.time(), cost=billed, deadline=None)
            else:
                _record_presence(charge)


def _record_volume_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    """Record the ids of new volumes, whose charge has the name of their VM's id, and the ends of volumes."""
    with suppress(ApiError, InvalidResponse):
        rows = list(connection.client.block.list())
        for charge in charges:
            if charge.resource is None:
                attached = [row for row in rows if normalize_id(row.attached_vm_id or "") == normalize_id(charge.name)]
                if attached:
                    charge_book().update(charge.token, resource=attached[0].volume_id, unclear_at=None)
                else:
                    _drop_unlisted(charge)
            elif any(row.volume_id == charge.resource for row in rows):
                _record_presence(charge)
            else:
                _record_absence(connection, charge)


def _record_deployment_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    """Record the ends of deployments; a paused deployment is free until its next question."""
    with suppress(ApiError, InvalidResponse):
        rows = {row.deployment_id: row for row in connection.client.inference.list(include_terminated=True)}
        for charge in charges:
            if charge.resource is None:
                _drop_unlisted(charge)
                continue
            row = rows.get(charge.resource)
            if row is None:
                _record_absence(connection, charge)
            elif row.status == "paused":  # a question wakes it up: its stated end remains
                charge_book().update(charge.token, ends=time.time())
            elif read_phase(row.status, DEPLOYMENT_PHASES) is LifecyclePhase.ENDED:
                charge_book().update(charge.token, ends=time.time(), deadline=None)
            else:
                _record_presence(charge)


def read_account(connection: Spender) -> str | None:
    """Return the user and the organization that a connection acts for; None if the server doesn't report them."""
    with suppress(LkError):
        status = connection.client.user.status()
        return f"{normalize_id(status.user_id or '')} {normalize_id(status.org_id or '')}"
    return None


def is_account(connection: Spender, charge: RecordedCharge) -> bool:
    """Return whether a connection acts for the account that pays a charge: another account can't see the resource."""
    return charge.account is None or charge.account == read_account(connection)


def _record_absence(connection: Spender, charge: RecordedCharge) -> None:
    """Record that a list lacks a resource: the resource has ended if another list lacks it a minute later."""
    now = time.time()
    if not is_account(connection, charge):
        return
    if charge.unclear_at is None:
        charge_book().update(charge.token, unclear_at=now)
    elif now - charge.unclear_at > _ABSENT_SECONDS:
        charge_book().update(charge.token, ends=charge.unclear_at, deadline=None)


def _record_presence(charge: RecordedCharge) -> None:
    """Record that a list contains a resource that an earlier list lacked."""
    if charge.unclear_at is not None:
        charge_book().update(charge.token, unclear_at=None)


def _record_batch_ends(connection: Spender, charges: list[RecordedCharge]) -> None:
    """Record that a batch that ended without an answer was free; the costs of other batches are recorded when read."""
    for charge, resource in _iterate_started_resources(charges):
        with suppress(LkError):
            batch = connection.client.batches.get(resource)
            answered = batch.request_counts and batch.request_counts.completed
            if batch.is_over and not (answered or batch.output_files):
                charge_book().update(charge.token, cost=Decimal(0), ends=time.time())


def _drop_unlisted(charge: RecordedCharge) -> None:
    """Remove a charge whose answer was lost and which no list shows by now."""
    now = time.time()
    is_lost = charge.unclear_at is not None and now - charge.unclear_at > _MAY_APPEAR
    if is_lost or now - charge.begins > _LONGEST_REQUEST:
        charge_book().remove(charge.token)


_LOOKS: dict[str, Callable[[Spender, list[RecordedCharge]], None]] = {
    RUN: _record_run_ends,
    VM: _record_vm_ends,
    VOLUME: _record_volume_ends,
    DEPLOYMENT: _record_deployment_ends,
    BATCH: _record_batch_ends,
}
