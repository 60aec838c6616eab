"""GPU, memory, power and the rest as plots that live while the run does."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from html import escape
from typing import Any, ClassVar

from traitlets import Int, List, Unicode

from lk_jupyter import session
from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.metrics.metrics import Metrics, Overlay, read
from lk_jupyter.runs.metrics.series import EMPTY, SERIES, with_gaps
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact
from lk_jupyter.views.metrics import metrics as picture_of
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.png import draw_plots
from lk_jupyter.widgets._view import View, user_action

#: Milliseconds between two updates of an active run.
LIVE = 5_000

#: Metrics arrive late: time after the end of a run in which updates continue.
_SETTLED = timedelta(minutes=1)

_NONE = "No samples: the run ended before the first one, which arrives 15 s after the start."
_NO_SAMPLES = "No samples in this window."
_AT_ONCE = 8


class RunMetrics(View):
    """All series of a run as plots: zoom, pan, values under the pointer; live while the run is active.

    Args:
        runs: Runs or their ids; several runs are overlaid, aligned at their starts.
        step: Seconds between points, or text such as ``5s``. Default: the resolution of the window on the screen.

    Example:
        >>> from lk_jupyter.widgets import RunMetrics
        >>> run = session.run("print(1)", gpu="A100")
        >>> _ = run.wait()
        >>> metrics = RunMetrics(run)
        >>> metrics.load()
        >>> metrics.look(0, 10)
        >>> metrics.df.index.name
        'time'
        >>> type(metrics.plot("cpu_percent")).__name__
        'Figure'
    """

    component = "run_metrics"
    pace: ClassVar[int] = LIVE

    every = Int(LIVE).tag(sync=True)
    frames: List[dict[str, Any]] = List(help="the metrics of each run, as bytes").tag(sync=True)
    window: List[float] = List(
        help="first and last second of the plots, counted from the start of the run; empty for the entire run"
    ).tag(sync=True)
    empty = Unicode(EMPTY, help="reason why there are no samples; empty with samples").tag(sync=True)

    def __init__(self, *runs: Run | str, step: str | float | None = None) -> None:
        if not runs:
            raise UsageError("Name a run, or several: RunMetrics(run).")
        self._runs = [session.current().get(run) if isinstance(run, str) else run for run in runs]
        self._step = step
        self._metrics: list[Metrics] = []
        self._ended = False
        super().__init__(every=self.pace)

    def load(self) -> None:
        """Read the metrics of the window."""
        window = list(self.window)
        with ThreadPoolExecutor(min(_AT_ONCE, len(self._runs)), thread_name_prefix="lk-metrics") as readers:
            loaded = list(readers.map(lambda run: self._read_window(run, window), self._runs))
        if window != self.window:
            return
        records = [run.record for run in self._runs]
        self._metrics, self._ended = loaded, all(is_final(record.status) for record in records)
        with self.hold_sync():
            self.frames = [metrics_frame(metrics) for metrics in loaded]
            self.empty = "" if any(loaded) else _empty_reason(records, window)
            self.every = 0 if all(map(_is_settled, self._runs, records)) else self.pace

    def _read_window(self, run: Run, window: list[float]) -> Metrics:
        if not window:
            return read(run, step=self._step)
        record = run.record
        began = record.start_time or record.job_start or record.known_since or run.session.client.utc_now
        first, last = (began + timedelta(seconds=second) for second in window)
        return read(run, start=first, end=last, step=self._step)

    @user_action
    def look(self, first: float | None = None, last: float | None = None) -> None:
        """Show a window of time.

        Args:
            first: First second since the start. Default: the start.
            last: Last second since the start. Default: the end.
        """
        self.window = [] if first is None or last is None else [first, last]
        self.refresh()

    @property
    def df(self) -> Any:
        """The values as a DataFrame: ``Metrics.df`` for a single run, ``Overlay.df`` for several.

        Index ``time`` (datetime64, UTC) or ``elapsed`` (timedelta64). Columns: the series (float64), and ``run`` (str)
        for several.
        """
        loaded = self._current_metrics()
        return loaded[0].df if len(loaded) == 1 else Overlay(loaded).df

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series.

        Args:
            columns: Names of series. Default: all that have samples.
        """
        return Overlay(self._current_metrics()).plot(*columns)

    def _current_metrics(self) -> list[Metrics]:
        if not self._metrics:
            self.load()
        return self._metrics

    def picture(self) -> StaticView:
        """Show each series as figures with a small curve; once all have ended, as a plot too."""
        pictures = [picture_of(metrics) for metrics in self._metrics] if any(self._metrics) else []
        text = "\n\n".join(each.text for each in pictures) or self.empty
        html = "".join(each.html for each in pictures) or f"<p>{escape(self.empty)}</p>"
        return StaticView(text, html, self._plot_function("\n".join(f"Run {each.label}" for each in self._metrics)))

    def _plot_function(self, head: str) -> Callable[[], bytes] | None:
        """Return a function that plots the metrics of ended runs; None while a run is active, to save redraws."""
        return partial(draw_plots, self._metrics, head) if self._ended and any(self._metrics) else None


def _is_settled(run: Run, record: ExecutionRecord) -> bool:
    """Whether no more samples come."""
    ended = record.end_time or record.job_end or record.finish_time
    return is_final(record.status) and (ended is None or run.session.client.utc_now - ended > _SETTLED)


def _empty_reason(records: list[ExecutionRecord], window: list[float]) -> str:
    """Return why the plot is empty."""
    if window:
        return _NO_SAMPLES
    return _NONE if all(is_final(record.status) for record in records) else EMPTY


def metrics_frame(metrics: Metrics) -> dict[str, Any]:
    """Return the metrics of a run in the form of the component ``MetricsPlot``.

    ``points`` contains columns of doubles, one after another: seconds since the start of the run, then each of
    ``series``; NaN is a gap, and so is a row in which all values are missing.
    """
    columns = {series: dict(metrics.samples.get(series.column, [])) for series in SERIES}
    measured = [series for series, column in columns.items() if column]
    moments = sorted(set().union(*columns.values()))
    times = [moment for moment, _ in with_gaps([(moment, 0.0) for moment in moments], metrics.step)]
    begin = metrics.start.timestamp()
    points = array("d", (moment - begin for moment in times))
    for series in measured:
        column = columns[series]
        points.extend(column.get(moment, math.nan) for moment in times)
    return {
        "run": redact(metrics.label),
        "host": redact(metrics.hostname),
        "step": metrics.step,
        "series": [{"label": each.label, "unit": each.unit, "panel": each.panel} for each in measured],
        "points": points.tobytes(),
    }
