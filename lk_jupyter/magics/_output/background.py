"""Show runs in the background: each run has separate outputs, and a single thread updates all of them in place."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from lk_jupyter.errors import LkError
from lk_jupyter.magics._output.gallery import RecentOutputs
from lk_jupyter.magics._output.live import LiveOutput, StatusLine, Text
from lk_jupyter.magics._output.notification import DesktopNotification, create_notification
from lk_jupyter.magics._output.rich import Bars
from lk_jupyter.magics._output.run_status import RunStatus, receipt
from lk_jupyter.protocol.frames import BACKGROUND_KEY, BAR, SHOWN, Frame, format_items
from lk_jupyter.runs.clock import next_second
from lk_jupyter.runs.interrupts import SafeEvent
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.observers.messages import run_title
from lk_jupyter.runs.run import Run
from lk_jupyter.text.terminal import TerminalText

#: Log lines that the output shows while the run is active, and seconds between two updates.
LINES = 40
PACE = 1.0

#: Runs that are updated between two pauses, in turns: a front end drops messages that arrive too fast.
_AT_ONCE = 50


class Task(Protocol):
    """Background work with an end: ``done`` is set after the final state was shown."""

    done: SafeEvent

    def runs(self) -> Sequence[Run]:
        """Return the runs that have started so far."""


class _Marked:
    """Content of a run in the background, with a mark for the page that continues the content after a reload."""

    def __init__(self, content: Text | RecentOutputs, mark: str) -> None:
        self._content = content
        self._mark = mark
        self.revision = getattr(content, "revision", "")

    def __str__(self) -> str:
        return str(self._content)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, str]]:
        return self._content._repr_mimebundle_(), {BACKGROUND_KEY: self._mark}


class BackgroundRun:
    """Show a run in the background: its status line, the newest lines, progress bars and rich outputs.

    ``start`` creates all outputs: an output that a thread creates later would belong to the cell that runs then.
    """

    def __init__(
        self, run: Run, status: RunStatus, monitor: RunMonitor, notify: Callable[[DesktopNotification], None]
    ) -> None:
        self.done = SafeEvent()
        self._run = run
        self._status = status
        self._monitor = monitor
        self._notify = notify
        self._text = TerminalText()
        self._newest: deque[str] = deque(maxlen=LINES)
        self._bars = Bars(status.shell, 0)
        self._gallery = RecentOutputs()
        self._pictures = LiveOutput(status.shell)

    def start(self) -> None:
        """Show that the run continues in the background."""
        status = self._status
        status.is_detached = True
        status.follow_run(self._run)
        status.announce(self._run, "in the background")
        status.observers.started(self._run)
        state = "stopping" if status.is_stopping else "started"
        status.show_progress(status.line(state, ["in the background"]))
        if not status.quiet:
            status.log_facts = {"log_tail": LINES}
            status.note.show(_Marked(Text([]), "log"), now=True, passing=True)
            self._bars.begin()
            self._pictures.show(_Marked(self._gallery, "outputs"), now=True, passing=True)
        status.status.reserve_receipt()

    def runs(self) -> list[Run]:
        """Return the run."""
        return [self._run]

    @property
    def is_read(self) -> bool:
        """Whether the entire output was read."""
        return self._monitor.done.is_set()

    def update(self) -> None:
        """Show the meter and new output."""
        self._monitor.wake.clear()
        newest = self._read_lines()
        self._status.meter(self._monitor)
        if self._status.status.appends:  # the cell has ended: a new output would be in another cell
            return
        if newest and not self._status.quiet:
            self._status.note.show(_Marked(Text(newest), "log"))
        if not self._status.quiet:
            self._bars.tick()
            self._pictures.show(_Marked(self._gallery, "outputs"))

    def end(self) -> None:
        """Show the final state; may wait for the server."""
        try:
            self._read_lines()
            self._newest.extend(self._text.end())
            self._show_end()
            ended = receipt(self._run.record, self._run) if self._run.is_finished else StatusLine("lost", [""])
            facts = filter(None, [ended.state, *ended.facts[:-1]])  # the last is the id
            self._notify(DesktopNotification(f"{run_title(self._run)}: {' · '.join(facts)}", ended=time.time()))
        finally:
            self.done.set()

    def _read_lines(self) -> list[str]:
        """Read the new output, show its rich parts, and return the newest lines."""
        self._text.feed(self._read_text())
        lines, live = self._text.take()
        self._newest.extend(lines)
        return [*self._newest, live] if live else list(self._newest)

    def _read_text(self) -> str:
        """Read the new output, keep its rich parts for separate outputs, and return the text."""
        status, items = self._status, self._monitor.items()
        status.observe(format_items(items))
        for item in items:
            if isinstance(item, Frame):
                status.observers.saw(item)
            if not isinstance(item, Frame) or status.quiet:
                continue
            if item.kind == BAR:
                self._bars.show(item.payload)
            elif item.kind in SHOWN:
                self._gallery.take(item)
        return format_items(item for item in items if isinstance(item, str) or item.kind != BAR)

    def _show_end(self) -> None:
        """Show how the run ended in place of the meter."""
        status, run = self._status, self._run
        if status.status.appends:
            if not self._monitor.error:
                with suppress(LkError):  # the cell has ended, and %lk_runs shows the run
                    status.close_run(run.wait_aside(), is_visible=False)
            return
        if self._monitor.error:
            self._show_lost(self._monitor.error)
            return
        if self._newest and not status.quiet:
            status.note.show(_Marked(Text([*self._newest, f"Complete log: {run.log_path}"]), "log"), now=True)
        if not status.quiet:
            self._bars.end()
            self._pictures.show(_Marked(self._gallery, "outputs"), now=True)
        try:
            record = run.wait_aside()
        except LkError as error:  # the output was complete, and the server gives no record
            self._show_lost(error)
        else:
            status.settle(*status.close_run(record))

    def _show_lost(self, error: Exception) -> None:
        """Show that the state of the run is unknown: the run may be active."""
        line = self._status.line("lost", [str(error)])
        if self._status.is_stopping:
            line.notice = f"The server may not have received the abort. Repeat it: %lk_abort {self._run.short_id}"
        line.run["state"] = "unknown"
        self._status.status.show(line, now=True)


class Background:
    """All runs in the background of this kernel."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._views: list[BackgroundRun] = []
        self._lock = threading.Lock()
        self._works = False

    def add(self, task: Task) -> None:
        """Take in something that can be waited for."""
        with self._lock:
            self.tasks.append(task)

    def show(self, detached: BackgroundRun) -> None:
        """Keep the outputs of a run current from now on."""
        self.add(detached)
        with self._lock:
            self._views.append(detached)
            if not self._works:
                threading.Thread(target=self._update_outputs, name="lk-show", daemon=True).start()
                self._works = True

    def forget(self, task: Task) -> None:
        """Leave out something that was waited for."""
        with self._lock, suppress(ValueError):
            self.tasks.remove(task)

    def _update_outputs(self) -> None:
        while turn := self._take_next_runs():
            for detached in turn:
                with suppress(Exception):  # an output that can't be drawn must not stop the rest
                    detached.update()
            time.sleep(next_second())

    def _take_next_runs(self) -> list[BackgroundRun]:
        """Return the next runs to update, and close ended runs in separate threads."""
        with self._lock:
            ended = [detached for detached in self._views if detached.is_read]
            self._views = [detached for detached in self._views if detached not in ended]
            self._works = bool(self._views)
            for detached in ended:
                threading.Thread(target=detached.end, name="lk-end", daemon=True).start()
            turn, rest = self._views[:_AT_ONCE], self._views[_AT_ONCE:]
            self._views = rest + turn
            return turn


BACKGROUND = Background()


def follow_detached(run: Run, status: RunStatus, monitor: RunMonitor | None = None) -> None:
    """Show the run in this cell's output, without waiting; ``monitor`` is the run's reader, if already started."""
    monitor = monitor or RunMonitor(run).start()
    is_silent = status.is_stopping or not status.in_place  # the user who aborted the run needs no notice of its end
    background_run = BackgroundRun(
        run, status, monitor, _ignore_notification if is_silent else create_notification(status.shell)
    )
    background_run.start()
    BACKGROUND.show(background_run)


def _ignore_notification(_: DesktopNotification) -> None:
    """Send no notice."""
