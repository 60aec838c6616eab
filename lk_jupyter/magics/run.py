"""The main job: a cell runs on the cloud, and what follows a run under a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import ApiError, RunError, UsageError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._detached import follow_detached
from lk_jupyter.magics._fan_out import fan_out
from lk_jupyter.magics._interrupt import detaches, is_told, while_following, while_sending
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._plan_view import plan_view
from lk_jupyter.magics._pump import Pump
from lk_jupyter.magics._run_view import RunView
from lk_jupyter.options import AttachOptions, RerunOptions, RunOptions, StartOptions
from lk_jupyter.runs.budget import standings
from lk_jupyter.runs.bundle import Bundle, Source
from lk_jupyter.runs.company import company_of
from lk_jupyter.runs.fan import is_several, prepare_lanes
from lk_jupyter.runs.guard import permitted
from lk_jupyter.runs.resume import same_run
from lk_jupyter.runs.run import Run, prepare
from lk_jupyter.runs.sending import Sending
from lk_jupyter.runs.session import Session, current

T = TypeVar("T")

FILE_NAME = "cell.py"

#: The magic's own line comes first, so the code begins on the second line of the cell.
FIRST_LINE = 2


@magic(RunOptions)
def lk_run(options: RunOptions, shell: InteractiveShell, cell: str) -> None:
    """Run the cell on the cloud, with its log under the cell as it is printed.

    Interrupt once to stop the run and its bill; twice to leave at once. --on-interrupt detach lets it run on.

    Examples::

        %%lk_run --gpu A100
        %%lk_run --gpu "H100|A100" --timeout 300 -r torch --save run
        %%lk_run --attach auto
        %%lk_run --in df,model --out history
        %%lk_run --plan
    """
    check_name(options.save)
    session = current()
    if is_several(options):
        fan_out(session, _prepared(prepare_lanes, session, cell, options, shell), options, shell)
        return
    package = _prepared(prepare, session, cell, options, shell)
    if options.attach == "auto" and not options.plan and (run := same_run(session, package)):
        run.note = "Attached to the run that this cell has started before."
        company = company_of(session, options, namespace=shell.user_ns)
        view = RunView(shell, run.machine, quiet=options.quiet, company=company)
        show(run, view, shell, options)
        return
    start(session, package, options, shell)


@magic(AttachOptions)
def lk_attach(options: AttachOptions, shell: InteractiveShell) -> None:
    """Follow a run that was started before, its log from the beginning.

    Example: ``%lk_attach 3f0c``
    """
    check_name(options.save)
    session = current()
    run = Run.attach(session, options.run)
    company = company_of(session, options, attached=run, namespace=shell.user_ns)
    view = RunView(shell, run.machine, quiet=options.quiet, company=company)
    show(run, view, shell, options)


def start(session: Session, package: Bundle, options: StartOptions, shell: InteractiveShell) -> None:
    """Start what was prepared and follow it, or show what it would be, as the options say."""
    if options.plan:
        display(plan_view(package, standings(session)))
        return
    (package,) = permitted([package], ask)
    company = company_of(session, options, package, namespace=shell.user_ns)
    view = RunView(shell, package.machine, quiet=options.quiet, company=company)
    send(session, package, view, shell, options)


def send(
    session: Session, package: Bundle, view: RunView, shell: InteractiveShell, options: StartOptions | RerunOptions
) -> None:
    """Start a run and follow it, as the options say."""
    sending = Sending(session, package)
    try:
        with true_interrupts():
            view.submitting(package)
            show(_sent(session, sending, view), view, shell, options)
    except KeyboardInterrupt as error:
        if not is_told(error):
            while_sending(session, sending, view, detach=detaches(options))
        raise


def _sent(session: Session, sending: Sending, view: RunView) -> Run:
    try:
        return Run.sent(session, sending, view.sending)
    except (ApiError, UsageError):
        view.refused()
        raise


def show(
    run: Run, view: RunView, shell: InteractiveShell, options: StartOptions | AttachOptions | RerunOptions
) -> None:
    """Follow a run in the output of the cell, or in the background, as the options say."""
    if options.save:
        shell.user_ns[options.save] = run
    if options.detach:
        follow_detached(run, view)
    else:
        follow(run, view, detach=detaches(options))


def check_name(name: str | None) -> None:
    """Refuse what cannot be the name of a variable. Raises UsageError."""
    if name is not None and not name.isidentifier():
        raise UsageError(f"--save takes the name of a variable, not {name!r}.")


def _prepared(
    prepare: Callable[[Session, Source, RunOptions], T],
    session: Session,
    cell: str,
    options: RunOptions,
    shell: InteractiveShell,
) -> T:
    source = Source(
        cell, FILE_NAME, first_line=FIRST_LINE, folder=Path.cwd(), is_cell=True, namespace=_variables(shell)
    )
    try:
        return prepare(session, source, options)
    except SyntaxError as error:
        raise CodeError(error, shell) from None


def _variables(shell: InteractiveShell) -> dict[str, Any]:
    """Return the variables that the user has set."""
    hidden = shell.user_ns_hidden
    return {name: value for name, value in shell.user_ns.items() if hidden.get(name, hidden) is not value}


class CodeError(UsageError):
    """The cell is not valid Python; shown as IPython shows it."""

    def __init__(self, error: SyntaxError, shell: InteractiveShell) -> None:
        super().__init__(f"{error} Nothing was sent.")
        self._shown: list[str] = shell.SyntaxTB.structured_traceback(type(error), error, [])  # type: ignore[arg-type]

    def _render_traceback_(self) -> list[str]:
        return self._shown


def follow(run: Run, view: RunView, *, detach: bool = False) -> None:
    """Show the run to its end. Raises RunFailed when it failed, KeyboardInterrupt when the cell was interrupted.

    ``detach`` is whether an interrupt lets the run go on.
    """
    pump = Pump(run).start()
    try:
        with true_interrupts():
            if view.follow(run, pump):
                _conclude(run, view, pump)
            else:
                follow_detached(run, view, pump)
    except KeyboardInterrupt:
        while_following(run, view, pump, detach=detach)


def _conclude(run: Run, view: RunView, pump: Pump) -> None:
    if pump.error:
        raise pump.error
    record = run.wait()
    failure = None
    try:
        run.result()
    except RunError as error:
        failure = error
    view.end(record, getattr(failure, "traceback", ""))
    if failure:
        raise failure
