"""Show runs in the background: each has its outputs, and one thread updates all of them in place."""

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

#: Lines of the log that the output shows while the run goes on, and seconds between two looks at what is waited for.
LINES = 40
PACE = 1.0

#: Runs that are updated between two pauses, in turns: a front end drops what comes faster than it can show.
_AT_ONCE = 50


class Task(Protocol):
    """Something in the background that can be waited for: ``done`` is set once its end is shown."""

    done: SafeEvent

    def runs(self) -> Sequence[Run]:
        """Return its runs, as far as they were started."""


class Detached:
    """One run in the background."""

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
        """Show what has come."""
        self._monitor.wake.clear()
        self._view.show_detached(self._monitor, self._take())

    def end(self) -> None:
        """Show how it ended; this may have to wait for the server."""
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
                with suppress(Exception):  # one output that cannot be drawn must not stop the others
                    detached.update()
            time.sleep(next_second())

    def _next_turn(self) -> list[Detached]:
        """Return the runs whose turn it is, and close ended runs in separate threads."""
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
    """Show the run in this cell's output, without waiting; ``monitor`` is its reader if there is one."""
    monitor = monitor or RunMonitor(run).start()
    view.detach(run)
    notify = _nothing if view.is_stopping else notices(view.shell)  # who aborted it needs no word of its end
    BACKGROUND.show(Detached(run, view, monitor, notify))


def _nothing(_: DesktopNotification) -> None:
    """Send no notice."""
