"""Show runs in the background: each run has separate outputs, and a single thread updates all of them in place."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from lk_jupyter.magics._output.live import StatusLine
from lk_jupyter.magics._output.notification import DesktopNotification, notices
from lk_jupyter.magics._output.run import RunDisplay, receipt
from lk_jupyter.runs.clock import next_second
from lk_jupyter.runs.interrupts import SafeEvent
from lk_jupyter.runs.monitor import RunMonitor
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


class Detached:
    """A run in the background, with its view and its monitor."""

    def __init__(
        self, run: Run, view: RunDisplay, monitor: RunMonitor, notify: Callable[[DesktopNotification], None]
    ) -> None:
        self.done = SafeEvent()
        self._run = run
        self._view = view
        self._monitor = monitor
        self._notify = notify
        self._text = TerminalText()
        self._newest: deque[str] = deque(maxlen=LINES)

    def runs(self) -> list[Run]:
        """Return the run."""
        return [self._run]

    @property
    def is_read(self) -> bool:
        """Whether nothing more comes."""
        return self._monitor.done.is_set()

    def update(self) -> None:
        """Show new output."""
        self._monitor.wake.clear()
        self._view.show_detached(self._monitor, self._take())

    def end(self) -> None:
        """Show the final state; may wait for the server."""
        try:
            self._take()
            self._newest.extend(self._text.end())
            self._view.end_detached(self._run, self._monitor, list(self._newest))
            ended = receipt(self._run.record, self._run.machine) if self._run.is_finished else StatusLine("lost", [""])
            facts = filter(None, [ended.state, *ended.facts[:-1]])  # the last is the id
            self._notify(DesktopNotification(f"Run {self._run.short_id}: {' · '.join(facts)}", ended=time.time()))
        finally:
            self.done.set()

    def _take(self) -> list[str]:
        self._text.feed(self._view.take_detached(self._monitor))
        lines, live = self._text.take()
        self._newest.extend(lines)
        return [*self._newest, live] if live else list(self._newest)


class Background:
    """All runs in the background of this kernel."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._views: list[Detached] = []
        self._lock = threading.Lock()
        self._works = False

    def add(self, task: Task) -> None:
        """Take in something that can be waited for."""
        with self._lock:
            self.tasks.append(task)

    def show(self, detached: Detached) -> None:
        """Keep the outputs of a run current from now on."""
        self.add(detached)
        with self._lock:
            self._views.append(detached)
            if not self._works:
                threading.Thread(target=self._work, name="lk-show", daemon=True).start()
                self._works = True

    def forget(self, task: Task) -> None:
        """Leave out something that was waited for."""
        with self._lock, suppress(ValueError):
            self.tasks.remove(task)

    def _work(self) -> None:
        while turn := self._next_turn():
            for detached in turn:
                with suppress(Exception):  # an output that can't be drawn must not stop the rest
                    detached.update()
            time.sleep(next_second())

    def _next_turn(self) -> list[Detached]:
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


def follow_detached(run: Run, view: RunDisplay, monitor: RunMonitor | None = None) -> None:
    """Show the run in this cell's output, without waiting; ``monitor`` is the run's reader, if already started."""
    monitor = monitor or RunMonitor(run).start()
    view.detach(run)
    is_silent = view.is_stopping or not view.in_place  # the user who aborted it needs no notice of its end
    notify = _nothing if is_silent else notices(view.shell)
    BACKGROUND.show(Detached(run, view, monitor, notify))


def _nothing(_: DesktopNotification) -> None:
    """Send no notice."""
