"""Metrics of runs: read at a step that fits the window, as a DataFrame, and as a plot."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import ExecutionMetrics, ExecutionRecord
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.metrics.plot import draw
from lk_jupyter.runs.metrics.series import SERIES, Point, Series, points, with_gaps
from lk_jupyter.text.pandas import import_pandas

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

#: Maximum number of points of a series without a chosen step.
_MOST_POINTS = 1000

#: Maximum number of points in an answer; a longer window is read in parts.
_IN_ONE_ANSWER = 10_000

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_STEP = re.compile(r"(\d+)(ms|[smhd])")


@dataclass(frozen=True)
class Metrics:
    """Store the series of a run, oldest first, ``step`` seconds apart; ``start`` is when its code started.

    ``samples`` is column → points (seconds since 1970, value in the unit of the column; NaN is a gap).
    ``label`` is the label of the run in a plot, ``hostname`` the measured host.

    Example:
        >>> from lk_jupyter.runs.metrics.metrics import read
        >>> run = session.run("print(1)", gpu="A100")
        >>> metrics = read(run)
        >>> list(metrics.df.columns)[:2], metrics.df.index.name
        (['gpu_utilization_percent', 'gpu_memory_percent'], 'time')
        >>> type(metrics.plot("cpu_percent")).__name__
        'Figure'
        >>> metrics.broken("cpu_percent")
        [...]
    """

    samples: dict[str, list[Point]]
    start: datetime
    step: float
    label: str = ""
    hostname: str = ""

    def __bool__(self) -> bool:
        return any(self.samples.values())

    @classmethod
    def from_response(
        cls, answer: ExecutionMetrics, *, label: str = "", step: float = 15.0, start: datetime | None = None
    ) -> Metrics:
        """Return the metrics of an answer of the API."""
        reported = answer.timeRange and answer.timeRange.start
        columns = {series.column: points(answer, series) for series in SERIES}
        first = min((samples[0][0] for samples in columns.values() if samples), default=None)
        began = start or reported or datetime.fromtimestamp(first or 0, timezone.utc)
        return cls(columns, began, step, label or (answer.executionId or "")[:8], answer.hostname or "")

    @cached_property
    def df(self) -> Any:
        """A pandas DataFrame with a row for each time and a column for each series, all float64.

        Index ``time`` (datetime64, UTC). Columns: ``gpu_utilization_percent``, ``gpu_memory_percent``,
        ``gpu_temperature_celsius``, ``gpu_power_watt``, ``gpu_power_limit_watt``, ``gpu_clock_sm_mhz``,
        ``gpu_clock_memory_mhz``, ``gpu_pcie_rx_mb_per_s``, ``gpu_pcie_tx_mb_per_s``, ``cpu_percent``,
        ``ram_used_gib``, ``ram_total_gib`` (float64). A null is NaN, and each gap has a row of NaN. Series without
        samples are NaN throughout.

        Raises:
            UsageError: pandas is missing.
        """
        library = import_pandas()
        columns = {series.column: self._build_column(library, series) for series in SERIES}
        frame = library.DataFrame(columns, columns=list(columns), dtype=float)
        frame.index = library.to_datetime(frame.index.astype(float), unit="s", utc=True).rename("time")
        frame.attrs = {"run": self.label, "hostname": self.hostname, "units": {s.column: s.unit for s in SERIES}}
        return frame

    def _build_column(self, library: Any, series: Series) -> Any:
        samples = self.broken(series.column)
        moments = library.Index([moment for moment, _ in samples], dtype=float)  # of an empty list too
        return library.Series([value for _, value in samples], index=moments, dtype=float)

    def broken(self, column: str) -> list[Point]:
        """Return the points of a series with a NaN in each gap, so that a line breaks there.

        Args:
            column: Name of the series, such as ``cpu_percent``.
        """
        return with_gaps(self.samples.get(column, []), self.step)

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series.

        Args:
            columns: Names of series. Default: all that have samples.

        Raises:
            UsageError: There is no such series, or matplotlib is missing.
        """
        return plot(self, columns=columns)


@dataclass(frozen=True)
class Overlay:
    """Metrics of several ``runs``, aligned at their starts.

    Example:
        >>> from lk_jupyter.runs.metrics.metrics import overlay
        >>> both = overlay(session.run("print(1)"), session.run("print(2)"))
        >>> both.df.columns[0], both.df.index.name
        ('run', 'elapsed')
        >>> type(both.plot()).__name__
        'Figure'
    """

    runs: Sequence[Metrics] = field(default_factory=tuple)

    @cached_property
    def df(self) -> Any:
        """A pandas DataFrame of all runs, with a row for each run and time.

        Index ``elapsed`` (timedelta64): time since the start of the run. Columns: ``run`` (str), and the columns of
        ``Metrics.df`` (float64).
        """
        library = import_pandas()
        frames = []
        for metrics in self.runs or [Metrics({}, datetime.now(timezone.utc), 1)]:
            frame = metrics.df.reset_index()
            frame.insert(0, "run", metrics.label)
            frames.append(frame.set_index((frame.pop("time") - metrics.start).rename("elapsed")))
        return library.concat(frames)

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series, with a panel for each.

        Args:
            columns: Names of series. Default: all that have samples.

        Raises:
            UsageError: There is no such series, or matplotlib is missing.
        """
        return plot(*self.runs, columns=columns)


def plot(*runs: Metrics, columns: Sequence[str] = ()) -> Any:
    """Return a matplotlib Figure with a panel for each unit, or for each series where there are several runs.

    Time counts from the start of each run. Raises UsageError for a series that does not exist, and
    without matplotlib.
    """
    return draw(runs, columns)


def read(
    run: Run, *, start: datetime | None = None, end: datetime | None = None, step: str | float | None = None
) -> Metrics:
    """Return the metrics of a run, also while it is active.

    Args:
        run: The run.
        start: Start of the window. Default: start of the run.
        end: End of the window. Default: end of the run, or now.
        step: Seconds between points, or such as ``5s``. Default: at most 1,000 points of each series.

    Returns:
        A Metrics, with ``df`` and ``plot()``.

    Raises:
        UsageError: The window or the step isn't possible.

    Source: ``GET /execution/{execution_id}/metrics``

    Example:
        >>> from lk_jupyter.runs.metrics.metrics import read
        >>> read(session.run("print(1)"), step="5s").step
        5
    """
    record = run.record
    began, ended = _compute_window(record, run.session.client.utc_now)
    first, last = _add_local_zone(start) or began, _add_local_zone(end) or ended
    if last < first:
        raise UsageError(f"The window ends at {last:%H:%M:%S}, before it starts at {first:%H:%M:%S}.")
    seconds = step_for((last - first).total_seconds()) if step is None else _parse_seconds(step)
    is_entire_run = start is None and end is None
    answers = [
        _request_metrics(run, window, seconds, is_entire_run=is_entire_run)
        for window in _split_window(first, last, seconds)
    ]
    joined = Metrics.from_response(answers[0], label=_format_name(run, record), step=seconds, start=began)
    for answer in answers[1:]:
        for series in SERIES:
            joined.samples[series.column].extend(points(answer, series))
    return joined


def overlay(*runs: Run) -> Overlay:
    """Return the metrics of several runs, aligned at their starts.

    Args:
        runs: The runs.

    Returns:
        An Overlay, with ``df`` and ``plot()``.

    Source: ``GET /execution/{execution_id}/metrics``

    Example:
        >>> from lk_jupyter.runs.metrics.metrics import overlay
        >>> len(overlay(session.run("print(1)"), session.run("print(2)")).runs)
        2
    """
    return Overlay([read(run) for run in runs])


def step_for(seconds: float) -> float:
    """Return the step, in seconds, at which a window has at most a thousand points."""
    needed = seconds / _MOST_POINTS
    return next((step for step in _STEPS if step >= needed), math.ceil(needed / 86_400) * 86_400)


def _split_window(first: datetime, last: datetime, step: float) -> Iterator[tuple[datetime, datetime]]:
    """Split a window into parts that fit an answer."""
    span = timedelta(seconds=step * _IN_ONE_ANSWER)
    while last - first > span:
        yield first, first + span
        first += span + timedelta(seconds=step)
    yield first, last


def _request_metrics(
    run: Run, window: tuple[datetime, datetime], step: float, *, is_entire_run: bool
) -> ExecutionMetrics:
    read_metrics, duration = (
        run.session.client.execution.metrics,
        f"{round(step * 1000)}ms" if step % 1 else f"{step:.0f}s",
    )
    first, last = window
    if is_entire_run and (last - first).total_seconds() <= step * _IN_ONE_ANSWER:
        return read_metrics(run.execution_id, step=duration)  # the server knows the end of an active run best
    return read_metrics(run.execution_id, first.isoformat(), last.isoformat(), duration)


def _compute_window(record: ExecutionRecord, at: datetime) -> tuple[datetime, datetime]:
    began = record.start_time or record.job_start or record.known_since or at
    ended = record.end_time or record.job_end or record.finish_time
    return began, max(began, ended or at)


def _add_local_zone(moment: datetime | None) -> datetime | None:
    """Interpret a time without a zone as local time, like pandas."""
    return moment.astimezone() if moment and moment.tzinfo is None else moment


def _parse_seconds(step: str | float) -> float:
    text = str(step).strip()
    match = _STEP.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else _parse_number(text)
    if not 0 < seconds < math.inf:
        raise UsageError(f"The step '{text[:40]}' isn't a duration. Give seconds, or for example 5s or 1m.")
    return seconds


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _format_name(run: Run, record: ExecutionRecord) -> str:
    name = (record.model_extra or {}).get("run_name")
    return f"{run.short_id} {name}" if name else run.short_id
