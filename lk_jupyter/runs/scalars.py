"""Read the numbers that a run has printed or logged, from its log."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.logs import LogEntry
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.frames import SCALARS, Frame, format_frame
from lk_jupyter.runs.messages import RunMessages
from lk_jupyter.text.pandas import import_pandas
from lk_jupyter.text.scalars import MOST_POINTS, ScalarParser

_PIECE = 1 << 16

#: Stored lines whose times are read, and their greatest age in hours: the API's limits.
MOST_LINES, MOST_HOURS = 10_000, 168


class LoggedRun(Protocol):
    """A run with a log."""

    messages: RunMessages

    @property
    def log_path(self) -> Path:
        """The local file of the log."""

    @property
    def record(self) -> ExecutionRecord:
        """The current record."""

    def logs(self, limit: int = 1000, hours: int = 24) -> list[LogEntry]:
        """Return the stored lines."""


def read_scalars(run: LoggedRun, *, most_points: int | None = MOST_POINTS, with_times: bool = False) -> ScalarParser:
    """Return the numbers of a run so far. Times are in seconds since 1970, NaN where the cloud has stored none."""
    parser = ScalarParser(most_points)
    times = _read_line_times(run) if with_times else {}
    splitter, moment, pending = run.messages.splitter(), math.nan, ""
    for piece in _iterate_log_pieces(run):
        for item in splitter.feed(piece) if splitter else [piece]:
            if isinstance(item, Frame) and item.kind == SCALARS:
                parser.add_points(item.payload)
                continue
            *lines, pending = (pending + (item if isinstance(item, str) else format_frame(item))).split("\n")
            for line in lines:
                moments = times.get(line.strip())
                moment = moments.popleft() if moments else moment
                parser.feed(f"{line}\n", moment)
    parser.feed(f"{pending}\n", moment)
    return parser


def scalar_table(run: LoggedRun) -> Any:
    """Return the numbers of a run as a DataFrame: step, name, value and time; NaT if the cloud has stored no time.

    Raises UsageError if pandas is missing.
    """
    frame = scalar_frame([({}, read_scalars(run, most_points=None, with_times=True))])
    frame["time"] = import_pandas().to_datetime(frame["time"], unit="s", utc=True)
    return frame


def _iterate_log_pieces(run: LoggedRun) -> Iterator[str]:
    """Yield the local log in pieces; without a local log, the output in the record."""
    if run.log_path.exists():
        with run.log_path.open(encoding="utf-8", errors="replace", newline="") as log:
            while piece := log.read(_PIECE):
                yield piece
        return
    record = run.record
    yield record.combined_output or record.stdout or ""


def _read_line_times(run: LoggedRun) -> Mapping[str, deque[float]]:
    """Return line → times at which the cloud stored the line."""
    times: defaultdict[str, deque[float]] = defaultdict(deque)
    with suppress(LkError):  # a cloud without stored lines has no times
        for entry in run.logs(limit=MOST_LINES, hours=MOST_HOURS):
            if entry.timestamp:
                times[entry.message.strip()].append(entry.timestamp.timestamp())
    return times


def scalar_frame(parsers: Iterable[tuple[Mapping[str, Any], ScalarParser]]) -> Any:
    """Return curves as a DataFrame; each parser comes with the columns that precede its rows."""
    pandas = import_pandas()
    rows: list[Mapping[str, Any]] = []
    columns: dict[str, None] = {}
    for leading, parser in parsers:
        columns |= dict.fromkeys(leading)
        rows += [
            {**leading, "step": step, "name": curve.name, "value": value, "time": time}
            for curve in parser.curves
            for step, value, time in zip(curve.steps, curve.values, curve.times, strict=True)
        ]
    frame = pandas.DataFrame(rows, columns=[*columns, "step", "name", "value", "time"])
    return frame.astype({"step": "float64", "value": "float64", "time": "float64"})
