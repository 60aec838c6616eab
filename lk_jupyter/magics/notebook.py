"""``%lk_notebook``: Jupyter servers on machines of the cloud."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from string import Template

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter._python import has_browser, open_page
from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.config.files import platform_path
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.interrupt import advise_on_interrupt, build_interrupt
from lk_jupyter.magics._output.live import LiveOutput, StatusLine
from lk_jupyter.magics._output.run_status import machine_with_price, read_final_receipt, receipt
from lk_jupyter.magics._output.servers import ServerList, listening_line, server_header
from lk_jupyter.options.notebook_servers import OpenServerOptions, StartServerOptions, StopServerOptions
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.notebooks.servers import (
    PORT,
    prepare_server,
    read_command,
    read_password,
    servers,
    stop_server,
    wait_for_server,
)
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.ports import address
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.budget import budget_usage
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import count_label, moment_label
from lk_jupyter.views.plan import plan_view
from lk_jupyter.views.run import facts_so_far

lk_notebook = Subcommands(
    "lk_notebook",
    "Start, open and stop Jupyter servers on cloud machines. A random password protects each server.\n\nTo use "
    "a cloud machine as the kernel of a local notebook, see %lk_kernel.",
)


@lk_notebook.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List active Jupyter servers."""
    session = current()
    active = [(workload, session.get(workload.execution_id)) for workload in servers(session)]
    rows = [
        (
            run.short_id,
            workload.status,
            workload.hardware_profile or "",
            moment_label(workload.created_at, "%d %b %H:%M"),
            address(run, PORT),
        )
        for workload, run in active
    ]
    note = "" if active else "No active Jupyter servers. Start one: %lk_notebook start --gpu A100"
    table = Table(("Run", "State", "Machine", "Started", "Address"), rows, note=note)
    headers = [
        server_header(
            run, workload.status, Bill(), name=workload.run_name or "", notes=[f"Address: {address(run, PORT)}"]
        )
        for workload, run in active
    ]
    count = count_label(len(active), "Jupyter server")
    display(ServerList(count, headers, table) if active else table)


@lk_notebook.verb("start", StartServerOptions)
def _start(options: StartServerOptions, shell: InteractiveShell) -> None:
    """Start a hosted Jupyter server, wait until the server answers, and open it in a browser.

    If you interrupt the waiting, the server is stopped and billing ends.

    Examples::

        %lk_notebook start --gpu A100
        %lk_notebook start --gpu A100 --image quay.io/jupyter/pytorch-notebook:latest --max-cost 2
    """
    session = current()
    bundle = prepare_server(session, options)
    if options.dry_run:
        display(plan_view(bundle, budget_usage(session)))
        return
    run = _start_server(session, bundle, LiveOutput(shell))
    if not options.no_browser:
        _open_in_browser(run)


@lk_notebook.verb("open", OpenServerOptions)
def _open_server(options: OpenServerOptions, shell: InteractiveShell) -> None:
    """Open a hosted Jupyter server in a browser. A local page copies the password, which you paste to sign in.

    Examples::

        %lk_notebook open 3f0c
        %lk_notebook open 3f0c --save password
    """
    run, status = Run.attach(current(), options.run), LiveOutput(shell)
    facts = [machine_with_price(run.machine), f"run {run.short_id}"]
    server = wait_for_server(run, lambda state: status.show(_build_server_line(state, facts, "", None, run)))
    if options.save:
        shell.user_ns[options.save] = read_password(run)
        note = f"The password is in {options.save}. Keep it secret, like a key."
    elif _open_in_browser(run):
        note = f"Stop it: %lk_notebook stop {run.short_id}"
    else:
        open_elsewhere = f"%lk_notebook open {run.short_id} --save password"
        note = f"This machine has no browser. For a browser on another machine: {open_elsewhere}"
    status.show(listening_line(run, server.url, [note], is_final=not status.in_place), now=True)
    server.close()


@lk_notebook.verb("stop", StopServerOptions)
def _stop(options: StopServerOptions, _shell: InteractiveShell) -> None:
    """Stop a hosted Jupyter server. Billing ends.

    Example: ``%lk_notebook stop 3f0c``
    """
    again = f"%lk_notebook stop {options.run}"
    with advise_on_interrupt(f"Stopped waiting. The server may still be active and billed. Stop it: {again}"):
        run = Run.attach(current(), options.run)
        read_command(run)
        stop_server(run)
        display(receipt(run.wait_aside(), run))


def _start_server(session: Session, bundle: Bundle, status: LiveOutput) -> Run:
    """Start a server and wait until the server answers; an interrupt stops the server."""
    run, server = started_server(session, bundle, status, "this server")
    server.close()
    again = f"Open it again: %lk_notebook open {run.short_id}. Stop it: %lk_notebook stop {run.short_id}"
    line = listening_line(run, server.url, [run.note or "", again], is_final=not status.in_place)
    status.show(line, now=True)
    return run


def started_server(
    session: Session, bundle: Bundle, status: LiveOutput, what: str, notice: str = ""
) -> tuple[Run, HostedServer]:
    """Start a server and wait until the server answers; an interrupt stops the server."""
    facts = [machine_with_price(bundle.machine), bundle.at_most]
    warnings = "\n".join(filter(None, [*map(str, low_balance_notices(session, bundle.worst_case, what)), notice]))
    status.show(_build_server_line("submitting", facts, warnings, bundle), now=True, passing=True)
    sending = Submission(session, bundle)
    with AtInterrupt(lambda _: sending.abort_soon()):
        try:
            with true_interrupts():
                run = Run.from_submission(session, sending)
                facts.append(f"run {run.short_id}")
                notes = "\n".join(filter(None, [run.note, notice]))
                if status.appends:
                    status.show(_build_start_line(run, facts, warnings), now=True)
                with end_header_on_failure(run, status):
                    server = _wait_for_server(
                        run, lambda state: status.show(_build_server_line(state, facts, notes, bundle, run))
                    )
        except KeyboardInterrupt:
            raise build_interrupt(sending.outcome()) from None
    return run, server


@contextmanager
def end_header_on_failure(run: Run, status: LiveOutput) -> Iterator[None]:
    """Show the final state and the cost of a server if the block fails, in place of the state of its start."""
    try:
        yield
    except Exception:
        line = read_final_receipt(run)
        if line is None:
            line = StatusLine("lost", [machine_with_price(run.machine), f"run {run.execution_id}"])
            line.run = server_header(run, "lost", Bill())
        status.close(line, raises=True)
        raise


def _build_server_line(
    state: str, facts: Sequence[str], notice: str, bundle: Bundle | None, run: Run | None = None
) -> StatusLine:
    """Return the line of a run whose server starts, with its header as data."""
    line = StatusLine(state, list(facts), notice)
    started = server_header(run, state, Bill()) if run else {"state": state, "kind": "server"}
    machine = bundle.machine if bundle else None
    line.run = {**started, **facts_so_far(Bill(), machine, bundle), "told": [bundle.at_most] if bundle else []}
    return line


def _build_start_line(run: Run, facts: Sequence[str], warnings: str) -> StatusLine:
    """Return the line of a run whose server starts, for a front end whose outputs never change."""
    notices = [run.note, warnings, f"Stop: %lk_abort {run.short_id}"]
    line = StatusLine("submitted", [*facts[:-1], f"run {run.execution_id}"], "\n".join(filter(None, notices)))
    return line.add_moment()


def _wait_for_server(run: Run, watch: Callable[[str], object]) -> HostedServer:
    """Wait until the server of a run answers; a server that doesn't answer is stopped."""
    try:
        return wait_for_server(run, watch)
    except Exception as error:
        stop_server(run, error)
        raise


def _open_in_browser(run: Run) -> bool:
    """Open the page that leads to a server in a browser; False where this machine has none."""
    if not has_browser():
        return False
    open_page(_write_page(run).as_uri())
    return True


def _write_page(run: Run) -> Path:
    """Write a page with the password of a server: the password must not appear in a command line or an address.

    Only the owner of the file can read the page; older pages are removed. The page can't send the login form: Jupyter
    accepts the form from its own login page only, so that no foreign site can sign a browser in.
    """
    folder = platform_path("data", "open")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for older in folder.glob("*.html"):
        older.unlink(missing_ok=True)
    texts = {"run": run.short_id, "url": address(run, (*run.ports, PORT)[0]), "password": read_password(run)}
    descriptor, name = tempfile.mkstemp(".html", dir=folder)  # readable by its owner only
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_PAGE.substitute({key: escape(text) for key, text in texts.items()}))
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)


_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Jupyter server of run $run</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1rem }
h1 { font-size: 1.4rem }
input, button { font: inherit; padding: .4rem .8rem }
input { width: 100%; box-sizing: border-box; margin: 0 0 1rem }
</style>
<h1>Jupyter server of run $run</h1>
<p>The server asks for its password once. Copy it here and paste it there.</p>
<label for="password">Password</label>
<input id="password" type="password" readonly value="$password">
<button autofocus>Copy the password and open the server</button>
<script>
const field = document.querySelector("input");
document.querySelector("button").onclick = async () => {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    field.type = "text";
    field.select();
    document.execCommand("copy");
  }
  location = "${url}login";
};
</script>
""")
