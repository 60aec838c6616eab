"""``%%lk_run``: run a cell on the cloud, and show the run below the cell."""

from __future__ import annotations

import ast
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import clear_output, display

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api._polling import add_advice
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.states import label_of
from lk_jupyter.api.workloads import Workload
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.source import Source
from lk_jupyter.config.consents import keep_machine
from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import ApiError, LkError, RunError, UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.journal.journal import JournalEntry
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.kept_machine import (
    can_offer_machine,
    fetch_for,
    machine_name,
    resolve_keep,
    watch_local_cells,
)
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.start_question import require_answer
from lk_jupyter.magics._engine.sync_question import (
    OFFERED_SECONDS,
    choose_process,
    chooses_fresh,
    current_place,
    offer_machine,
)
from lk_jupyter.magics._engine.tables import show_text
from lk_jupyter.magics._fan_out import fan_out
from lk_jupyter.magics._output.background import follow_detached
from lk_jupyter.magics._output.interrupt import (
    NoInterrupt,
    Stop,
    advise_on_interrupt,
    detaches,
    handle_follow_interrupt,
    handle_send_interrupt,
    is_handled,
)
from lk_jupyter.magics._output.live import PACE, LiveOutput, StatusLine
from lk_jupyter.magics._output.run import RunDisplay
from lk_jupyter.magics._output.run_status import cost_label
from lk_jupyter.magics.sessions import run_cell
from lk_jupyter.options.history import RerunOptions
from lk_jupyter.options.runs import (
    AttachOptions,
    RunOptions,
    StartOptions,
    is_several,
    require_support,
)
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.runs.fanout.plan import prepare_plans
from lk_jupyter.runs.history.forecast import forecast_run
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.default import default_observers
from lk_jupyter.runs.outcome import RAISE_LIMIT, SHORT_ID
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.local_values import local_value_notices
from lk_jupyter.runs.package.prepare import prepare, prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.package.starts import describe_starts
from lk_jupyter.runs.reattach import discard_start, find_last_start, find_previous_run, find_start, lost_start
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.budget import budget_usage
from lk_jupyter.runs.submit.preconditions import require_preconditions
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.runs.submit.upload import link_notices
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import moment_label, whole_seconds_label
from lk_jupyter.views.plan import plan_view

T = TypeVar("T")

FILE_NAME = "cell.py"

#: Names that IPython binds to earlier inputs and outputs; a cell that reads such a name gets its value.
_HISTORY_NAME = re.compile(r"In|Out|_[iod]h|_{1,3}|_i{1,3}|_i?\d+")

#: Prefixes of inputs that are runs: as typed, and as IPython stores them in ``In``.
_RUN_WRITTEN, _RUN_CALLED = "%%lk_run", "get_ipython().run_cell_magic('lk_run', "

#: The line of the magic is the first line, so the code starts on the second line of the cell.
FIRST_LINE = 2


@magic(RunOptions)
def lk_run(options: RunOptions, shell: InteractiveShell, cell: str) -> None:
    """Run the cell on the cloud and stream its log below the cell.

    Interrupt once to stop the run and its billing. Interrupt twice to stop waiting. With --on-interrupt detach, the run
    stays active after an interrupt.

    Examples::

        %%lk_run --gpu A100
        %%lk_run --gpu "H100|A100" --timeout 300 -r torch --save run
        %%lk_run --attach auto
        %%lk_run --fresh
        %%lk_run --in df,model --out history
        %%lk_run --session train --gpu A100
        %%lk_run --dry-run
    """
    session = current()
    if seconds := resolve_keep(session, options):
        run_on_warm_machine(session, cell, options, shell, seconds)
        return
    if options.session:
        run_in_warm_python(session, cell, options, shell)
        return
    require_support(options, "A run", {"session"})
    if not (options.fresh or options.dry_run):
        fetch_for(cell, shell)
    if is_several(options):
        start_several(session, cell, options, shell)
        return
    bundle = _prepare_cell(prepare, session, cell, options, shell)
    if options.attach == "auto" and not options.dry_run and (run := find_previous_run(session, bundle)):
        run.note = "Attached to the run that this cell already started."
        observers = default_observers(session, options, namespace=shell.user_ns)
        view = RunDisplay(shell, run.machine, quiet=options.quiet, observers=observers)
        show(run, view, shell, options)
        return
    offer = offer_machine(session, bundle) if can_offer_machine(options) else ""
    answer = "" if options.dry_run else choose_process(session, [bundle], options, shell, offer)
    if answer == "k":
        keep_machine(current_place(session), OFFERED_SECONDS)
        run_on_warm_machine(session, cell, options.model_copy(update={"sync": True}), shell, OFFERED_SECONDS)
        return
    if answer == "f":
        options = options.model_copy(update={"fresh": True})
        bundle = _prepare_cell(prepare, session, cell, options, shell)
    start(session, bundle, options, shell)


@magic(AttachOptions)
def lk_attach(options: AttachOptions, shell: InteractiveShell) -> None:
    """Follow a run again, with its log from the first line. Without an id, follows the last run of this notebook.

    Examples::

        %lk_attach
        %lk_attach 3f0c
        %lk_attach 3f0c --discard
    """
    stop = f"Stop it: %lk_abort {options.run}" if options.run else "List runs: %lk_runs"
    with advise_on_interrupt(
        f"You interrupted %lk_attach before the log was read. The run may still be active. {stop}"
    ):
        session = current()
        entry = lost_start(options.run) if options.run else None
        if options.discard:
            _discard_start(entry, options.run)
            return
        if not options.run:
            entry = find_last_start(session, current_cell())
        run = (
            find_start(session, entry) if entry else Run.attach(session, options.run or _find_only_active_run(session))
        )
        try:
            run.messages.shows_rich = options.rich
            observers = default_observers(session, options, attached=run, namespace=shell.user_ns)
            view = RunDisplay(shell, run.machine, quiet=options.quiet, observers=observers)
        except LkError as error:
            raise add_advice(error, f"The run may be active. Stop it: %lk_abort {run.execution_id}") from None
        show(run, view, shell, options)


def _discard_start(entry: JournalEntry | None, name: str | None) -> None:
    if entry is None:
        raise UsageError(
            "--discard is only for a start request that the cloud never answered. The cloud answered the request that "
            f"started {name!r}. Nothing was changed."
        )
    discard_start(entry)
    show_text(
        f"Removed the start request {entry.token[:SHORT_ID]} from the list. If the cloud started a run anyway, "
        "%lk_runs lists this run."
    )


def _find_only_active_run(session: Session) -> str:
    """Return the id of the only active run. Raises UsageError for no run, and for several runs with their ids."""
    active = [run for run in session.client.workloads.list() if not is_final(run.status)]
    if len(active) == 1:
        return active[0].execution_id
    if not active:
        raise UsageError("No active run. See the runs that ended: %lk_runs")
    lines = [f"%lk_attach {run.execution_id[:SHORT_ID]}  # {run.status}, {_format_title(run)}" for run in active]
    raise UsageError("\n".join([f"{len(active)} runs are active. Follow one of them:", *lines]))


def _format_title(run: Workload) -> str:
    name = run.run_name or remove_token_from_name(run.file_name or "")
    return " · ".join(filter(None, [name, run.hardware_profile, moment_label(run.created_at, "%H:%M")]))


def run_in_warm_python(session: Session, cell: str, options: RunOptions, shell: InteractiveShell) -> None:
    """Run the cell in the session of ``--session``; start the session if no session has this name."""

    def prepared(paths: dict[str, str | None]) -> Bundle:
        return _prepare_cell(partial(prepare_cell, warm_digests=paths), session, cell, options, shell)

    run_cell(session, prepared, options, shell)


def run_on_warm_machine(
    session: Session, cell: str, options: RunOptions, shell: InteractiveShell, seconds: int
) -> None:
    """Run the cell on the machine that the notebook keeps for ``seconds`` between cells; start one if necessary.

    An option on the line is the consent to send variables; after a stored answer, large uploads need another question.
    """
    watch_local_cells(shell)
    session_name = machine_name()
    warm_options = options.model_copy(
        update={
            "session": session_name,
            "keep": seconds,
            "idle": seconds / 60,
            "sync": options.sync or options.keep is not None,
        }
    )
    if warm_options.dry_run:
        run_in_warm_python(session, cell, warm_options, shell)
        return

    is_answered = False

    def prepared(digests: dict[str, str | None]) -> Bundle:
        nonlocal is_answered
        bundle = _prepare_cell(partial(prepare_cell, warm_digests=digests), session, cell, warm_options, shell)
        if not is_answered and chooses_fresh(session, [bundle], warm_options, shell):
            raise _FreshProcess
        is_answered = True
        return bundle

    try:
        run_cell(session, prepared, warm_options, shell)
    except _FreshProcess:
        fresh_options = options.model_copy(update={"fresh": True, "keep": None})
        start(session, _prepare_cell(prepare, session, cell, fresh_options, shell), fresh_options, shell)


class _FreshProcess(Exception):
    """The user chose a fresh process in place of the kept machine."""


def start_several(session: Session, cell: str, options: RunOptions, shell: InteractiveShell) -> None:
    """Start a run for each machine and combination of values, and compare the runs."""
    plans = _prepare_cell(prepare_plans, session, cell, options, shell)
    if not options.dry_run and chooses_fresh(session, [plan.bundle for plan in plans], options, shell):
        options = options.model_copy(update={"fresh": True})
        plans = _prepare_cell(prepare_plans, session, cell, options, shell)
    fan_out(session, plans, options, shell)


def start(session: Session, bundle: Bundle, options: StartOptions, shell: InteractiveShell) -> None:
    """Start a prepared run and follow it, or show the plan with ``--dry-run``."""
    if options.dry_run:
        starts = describe_starts(session.base_url, bundle.source.code)
        display(plan_view(bundle, budget_usage(session), forecast_run(bundle, session.base_url), starts))
        return
    (bundle,) = require_consent([bundle], ask)
    require_answer([bundle], options, shell)
    if bundle.vm_offer:
        bundle = _confirm_vm_price(session, bundle, options)
    if getattr(options, "relay", False):
        from lk_jupyter.runs.submit import on_relay  # noqa: PLC0415 (few runs are relays)

        require_preconditions(session, [bundle])
        bundle = replace(bundle, vm_allowed=options.max_cost is not None or ask(on_relay.question(bundle)))
    observers = default_observers(session, options, bundle, namespace=shell.user_ns)
    view = RunDisplay(shell, bundle.machine, quiet=options.quiet, observers=observers)
    send(session, bundle, view, shell, options)


def _confirm_vm_price(session: Session, bundle: Bundle, options: StartOptions) -> Bundle:
    """Return the bundle of a run on a VM with the user's consent to its price. Raises UsageError without consent."""
    from lk_jupyter.runs.submit import on_vm  # noqa: PLC0415 (few runs are on VMs)

    require_preconditions(session, [bundle])
    if not (options.max_cost is not None and getattr(options, "on", None) == "vm"):
        bundle = replace(bundle, vm_allowed=ask(on_vm.question(bundle)))
    on_vm.require_consent(bundle)
    return bundle


def send(
    session: Session, bundle: Bundle, view: RunDisplay, shell: InteractiveShell, options: StartOptions | RerunOptions
) -> None:
    """Start a run and follow it, or detach, depending on the options."""
    sending = Submission(session, bundle)
    stop = NoInterrupt() if detaches(options) else Stop(sending.abort_soon)
    with AtInterrupt(stop):
        try:
            with true_interrupts():
                view.show_submission(bundle)
                notices = [*local_value_notices(bundle), *link_notices(session, bundle)]
                view.warn([*low_balance_notices(session, bundle.worst_case), *notices])
                show(_submit_run(session, sending, view), view, shell, options, stop)
        except KeyboardInterrupt as error:
            if not is_handled(error):
                handle_send_interrupt(session, sending, view, stop)
            raise


def _submit_run(session: Session, sending: Submission, view: RunDisplay) -> Run:
    try:
        return Run.from_submission(session, sending, view.show_upload)
    except (ApiError, UsageError):
        view.show_refusal()
        raise


def show(
    run: Run,
    view: RunDisplay,
    shell: InteractiveShell,
    options: StartOptions | AttachOptions | RerunOptions,
    stop: Stop | None = None,
) -> None:
    """Follow a run in the output of the cell, or in the background, depending on the options."""
    if options.save:
        shell.user_ns[options.save] = run
    if options.detach:
        follow_detached(run, view)
    else:
        follow(run, view, stop or (NoInterrupt() if detaches(options) else Stop(run.abort_soon)))


def _prepare_cell(
    prepare: Callable[[Session, Source, RunOptions], T],
    session: Session,
    cell: str,
    options: RunOptions,
    shell: InteractiveShell,
) -> T:
    cell = _add_magic_prefix(cell, shell)
    source = Source(
        cell,
        FILE_NAME,
        first_line=FIRST_LINE,
        folder=working_folder(),
        is_cell=True,
        namespace=_read_variables(shell, cell),
    )
    reads_variables = not options.fresh or options.inputs or options.in_all
    try:
        with _show_preparation(shell) if reads_variables else nullcontext():
            return prepare(session, source, options)
    except SyntaxError as error:
        raise CodeError(error, shell) from None


@contextmanager
def _show_preparation(shell: InteractiveShell) -> Iterator[None]:
    """Show how long the variables of a cell are being read, if that takes longer than a second."""
    output, start_time, done = LiveOutput(shell), time.monotonic(), threading.Event()

    def show() -> None:
        while not done.wait(PACE):
            seconds = whole_seconds_label(time.monotonic() - start_time)
            output.show_progress(StatusLine("submitting", [f"reading variables for {seconds}"]))

    thread = threading.Thread(target=copy_context().run, args=(show,), name="lk-preparation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if output.in_place and output.is_visible:
            clear_output(wait=True)


def _add_magic_prefix(cell: str, shell: InteractiveShell) -> str:
    """Return the cell with ``%`` in front, if the cell is a line magic without its sign, such as ``pwd``."""
    line = cell.strip()
    if "\n" in line or shell.find_line_magic(line.partition(" ")[0]) is None:
        return cell
    prefilter: Any = shell.prefilter_manager
    rewritten = prefilter.prefilter_line(line)  # IPython decides: a variable of this name has priority
    return f"%{line}\n" if rewritten.startswith("get_ipython().run_line_magic(") else cell


def _read_variables(shell: InteractiveShell, cell: str) -> dict[str, Any]:
    """Return the variables that the user has set, and names of the history in the cell, such as ``_``."""
    hidden = shell.user_ns_hidden
    history = set(filter(_HISTORY_NAME.fullmatch, re.findall(r"[^\W\d]\w*", cell)))
    ipython_names = {
        name for name in hidden if name.startswith("_")
    } | _IPYTHON_NAMES  # %pylab hides the names that it sets
    names = shell.user_ns.items()
    variables = {
        name: value
        for name, value in names
        if name in history or name not in ipython_names or hidden.get(name, hidden) is not value
    }
    return variables | {
        name: _strip_run_lines(variables[name]) for name in history if name in variables and name.lower() in _INPUTS
    }


#: Names that IPython binds for its users.
_IPYTHON_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open"}

#: Names of inputs, in lower case.
_INPUTS = {"in", "_ih", "_i", "_ii", "_iii"}


def _strip_run_lines(inputs: Any) -> Any:
    """Return inputs without the ``%%lk_run`` lines."""
    if isinstance(inputs, list):
        return [_strip_run_lines(text) for text in inputs]
    if isinstance(inputs, str) and inputs.startswith(_RUN_WRITTEN):
        return inputs.partition("\n")[2]
    if isinstance(inputs, str) and inputs.startswith(_RUN_CALLED):
        call = ast.parse(inputs).body[0]
        return replace_ipython_syntax(ast.literal_eval(call.value.args[-1])).rstrip("\n")  # type: ignore[attr-defined]
    return inputs


class CodeError(UsageError):
    """The cell isn't valid Python; the error is shown like IPython's syntax errors."""

    def __init__(self, error: SyntaxError, shell: InteractiveShell) -> None:
        super().__init__(f"{error} Nothing was sent.")
        self._traceback: list[str] = shell.SyntaxTB.structured_traceback(type(error), error, [])  # type: ignore[arg-type]

    def _render_traceback_(self) -> list[str]:
        return self._traceback


def follow(run: Run, view: RunDisplay, stop: Stop) -> None:
    """Show the run to its end. Raises RunFailed after a failure of the run, KeyboardInterrupt after an interrupt."""
    monitor = RunMonitor(run).start()

    def abort() -> None:
        if not monitor.finished:
            run.abort_unless_ended()

    stop.act = abort
    with AtInterrupt(stop):
        try:
            with true_interrupts():
                if view.follow(run, monitor):
                    _end_view(run, view, monitor)
                else:
                    follow_detached(run, view, monitor)
        except KeyboardInterrupt:
            handle_follow_interrupt(run, view, monitor, stop)


def _end_view(run: Run, view: RunDisplay, monitor: RunMonitor) -> None:
    if monitor.error:
        raise monitor.error
    record = run.wait_aside()
    failure = None
    try:
        run.result_from(record)
    except RunError as error:
        failure = error
    view.end(record, getattr(failure, "traceback", ""), raises=failure is not None)
    if failure:
        if view.has_hints:
            failure.args = (str(failure).replace(RAISE_LIMIT, ""),)
        if view.status.appends:  # some servers save the error, which has the id, below the receipt
            failure.args = (f"{failure}\nState: {label_of(record.status)}. Cost: {cost_label(run)}.",)
        raise failure
