"""The commands that plan, start, follow and wait for runs."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.cli.output import DONE, FAILED, CommandOutput, replace_magics
from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import RunError, UsageError
from lk_jupyter.runs.outcome import list_differences
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.vm_runs import find_vm_end
from lk_jupyter.session import Session, current
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from lk_jupyter.cli.parser import Arguments
    from lk_jupyter.runs.monitor import RunMonitor
    from lk_jupyter.runs.package.bundle import Bundle

#: Seconds without new output after which ``lk logs`` returns while the run is active.
_QUIET = 0.6

#: Seconds to wait for the record after the last line of a run.
_RECORD_SECONDS = 10.0

#: Characters of a value that ``lk fetch`` prints.
_MAX_VALUE = 10_000


def plan(arguments: Arguments, output: CommandOutput) -> int:
    """Print the plan of a run; send nothing."""
    from lk_jupyter.runs.history.forecast import forecast_run  # noqa: PLC0415
    from lk_jupyter.runs.submit.budget import budget_usage  # noqa: PLC0415
    from lk_jupyter.views.plan import plan_view  # noqa: PLC0415

    with _print_warnings(output):
        session = current()
        bundle = _prepare_run(session, arguments)
        view = plan_view(bundle, budget_usage(session), forecast_run(bundle, session.base_url))
    rows = {str(name): str(value) for name, value in view.rows}
    text = "\n".join(f"{name}: {value}" for name, value in rows.items())
    output.emit("plan", f"Plan (nothing was sent)\n{text}", **_list_bundle_facts(bundle), details=rows)
    return DONE


def run(arguments: Arguments, output: CommandOutput) -> int:
    """Start a run and print its log until its end, or until the time is over."""
    started = time.monotonic()
    new_run = _start_run(arguments, output)
    try:
        return _follow_run(new_run, output, started + arguments.options.seconds, 0)
    except KeyboardInterrupt:
        words = replace_magics(new_run.describe_abort())
        output.note("interrupted", words, id=new_run.execution_id, message=words)
        raise


def start(arguments: Arguments, output: CommandOutput) -> int:
    """Start a run and print its id."""
    _start_run(arguments, output)
    return DONE


def wait(arguments: Arguments, output: CommandOutput) -> int:
    """Wait for the end of a run, and print how it ended."""
    target = _attach_to_run(arguments, output)
    try:
        record = target.wait_aside(arguments.options.seconds)
    except TimeoutError:
        return output.report_active(target.execution_id)
    return _report_end(target, record, output)


def logs(arguments: Arguments, output: CommandOutput) -> int:
    """Print the log of a run from a position; wait for new lines of an active run."""
    target = _attach_to_run(arguments, output)
    options = arguments.options
    quiet = None if is_final(target.status) else _QUIET
    return _follow_run(target, output, time.monotonic() + options.seconds, options.since, quiet)


def fetch(arguments: Arguments, output: CommandOutput) -> int:
    """Print the result of a run that has ended, and the variables that it returned."""
    target = _attach_to_run(arguments, output)
    if not is_final(target.status):
        return output.report_active(target.execution_id)
    outputs = target.outputs(_RECORD_SECONDS, arguments.options.names)
    for name, value in outputs.items():
        fields = _describe_value(value)
        output.emit("variable", f"{name} = {fields.get('value', fields.get('head'))}", name=name, **fields)
    for name, reason in outputs.missing.items():
        output.note("missing", f"{name} {reason}", name=name, reason=reason)
    return _report_end(target, target.record, output)


def runs(arguments: Arguments, output: CommandOutput) -> int:
    """Print active runs, then the latest finished runs."""
    from lk_jupyter.api.billing import ExecutionSummary  # noqa: PLC0415
    from lk_jupyter.runs.ids import latest_runs  # noqa: PLC0415
    from lk_jupyter.runs.vm_runs import VmRunSummary  # noqa: PLC0415

    for row in latest_runs(current(), arguments.options.limit):
        moment = row.known_since
        vm_run = row if isinstance(row, VmRunSummary) else None
        fields = {
            "id": row.execution_id,
            "state": row.status,
            "machine": row.hardware_profile or None,
            "started": moment.isoformat() if moment else None,
            "cost": vm_run.cost if vm_run else row.billed if isinstance(row, ExecutionSummary) else None,
        }
        words = [str(value) for value in fields.values() if value is not None]
        if vm_run and vm_run.ends_at:
            words.append(f"VM ends at {vm_run.end_label}")
            fields["ends"] = vm_run.ends_at.isoformat()
        output.emit("run", "  ".join(words), **fields)
    return DONE


def _start_run(arguments: Arguments, output: CommandOutput) -> Run:
    from lk_jupyter.runs.reattach import find_previous_run  # noqa: PLC0415 (few commands start runs)

    with _print_warnings(output):
        session = current()
        bundle = _prepare_run(session, arguments)
        if key := arguments.options.key:
            from lk_jupyter.runs.start_key import start_with_key  # noqa: PLC0415

            new_run = start_with_key(session, bundle, key)
        else:
            earlier = getattr(bundle.options, "attach", "") == "auto" and find_previous_run(session, bundle)
            new_run = earlier or Run.submit(session, bundle)
    output.run = new_run.execution_id
    ends = {"ends": end.isoformat()} if (end := find_vm_end(new_run.execution_id)) else {}
    output.emit("started", new_run.execution_id, id=new_run.execution_id, **_list_bundle_facts(bundle), **ends)
    return new_run


def _prepare_run(session: Session, arguments: Arguments) -> Bundle:
    from lk_jupyter.account.low_balance import balance_watch  # noqa: PLC0415 (only for commands with code)
    from lk_jupyter.code.source import Source  # noqa: PLC0415
    from lk_jupyter.options.calls import check_call  # noqa: PLC0415
    from lk_jupyter.runs.package.prepare import prepare  # noqa: PLC0415

    balance_watch(session).reads_rate = False
    options = check_call("session.run", {**arguments.run, "outputs": arguments.options.outputs})
    code, name = _read_code(arguments.options.file, arguments.options.code)
    file = arguments.options.file
    folder = Path(file).resolve().parent if file and file != "-" else working_folder()
    return prepare(session, Source(code, name, folder=folder), options)


def _read_code(file: str | None, code: str | None) -> tuple[str, str]:
    """Return the code and the name of its file. Raises UsageError."""
    if (file is None) == (code is None):
        raise UsageError("Give a script or -c CODE. Nothing was sent. Example: lk run train.py")
    if code is not None:
        return code, "script.py"
    if file == "-":
        return sys.stdin.read(), "script.py"
    path = Path(str(file))
    if path.suffix == ".ipynb":
        raise UsageError(f"'{file}' is a notebook. Nothing was sent. In a notebook: %lk_run_notebook {file}")
    try:
        return path.read_text(encoding="utf-8"), path.name
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Can't read '{file}' ({error}). Nothing was sent.") from None


def _list_bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Return machine, limits and highest cost of a bundle."""
    return {
        "machine": bundle.machine.hardware_profile,
        "price_per_hour": bundle.machine.price_per_hour,
        "timeout": bundle.timeout,
        "max_cost": bundle.worst_case,
    }


def _attach_to_run(arguments: Arguments, output: CommandOutput) -> Run:
    target = Run.attach(current(), arguments.options.run)
    output.run = target.execution_id
    return target


def _follow_run(target: Run, output: CommandOutput, end: float, since: int, quiet: float | None = None) -> int:
    """Print the log of a run until its end, until ``end``, or until no line follows for ``quiet`` seconds."""
    from lk_jupyter.runs.monitor import RunMonitor  # noqa: PLC0415 (few commands follow a run)

    monitor = RunMonitor(target).start()
    printer = _LogPrinter(target.execution_id, output, since)
    try:
        _print_log(monitor, printer, end, quiet)
    finally:
        monitor.close()
    is_over = monitor.done.is_set()
    printer.close(is_complete=is_over)
    if monitor.error:
        raise monitor.error
    if not is_over:
        return output.report_active(target.execution_id)
    return _report_end(target, target.wait_aside(_RECORD_SECONDS), output)


def _print_log(monitor: RunMonitor, printer: _LogPrinter, end: float, quiet: float | None) -> None:
    while True:
        is_over = monitor.done.is_set()  # read first: then the text below is complete
        monitor.wake.clear()
        printer.feed(monitor.take())
        remaining = end - time.monotonic()
        if is_over or remaining <= 0:
            return
        was_woken = monitor.wake.wait(remaining if quiet is None else min(quiet, remaining))
        if quiet is not None and not was_woken:
            return


class _LogPrinter:
    """Print a log by complete lines, without secrets, from the character ``since``."""

    def __init__(self, execution_id: str, output: CommandOutput, since: int) -> None:
        self._execution_id = execution_id
        self._output = output
        self._since = since
        self._offset = 0
        self._rest = ""
        self._redactor = LineRedactor()

    def feed(self, text: str) -> None:
        """Print the complete lines of a text that follows."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._print_lines(lines, "\n")

    def close(self, *, is_complete: bool) -> None:
        """Print the unfinished last line of a complete log."""
        if is_complete and self._rest:
            self._print_lines([self._rest], "")

    def _print_lines(self, lines: list[str], end: str) -> None:
        skipped = 0
        while skipped < len(lines) and self._offset < self._since:
            self._offset += len(lines[skipped]) + len(end)
            skipped += 1
        self._redactor.lines(lines[:skipped])  # a private key may start there
        printed = lines[skipped:]
        if not printed:
            return
        self._offset += sum(len(line) + len(end) for line in printed)
        text = "".join(line + end for line in self._redactor.lines(printed))
        self._output.log(text, id=self._execution_id, next=self._offset)


def _report_end(target: Run, record: ExecutionRecord, output: CommandOutput) -> int:
    """Print how a run ended, and return the exit code."""
    bill = target.bill(record)
    problem: RunError | None = None
    try:
        target.result_from(record)
    except RunError as error:
        problem = error
    target.mark_viewed()
    message = replace_magics(str(problem)) if problem else None
    differences = list_differences(record, bill, target.requested_machine)
    facts = ", ".join(filter(None, [bill.label, *differences]))
    summary = f"{record.status}{facts and ', '}{facts}"
    output.note(
        "ended",
        f"{message}\nRun {target.execution_id} {summary}."
        if message and differences
        else message or f"Run {target.execution_id} {summary}.",
        id=target.execution_id,
        state=record.status,
        return_code=record.return_code,
        seconds=bill.seconds,
        cost=bill.cost,
        cost_is=bill.cost_is,
        quote=bill.quote if bill.excess_label else None,
        difference="; ".join(differences) or None,
        message=message,
        traceback=getattr(problem, "traceback", None) or None,
        warning=target.log_problem or None,
    )
    return FAILED if problem else DONE


def _describe_value(value: Any) -> dict[str, Any]:
    """Return type, shape and content of a value: as JSON if it fits, else the start of its text."""
    shape = getattr(value, "shape", None)
    fields: dict[str, Any] = {"type": type(value).__name__}
    if isinstance(shape, tuple):
        fields["shape"] = list(shape)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {**fields, "head": repr(value)[:_MAX_VALUE]}
    return {**fields, "value": value} if len(text) <= _MAX_VALUE else {**fields, "head": text[:_MAX_VALUE]}


@contextmanager
def _print_warnings(output: CommandOutput) -> Iterator[None]:
    """Print warnings as records."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = replace_magics(plain(str(message)))
        output.note("warning", text, message=text)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield
