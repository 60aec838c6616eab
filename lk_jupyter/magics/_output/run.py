"""Show a run under its cell: a status line, the log, a receipt."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import setting
from lk_jupyter.machines.catalogue import price_label, price_of
from lk_jupyter.magics._output.gallery import RecentOutputs
from lk_jupyter.magics._output.live import (
    PACE,
    Hidden,
    Hints,
    LiveOutput,
    Note,
    Redacted,
    StatusLine,
    Stderr,
    Text,
    after_cell,
    has_kernel,
    show_last,
    write_text,
)
from lk_jupyter.magics._output.log import LogOutput
from lk_jupyter.magics._output.rich import Bars, RichOutput
from lk_jupyter.protocol.frames import BAR, ERROR, SHOWN, STDERR, Frame, survived, text_of, words_of
from lk_jupyter.protocol.notice import HINT, Notice
from lk_jupyter.runs.abort import Abort
from lk_jupyter.runs.clock import Bill, calculate_bill, measure_duration, next_second
from lk_jupyter.runs.interrupts import waiting_on
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.base import ObserverGroup
from lk_jupyter.runs.outcome import stderr_beside_frames
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import duration_label, whole_label
from lk_jupyter.views.run import METADATA_KEY, facts_so_far, receipt_facts

#: Seconds between two writes of the log, and the time that an unfinished line has to be completed.
LOG_PACE = 0.12

#: The most seconds between two writes of the log where each may become an output.
_LONGEST_PACE = 5.0

#: Seconds that a run waits for its machine before the receipt mentions the wait.
LONG_WAIT = 3.0

_LINE_PAUSE = 0.03

_NO_BILL = Bill()

_WITHHELD = "This run wasn't started here, so its HTML isn't shown: it could run scripts here. Show it:"


#: Characters of a run's output that are stored for the observers.
_OBSERVED_LENGTH = 1 << 17


class RunDisplay:
    """The view of a run: ``submitting``, ``follow``, ``end``, in this order.

    In a front end without display updates, its outputs never change: the first shows the id with the commands that
    follow and stop the run, the log streams, and the receipt is the last. Nothing follows when the cell has ended.

    ``observers`` are called about once per second while the run is active, and again at its end.
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
        self._machine = machine
        self._priced, self._price = priced(machine), price_of(machine)
        self._quiet = quiet
        self._observers = observers or ObserverGroup()
        self._facts: list[str] = []  # the companions' last facts
        self._facts_time = -PACE
        self._warnings: list[str] = []  # notices from before the start
        self._written_notices: list[str] = []
        self._start_time = time.monotonic()
        self._unheard = ""  # text that the observers haven't received yet
        self._status = LiveOutput(shell)
        self._note = LiveOutput(shell)
        self._run: Run | None = None
        self._package: Bundle | None = None
        self._state = ""
        self._log: LogOutput
        self._rich: RichOutput
        self._bars: Bars  # of a run in the background, as the next two are
        self._gallery: RecentOutputs
        self._pictures: LiveOutput
        self._damaged = 0  # frames that came broken
        self._has_failed = False
        self._last: list[Frame] = []  # figures that were open when the code failed
        self.is_stopping = False
        self.aborting: Abort | None = None  # of a run that no cell waits for any more

    @property
    def in_place(self) -> bool:
        """Whether the outputs of the run are updated, also when the cell has ended."""
        return self._status.in_place

    def submitting(self, package: Bundle) -> None:
        """Show that the run is being sent, and its maximum cost."""
        self._package = package.without_values()
        self._show_progress(self._line("submitting", [package.at_most, *package.payload.facts]))

    def warn(self, notices: Sequence[Notice]) -> None:
        """Show the notes before the run is sent; they stay with the run."""
        self._warnings = list(map(str, notices))
        if self._warnings:
            self._show_progress(self._line("submitting", []))

    def sending(self, doing: str) -> None:
        """Show the upload that precedes the run."""
        self._status.show(self._line("submitting", [doing]), passing=True)

    def refused(self) -> None:
        """Show that the run wasn't started."""
        self._warnings = []
        self._status.settle(self._line("refused", []))

    def follow(self, run: Run, monitor: RunMonitor) -> bool:
        """Show the log and the meter until the monitor is done; return False if the user detached the cell first."""
        self.begin(run)
        with waiting_on(run.execution_id) as detached:
            while not monitor.done.is_set() and not detached.is_set():
                monitor.wake.wait(LOG_PACE if self._log.holds else next_second())
                monitor.wake.clear()
                if (items := self._take(monitor)) or self._log.holds:
                    self._show(items)
                    monitor.done.wait(self._log_pace)
                self._rich.tick()
                self.meter(monitor)
                self._write_notices()
        self.catch_up(monitor)
        return not detached.is_set()

    @property
    def _log_pace(self) -> float:
        """Seconds until the next write of the log; where each write may become an output, longer in a long run."""
        seconds = time.monotonic() - self._start_time
        return min(_LONGEST_PACE, max(LOG_PACE, seconds / 10)) if self._status.appends else LOG_PACE

    @staticmethod
    def _take(monitor: RunMonitor) -> list[str | Frame]:
        """Return new output; an unfinished line gets a moment to be completed, because a print is several writes."""
        items = monitor.items()
        if items and isinstance(items[-1], str) and not items[-1].endswith("\n"):
            monitor.done.wait(_LINE_PAUSE)
            more = monitor.items()
            if more and isinstance(more[0], str):
                items[-1] += more.pop(0)  # type: ignore[operator] # text, like the item before
            items += more
        return items

    def _show(self, items: list[str | Frame]) -> None:
        """Show text and frames in order."""
        for item in _newest_only(items) or [""]:
            if isinstance(item, str):
                self.observe(item)
                if item:
                    self._rich.before_text()
                self._log.show(item)
                if item and not item.isspace():
                    self._rich.saw_text()
            else:
                self.observe(words_of(item))
                self._observers.saw(item)
                if item.kind == STDERR and survived(item) and not self._quiet:
                    self._rich.show(item)
                elif item.kind == STDERR:
                    self._rich.before_text()
                    self._log.show_error(words_of(item))
                    self._rich.saw_text()
                elif item.kind == "display" and self._has_failed:
                    self._last.append(item)
                elif not self._quiet:
                    self._has_failed |= item.kind == ERROR
                    self._rich.show(item)

    def observe(self, text: str) -> None:
        """Store output of the run for the observers."""
        self._unheard = (self._unheard + text)[-_OBSERVED_LENGTH:]

    def begin(self, run: Run) -> None:
        """Make ready for the log of a run."""
        write, note, hide = (_drop, _drop, _drop) if self._quiet else (write_text, self._show_note, self._show_hidden)
        in_notebook = has_kernel(self.shell)
        limit, errors = setting("log_lines"), _drop if self._quiet else _write_error
        self._log = LogOutput(write, note, hide, limit=limit, ends=not in_notebook, write_error=errors)
        self._rich = RichOutput(self.shell, self._log.cut, (self._status, self._note))
        self._run = run
        if not self._status.is_visible:
            self._show_progress(self._line("attaching", []))
        self._announce(run)
        self._observers.started(run)

    def _announce(self, run: Run, *facts: str) -> None:
        """Show once, where outputs never change, the id of the run and the commands that follow and stop it."""
        if not self._status.appends or self._status.is_visible:
            return
        package = run.bundle or self._package
        at_most = package.at_most if package else ""
        line = StatusLine(
            "submitted" if package else "attached", [*facts, self._priced, at_most, f"run {run.execution_id}"]
        )
        commands = f"Follow: %lk_attach {run.short_id}. Stop: %lk_abort {run.short_id}"
        line.notice = "\n".join([*self._warnings, *self._run_notes, commands])
        self._status.show(line, now=True)

    def _write_notices(self) -> None:
        """Write new notices into the log, where the line above the log can't show them."""
        notices = [str(notice) for notice in self._observers.notices]
        new = [text for text in notices if text not in self._written_notices]
        if new and self._status.appends:
            self._log.cut()
            write_text("".join(f"{plain(redact(text))}\n" for text in new))
        self._written_notices = notices

    def _show_progress(self, line: StatusLine) -> None:
        self._status.show(line, now=True, passing=True)

    def _show_note(self, text: str) -> None:
        self._note.show(Note(text), passing=True)

    def _show_hidden(self, count: int) -> None:
        note = Hidden(count, self._run.log_path, self._run.execution_id) if count and self._run else Note("")
        if not self._note.appends:
            self._note.show(note, now=True)
        elif str(note):
            write_text(f"{note}\n")

    def meter(self, monitor: RunMonitor) -> None:
        """Show the state, and the time and cost so far."""
        if is_final(monitor.state):
            return
        figures: list[str] = []
        facts: list[str] = []
        bill = monitor.stopwatch.bill(self._price)
        seconds = bill.seconds
        if seconds is not None:
            limit = self._observers.time_limit
            figures = [whole_label(seconds) + (f" of {whole_label(limit)}" if limit else "")]
            figures += [bill.label] if seconds >= 1 else []
        elif (waited := monitor.waiting) >= LONG_WAIT:
            figures = [f"waiting for {duration_label(round(waited))}"]
            if self._run and self._run.bundle and monitor.state not in {"pending", "queued"}:
                facts = [self._run.bundle.installs]
        state = "reconnecting" if monitor.lost else "stopping" if self.is_stopping else monitor.state
        facts += self._observer_facts(seconds)
        if state != self._state or self._status.is_due:
            self._show_progress(self._line(state, facts, figures, bill))
        self._state = state

    def _observer_facts(self, seconds: float | None) -> list[str]:
        moment = time.monotonic()
        if self._run and moment - self._facts_time >= PACE:
            text, self._unheard = self._unheard, ""
            self._facts = self._observers.tick(self._run, seconds, text)
            self._facts_time = moment
        return self._facts

    def _line(
        self, state: str, observed: Sequence[str], figures: Sequence[str] = (), bill: Bill = _NO_BILL
    ) -> StatusLine:
        """Return the status line of an active run: state, time and cost so far."""
        run, package = self._run, self._run.bundle if self._run else self._package
        facts = [self._priced, *figures, *observed, *([f"run {run.short_id}"] if run else [])]
        unconfirmed = [self.aborting.words] if self.aborting and not self.aborting.ended.is_set() else []
        notices = [*self._warnings, *self._run_notes, *map(str, self._observers.notices), *unconfirmed]
        line = StatusLine(state, facts, "\n".join(notices))
        line.run = {
            **({"execution_id": run.execution_id} if run else {}),
            "state": state,
            **({"time_limit_seconds": limit} if (limit := self._observers.time_limit) else {}),
            **facts_so_far(bill, self._machine, package),
            "told": [word for word in observed if word],
        }
        return line

    @property
    def _run_notes(self) -> list[str]:
        return [self._run.note] if self._run and self._run.note else []

    def catch_up(self, monitor: RunMonitor) -> None:
        """Write the remaining items of the monitor."""
        if self._run is None:  # an interrupt arrived before any output
            self.begin(monitor.run)
        self._show(monitor.items())
        self._damaged = monitor.damaged

    def stopping(self) -> None:
        """Show that the run is being stopped, and how to end the waiting."""
        self.is_stopping = True
        self._show_progress(self._line("stopping", ["interrupt again to stop waiting"]))

    def end(self, record: ExecutionRecord, traceback: str, *, raises: bool = False) -> None:
        """Write the rest of the log, and make the status line the receipt; a terminal shows that last.

        ``raises`` is whether an error of the cell follows.
        """
        self._log.end(traceback)
        for frame in self._last:  # as in the notebook: below the error
            after_cell(self.shell, partial(self._rich.show, frame))
        notes = self._rich.end(self._damaged)
        line, notices = self._closing(record)
        if self._status.appends:
            self._append_receipt(record, line, [*notes, *notices], traceback, raises=raises)
            return
        for note in notes:
            display(Note(note))
        hints = [notice for notice in notices if notice.kind == HINT]
        self._settle(line, [notice for notice in notices if notice not in hints])
        if hints:
            show_last(self.shell, Redacted(Hints(hints)))
        if (stderr := stderr_beside_frames(record)) and not traceback and not self._quiet:
            display(Stderr(stderr))

    def _append_receipt(
        self, record: ExecutionRecord, line: StatusLine, notices: Sequence[object], traceback: str, *, raises: bool
    ) -> None:
        """Show the receipt with all notices as the last output, below the error of the cell if there is one."""
        if (stderr := stderr_beside_frames(record)) and not traceback and not self._quiet:
            display(Stderr(stderr))
        hints = [notice for notice in notices if isinstance(notice, Notice) and notice.kind == HINT]
        line.metadata = {**line.metadata, **Hints(hints)._repr_mimebundle_()[1]}
        settle = partial(self._settle, line, notices)
        after_cell(self.shell, settle) if raises else settle()

    def _closing(self, record: ExecutionRecord, *, is_visible: bool = True) -> tuple[StatusLine, list[Notice]]:
        """Return the receipt, and the final notices of the observers; ``is_visible`` is whether the user sees both."""
        line = receipt(record, self._machine, self._run.bundle if self._run else None)
        if not self._run:
            return line, []
        if is_visible:
            self._run.mark_viewed()
        self._observers.tick(self._run, None, self._unheard)
        withheld = (
            [Notice(f"{_WITHHELD} %lk_attach {self._run.short_id} --rich")] if self._run.messages.withheld else []
        )
        return line, [*self._observers.ended(self._run, record), *withheld]

    def detach(self, run: Run) -> None:
        """Show that the run continues in the background, in outputs that are all made now.

        An output made later, by a thread, would belong to the cell that runs then.
        """
        self._run = run
        self._announce(run, "in the background")
        self._bars, self._gallery, self._pictures = Bars(self.shell, 0), RecentOutputs(), LiveOutput(self.shell)
        self._observers.started(run)
        state = "stopping" if self.is_stopping else "started"
        self._show_progress(self._line(state, ["in the background"]))
        if not self._quiet:
            self._note.show(Text([]), now=True, passing=True)
            self._bars.begin()
            self._pictures.show(self._gallery, now=True, passing=True)

    def take_detached(self, monitor: RunMonitor) -> str:
        """Take the new events, keep rich outputs for separate outputs, and return the text."""
        items = monitor.items()
        self.observe(text_of(items))
        for item in items:
            if isinstance(item, Frame):
                self._observers.saw(item)
            if not isinstance(item, Frame) or self._quiet:
                continue
            if item.kind == BAR:
                self._bars.show(item.payload)
            elif item.kind in SHOWN:
                self._gallery.take(item)
        return text_of(item for item in items if isinstance(item, str) or item.kind != BAR)

    def show_detached(self, monitor: RunMonitor, newest: list[str]) -> None:
        """Show the meter and the newest lines, each in a separate output."""
        self.meter(monitor)
        if self._status.appends:  # the cell has ended: a new output would be in another one
            return
        if newest and not self._quiet:
            self._note.show(Text(newest))
        if not self._quiet:
            self._bars.tick()
            self._pictures.show(self._gallery)

    def end_detached(self, run: Run, monitor: RunMonitor, newest: list[str]) -> None:
        """Show how the run ended in place of the meter."""
        if self._status.appends:
            if not monitor.error:
                self._closing(run.wait_aside(), is_visible=False)
            return
        if monitor.error:
            line = self._line("lost", [str(monitor.error)])
            if self.is_stopping:
                line.notice = f"The server may not have received the abort. Repeat it: %lk_abort {run.short_id}"
            line.run["state"] = "unknown"  # the run may be active
            self._status.show(line, now=True)
            return
        if newest and not self._quiet:
            self._note.show(Text([*newest, f"Complete log: {run.log_path}"]), now=True)
        if not self._quiet:
            self._bars.end()
            self._pictures.show(self._gallery, now=True)
        self._settle(*self._closing(run.wait_aside()))

    def _settle(self, line: StatusLine, notices: Sequence[object]) -> None:
        line.notice = "\n".join([*self._warnings, *self._run_notes, *map(str, notices)])
        self._status.show(line, now=True)


def _newest_only(items: Iterable[str | Frame]) -> list[str | Frame]:
    """Remove updates of an output that a later item replaces."""
    newest: list[str | Frame] = []
    names: set[str] = set()
    for item in reversed(list(items)):
        if isinstance(item, Frame) and item.kind == "update":
            name = str(item.payload.get("id"))
            if name in names:
                continue
            names.add(name)
        elif isinstance(item, Frame) and item.kind in {"display", "clear"}:
            names.clear()
        newest.append(item)
    return newest[::-1]


def receipt(
    record: ExecutionRecord, machine: MachineType | None, package: Bundle | None = None, bill: Bill | None = None
) -> StatusLine:
    """Return the receipt of a run: state, duration, cost, id; the metadata has the same facts for programs.

    The duration is the time that the code ran, preceded by the time in the queue if that was at least LONG_WAIT.
    """
    named, price = priced(machine), price_of(machine)
    bill, seconds = bill or calculate_bill(record, price), measure_duration(record)
    facts = receipt_facts(record, machine, package, bill)
    waited = facts.get("waited_seconds", 0.0)
    queue = f"waited {duration_label(waited)}, ran " if waited >= LONG_WAIT else ""
    took = "" if seconds is None else queue + duration_label(seconds)
    line = StatusLine(record.status, [named, took, bill.label, f"run {record.execution_id}"])
    line.run = facts
    if is_final(record.status):
        line.metadata = {METADATA_KEY: facts}
    return line


def priced(machine: MachineType | None) -> str:
    """Return the name of a machine with its price, if known, for the status line."""
    if machine is None:
        return ""
    price = "" if machine.price_per_hour is None else f" at {price_label(machine)}"
    return machine.hardware_profile + price


def _write_error(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _drop(_: object) -> None:
    """Leave the text to the log file."""
