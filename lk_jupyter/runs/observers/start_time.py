"""Show the cost of a cell before its first line, by phase."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.run import Run
from lk_jupyter.text.units import duration_label

#: The kind of the frame that a run sends before its first line.
TIME = "time"


class StartTime(RunObserver):
    """Add up the phases that were measured locally and in the run.

    ``phases`` is phase → seconds so far; its ``sent`` is the moment of the request, on the clock ``time.monotonic``.
    """

    def __init__(self, phases: Mapping[str, float]) -> None:
        self._phases = phases
        self._remote_phases: dict[str, float] = {}

    def saw(self, frame: Frame) -> None:
        """Record the times of the run at the moment of its first line."""
        if frame.kind == TIME and not self._remote_phases:
            remote_phases = {name: float(frame.payload.get(name, 0.0)) for name in ("shim", "environment")}
            start = time.monotonic() - self._phases.get("sent", time.monotonic()) - sum(remote_phases.values())
            self._remote_phases = {"start": max(0.0, start), **remote_phases}

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (as all observers)
        """Return the phases."""
        return [Notice(times_label({**self._phases, **self._remote_phases}))]


def times_label(phases: Mapping[str, float]) -> str:
    """Return phases in words, such as ``Before the first line: 0.31 s (analysis 0.02 s, …)``."""
    durations = {name: seconds for name, seconds in phases.items() if name != "sent"}
    each = ", ".join(f"{name} {_format_seconds(seconds)}" for name, seconds in durations.items())
    return f"Before the first line: {_format_seconds(sum(durations.values()))} ({each})"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else duration_label(seconds)
