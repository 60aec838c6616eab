"""``%lk_sessions``, and the cells that run in a session: a warm Python on a rented machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._polling import add_advice
from lk_jupyter.api.hosted_channel import Asked, Message
from lk_jupyter.api.states import SUCCEEDED_STATES, describe_state, mark_of
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.kept_machine import machine_name
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.interrupt import Stop, advise_on_interrupt, build_interrupt
from lk_jupyter.magics._output.live import (
    Hidden,
    LiveOutput,
    Note,
    StatusLine,
    after_cell,
    has_kernel,
    write_error,
    write_text,
)
from lk_jupyter.magics._output.log import LogOutput
from lk_jupyter.magics._output.rich import RichOutput
from lk_jupyter.magics._output.run_status import (
    COST_UNKNOWN,
    cost_label,
    machine_with_price,
    read_final_receipt,
    receipt,
)
from lk_jupyter.magics.notebook import end_header_on_failure, started_server
from lk_jupyter.options.runs import NoOptions, RunOptions
from lk_jupyter.options.sessions import SessionNameOptions
from lk_jupyter.protocol.frames import STDERR, Frame
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.notebooks.handles import restore_saved
from lk_jupyter.runs.notebooks.hosted_kernel import lost_notices, unsigned_notices
from lk_jupyter.runs.notebooks.servers import idle_seconds, release_label, stop_on_failure, stop_server
from lk_jupyter.runs.notebooks.session_machine import LIMIT_MARGIN, idle_minutes, prepare_warm_python
from lk_jupyter.runs.notebooks.warm_python import WarmPython
from lk_jupyter.runs.notebooks.warm_pythons import (
    find_warm_python,
    list_warm_pythons,
    start_warm_python,
    stop_warm_python,
)
from lk_jupyter.runs.observers.start_time import times_label
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.local_values import local_value_notices
from lk_jupyter.runs.package.machine import IN_TOOLBAR
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.budget import budget_usage
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import duration_label, whole_seconds_label
from lk_jupyter.views.plan import session_plan_view
from lk_jupyter.views.run import facts_so_far

lk_sessions = Subcommands(
    "lk_sessions",
    "List and stop sessions. A session is a Python process on one machine that keeps variables between "
    "cells.\n\n%%lk_run --session NAME runs a cell in a session, and starts the session if necessary. A "
    "session is billed until you stop it, it is idle for too long, or it reaches its limit.",
)


@lk_sessions.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the active sessions that were started on this machine."""
    rows = []
    for name, run in list_warm_pythons(current()):
        idle = idle_seconds(run)
        state = "not reachable" if idle is None else "busy" if idle == 0 else duration_label(idle)
        machine, cost = None, COST_UNKNOWN
        with suppress(LkError):  # a cloud that doesn't answer about a machine may bill it
            machine, cost = run.machine, run.bill().label
        rows.append(
            (
                name,
                machine.hardware_profile if machine else "",
                price_label(machine) if machine else "",
                state,
                cost,
                run.short_id,
            )
        )
    note = "" if rows else "No sessions. Start one: %%lk_run --session NAME"
    display(Table(("Session", "Machine", "Price", "Idle", "Cost so far", "Run"), rows, note=note))


@lk_sessions.verb("stop", SessionNameOptions)
def _stop(options: SessionNameOptions, _shell: InteractiveShell) -> None:
    """Stop a session. Billing ends, and variables that exist only in the session are lost.

    Without a name, this command stops the machine that --keep left active for this notebook.

    Example: ``%lk_sessions stop train``
    """
    name = options.name or machine_name()
    again = f"%lk_sessions stop {name}"
    with advise_on_interrupt(f"Stopped waiting. Session {name} may still be active and billed. Stop it: {again}"):
        run = _stop_session(name, again)
        line = receipt(run.wait_aside(), run)
        line.state = describe_state(line.state, run.record.run_name)
        display(line)


def _stop_session(name: str, again: str) -> Run:
    """Stop a session, and return its run. An error of the server shows the session and the command that stops it."""
    try:
        return stop_warm_python(current(), name, stop_server)
    except UsageError:
        raise
    except LkError as error:
        advice = f"Session {name} may still be active and billed. Check: %lk_sessions. Stop it: {again}"
        raise add_advice(error, advice) from None


@lk_sessions.verb("restore", SessionNameOptions)
def _restore(options: SessionNameOptions, shell: InteractiveShell) -> None:
    """Restore the variables that a session saved before its machine ended, in this notebook and without a new machine.

    A session saves its variables before its time limit, and before the key of a broker ends. Variables with the same
    names are replaced.

    Example: ``%lk_sessions restore train``
    """
    name = options.name or machine_name()
    session = current()
    if next(list_warm_pythons(session, name), None):
        raise UsageError(
            f"Session '{name}' is active. Nothing was restored. Return its variables with a cell: "
            f"%%lk_run --session {name} --out NAMES"
        )
    for notice in restore_saved(session, name, shell.user_ns):
        display(Note(str(notice)))


def run_cell(
    session: Session,
    prepare: Callable[[dict[str, str | None]], Bundle],
    options: RunOptions,
    shell: InteractiveShell,
) -> None:
    """Run a cell in its session, and show the outputs.

    ``prepare`` builds the request, given the paths in the session.
    """
    name = str(options.session)
    if options.dry_run:
        machine = prepare_warm_python(session, options)
        stop = "%lk_sessions stop" if options.keep else f"%lk_sessions stop {name}"
        release = f"{stop}, or {release_label(idle_minutes(options), machine.timeout, session.client)}"
        display(session_plan_view(machine, prepare({}), release, budget_usage(session)))
        return
    billed = f"If session {name} is active, it is billed until you stop it: %lk_sessions stop {name}"
    with advise_on_interrupt(f"Stopped before the cell was sent. {billed}"):
        warm = find_warm_python(session, name, restarts=bool(options.keep))
        digests = {} if warm is None else dict(warm.digests)
        bundle = prepare(digests)
        (bundle,) = require_consent([bundle], ask)
        status, start_time, notice = LiveOutput(shell), time.monotonic(), ""
        if warm and options.keep and _must_move(warm, options, bundle):
            status.show_progress(StatusLine("submitting", [f"session {name}", "moving to another machine"]))
            warm.release()
            warm = None
        if warm is None:
            machine = prepare_warm_python(session, options)
            release = release_label(idle_minutes(options), machine.timeout, session.client)
            notice = f"Billed until you stop it (%lk_sessions stop {name}), or {release}."
            warm = _start_session(session, machine, options, status, notice)
            bundle = bundle if warm.digests == digests else _prepare_again(prepare, warm, bundle)
        else:
            _require_same_machine(warm, options, bundle)
        view = CellView(shell, warm, status, options, notice)
        view.warn(local_value_notices(bundle))
        view.begin()
        _follow_cell(warm, view, bundle, start_time)


def _prepare_again(prepare: Callable[[dict[str, str | None]], Bundle], warm: WarmPython, bundle: Bundle) -> Bundle:
    """Return the bundle of a cell for a new machine, which has restored other values than the earlier machine."""
    consent = {"secrets": bundle.secrets, "secrets_allowed": bundle.secrets_allowed}
    return replace(prepare(warm.digests), phases=bundle.phases, **consent)  # type: ignore[arg-type]


#: Seconds before the time limit of a kept machine at which a cell moves to a new machine, and the same as a share.
_MOVE_SECONDS, _MOVE_SHARE = LIMIT_MARGIN + 30, 0.15


def _must_move(warm: WarmPython, options: RunOptions, bundle: Bundle) -> bool:
    """Return whether the next cell needs another machine: the limit is close, or the line names another machine."""
    is_other = bool(_find_conflicting_machine(warm, options, bundle))
    return is_other or warm.machine_seconds < min(_MOVE_SECONDS, _MOVE_SHARE * warm.limit)


def _find_conflicting_machine(warm: WarmPython, options: RunOptions, bundle: Bundle) -> str:
    """Return the machine of the session if the line names another machine; empty otherwise."""
    is_chosen = options.gpu or options.machine or (options.keep and bundle.machine_reason == IN_TOOLBAR)
    has = warm.run.machine if is_chosen else None
    return has.hardware_profile if has and has.hardware_profile != bundle.machine.hardware_profile else ""


def _require_same_machine(warm: WarmPython, options: RunOptions, bundle: Bundle) -> None:
    """Refuse a machine that differs from the machine of the session. Raises UsageError."""
    if current_machine := _find_conflicting_machine(warm, options, bundle):
        raise UsageError(
            f"Session '{warm.name}' runs on {current_machine}, not on {bundle.machine.hardware_profile}. Nothing "
            f"was sent. Leave the machine out, or stop the session first: %lk_sessions stop {warm.name}"
        )


def _start_session(
    session: Session, machine: Bundle, options: RunOptions, status: LiveOutput, notice: str
) -> WarmPython:
    """Start the machine of a session, after showing the price."""
    name = str(options.session)
    run, server = started_server(session, machine, status, "this session", notice)
    try:
        with end_header_on_failure(run, status), stop_on_failure(run):
            warm = start_warm_python(name, run, server, idle_minutes(options))
            restored = warm.restore(is_owner=bool(options.keep))
    except KeyboardInterrupt as error:
        raise build_interrupt(str(error)) from None
    if restored:
        display(Note(restored))
    return warm


def _follow_cell(warm: WarmPython, view: CellView, bundle: Bundle, start_time: float) -> None:
    """Run a cell and show it to its end; ``start_time`` is the moment of the session's request (monotonic, in s).

    Raises CellFailed, KeyboardInterrupt, ConnectionFailed.
    """
    stop = Stop(warm.interrupt)
    cell: Asked | None = None
    with AtInterrupt(stop):
        try:
            with true_interrupts():
                cell = warm.begin(bundle, view.show_upload, start_time)
                view.follow(cell)
                notices = warm.take_back(bundle, view.shell.user_ns, cell)
                if getattr(bundle.options, "time", False):
                    notices = [*notices, Notice(times_label(bundle.phases))]
                view.end(cell, notices)
        except KeyboardInterrupt:
            raise build_interrupt(_await_interrupt(warm, view, cell, stop)) from None
        except ConnectionFailed:
            view.show_loss()
            raise


def _await_interrupt(warm: WarmPython, view: CellView, cell: Asked | None, stop: Stop) -> str:
    """Wait for the end of a cell that is being interrupted; a second interrupt ends the waiting."""
    machine = warm.run.machine
    price = f" ({price_label(machine)})" if machine else ""
    billed = f"The session is billed{price} until you stop it: %lk_sessions stop {warm.name}"
    if cell is None:
        return f"Stopped waiting. Session {warm.name} is still active. {billed}"
    try:
        with true_interrupts():
            stop.wait()
            if stop.kernel_ends:
                return f"the kernel is shutting down; session {warm.name} stays active. {billed}"
            view.show_stopping()
            view.follow(cell)
            view.close(cell, "interrupted")
            return f"You stopped this cell. Its session keeps the variables.{'' if view.shows_bill else ' ' + billed}"
    except KeyboardInterrupt:
        cell.forget()
        return f"Stopped waiting. The cell may still run in session {warm.name}. {billed}"
    except LkError as error:
        return f"Stopped waiting: {error} Session {warm.name} may still be active. {billed}"


class CellView:
    """The view of a cell in a session: ``follow``, then ``end``.

    ``notice`` shows how to end the bill of a new session; ``shows_bill`` is whether the header has this notice.
    """

    def __init__(
        self, shell: InteractiveShell, warm: WarmPython, status: LiveOutput, options: RunOptions, notice: str = ""
    ) -> None:
        self.shell = shell
        self._warm = warm
        self._notices = list(filter(None, [warm.run.note, notice]))
        self.shows_bill = bool(notice)
        self._quiet = options.quiet
        self._keeps_machine = bool(options.keep)
        self._status = status
        self._start_time = time.monotonic()
        self._state = "running"
        self._note = LiveOutput(shell)
        self._log = LogOutput(
            write_text,
            self._show_note,
            self._show_hidden,
            limit=setting("log_lines"),
            ends=not has_kernel(shell),
            write_error=write_error,
        )
        self._rich = RichOutput(shell, self._log.cut, (status, self._note))
        self._unsigned = 0
        self._error: Message = {}  # the newest error, which may be the last thing that the cell does
        self._failed_at = 0.0
        self._after_error: list[Frame] = []  # such as figures, which come after the error that ends a cell

    def warn(self, notices: Sequence[Notice]) -> None:
        """Keep notices, which stay with the cell."""
        self._notices += map(str, notices)

    def follow(self, cell: Asked) -> None:
        """Show the outputs until the cell has ended."""
        for message in cell.messages():
            if message:
                self._show_message(message)
            if self._error and time.monotonic() - self._failed_at > _FIGURES_SECONDS:
                self._show_survived()
            self._rich.tick()
            if self._log.holds:
                self._log.show("")
            self._status.show(self._build_line(), now=self._state != "running", passing=True)

    def begin(self) -> None:
        """Show the header of the cell, or how to stop the session where outputs never change."""
        if not self._status.appends:
            self._status.settle(self._build_line())
        elif not self._status.is_visible:
            line = self._build_line()
            stop = f"Stop the session and its bill: %lk_sessions stop {self._warm.name}"
            line.run, line.notice = {}, "\n".join([*self._notices, stop])
            self._status.show(line, now=True)

    def show_upload(self, doing: str) -> None:
        """Show the upload that precedes the cell."""
        self._status.show_progress(self._build_line(doing))

    def show_stopping(self) -> None:
        """Show that the cell is being interrupted."""
        self._state = "stopping"
        self._status.show(self._build_line("interrupt again to stop waiting"), now=True, passing=True)

    def end(self, cell: Asked, notices: Sequence[Notice]) -> None:
        """Show the final state of the cell. Raises CellFailed after a failure."""
        if cell.reply.get("status") == "ok":
            self.close(cell, "completed", notices)
            return
        error, state = {**cell.reply, **self._error}, "failed"
        if error.get("ename") == "KeyboardInterrupt" and self._warm.remaining_seconds < LIMIT_MARGIN:
            state, error["evalue"] = "timeout", self._describe_limit()  # the machine interrupts before its limit
        self.close(cell, state, notices)
        raise self._warm.failure(error)

    def _describe_limit(self) -> str:
        if end := self._warm.ending_key:
            return f"the key ends at {end}. Restore the saved variables: %lk_sessions restore {self._warm.name}"
        limit, addition = whole_seconds_label(self._warm.limit), " with the saved variables" if self._warm.saves else ""
        return f"the time limit of the machine ({limit}) was close. The next cell starts a new machine{addition}."

    def close(self, cell: Asked, state: str, earlier: Sequence[Notice] = ()) -> None:
        """Show the rest of the output, and the receipt of the cell."""
        if cell.reply.get("status") == "ok":
            self._show_survived()
        for frame in self._after_error:
            after_cell(self.shell, partial(self._rich.show, frame))
        for page in cell.reply.get("payload", []):
            if page.get("source") == "page":
                self._take_text(str(page.get("data", {}).get("text/plain", "")) + "\n")
        self._log.end()
        notes = self._rich.end(0)
        notices = [*self._notices, *notes, *earlier, *unsigned_notices(self._unsigned), *lost_notices(cell)]
        line = self._build_receipt(state, "\n".join(map(str, notices)))
        self._status.close(line, raises=state != "completed")

    def _build_receipt(self, state: str, notice: str) -> StatusLine:
        """Return the line that closes a cell: how long it took, and the cost of its session so far."""
        seconds = time.monotonic() - self._start_time
        bill = Bill()
        with suppress(LkError):  # a record that can't be read now doesn't fail a completed cell
            bill = self._warm.bill()
        cost = f"{bill.label} so far" if bill.label else ""
        machine, release = self._warm.run.machine, self._warm.release_label
        facts = [machine_with_price(machine), f"{release} unless used"] if self._keeps_machine else []
        line = StatusLine(
            state, [duration_label(seconds), f"session {self._warm.name}", *facts, cost, self._run], notice
        )
        # The header has the name of the machine already, and little space.
        short_facts = [price_label(machine) if machine else "", release] if self._keeps_machine else []
        line.run = self._build_header(state, seconds, [*short_facts, cost])
        return line

    def _build_header(self, state: str, seconds: float, facts: Sequence[str]) -> dict[str, Any]:
        """Return a cell of a session as data of RUN_MIME."""
        run = self._warm.run
        return {
            **facts_so_far(Bill(seconds), run.machine, None),
            "execution_id": run.execution_id,
            "session": self._warm.name,
            "name": f"session {self._warm.name}",
            "state": "aborted" if state == "interrupted" else state,  # the word of the API for an end
            "told": list(filter(None, facts)),
        }

    def show_loss(self) -> None:
        """Show that no answer comes any more: the receipt of the machine if the machine has ended."""
        self._log.end()
        seconds = time.monotonic() - self._start_time
        line = read_final_receipt(self._warm.run)  # without the notices about its bill, which has ended
        if line is None:
            line = StatusLine("lost", [f"session {self._warm.name}", self._run], "\n".join(self._notices))
            line.run = self._build_header("lost", seconds, [])
        elif line.state.lower() in SUCCEEDED_STATES:  # the machine ended itself, but its cell didn't complete
            line.state, line.mark = "lost", mark_of("lost")
            line.run = self._build_header("lost", seconds, [cost_label(self._warm.run)])
        self._status.close(line, raises=True)

    @property
    def _run(self) -> str:
        return f"run {self._warm.run.execution_id if self._status.appends else self._warm.run.short_id}"

    def _build_line(self, *facts: str) -> StatusLine:
        seconds = time.monotonic() - self._start_time
        took = [f"{seconds:.0f} s"] if seconds >= 1 else []
        facts = (self._warm.idle_label, *facts) if self._keeps_machine else facts
        line = StatusLine(
            self._state,
            [f"session {self._warm.name}", machine_with_price(self._warm.run.machine), *took, *facts, self._run],
            "\n".join(self._notices),
        )
        line.run = self._build_header(self._state, seconds, facts)
        return line

    def _show_note(self, text: str) -> None:
        self._note.show(Note(text), passing=True)

    def _show_hidden(self, count: int) -> None:
        run = self._warm.run
        note = Hidden(count, run.log_path, run.execution_id) if count else Note("")
        if not self._note.appends:
            self._note.show(note, now=True)
        elif str(note):
            write_text(f"{note}\n")

    def _show_message(self, message: Message) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind in {"error", "stream"}:
            self._show_survived()
        if kind == "error":
            self._error, self._failed_at = content, time.monotonic()
        elif self._quiet:
            return
        elif kind == "stream":
            self._take_text(str(content["text"]), is_error=content.get("name") == "stderr")
        elif kind in _FRAMES:
            verified = self._warm.verified(message)
            self._unsigned += verified is not content
            if verified is None:
                return
            frame = Frame(_FRAMES[kind], _build_payload(verified), "")
            self._after_error.append(frame) if self._error else self._rich.show(frame)

    def _show_survived(self) -> None:
        """Show an error that didn't end the cell, and the outputs after the error."""
        error, frames = self._error, self._after_error
        self._error, self._after_error = {}, []
        if error and not self._quiet:
            self._rich.show(Frame(STDERR, {"error": error}, ""))
        for frame in frames:
            self._rich.show(frame)

    def _take_text(self, text: str, *, is_error: bool = False) -> None:
        self._rich.prepare_text()
        self._log.show_error(text) if is_error else self._log.show(text)
        self._rich.record_text()


#: Seconds after an error in which its cell shows open figures; a cell that works longer survived the error.
_FIGURES_SECONDS = 2.0

#: Kinds of Jupyter's messages → kinds of frames.
_FRAMES = {
    "display_data": "display",
    "execute_result": "display",
    "update_display_data": "update",
    "clear_output": "clear",
}


def _build_payload(content: Message) -> dict[str, Any]:
    name = content.get("transient", {}).get("display_id")
    return {**content, **({"id": str(name)} if name else {})}
