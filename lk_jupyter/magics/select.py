"""``%%lk_select``: run a script on every GPU of the account, to choose a GPU."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from uuid import uuid4

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api._client import Client
from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import GpuSelectionRequest, GpuSelectionStatus, ProfilingResult, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import SUCCEEDED_STATES, canonical, is_known
from lk_jupyter.config.assumptions import ABSENT
from lk_jupyter.errors import OperationNotAvailable, RunAborted, RunFailed, UsageError
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.magics._engine.ask import ask, is_sure
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, StatusLine
from lk_jupyter.magics.run import start_several
from lk_jupyter.options.fields import option, switch, yes
from lk_jupyter.options.runs import Options, RunOptions
from lk_jupyter.protocol.parts import add_token_to_name
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.follow import Ending
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.package.secret_scan import permit_text
from lk_jupyter.runs.submit.start import REPEATED, send_once
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import credits_label, duration_label

_PAUSE = 1.0


class SelectOptions(Options):
    """Options of ``%%lk_select``."""

    timeout: int = option(60, "Time limit of each try, such as 90s.", metavar="DURATION", ge=1, le=600)
    requirements: str | None = option(None, "Packages to install, separated by commas.", "-r", metavar="NAMES")
    allow_secrets: bool = switch("Send the cell even if it seems to contain a secret.")
    dry_run: bool = switch("Show the machines and the highest possible cost; send nothing.")
    yes: bool = yes()


@magic(SelectOptions)
def lk_select(options: SelectOptions, shell: InteractiveShell, cell: str) -> None:
    """Try the cell on every GPU type of your account, and show the fastest, cheapest and best GPU type.

    Each try is a separate run, which is billed. Use a small part of your work as the cell, such as an epoch. To compare
    only machines that you list, use %%lk_run --gpu A100,H100.

    Examples::

        %%lk_select --dry-run
        %%lk_select --timeout 120 -r torch --yes
    """
    session = current()
    permit_text(cell, "The cell", ask, allowed=options.allow_secrets)
    plan, most = _build_plan(session, options)
    display(plan)
    if options.dry_run:
        return
    if not is_sure(options, f"Run the cell on each machine, for at most {most} in total?", "Nothing was sent."):
        return
    if session.assumptions["gpu_selection"] == ABSENT:
        _start_run_for_each_gpu(session, options, shell, cell)
        return
    needs = (options.requirements or "").replace(",", "\n") or None
    token = uuid4().hex
    name = add_token_to_name("cell.py", token)
    request = GpuSelectionRequest(code=cell, timeout=options.timeout, requirements_content=needs, file_name=name)
    try:
        execution_id = _start_selection(session.client, request, token)
    except OperationNotAvailable:
        session.assumptions.store_finding("gpu_selection", ABSENT)
        _start_run_for_each_gpu(session, options, shell, cell)
        return
    _show_result(_follow_selection(session.client, execution_id, shell), execution_id)


def _start_run_for_each_gpu(session: Session, options: SelectOptions, shell: InteractiveShell, cell: str) -> None:
    """Start a run for each GPU, for a server without GPU selection."""
    show_text(
        "This server can't compare GPUs. Instead, one run is started for each GPU. The maximum price stays the same."
    )
    names = ",".join(each.hardware_profile for each in _list_gpus(session))
    needs = [options.requirements] if options.requirements else []
    wish = RunOptions(
        machine=names, timeout=options.timeout, requirements=needs, allow_secrets=options.allow_secrets, rich=False
    )
    start_several(session, cell, wish, shell)


def _list_gpus(session: Session) -> list[MachineType]:
    """Return the GPUs of the account. Raises UsageError for none."""
    catalogue = session.machines()
    machines = [machine for machine in catalogue if machine.card and catalogue.allows(machine)]
    if not machines:
        raise UsageError("Your account isn't allowed to use GPUs. All machine types: %lk_machines")
    return machines


def _start_selection(client: Client, request: GpuSelectionRequest, token: str) -> str:
    """Start a selection in a thread, so that no interrupt loses the answer: the abort is sent once the id is known."""
    with ThreadPoolExecutor(1) as threads:
        start = threads.submit(
            send_once,
            client,
            token,
            lambda: client.execution.start_gpu_selection(request),
            request.model_dump(include=REPEATED),
        )
        with AtInterrupt(lambda _: abort_soon(client, start.result().execution_id)):
            return start.result().execution_id


def _build_plan(session: Session, options: SelectOptions) -> tuple[Table, str]:
    """Return the machines with the most that a try costs on each, and the sum of that in words."""
    machines = _list_gpus(session)
    costs = [cost_at_limit(machine.price_per_hour, options.timeout) for machine in machines]
    total = sum((cost for cost in costs if cost is not None), Decimal(0))
    most = credits_label(total)
    rows = [
        (each.card_name, each.hardware_profile, credits_label(cost)) for each, cost in zip(machines, costs, strict=True)
    ]
    short = map(str, low_balance_notices(session, total, f"these {len(machines)} tries", limits=False))
    note = "\n".join([f"The total cost is at most {most}; each try lasts at most {options.timeout} s.", *short])
    return Table(("GPU", "Machine", "At most"), rows, note=note, right=frozenset({"At most"})), most


def _follow_selection(client: Client, execution_id: str, shell: InteractiveShell) -> GpuSelectionStatus:
    """Show the progress of a selection until its end; an interrupt aborts the selection with its active try."""
    line, answered_at, ending = LiveOutput(shell), time.monotonic(), Ending(client, execution_id)
    advice = f"The selection may still be active. Stop it: %lk_abort {execution_id}"
    with AtInterrupt(lambda _: abort_soon(client, execution_id)):
        try:
            with true_interrupts():
                while True:
                    try:
                        status = client.execution.gpu_selection_status(execution_id)
                        is_over = is_final(status.status if is_known(status.status) else ending.record().status)
                    except BROKEN as error:
                        check_patience(error, answered_at, advice)
                        time.sleep(_PAUSE)
                        continue
                    answered_at = time.monotonic()
                    done = [each.profile or "" for each in _list_results(status)]
                    progress = f"{len(done)} tried: {', '.join(done)}" if done else ""
                    line.show(StatusLine(status.status, [progress, execution_id[:8]]))
                    if is_over:
                        return status
                    time.sleep(_PAUSE)
        except KeyboardInterrupt:
            raise build_interrupt(_await_stop(client, execution_id, line)) from None


def _await_stop(client: Client, execution_id: str, line: LiveOutput) -> str:
    """Wait for the end of an aborted selection, and describe its state; an interrupt only ends the waiting."""
    abort = abort_soon(client, execution_id)
    with suppress(KeyboardInterrupt), true_interrupts():
        state, text = ("aborted", "") if abort.wait() else ("stopping", abort.words)
        line.show(StatusLine(state, [execution_id[:8]], text), now=True)
        return text or f"Aborted selection {execution_id}."
    return f"Stopped waiting. {abort.words}"


def _show_result(status: GpuSelectionStatus, execution_id: str) -> None:
    """Show the tries and the winners. Raises RunFailed if the cell didn't complete on any machine."""
    rows = [_build_profile_row(each) for each in _list_results(status)]
    results = status.metadata.selection_results if status.metadata else None
    verdict = {name: getattr(results, name, None) for name in ("best", "fastest", "cheapest")}
    note = ", ".join(f"{name}: {profile}" for name, profile in verdict.items() if profile)
    display(Table(("Machine", "State", "Time", "Cost"), rows, note=note, right=frozenset({"Time", "Cost"})))
    if status.status == "aborted":
        raise RunAborted(f"The selection {execution_id} was aborted.", execution_id=execution_id)
    if not any(canonical(each.status or "") in SUCCEEDED_STATES for each in _list_results(status)):
        reason = "; ".join(status.system_errors or ()) or "the cell didn't complete on any machine"
        raise RunFailed(f"The selection {execution_id} found nothing: {reason}.", execution_id=execution_id)


def _list_results(status: GpuSelectionStatus) -> list[ProfilingResult]:
    return (status.metadata.profiling_results if status.metadata else None) or []


def _build_profile_row(each: ProfilingResult) -> tuple[str, ...]:
    took = "" if each.execution_time is None else duration_label(each.execution_time)
    state = canonical(each.status or "")
    return (each.profile or "", "completed" if state in SUCCEEDED_STATES else state, took, credits_label(each.cost))
