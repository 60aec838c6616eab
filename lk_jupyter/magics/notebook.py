"""``%lk_notebook``: Jupyter servers on machines of the cloud."""

from __future__ import annotations

import webbrowser

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import LkError
from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics._interrupt import interrupt
from lk_jupyter.magics._line import Line, Updated
from lk_jupyter.magics._notebook_options import OpenServerOptions, StartServerOptions, StopServerOptions
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._plan_view import plan_view
from lk_jupyter.magics._run_view import priced, receipt
from lk_jupyter.magics._views import Table
from lk_jupyter.magics.containers import open_browser
from lk_jupyter.magics.run import check_name
from lk_jupyter.options import NoOptions
from lk_jupyter.runs.addresses import address
from lk_jupyter.runs.budget import standings
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.notebooks import PORT, prepare_server, server_of, servers, stop_server, wait_for_server
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.session import Session, current

lk_notebook = Verbs(
    "lk_notebook",
    "Jupyter servers on machines of the cloud, each guarded by a random token.\n\n"
    "To use such a machine from this Jupyter, as a kernel of a notebook here, see %lk_kernel.",
)


@lk_notebook.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the Jupyter servers that go on."""
    session = current()
    found = servers(session)
    rows = [
        (
            run.execution_id[:SHORT_ID],
            run.status,
            run.hardware_profile or "",
            f"{run.created_at.astimezone():%d %b %H:%M}",
            address(session.get(run.execution_id), PORT),
        )
        for run in found
    ]
    note = "" if found else "No Jupyter server goes on. Start one: %lk_notebook start --gpu A100"
    display(Table(("Run", "State", "Machine", "Started", "Address"), rows, note=note))


@lk_notebook.verb("start", StartServerOptions)
def _start(options: StartServerOptions, shell: InteractiveShell) -> None:
    """Start a Jupyter server, wait until it answers, and open it in a browser of this machine.

    An interrupt while it starts stops it and its bill.

    Examples::

        %lk_notebook start --gpu A100
        %lk_notebook start --gpu A100 --image quay.io/jupyter/pytorch-notebook:latest --max-cost 2
    """
    session = current()
    package = prepare_server(session, options)
    if options.plan:
        display(plan_view(package, standings(session)))
        return
    run = _started(session, package, Updated(shell))
    if not options.no_browser:
        _open(run)


@lk_notebook.verb("open", OpenServerOptions)
def _open_server(options: OpenServerOptions, shell: InteractiveShell) -> None:
    """Open a Jupyter server in a browser of this machine, signed in.

    Examples::

        %lk_notebook open 3f0c
        %lk_notebook open 3f0c --save url
    """
    check_name(options.save)
    run = Run.attach(current(), options.run)
    server = wait_for_server(run)
    if options.save:
        shell.user_ns[options.save] = server.signed_url
        display(
            Line("listening", [server.url], f"Its address with the token is in {options.save}: a secret, as a key.")
        )
    else:
        display(Line("listening", [server.url], "" if _open(run) else _no_browser(run)))
    server.close()


@lk_notebook.verb("stop", StopServerOptions)
def _stop(options: StopServerOptions, _shell: InteractiveShell) -> None:
    """Stop a Jupyter server and its bill.

    Example: ``%lk_notebook stop 3f0c``
    """
    run = Run.attach(current(), options.run)
    server_of(run).close()
    stop_server(run)
    display(receipt(run.wait(), run.machine))


def _started(session: Session, package: Bundle, status: Updated) -> Run:
    """Start a server and wait until it answers; an interrupt stops it."""
    facts = [priced(package.machine), package.at_most]
    status.show(Line("submitting", facts), now=True)
    run = Run.submit(session, package)
    facts.append(f"run {run.short_id}")
    try:
        with true_interrupts():
            server = wait_for_server(run, lambda state: status.show(Line(state, facts, run.note or "")))
    except KeyboardInterrupt:
        stop_server(run)
        raise interrupt(f"the server was stopped: run {run.execution_id}") from None
    except LkError:
        stop_server(run)
        raise
    server.close()
    notes = [run.note, f"Open it again: %lk_notebook open {run.short_id}. Stop it: %lk_notebook stop {run.short_id}"]
    status.show(Line("listening", [*facts, server.url], "\n".join(filter(None, notes))), now=True)
    return run


def _open(run: Run) -> bool:
    """Open a server in a browser, signed in; False where this machine has none."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    open_browser(server_of(run).signed_url)
    return True


def _no_browser(run: Run) -> str:
    return f"This machine has no browser. For another one's: %lk_notebook open {run.short_id} --save url"
