"""Show a run under its cell: a status line, the log, a receipt."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from functools import partial

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import setting
from lk_jupyter.magics._output.live import (
    Hidden,
    Hints,
    Note,
    StatusLine,
    Stderr,
    after_cell,
    has_kernel,
    write_error,
    write_text,
)
from lk_jupyter.magics._output.log import LogOutput
from lk_jupyter.magics._output.rich import RichOutput
from lk_jupyter.magics._output.run_status import RunStatus
from lk_jupyter.protocol.frames import ERROR, STDERR, Frame, format_frame, read_caught_error
from lk_jupyter.protocol.notice import HINT, WARNING, Notice
from lk_jupyter.runs.clock import next_second
from lk_jupyter.runs.interrupts import waiting_on
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.base import ObserverGroup
from lk_jupyter.runs.outcome import stderr_beside_frames
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import plain

#: Seconds between two writes of the log, and the time that an unfinished line has to be completed.
LOG_PACE = 0.12

#: The most seconds between two writes of the log where each may become an output, of about 60 bytes besides its text.
_LONGEST_PACE = 10.0

_FIGURES = re.compile(r"\d+")

_LINE_PAUSE = 0.03


class RunDisplay(RunStatus):
    """Show a run in its cell: ``submitting``, ``follow``, ``end``, in this order.

    In a front end without display updates, the outputs never change: the first shows the id with the commands that
    follow and stop the run, the log streams, and the receipt is the last. Nothing follows when the cell has ended.
    In a notebook with display updates, the first output is the live header, and the receipt is the last output too.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        machine: MachineType | None,
        *,
        quiet: bool = False,
        observers: ObserverGroup | None = None,
    ) -> None:
        super().__init__(shell, machine, quiet=quiet, observers=observers)
        self._written_topics: set[str] = set()
        self._start_time = time.monotonic()
        self._log: LogOutput
        self._rich: RichOutput
        self._damaged = 0  # frames that came broken
        self._has_failed = False
        self.has_hints = False  # known at the end
        self._last: list[Frame] = []  # figures that were open when the code failed

    def follow(self, run: Run, monitor: RunMonitor) -> bool:
        """Show the log and the meter until the monitor is done; return False if the user detached the cell first."""
        self.begin(run)
        with waiting_on(run.execution_id) as detached:
            while not monitor.done.is_set() and not detached.is_set():
                monitor.wake.wait(LOG_PACE if self._log.holds else next_second())
                monitor.wake.clear()
                if (items := self._read_output(monitor)) or self._log.holds:
                    self._show_items(items)
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
        return min(_LONGEST_PACE, max(LOG_PACE, seconds / 10)) if self.status.appends else LOG_PACE

    @staticmethod
    def _read_output(monitor: RunMonitor) -> list[str | Frame]:
        """Return new output; an unfinished line gets a moment to be completed, because a print is several writes."""
        items = monitor.items()
        if items and isinstance(items[-1], str) and not items[-1].endswith("\n"):
            monitor.done.wait(_LINE_PAUSE)
            more = monitor.items()
            if more and isinstance(more[0], str):
                items[-1] += more.pop(0)  # type: ignore[operator] # text, like the item before
            items += more
        return items

    def _show_items(self, items: list[str | Frame]) -> None:
        """Show text and frames in order."""
        for item in _drop_replaced_updates(items) or [""]:
            if isinstance(item, str):
                self.observe(item)
                if item:
                    self._rich.prepare_text()
                self._log.show(item)
                if item and not item.isspace():
                    self._rich.record_text()
            else:
                self.observe(format_frame(item))
                self.observers.saw(item)
                if item.kind == STDERR and read_caught_error(item) and not self.quiet:
                    self._rich.show(item)
                elif item.kind == STDERR:
                    self._rich.prepare_text()
                    self._log.show_error(format_frame(item))
                    self._rich.record_text()
                elif item.kind == "display" and self._has_failed:
                    self._last.append(item)
                elif not self.quiet:
                    self._has_failed |= item.kind == ERROR
                    self._rich.show(item)

    def begin(self, run: Run) -> None:
        """Make ready for the log of a run."""
        write, note, hide = (
            (_ignore_text, _ignore_text, _ignore_text)
            if self.quiet
            else (write_text, self._show_note, self._show_hidden)
        )
        in_notebook = has_kernel(self.shell)
        limit, errors = setting("log_lines"), _ignore_text if self.quiet else write_error
        self._log = LogOutput(write, note, hide, limit=limit, ends=not in_notebook, write_error=errors)
        self._rich = RichOutput(self.shell, self._log.cut, (self.status, self.note))
        self.follow_run(run)
        if not self.status.is_visible:
            self.show_progress(self.line("attaching", []))
        self.announce(run)
        self.observers.started(run)

    def _write_notices(self) -> None:
        """Write new notices into the log, where the line above the log can't show them."""
        notices = {notice_topic(notice): str(notice) for notice in self.observers.notices}
        new = [text for topic, text in notices.items() if topic not in self._written_topics]
        if new and self.status.appends:
            self._log.cut()
            write_text("".join(f"{plain(redact(text))}\n" for text in new))
        self._written_topics = set(notices)

    def _show_note(self, text: str) -> None:
        self.note.show(Note(text), passing=True)

    def _show_hidden(self, count: int) -> None:
        note = Hidden(count, self._run.log_path, self._run.execution_id) if count and self._run else Note("")
        if not self.note.appends:
            self.note.show(note, now=True)
        elif str(note):
            write_text(f"{note}\n")

    def catch_up(self, monitor: RunMonitor) -> None:
        """Write the remaining items of the monitor."""
        if self._run is None:  # an interrupt arrived before any output
            self.begin(monitor.run)
        self._show_items(monitor.items())
        self._damaged = monitor.damaged

    def end(self, record: ExecutionRecord, traceback: str, *, raises: bool = False) -> None:
        """Write the rest of the log, and make the status line the receipt; a terminal shows that last.

        ``raises`` is whether an error of the cell follows.
        """
        self._log.end(traceback)
        for frame in self._last:  # as in the notebook: below the error
            after_cell(self.shell, partial(self._rich.show, frame))
        notes = self._rich.end(self._damaged)
        line, notices = self.close_run(record)
        self.has_hints = any(notice.kind == HINT for notice in notices)
        if self.status.appends:
            self._append_receipt(record, line, [*notes, *notices], traceback, raises=raises)
            return
        for note in notes:
            display(Note(note))
        self._show_stderr(record, traceback)
        hints = [notice for notice in notices if notice.kind == HINT]
        lines = [notice for notice in notices if notice not in hints]
        self.settle(line, lines, Hints(hints) if hints else None, raises=raises)

    def _show_stderr(self, record: ExecutionRecord, traceback: str) -> None:
        if (stderr := stderr_beside_frames(record)) and not traceback and not self.quiet:
            display(Stderr(stderr))

    def _append_receipt(
        self, record: ExecutionRecord, line: StatusLine, notices: Sequence[object], traceback: str, *, raises: bool
    ) -> None:
        """Show the receipt with all notices as the last output, below the error of the cell if there is one."""
        self._show_stderr(record, traceback)
        hints = [notice for notice in notices if isinstance(notice, Notice) and notice.kind == HINT]
        line.metadata = {**line.metadata, **Hints(hints)._repr_mimebundle_()[1]}
        self.settle(line, notices, raises=raises)


def notice_topic(notice: Notice) -> str:
    """Return the text of a notice, a warning without figures: each tick of a countdown is the same warning."""
    return _FIGURES.sub("", str(notice)) if notice.kind == WARNING else str(notice)


def _drop_replaced_updates(items: Iterable[str | Frame]) -> list[str | Frame]:
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


def _ignore_text(_: object) -> None:
    """Leave the text to the log file."""
