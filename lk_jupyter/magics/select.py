"""``%%lk_select``: one script on every GPU of the account, to see which to take."""

from __future__ import annotations

import time

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import GpuSelectionRequest, GpuSelectionStatus, ProfilingResult, is_final
from lk_jupyter.errors import RunAborted, RunFailed, UsageError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._fields import option, switch, yes
from lk_jupyter.magics._line import Line, Updated
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import Options
from lk_jupyter.runs.cost import cost_of, credits_label, duration_label
from lk_jupyter.runs.guard import permit_text
from lk_jupyter.runs.session import Session, current

_PAUSE = 1.0


class SelectOptions(Options):
    """Options of ``%%lk_select``."""

    timeout: int = option(60, "Seconds that each try may take.", metavar="SECONDS", ge=1, le=600)
    requirements: str | None = option(None, "Packages to install first, with commas between.", "-r", metavar="NAMES")
    allow_secrets: bool = switch("Send the cell though it holds what looks like a secret.")
    plan: bool = switch("Show the machines and the most it can cost; send nothing.")
    yes: bool = yes()


@magic(SelectOptions)
def lk_select(options: SelectOptions, shell: InteractiveShell, cell: str) -> None:
    """Try the cell on every GPU of your account, and tell which is the fastest, the cheapest and the best.

    Each try is a run of its own and billed. Give it a small part of your work, such as one epoch. %%lk_run with
    --gpu A100,H100 compares those that you name.

    Examples::

        %%lk_select --plan
        %%lk_select --timeout 120 -r torch --yes
    """
    session = current()
    permit_text(cell, "The cell", ask, allowed=options.allow_secrets)
    plan, most = _plan(session, options)
    display(plan)
    if options.plan:
        return
    if not options.yes and not ask(f"Try it on each of them, for at most {most}? [y/N] "):
        say("Nothing was sent. --yes goes on without asking.")
        return
    needs = (options.requirements or "").replace(",", "\n") or None
    request = GpuSelectionRequest(code=cell, timeout=options.timeout, requirements_content=needs, file_name="cell.py")
    started = session.client.execution.start_gpu_selection(request)
    _tell(_followed(session.client, started.execution_id, shell), started.execution_id)


def _plan(session: Session, options: SelectOptions) -> tuple[Table, str]:
    """Return the machines with the most that a try costs on each, and the sum of that in words."""
    catalogue = session.machines()
    machines = [machine for machine in catalogue if machine.card and catalogue.allows(machine)]
    if not machines:
        raise UsageError("Your account may use no GPU: %lk_machines lists what there is.")
    costs = [cost_of(machine, options.timeout) for machine in machines]
    most = credits_label(sum(cost for cost in costs if cost is not None))  # type: ignore[arg-type]
    rows = [
        (each.card_name, each.hardware_profile, credits_label(cost)) for each, cost in zip(machines, costs, strict=True)
    ]
    note = f"At most {most} in all, {options.timeout} s a try."
    return Table(("GPU", "Machine", "At most"), rows, note=note, right=frozenset({"At most"})), most


def _followed(client: Client, execution_id: str, shell: InteractiveShell) -> GpuSelectionStatus:
    """Show how far it is until it has ended; an interrupt aborts it with the try that goes on."""
    line = Updated(shell)
    try:
        with true_interrupts():
            while True:
                status = client.execution.gpu_selection_status(execution_id)
                done = [each.profile or "" for each in _tries(status)]
                tried = f"{len(done)} tried: {', '.join(done)}" if done else ""
                line.show(Line(status.status, [tried, execution_id[:8]]))
                if is_final(status.status):
                    return status
                time.sleep(_PAUSE)
    except KeyboardInterrupt:
        client.workloads.abort(execution_id)
        line.show(Line("aborted", [execution_id[:8]]), now=True)
        raise


def _tell(status: GpuSelectionStatus, execution_id: str) -> None:
    """Show the tries, and what came out on top. Raises RunFailed when the cell ran well on none."""
    rows = [_row(each) for each in _tries(status)]
    results = status.metadata.selection_results if status.metadata else None
    verdict = {name: getattr(results, name, None) for name in ("best", "fastest", "cheapest")}
    note = ", ".join(f"{name}: {profile}" for name, profile in verdict.items() if profile)
    display(Table(("Machine", "State", "Time", "Cost"), rows, note=note, right=frozenset({"Time", "Cost"})))
    if status.status == "aborted":
        raise RunAborted(f"The selection {execution_id} was aborted.", execution_id=execution_id)
    if not any(each.status == "success" for each in _tries(status)):
        reason = "; ".join(status.system_errors or ()) or "the cell ended well on no machine"
        raise RunFailed(f"The selection {execution_id} found nothing: {reason}.", execution_id=execution_id)


def _tries(status: GpuSelectionStatus) -> list[ProfilingResult]:
    return (status.metadata.profiling_results if status.metadata else None) or []


def _row(each: ProfilingResult) -> tuple[str, ...]:
    took = "" if each.execution_time is None else duration_label(each.execution_time)
    return (each.profile or "", each.status or "", took, credits_label(each.cost))
