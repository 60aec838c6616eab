"""List machines and runs, show states and stored logs, abort runs, delete records."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import groupby

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.logs import LogEntry, confirms_output, sort_by_time
from lk_jupyter.api.states import state_label
from lk_jupyter.api.workloads import Workload
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import NotFound, OutcomeUnknown, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.catalogue import price_label, sort_by_price
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.interrupt import advise_on_interrupt, build_interrupt
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics._output.run_status import receipt
from lk_jupyter.magics._stop_all import stop_all
from lk_jupyter.options.history import RunsMagicOptions
from lk_jupyter.options.runs import DeleteRunOptions, LogsOptions, MachinesOptions, RunIdOptions
from lk_jupyter.protocol.frames import NO_NONCE, STDERR, Frame, Splitter, format_items
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.runs.clock import Bill, calculate_bill
from lk_jupyter.runs.ids import latest_runs
from lk_jupyter.runs.interrupts import true_interrupts
from lk_jupyter.runs.outcome import SHORT_ID, build_error, incomplete_label
from lk_jupyter.runs.relay import list_members
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.vm_runs import VmRunSummary
from lk_jupyter.session import current
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import TerminalText
from lk_jupyter.text.units import count_label, duration_label, moment_label


@magic(MachinesOptions)
def lk_machines(options: MachinesOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """List machine types, cheapest first, with prices in credits per hour."""
    machines = current().machines()
    rows: list[tuple[str, ...]] = [
        (
            machine.hardware_profile,
            machine.card_name,
            str(machine.memory_gib or "") if machine.card else "",
            price_label(machine),
            "yes" if machines.allows(machine) else "no",
        )
        for machine in sort_by_price(machines)
    ]
    if options.all:
        rows += _list_unpriced_machines({row[0] for row in rows})
    columns = ("Machine", "GPU", "Memory GiB", "Price", "You may use it")
    display(Table(columns, rows, right=frozenset({"Memory GiB", "Price"})))


def _list_unpriced_machines(listed: set[str]) -> list[tuple[str, ...]]:
    """Return rows of the profiles that the account has a quota for and no price is published of."""
    quotas = current().client.user.quotas().root
    return [(name, "", "", "", "yes" if may else "no") for name, may in sorted(quotas.items()) if name not in listed]


@magic(RunsMagicOptions)
def lk_runs(options: RunsMagicOptions, shell: InteractiveShell) -> None:
    """List your runs: active runs first, then the latest finished runs.

    --stop-all lists everything that the account pays for by time, and stops it after your confirmation: runs, kept
    machines, relays, VMs and deployments. VMs are deleted with their disks. Volumes contain data, so they stay.

    Examples::

        %lk_runs -n 50
        %lk_runs --stop-all
    """
    if options.stop_all:
        stop_all(shell, is_confirmed=options.yes)
        return
    runs = latest_runs(current(), options.limit)
    columns: tuple[str, ...] = ("Run", "State", "Machine", "Started", "Duration", "Cost", "Name", "Ends")
    note = "" if runs else "No runs. Start one with %%lk_run on top of a cell."
    prices = {machine.hardware_profile: machine.price_per_hour for machine in current().machines()} if runs else {}
    members = list_members()
    rows = [
        _build_run_row(run, prices.get(run.hardware_profile or ""), members.get(run.execution_id, "")) for run in runs
    ]
    if not any(row[-1] for row in rows):  # only VMs have a stated end
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    display(Table(columns, rows, note=note, right=frozenset({"Duration", "Cost"})))


def _build_run_row(run: Workload | ExecutionSummary, price_per_hour: Decimal | None, place: str) -> tuple[str, ...]:
    bill, end = Bill(), ""
    if isinstance(run, VmRunSummary):
        bill, end = run.bill, run.end_label
    elif isinstance(run, ExecutionSummary):
        bill = calculate_bill(run, price_per_hour, at=current().client.now())
    return (
        run.execution_id[:SHORT_ID],
        state_label(run.status, _find_name(run)),
        run.hardware_profile or "",
        moment_label(run.known_since, "%d %b %H:%M:%S"),
        duration_label(bill.seconds) if bill.seconds is not None else "",
        bill.label,
        ", ".join(filter(None, [_find_name(run), place])),
        end,
    )


def _find_name(run: Workload | ExecutionSummary) -> str:
    """Return the display name of a run: from the server if available, else from the code in the journal."""
    named = run.run_name if isinstance(run, Workload | VmRunSummary) else (run.model_extra or {}).get("run_name")
    entry = None if named else journal().get(run.execution_id)
    return named or (entry and entry.title) or remove_token_from_name(run.file_name or "")


@magic(RunIdOptions)
def lk_status(options: RunIdOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Show state, time and cost of a run.

    Example: ``%lk_status 3f0c``
    """
    run = Run.attach(current(), options.run)
    record = run.record
    line = receipt(record, run, bill=None if is_final(record.status) else run.bill(record))
    reason = str(build_error(record)) if line.mark in "✗■" else ""
    line.notice = "\n".join(filter(None, [run.timing().label, reason]))
    display(line)


@magic(DeleteRunOptions)
def lk_delete(options: DeleteRunOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Delete the record of a finished run from the cloud, with code, output and result, after your confirmation.

    Example: ``%lk_delete 3f0c --yes``
    """
    run = Run.attach(current(), options.run)
    if not is_final(run.record.status):
        raise UsageError(
            f"Run {run.execution_id[:SHORT_ID]} is still active. Abort it first: %lk_abort "
            f"{run.execution_id[:SHORT_ID]}"
        )
    refuse_if_read_only("deletes")
    if not options.yes and not ask(
        f"Delete the record of run {run.execution_id} permanently? Its cost stays billed. [y/N] "
    ):
        display(Note("Nothing was deleted. To skip the question: --yes"))
        return
    run.session.client.execution.delete(run.execution_id)
    display(Note(f"Deleted the record of run {run.execution_id}."))


@magic(LogsOptions)
def lk_logs(options: LogsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Print the stored log of a run, or of all runs. stderr lines are printed to stderr.

    Examples::

        %lk_logs 3f0c --limit 200
        %lk_logs --hours 2
    """
    if options.run is None:
        _print_all_logs(options)
        return
    run = Run.attach(current(), options.run)
    nonce = run.messages.nonce or NO_NONCE
    entries = []
    with suppress(NotFound):
        entries = run.logs(options.limit, options.hours)
    record = run.record
    record_entries = _list_record_entries(record)
    lines, record_lines = _count_lines(entries), _count_lines(record_entries)
    is_cut = len(entries) >= options.limit or options.hours < _DAY_HOURS
    if record_lines > lines and not (entries and is_cut):
        _print_entries(record_entries, nonce)
        stored = f"Only {lines} of {record_lines}" if entries else "No"
        span = f" in the last {count_label(options.hours, 'hour')}"
        display(Note(f"{stored} log lines were stored{span}. These lines are from the record of the run."))
        return
    _print_entries(entries, nonce)
    if len(entries) == options.limit:
        display(Note(f"Shown: {count_label(options.limit, 'line')}. There may be more: set --limit, at most 10000."))
        return
    if not entries:
        hours = count_label(options.hours, "hour")
        display(Note(f"No log lines were stored in the last {hours}. If the run just ended, try again."))
    if is_final(record.status) and not confirms_output(record, has_lines=bool(entries)):
        display(Note(incomplete_label(run.short_id)))


#: Hours for which lines are listed without ``--hours``.
_DAY_HOURS = 24


def _count_lines(entries: Sequence[LogEntry]) -> int:
    return sum(bool(line.strip()) for entry in entries for line in entry.message.splitlines())


def _list_record_entries(record: ExecutionRecord) -> list[LogEntry]:
    """Return the output in a run's record, which is available before the stored log and outlives the log."""
    if record.combined_output:
        return [LogEntry(message=record.combined_output)]
    texts = {"stdout": record.stdout, "stderr": record.stderr}
    return [LogEntry(message=text, labels={"stream": stream}) for stream, text in texts.items() if text]


def _print_all_logs(options: LogsOptions) -> None:
    """Print the newest lines of all runs, each after the id of its run."""
    entries = current().client.logs.user(min(options.limit, 5000), min(options.hours, 24)).items
    _print_entries(sort_by_time(entries), NO_NONCE, names_runs=True)
    if not entries:
        display(Note(f"No log lines were stored in the last {count_label(min(options.hours, 24), 'hour')}."))


def _print_entries(entries: Sequence[LogEntry], nonce: str, *, names_runs: bool = False) -> None:
    """Print stored lines in order. Each stream of each run is split and redacted separately."""
    splitters: dict[tuple[str | None, str | None], Splitter] = {}
    redactors: dict[tuple[str | None, str | None], LineRedactor] = {}

    def show(items: Iterable[str | Frame], run_id: str | None, stream: str | None) -> None:
        for origin, group in groupby(items, key=lambda item: _find_stream(item, stream)):
            redactor = redactors.setdefault((run_id, origin), LineRedactor())
            _print_lines(redactor, [format_items(group)], run_id, origin, names_runs=names_runs)

    for (run_id, stream), group in groupby(entries, key=lambda entry: (entry.execution_id, entry.stream)):
        splitter = splitters.setdefault((run_id, stream), Splitter(nonce))
        show((item for entry in group for item in splitter.feed(entry.text)), run_id, stream)
    for (run_id, stream), splitter in splitters.items():
        show(splitter.end(), run_id, stream)


def _find_stream(item: str | Frame, stream: str | None) -> str | None:
    """Return the stream of an item: stderr text may be part of stdout, to preserve the order."""
    return "stderr" if isinstance(item, Frame) and item.kind == STDERR else stream


def _print_lines(
    redactor: LineRedactor, texts: Iterable[str], run_id: str | None, stream: str | None, *, names_runs: bool
) -> None:
    head = f"{(run_id or '')[:SHORT_ID]}  " if names_runs else ""
    file = sys.stderr if stream == "stderr" else sys.stdout
    file.write(
        "".join(
            f"{head}{line}\n" for line in redactor.lines(line for text in texts for line in _split_plain_lines(text))
        )
    )
    file.flush()


def _split_plain_lines(text: str) -> list[str]:
    """Return the lines of stored text that a notebook may show."""
    terminal = TerminalText()
    terminal.feed(text)
    return [*terminal.take()[0], *terminal.end()]


@magic(RunIdOptions)
def lk_abort(options: RunIdOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Abort a run and show its cost.

    Example: ``%lk_abort 3f0c``
    """
    with advise_on_interrupt(
        "You interrupted %lk_abort before the abort was sent. The run may still be active. Abort it: %lk_abort "
        f"{options.run}"
    ):
        run = Run.attach(current(), options.run)
    abort = run.abort_soon()
    try:
        with true_interrupts():
            if not abort.wait():
                raise OutcomeUnknown(abort.words)
            display(receipt(run.record, run))
    except KeyboardInterrupt:
        abort.hurry()
        ended = f"Run {run.short_id} has ended."
        raise build_interrupt(ended if abort.ended.is_set() else f"Stopped waiting. {abort.words}") from None
