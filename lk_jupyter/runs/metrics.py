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
from lk_jupyter.runs._tables import pandas
from lk_jupyter.runs.series import SERIES, Point, Series, points, with_gaps

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

#: Points of a series that are asked for where nobody names a step, at most.
MOST_POINTS = 1000

#: Points that servers give in one answer, at most; a longer window is read in parts.
_IN_ONE_ANSWER = 10_000

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_STEP = re.compile(r"(\d+)(ms|[smhd])")

EMPTY = "No samples yet: the first comes 15 s after the start."


@dataclass(frozen=True)
class Metrics:
    """The series of one run, oldest first, ``step`` seconds apart; ``start`` is when its code began.

    ``samples`` is column → points (seconds since 1970, value in the unit of the column; NaN is a gap).
    ``label`` names the run in a plot.
    """

    samples: dict[str, list[Point]]
    start: datetime
    step: float
    label: str = ""
    hostname: str = ""

    def __bool__(self) -> bool:
        return any(self.samples.values())

    @classmethod
    def of(
        cls, answer: ExecutionMetrics, *, label: str = "", step: float = 15.0, start: datetime | None = None
    ) -> Metrics:
        """Return what one answer of the API holds."""
        told = answer.timeRange and answer.timeRange.start
        found = {series.column: points(answer, series) for series in SERIES}
        first = min((samples[0][0] for samples in found.values() if samples), default=None)
        began = start or told or datetime.fromtimestamp(first or 0, timezone.utc)
        return cls(found, began, step, label or answer.executionId[:8], answer.hostname or "")

    @cached_property
    def df(self) -> Any:
        """A pandas DataFrame, tidy: a row for each time, a column for each series with its unit in the name.

        The index ``time`` is in UTC. A null is NaN, and so is one row in each gap; nothing is
        interpolated. Series without any sample are NaN throughout. Raises UsageError without pandas.
        """
        library = pandas()
        columns = {series.column: self._column(library, series) for series in SERIES}
        frame = library.DataFrame(columns, columns=list(columns), dtype=float)
        frame.index = library.to_datetime(frame.index.astype(float), unit="s", utc=True).rename("time")
        frame.attrs = {"run": self.label, "hostname": self.hostname, "units": {s.column: s.unit for s in SERIES}}
        return frame

    def _column(self, library: Any, series: Series) -> Any:
        found = self.broken(series.column)
        return library.Series([value for _, value in found], index=[moment for moment, _ in found], dtype=float)

    def broken(self, column: str) -> list[Point]:
        """Return the points of one series with a NaN in each gap, for a line that breaks there."""
        return with_gaps(self.samples.get(column, []), self.step)

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series, or of all that have samples; see ``plot``."""
        return plot(self, columns=columns)


@dataclass(frozen=True)
class Overlay:
    """Metrics of several runs, laid over each other at their starts."""

    runs: Sequence[Metrics] = field(default_factory=tuple)

    @cached_property
    def df(self) -> Any:
        """A pandas DataFrame of all runs: indexed by ``elapsed`` since the start of each, with a column ``run``."""
        library = pandas()
        frames = []
        for metrics in self.runs:
            frame = metrics.df.reset_index()
            frame.insert(0, "run", metrics.label)
            frames.append(frame.set_index((frame.pop("time") - metrics.start).rename("elapsed")))
        return library.concat(frames) if frames else Metrics({}, datetime.now(timezone.utc), 1).df

    def plot(self, *columns: str) -> Any:
        """Return a matplotlib Figure of these series, or of all that have samples; see ``plot``."""
        return plot(*self.runs, columns=columns)


def plot(*runs: Metrics, columns: Sequence[str] = ()) -> Any:
    """Return a matplotlib Figure with a panel for each unit, or for each series where there are several runs.

    Time counts from the start of each run. Raises UsageError for a series that does not exist, and
    without matplotlib.
    """
    from lk_jupyter.runs._plot import draw  # noqa: PLC0415 (for those who ask for a plot)

    return draw(runs, columns)


def read(
    run: Run, *, start: datetime | None = None, end: datetime | None = None, step: str | float | None = None
) -> Metrics:
    """Return the metrics of a run, also while it goes on; of a window of it, where one is named.

    Without a ``step`` (seconds, or such as ``5s``) the server gives at most 1,000 points of each
    series. Raises UsageError for a window or a step that cannot be.
    """
    record = run.record
    began, ended = _window(record)
    first, last = _aware(start) or began, _aware(end) or ended
    if last < first:
        raise UsageError(f"The window ends at {last:%H:%M:%S} before it begins at {first:%H:%M:%S}.")
    seconds = step_for((last - first).total_seconds()) if step is None else _seconds(step)
    whole = start is None and end is None
    answers = [_ask(run, window, seconds, whole=whole) for window in _parts(first, last, seconds)]
    joined = Metrics.of(answers[0], label=_name(run, record), step=seconds, start=began)
    for answer in answers[1:]:
        for series in SERIES:
            joined.samples[series.column].extend(points(answer, series))
    return joined


def overlay(*runs: Run) -> Overlay:
    """Return the metrics of several runs, aligned at their starts."""
    return Overlay([read(run) for run in runs])


def step_for(seconds: float, most: int = MOST_POINTS) -> float:
    """Return the step, in seconds, at which a window has at most so many points."""
    needed = seconds / most
    return next((step for step in _STEPS if step >= needed), math.ceil(needed / 86_400) * 86_400)


def _parts(first: datetime, last: datetime, step: float) -> Iterator[tuple[datetime, datetime]]:
    """Cut a window into such as one answer can hold."""
    span = timedelta(seconds=step * _IN_ONE_ANSWER)
    while last - first > span:
        yield first, first + span
        first += span + timedelta(seconds=step)
    yield first, last


def _ask(run: Run, window: tuple[datetime, datetime], step: float, *, whole: bool) -> ExecutionMetrics:
    read_metrics, duration = (
        run.session.client.execution.metrics,
        f"{round(step * 1000)}ms" if step % 1 else f"{step:.0f}s",
    )
    first, last = window
    if whole and (last - first).total_seconds() <= step * _IN_ONE_ANSWER:
        return read_metrics(run.execution_id, step=duration)  # the server knows best how long it goes on
    return read_metrics(run.execution_id, first.isoformat(), last.isoformat(), duration)


def _window(record: ExecutionRecord) -> tuple[datetime, datetime]:
    began = record.start_time or record.job_start or record.created_at
    ended = record.end_time or record.job_end or record.finish_time
    return began, max(began, ended or datetime.now(timezone.utc))


def _aware(moment: datetime | None) -> datetime | None:
    """Take a time without a zone as one where the reader is, as pandas and people do."""
    return moment.astimezone() if moment and moment.tzinfo is None else moment


def _seconds(step: str | float) -> float:
    text = str(step).strip()
    found = _STEP.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else _number(text)
    if not 0 < seconds < math.inf:
        raise UsageError(f"The step {text[:40]!r} is not understood: give seconds, or such as 5s or 1m.")
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _name(run: Run, record: ExecutionRecord) -> str:
    name = (record.model_extra or {}).get("run_name")
    return f"{run.short_id} {name}" if name else run.short_id
