"""Looking at runs and machines: lists, states, stored logs, and the emergency brake."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.logs import LogEntry
from lk_jupyter.api.workloads import Workload
from lk_jupyter.errors import ApiError, UsageError
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._line import Line, Note, mark_of
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._run_view import receipt
from lk_jupyter.magics._views import Table
from lk_jupyter.options import ForgetOptions, LogsOptions, MachinesOptions, RunIdOptions, RunsOptions
from lk_jupyter.runs.cost import credits_label, duration_label
from lk_jupyter.runs.frames import NO_NONCE, Splitter, text_of
from lk_jupyter.runs.machines import price_label
from lk_jupyter.runs.outcome import SHORT_ID, duration_of, failure_of
from lk_jupyter.runs.redact import LineRedactor
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.session import Session, current
from lk_jupyter.runs.terminal import TerminalText


@magic(MachinesOptions)
def lk_machines(options: MachinesOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """List the machines that a run can ask for, cheapest first, with prices in credits per hour."""
    machines = current().machines()
    priced = sorted(machines, key=lambda machine: (machine.price_per_hour is None, machine.price_per_hour))
    rows: list[tuple[str, ...]] = [
        (
            machine.hardware_profile,
            machine.card_name,
            str(machine.memory_gib or "") if machine.card else "",
            price_label(machine),
            "yes" if machines.allows(machine) else "no",
        )
        for machine in priced
    ]
    if options.all:
        rows += _only_in_quotas({row[0] for row in rows})
    columns = ("Machine", "GPU", "Memory GiB", "Price", "You may use it")
    display(Table(columns, rows, right=frozenset({"Memory GiB", "Price"})))


def _only_in_quotas(listed: set[str]) -> list[tuple[str, ...]]:
    """Return rows of the profiles that the account has a quota for and no price is published of."""
    quotas = current().client.user.quotas().root
    return [(name, "", "", "", "yes" if may else "no") for name, may in sorted(quotas.items()) if name not in listed]


@magic(RunsOptions)
def lk_runs(options: RunsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """List your runs: those that go on, then the latest that ended.

    Example: ``%lk_runs -n 50``
    """
    runs = _latest(current(), options.limit)
    columns = ("Run", "State", "Machine", "Started", "Took", "Cost", "Name")
    note = "" if runs else "No runs yet. Put %%lk_run on top of a cell."
    display(Table(columns, [_row(run) for run in runs], note=note, right=frozenset({"Took", "Cost"})))


def _latest(session: Session, limit: int) -> list[Workload | ExecutionSummary]:
    """Return what goes on, then what ended; a run that stands in both lists counts once."""
    ended = {run.execution_id: run for run in session.client.billing.history(limit=limit)}
    going_on = [run for run in session.client.workloads.list() if not _has_ended(ended.get(run.execution_id))]
    for run in going_on:
        ended.pop(run.execution_id, None)
    return [*going_on, *ended.values()]


def _has_ended(run: ExecutionSummary | None) -> bool:
    return run is not None and is_final(run.status)


def _row(run: Workload | ExecutionSummary) -> tuple[str, ...]:
    summary = run if isinstance(run, ExecutionSummary) else None
    took = duration_of(summary) if summary else None
    return (
        run.execution_id[:SHORT_ID],
        f"{mark_of(run.status)} {run.status}",
        run.hardware_profile or "",
        f"{run.created_at.astimezone():%d %b %H:%M:%S}",
        duration_label(took) if took is not None else "",
        credits_label(summary.billed) if summary and summary.billed is not None else "",
        _name(run),
    )


def _name(run: Workload | ExecutionSummary) -> str:
    """Return the display name; in the history some servers give it beyond what the API tells."""
    named = run.run_name if isinstance(run, Workload) else (run.model_extra or {}).get("run_name")
    return named or run.file_name or ""


@magic(RunIdOptions)
def lk_status(options: RunIdOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Tell the state of a run, its time and its cost.

    Example: ``%lk_status 3f0c``
    """
    run = Run.attach(current(), options.run)
    record, machine = run.record, run.machine
    line = receipt(record, machine)
    reason = str(failure_of(record)) if line.mark in "✗■" else ""
    profile = f"{record.hardware_profile} at {price_label(machine)}" if machine else record.hardware_profile or ""
    display(Line(record.status, [profile, *line.facts], "\n".join(filter(None, [" · ".join(_phases(run)), reason]))))


def _phases(run: Run) -> list[str]:
    """Return how long each phase took, where the server tells."""
    with suppress(ApiError):
        timing = run.session.client.execution.timing(run.execution_id).timing
        told = timing.phases if timing and timing.phases else {}
        return [f"{name} {duration_label(phase.duration)}" for name, phase in told.items() if phase.duration]
    return []


@magic(ForgetOptions)
def lk_forget(options: ForgetOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Remove the record of a run that has ended from the cloud: its code, output and result. Asks first.

    Example: ``%lk_forget 3f0c --yes``
    """
    run = Run.attach(current(), options.run)
    if not is_final(run.record.status):
        raise UsageError(f"Run {run.execution_id[:SHORT_ID]} goes on. %lk_abort {run.execution_id[:SHORT_ID]} ends it.")
    if not options.yes and not ask(f"Remove the record of run {run.execution_id}? What it cost stays. [y/N] "):
        display(Note("Nothing was removed. --yes removes without asking."))
        return
    run.session.client.execution.delete(run.execution_id)
    display(Note(f"Removed the record of run {run.execution_id}."))


@magic(LogsOptions)
def lk_logs(options: LogsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Print the stored log of a run, or of all; what was written to stderr goes to stderr.

    Examples::

        %lk_logs 3f0c --limit 200
        %lk_logs --hours 2
    """
    if options.run is None:
        _print_all_logs(options)
        return
    run = Run.attach(current(), options.run)
    entries = run.logs(options.limit, options.hours)
    redactor, splitter = LineRedactor(), Splitter(run.nonce or NO_NONCE)
    for on_stderr, lines in groupby(entries, key=_on_stderr):
        stream = sys.stderr if on_stderr else sys.stdout
        texts = (text_of(splitter.feed(line.message.rstrip("\r\n") + "\n")) for line in lines)
        shown = redactor.lines(line for text in texts for line in _plain(text))
        stream.write("".join(line + "\n" for line in shown))
        stream.flush()
    if not entries:
        display(Note(f"No stored lines in the last {options.hours} hours. A run that just ended may need a moment."))
    elif len(entries) == options.limit:
        display(Note(f"{options.limit} lines; there may be more: --limit takes up to 10000."))


def _print_all_logs(options: LogsOptions) -> None:
    """Print the newest lines of all runs, each behind the id of its run."""
    entries = current().client.logs.user(min(options.limit, 5000), min(options.hours, 24))
    redactor, splitter = LineRedactor(), Splitter(NO_NONCE)
    for entry in sorted(entries, key=lambda entry: entry.timestamp):
        stream = sys.stderr if _on_stderr(entry) else sys.stdout
        shown: Sequence[str] = redactor.lines(_plain(text_of(splitter.feed(entry.message.rstrip("\r\n") + "\n"))))
        stream.write("".join(f"{(entry.execution_id or '')[:SHORT_ID]}  {line}\n" for line in shown))
    if not entries:
        display(Note(f"No stored lines in the last {min(options.hours, 24)} hours."))


def _on_stderr(entry: LogEntry) -> bool:
    return (entry.labels or {}).get("stream") == "stderr"


def _plain(text: str) -> list[str]:
    """Return stored text as a notebook may show it."""
    seen = TerminalText()
    seen.feed(text)
    return [*seen.take()[0], *seen.end()]


@magic(RunIdOptions)
def lk_abort(options: RunIdOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Kill a run, and tell what it cost.

    Example: ``%lk_abort 3f0c``
    """
    run = Run.attach(current(), options.run)
    run.abort()
    display(receipt(run.wait(), run.machine))
