"""Show the status line of a run: state, time and cost so far, and the receipt at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError
from lk_jupyter.machines.catalogue import hourly_price, machine_name, price_label
from lk_jupyter.magics._output.live import HINTS_KEY, PACE, Hints, LiveOutput, StatusLine
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.abort import Abort
from lk_jupyter.runs.clock import Bill, calculate_bill, measure_duration
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.base import ObserverGroup
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.machine import HEADER_REASONS
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.variables.payload import uploads_label
from lk_jupyter.text.scalars import header_curves
from lk_jupyter.text.units import clock_label, duration_label, whole_seconds_label
from lk_jupyter.views.run import METADATA_KEY, facts_so_far, receipt_facts

#: Seconds that a run waits for its machine before the receipt mentions the wait.
LONG_WAIT = 3.0

#: Part of a warning of low credits. After the end of a run, the newer balance replaces the warning from its start.
LOW_BALANCE = " credits left, "

#: What a status line shows in place of a cost while the server doesn't answer.
COST_UNKNOWN = "cost unknown since then"

_NO_BILL = Bill()

_WITHHELD = (
    "This kernel didn't start the run, so the run's HTML isn't shown: HTML could run scripts here. Show the HTML:"
)

#: Characters of a run's output that are stored for the observers.
_OBSERVED_LENGTH = 1 << 17


class RunStatus:
    """Show the status line of a run, and call its observers.

    ``observers`` are called about once per second while the run is active, and again at its end. ``status`` is the
    output of the line, ``note`` the output below the line.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        machine: MachineType | None,
        *,
        quiet: bool = False,
        observers: ObserverGroup | None = None,
    ) -> None:
        self.shell = shell
        self.quiet = quiet
        self.observers = observers or ObserverGroup()
        self.status = LiveOutput(shell)
        self.note = LiveOutput(shell)
        self.is_stopping = False
        self.is_detached = False  # then a saved notebook may keep a line of the active run
        self.aborting: Abort | None = None  # of a run that no cell waits for any more
        self._machine = machine
        self._priced, self._price = machine_with_price(machine), hourly_price(machine)
        self._facts: list[str] = []  # the observers' last facts
        self._facts_time = -PACE
        self._warnings: list[str] = []  # notices from before the start
        self._options: list[str] = []  # what these notices suggest to add to the line of the cell
        self._unheard = ""  # text that the observers haven't received yet
        self._run: Run | None = None
        self._bundle: Bundle | None = None
        self._state = ""
        # Where the page can continue the log in the cell: which lines of the log the cell shows.
        self.log_facts: dict[str, int] = {} if quiet else {"log_lines": setting("log_lines")}

    @property
    def in_place(self) -> bool:
        """Whether the outputs of the run are updated, also when the cell has ended."""
        return self.status.in_place

    def show_submission(self, bundle: Bundle) -> None:
        """Show that the run is being sent, and its maximum cost."""
        self._bundle = bundle.remove_values()
        self.show_progress(self.line("submitting", [bundle.at_most, *bundle.payload.facts]))

    def warn(self, notices: Sequence[Notice]) -> None:
        """Show the notes before the run is sent; they stay with the run."""
        self._warnings = list(map(str, notices))
        self._options = [notice.option for notice in notices if notice.option]
        if self._warnings:
            self.show_progress(self.line("submitting", []))

    def show_upload(self, doing: str) -> None:
        """Show the upload that precedes the run."""
        self.status.show_progress(self.line("submitting", [doing]))

    def show_refusal(self) -> None:
        """Show that the run wasn't started."""
        self._warnings = []
        self.status.settle(self.line("refused", []))

    def observe(self, text: str) -> None:
        """Store output of the run for the observers."""
        self._unheard = (self._unheard + text)[-_OBSERVED_LENGTH:]

    def follow_run(self, run: Run) -> None:
        """Show this run from now on."""
        self._run = run
        if run.bundle and run.bundle.machine != self._machine:  # the server refused the machine of the question
            self._machine = run.bundle.machine
            self._priced, self._price = machine_with_price(self._machine), hourly_price(self._machine)

    def announce(self, run: Run, *facts: str) -> None:
        """Show once, where outputs never change, the id of the run and the commands that follow and stop it."""
        if not self.status.appends or self.status.is_visible:
            return
        bundle = run.bundle or self._bundle
        at_most = bundle.at_most if bundle else ""
        line = StatusLine(
            "submitted" if bundle else "attached", [*facts, self._priced, at_most, f"run {run.execution_id}"]
        )
        commands = f"Follow: %lk_attach {run.short_id}. Stop: %lk_abort {run.short_id}"
        line.notice = "\n".join([*self._warnings, *self._notes, commands])
        self.status.show(line.add_moment(), now=True)

    def show_progress(self, line: StatusLine) -> None:
        self.status.show(line, now=True, passing=True)

    def meter(self, monitor: RunMonitor) -> None:
        """Show the state, and the time and cost so far."""
        if is_final(monitor.state):
            return
        if (seconds := monitor.silent_seconds) is not None:
            self._show_silence(seconds)
            return
        figures: list[str] = []
        facts: list[str] = []
        bill = monitor.stopwatch.bill(self._price)
        seconds = bill.seconds
        if seconds is not None:
            limit = self.observers.time_limit
            figures = [whole_seconds_label(seconds) + (f" of {whole_seconds_label(limit)}" if limit else "")]
            figures += [bill.label] if seconds >= 1 else []
        elif (waited := monitor.waiting) >= LONG_WAIT:
            figures = [f"waiting for {duration_label(round(waited))}"]
            if self._run and self._run.bundle and monitor.state not in {"pending", "queued"}:
                facts = [self._run.bundle.installs]
        state = "reconnecting" if monitor.lost else "stopping" if self.is_stopping else monitor.state
        facts += self._list_observer_facts(seconds)
        if state != self._state or self.status.is_due:
            self.show_progress(self.line(state, facts, figures, bill))
        self._state = state

    def _show_silence(self, seconds: float) -> None:
        """Show for how long the server hasn't answered, in place of the time and cost, which may have ended."""
        line = self.line("reconnecting", [COST_UNKNOWN])
        line.state = f"no answer for {clock_label(seconds)}"
        line.run = {**line.run, "silent_seconds": round(seconds)}
        if self._state != "silent" or self.status.is_due:
            self.show_progress(line)
        self._state = "silent"

    def _list_observer_facts(self, seconds: float | None) -> list[str]:
        moment = time.monotonic()
        if self._run and moment - self._facts_time >= PACE:
            text, self._unheard = self._unheard, ""
            self._facts = self.observers.tick(self._run, seconds, text)
            self._facts_time = moment
        return self._facts

    def line(
        self, state: str, observed: Sequence[str], figures: Sequence[str] = (), bill: Bill = _NO_BILL
    ) -> StatusLine:
        """Return the status line of an active run: state, time and cost so far."""
        run, bundle = self._run, self._run.bundle if self._run else self._bundle
        observed = [*self._choice, *observed]
        facts = [self._priced, *figures, *observed, *([f"run {run.short_id}"] if run else [])]
        unconfirmed = [self.aborting.words] if self.aborting and not self.aborting.ended.is_set() else []
        notices = [*self._warnings, *self._notes, *map(str, self.observers.notices), *unconfirmed]
        line = self._store_options(StatusLine(state, facts, "\n".join(notices)))
        if self.is_detached:
            line.add_moment()
        line.run = {
            **({"execution_id": run.execution_id} if run else {}),
            "state": state,
            **({"time_limit_seconds": limit} if (limit := self.observers.time_limit) else {}),
            **facts_so_far(bill, self._machine, bundle),
            **self.log_facts,
            **self._curves,
            "told": [word for word in observed if word],
        }
        return line

    @property
    def _choice(self) -> list[str]:
        """Why a machine was chosen that the line of the cell doesn't name; empty for another machine."""
        bundle = (self._run.bundle if self._run else None) or self._bundle
        reason = bundle.machine_reason.partition("; ")[0] if bundle else ""
        return [reason] if reason in HEADER_REASONS else []

    def _store_options(self, line: StatusLine) -> StatusLine:
        """Store the suggested options in the metadata, for the buttons that apply the options."""
        if self._options:
            line.metadata = {**line.metadata, HINTS_KEY: self._options}
        return line

    @property
    def _curves(self) -> dict[str, Any]:
        """The printed numbers for the sparklines of the header; empty without numbers."""
        curves = self.observers.scalars.curves
        return {"curves": header_curves(curves)} if curves else {}

    @property
    def _notes(self) -> list[str]:
        return [self._run.note] if self._run and self._run.note else []

    def show_stopping(self) -> None:
        """Show that the run is being stopped, and how to end the waiting."""
        self.is_stopping = True
        self.show_progress(self.line("stopping", ["interrupt again to stop waiting"]))

    def close_run(self, record: ExecutionRecord, *, is_visible: bool = True) -> tuple[StatusLine, list[Notice]]:
        """Return the receipt, and the final notices of the observers; ``is_visible`` is whether the user sees both."""
        line = receipt(record, self._run)
        if not self._run:
            return line, []
        if is_visible:
            self._run.mark_viewed()
        self.observers.tick(self._run, None, self._unheard)
        withheld = (
            [Notice(f"{_WITHHELD} %lk_attach {self._run.short_id} --rich")] if self._run.messages.withheld else []
        )
        uploads = uploads_label(self._run.bundle.payload) if self._run.bundle else ""
        ended = self.observers.ended(self._run, record)
        line.run = {**line.run, **self._curves}
        return line, [*([Notice(uploads)] if uploads else []), *ended, *withheld]

    def settle(
        self, line: StatusLine, notices: Sequence[object], hints: Hints | None = None, *, raises: bool = False
    ) -> None:
        """Show the receipt with notices and hints; ``raises`` is whether an error of the cell follows."""
        warnings = [] if any(LOW_BALANCE in str(notice) for notice in notices) else self._warnings
        line.notice = "\n".join([*warnings, *self._notes, *map(str, notices)])
        self.status.close(self._store_options(line), hints, raises=raises)


def cost_label(run: Run) -> str:
    """Return the cost of an ended run as text, such as ``0.0012 credits``."""
    return run.bill().label


def receipt(record: ExecutionRecord, run: Run | None, bill: Bill | None = None) -> StatusLine:
    """Return the receipt of a run: state, machine, duration, cost, id; the metadata has the same facts for programs.

    The record decides state, machine and cost; differences from the request and the quote follow in words. The
    duration is the time that the code ran, preceded by the time in the queue if that was at least LONG_WAIT.
    """
    machine, quote = (run.machine, run.quote) if run else (None, None)
    bill, seconds = bill or calculate_bill(record, hourly_price(machine), quote=quote), measure_duration(record)
    facts = receipt_facts(record, run, bill)
    differences = facts.get("differences", "")
    took = "" if seconds is None else _format_wait(facts) + duration_label(seconds)
    line = StatusLine(
        record.status,
        [machine_with_price(machine), took, bill.label, differences, f"run {record.execution_id}"],
    )
    line.run = {**facts, "told": [differences] if differences else []}
    if is_final(record.status):
        line.metadata = {METADATA_KEY: facts}
    return line


def read_final_receipt(run: Run) -> StatusLine | None:
    """Return the receipt of a run that has ended; None for an active run, and without an answer of the server."""
    with suppress(LkError):
        record = run.record
        if is_final(record.status):
            return receipt(record, run)
    return None


def _format_wait(facts: dict[str, Any]) -> str:
    """Return the time before the first line in words; empty for a short wait."""
    waited = facts.get("waited_seconds", 0.0)
    return f"waited {duration_label(waited)}, ran " if waited >= LONG_WAIT else ""


def machine_with_price(machine: MachineType | None) -> str:
    """Return the name of a machine with the price, if known, for the status line."""
    if machine is None:
        return ""
    price = "" if machine.price_per_hour is None else f" at {price_label(machine)}"
    return machine_name(machine.hardware_profile) + price
