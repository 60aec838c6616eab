"""GPU, memory, power and the rest as plots that live while the run does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from functools import partial
from html import escape
from typing import Any, ClassVar

from traitlets import Int, List, Unicode

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.errors import UsageError
from lk_jupyter.runs import session
from lk_jupyter.runs.metrics import EMPTY, Metrics, Overlay, read
from lk_jupyter.runs.run import Run
from lk_jupyter.widgets._frames import frame_of
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._png import plots
from lk_jupyter.widgets._view import View, action
from lk_jupyter.widgets.pictures.metrics import metrics as picture_of

#: Milliseconds between two looks at a run that goes on.
LIVE = 5_000

#: Metrics come late: how long after its end a run is still looked at.
_SETTLED = timedelta(minutes=1)

_NONE = "No samples: the run ended before the first, which comes 15 s after the start."
_NONE_HERE = "No samples in this window."
_AT_ONCE = 8


class RunMetrics(View):
    """All series of a run as plots: zoom, pan, values under the pointer, live while the run goes on.

    Takes a run or its id; several are laid over each other at their starts. ``step`` (seconds, or such as ``5s``)
    keeps the distance of points; without it, the server gives what the window on the screen can show.
    ``.df`` is a pandas DataFrame of what is shown, ``.plot()`` a matplotlib Figure of it.
    """

    component = "run_metrics"
    pace: ClassVar[int] = LIVE

    every = Int(LIVE).tag(sync=True)
    frames: List[dict[str, Any]] = List(help="the metrics of each run, as bytes").tag(sync=True)
    window: List[float] = List(
        help="first and last second that is shown, since the start; empty for the whole run"
    ).tag(sync=True)
    empty = Unicode(EMPTY, help="why there is nothing to see, if so").tag(sync=True)

    def __init__(self, *runs: Run | str, step: str | float | None = None) -> None:
        if not runs:
            raise UsageError("Name a run, or several: RunMetrics(run).")
        self._runs = [session.current().get(run) if isinstance(run, str) else run for run in runs]
        self._step = step
        self._found: list[Metrics] = []
        self._ended = False
        super().__init__(every=self.pace)

    def load(self) -> None:
        """Read the metrics of the window; what was meant for an older window is dropped."""
        window = list(self.window)
        with ThreadPoolExecutor(min(_AT_ONCE, len(self._runs)), thread_name_prefix="lk-metrics") as readers:
            found = list(readers.map(lambda run: self._read(run, window), self._runs))
        if window != self.window:
            return
        records = [run.record for run in self._runs]
        self._found, self._ended = found, all(is_final(record.status) for record in records)
        with self.hold_sync():
            self.frames = [frame_of(metrics) for metrics in found]
            self.empty = "" if any(found) else _why(records, window)
            self.every = 0 if all(map(_is_settled, records)) else self.pace

    def _read(self, run: Run, window: list[float]) -> Metrics:
        if not window:
            return read(run, step=self._step)
        record = run.record
        began = record.start_time or record.job_start or record.created_at
        first, last = (began + timedelta(seconds=second) for second in window)
        return read(run, start=first, end=last, step=self._step)

    @action
    def look(self, first: float | None = None, last: float | None = None) -> None:
        """Show this window, in seconds since the start; the whole run where none is given."""
        self.window = [] if first is None or last is None else [first, last]
        self.refresh()

    @property
    def df(self) -> Any:
        """What is shown, as a tidy DataFrame: indexed by time, or by ``elapsed`` with a column ``run`` for several."""
        found = self._now()
        return found[0].df if len(found) == 1 else Overlay(found).df

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series, or of all that have samples."""
        return Overlay(self._now()).plot(*columns)

    def _now(self) -> list[Metrics]:
        if not self._found:
            self.load()
        return self._found

    def picture(self) -> Picture:
        """Show each series as figures with a small curve; once all have ended, as a plot too."""
        pictures = [picture_of(metrics) for metrics in self._found]
        text = "\n\n".join(each.text for each in pictures) or self.empty
        html = "".join(each.html for each in pictures) or f"<p>{escape(self.empty)}</p>"
        return Picture(text, html, self._plotted("\n".join(f"Run {each.label}" for each in self._found)))

    def _plotted(self, head: str) -> Callable[[], bytes] | None:
        """Return what plots the metrics of runs that have ended; while one goes on that is too much to do for ever."""
        return partial(plots, self._found, head) if self._ended and any(self._found) else None


def _is_settled(record: ExecutionRecord) -> bool:
    """Whether no more samples come."""
    ended = record.end_time or record.job_end or record.finish_time
    return is_final(record.status) and (ended is None or datetime.now(timezone.utc) - ended > _SETTLED)


def _why(records: list[ExecutionRecord], window: list[float]) -> str:
    """Return why there is nothing to see."""
    if window:
        return _NONE_HERE
    return _NONE if all(is_final(record.status) for record in records) else EMPTY
