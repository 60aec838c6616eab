"""What the user sees under a cell: a status line, the log, a receipt."""

from __future__ import annotations

import sys
import time

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config import setting
from lk_jupyter.magics._bars import Bars
from lk_jupyter.magics._gallery import Gallery
from lk_jupyter.magics._line import PACE, Line, Note, Redacted, Stderr, Text, Updated
from lk_jupyter.magics._log_output import LogOutput
from lk_jupyter.magics._pump import Pump
from lk_jupyter.magics._rich_output import RichOutput, newest_only
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.companion import Company
from lk_jupyter.runs.cost import cost_of, credits_label, duration_label
from lk_jupyter.runs.frames import BAR, SHOWN, Frame, text_of, words_of
from lk_jupyter.runs.held import holding
from lk_jupyter.runs.machines import price_label
from lk_jupyter.runs.meter import now, waited_of
from lk_jupyter.runs.outcome import duration_of, printed
from lk_jupyter.runs.receipt import METADATA_KEY, receipt_facts
from lk_jupyter.runs.run import Run

#: Seconds between two writes of the log, and what an unfinished line gets to be finished.
LOG_PACE = 0.12

#: Seconds that a run may wait for its machine before that is worth telling.
LONG_WAIT = 3.0

_LINE_PAUSE = 0.03

#: Characters of what a run wrote that are kept for its companions.
_HEARD = 1 << 17


class RunView:
    """Shows one run: ``submitting``, ``follow``, ``end``, in this order.

    ``company`` is asked about once a second while the run goes on, and again at its end.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        machine: MachineType | None,
        *,
        quiet: bool = False,
        company: Company | None = None,
    ) -> None:
        self.shell = shell
        self._machine = machine
        self._quiet = quiet
        self._company = company or Company()
        self._told: list[str] = []  # the companions' last facts
        self._told_at = -PACE
        self._unheard = ""  # text that they have not seen yet
        self._status = Updated(shell)
        self._note = Updated(shell)
        self._bars = Bars(shell, 0)  # of a run in the background, as the gallery is
        self._gallery = Gallery()
        self._pictures = Updated(shell)
        self._run: Run | None = None
        self._state = ""
        self._log: LogOutput
        self._rich: RichOutput
        self._damaged = 0  # frames that came broken

    def submitting(self, package: Bundle) -> None:
        """Say that the run is being sent, and the most that it may cost."""
        self._status.show(Line("submitting", [priced(self._machine), package.at_most, *package.parcel.facts]), now=True)

    def sending(self, doing: str) -> None:
        """Say what is sent before the run."""
        self._status.show(Line("submitting", [priced(self._machine), doing]))

    def refused(self) -> None:
        """Say that the run was not started."""
        self._status.settle(Line("refused", [priced(self._machine)]))

    def follow(self, run: Run, pump: Pump) -> bool:
        """Show the log and the meter until the pump is done; False when somebody lets the cell go before."""
        self.begin(run)
        with holding(run.execution_id) as left:
            while not pump.done.is_set() and not left.is_set():
                self._follow(pump)
        self.catch_up(pump)
        return not left.is_set()

    def _follow(self, pump: Pump) -> None:
        """Show what is new, or wait for it a moment."""
        pump.wake.wait(LOG_PACE if self._log.holds else PACE)
        pump.wake.clear()
        if (items := self._take(pump)) or self._log.holds:
            self._show(items)
            pump.done.wait(LOG_PACE)
        self._rich.tick()
        self.meter(pump)

    @staticmethod
    def _take(pump: Pump) -> list[str | Frame]:
        """Return what has come; a print is several writes, so an unfinished line is waited for a moment."""
        items = pump.items()
        if items and isinstance(items[-1], str) and not items[-1].endswith("\n"):
            pump.done.wait(_LINE_PAUSE)
            more = pump.items()
            if more and isinstance(more[0], str):
                items[-1] += more.pop(0)  # type: ignore[operator] # it is the text of before
            items += more
        return items

    def _show(self, items: list[str | Frame]) -> None:
        """Show text and frames in order."""
        for item in newest_only(items) or [""]:
            if isinstance(item, str):
                self.heard(item)
                self._log.show(item)
                if item and not item.isspace():
                    self._rich.saw_text()
            else:
                self.heard(words_of(item))
                self._company.saw(item)
                if not self._quiet:
                    self._rich.show(item)

    def heard(self, text: str) -> None:
        """Keep what the run wrote for the companions."""
        self._unheard = (self._unheard + text)[-_HEARD:]

    def begin(self, run: Run) -> None:
        """Make ready for the log of a run."""
        self._run = run
        if not self._status.is_shown:
            self._status.show(self._line("attaching", []), now=True)
        self._company.started(run)
        write, note = (_drop, _drop) if self._quiet else (_write, self._show_note)
        self._log = LogOutput(write, note, limit=setting("log_lines"), path=run.log_path)
        self._rich = RichOutput(self.shell, self._log.cut)

    def _show_note(self, text: str, *, last: bool = False) -> None:
        self._note.show(Note(text), now=last)

    def meter(self, pump: Pump) -> None:
        """Show the state, and the time and cost so far."""
        if is_final(pump.state):
            return
        facts: list[str] = []
        seconds = None if pump.running_since is None else now() - pump.running_since
        if seconds is not None:
            facts = [f"{seconds:.0f} s" if seconds < 60 else duration_label(seconds)]
            facts += [f"≈ {credits_label(cost_of(self._machine, seconds))}"] if seconds >= 1 else []
        elif (waited := pump.waiting) >= LONG_WAIT:
            facts = [f"waiting for {duration_label(round(waited))}"]
        state = "reconnecting" if pump.lost else pump.state
        facts += self._ask_company(seconds)
        self._status.show(self._line(state, facts), now=state != self._state)
        self._state = state

    def _ask_company(self, seconds: float | None) -> list[str]:
        moment = time.monotonic()
        if self._run and moment - self._told_at >= PACE:
            text, self._unheard = self._unheard, ""
            self._told = self._company.tick(self._run, seconds, text)
            self._told_at = moment
        return self._told

    def _line(self, state: str, facts: list[str]) -> Line:
        run = [f"run {self._run.short_id}"] if self._run else []
        note = [self._run.note] if self._run and self._run.note else []
        remarks = [] if is_final(state) else map(str, self._company.remarks())
        return Line(state, [priced(self._machine), *facts, *run], "\n".join([*note, *remarks]))

    def catch_up(self, pump: Pump) -> None:
        """Write what the pump still has."""
        self._show(pump.items())
        self._damaged = pump.damaged

    def stopping(self) -> None:
        """Say that the run is being stopped, and how to leave it instead."""
        self._status.show(self._line("stopping", ["interrupt again to leave it"]), now=True)

    def end(self, record: ExecutionRecord, traceback: str) -> None:
        """Write the rest of the log, make the status line a heading, and show the receipt."""
        self._log.end(traceback)
        for left in self._rich.end(self._damaged):
            display(Note(left))
        self._status.settle(self._line(record.status, []))
        display(Redacted(self._receipt(record)))
        if (stderr := printed(record, "stderr", keeps_hidden=False)) and not traceback and not self._quiet:
            display(Stderr(stderr))

    def _receipt(self, record: ExecutionRecord) -> Line:
        """Return the receipt, with what the companions have to say below it."""
        line = receipt(record, self._machine, self._run.bundle if self._run else None)
        if self._run:
            self._run.seen()
            self._company.tick(self._run, None, self._unheard)
            line.remark = "\n".join(map(str, self._company.ended(self._run, record)))
        return line

    def detach(self, run: Run) -> None:
        """Show that the run goes on in the background, in outputs that are all made now.

        An output made later, by a thread, would be that of the cell that runs then.
        """
        self._run = run
        self._company.started(run)
        self._status.show(self._line("started", ["in the background"]), now=True)
        if not self._quiet:
            self._note.show(Text([]), now=True)
            self._bars.begin()
            self._pictures.show(self._gallery, now=True)

    def take_detached(self, pump: Pump) -> str:
        """Take what has come, keep what is more than text for the outputs of its own, and return the text."""
        items = pump.items()
        self.heard(text_of(items))
        for item in items:
            if isinstance(item, Frame):
                self._company.saw(item)
            if not isinstance(item, Frame) or self._quiet:
                continue
            if item.kind == BAR:
                self._bars.show(item.payload)
            elif item.kind in SHOWN:
                self._gallery.take(item)
        return text_of(item for item in items if isinstance(item, str) or item.kind != BAR)

    def show_detached(self, pump: Pump, newest: list[str]) -> None:
        """Show the meter and the newest lines, each in one output of its own."""
        self.meter(pump)
        if newest and not self._quiet:
            self._note.show(Text(newest))
        if not self._quiet:
            self._bars.tick()
            self._pictures.show(self._gallery)

    def end_detached(self, run: Run, pump: Pump, newest: list[str]) -> None:
        """Show how the run ended in place of the meter."""
        if pump.error:
            self._status.show(Line("lost", [str(pump.error)]), now=True)
            return
        if newest and not self._quiet:
            self._note.show(Text([*newest, f"The whole log: {run.log_path}"]), now=True)
        if not self._quiet:
            self._bars.end()
            self._pictures.show(self._gallery, now=True)
        self._status.show(self._receipt(run.wait()), now=True)


def receipt(record: ExecutionRecord, machine: MachineType | None, package: Bundle | None = None) -> Line:
    """Return the line that closes a run: state, duration, cost, id; its metadata is all of that for programs."""
    seconds = duration_of(record)
    if record.billed is not None:
        cost = credits_label(record.billed)
    else:
        cost = f"≈ {credits_label(cost_of(machine, seconds))}" if seconds is not None else ""
    line = Line(record.status, [_took(record), cost, f"run {record.execution_id}"])
    if is_final(record.status):
        line.metadata = {METADATA_KEY: receipt_facts(record, machine, package)}
    return line


def _took(record: ExecutionRecord) -> str:
    """Return how long the code ran, and how long it waited for a machine where that was long."""
    seconds, waited = duration_of(record), waited_of(record) or 0.0
    if seconds is None:
        return ""
    queue = f"waited {duration_label(waited)}, ran " if waited >= LONG_WAIT else ""
    return queue + duration_label(seconds)


def priced(machine: MachineType | None) -> str:
    """Return a machine with its price, as the status line names it."""
    return f"{machine.hardware_profile} at {price_label(machine)}" if machine else ""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _drop(_text: str, *, last: bool = False) -> None:
    """Leave the text to the log file."""
