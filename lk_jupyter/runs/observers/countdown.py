"""The time limit of a run: counted down, warned of, and how to go on from what was saved before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.machines.cost import duration_label
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.checkpoint import CHECKPOINT, LATE, resume_line, told

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Countdown(RunObserver):
    """Counts the seconds of a run down to its time limit, where that is known, and tells what it saved."""

    def __init__(self, limit: int | None, package: Bundle | None = None) -> None:
        self._limit = limit
        self._package = package
        self._left: float | None = None
        self._saved: Frame | None = None

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002
        """Return the time that is left."""
        if seconds is None or self._limit is None:
            return []
        self._left = max(0.0, self._limit - seconds)
        return [f"{_whole(self._left)} left"]

    def saw(self, frame: Frame) -> None:
        """Take note of what the run saved."""
        if frame.kind == CHECKPOINT:
            self._saved = frame

    def remarks(self) -> list[Notice]:
        """Warn late in the run, and tell what it saved."""
        saved = [told(self._saved.payload)] if self._saved else []
        if self._limit is None or self._left is None or self._limit - self._left < LATE * self._limit:
            return saved
        late = f"{_whole(self._left)} of {_whole(self._limit)} remain."
        return [Notice(late, WARNING), *saved]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Tell what was saved, and the line that goes on from there if the run did not come to its end."""
        if self._saved is None:
            return []
        remark = told(self._saved.payload)
        if "problem" in self._saved.payload or record.status.lower() in SUCCEEDED_STATES:
            return [remark]
        return [Notice(f"{remark.text} Resume from there: {resume_line(self._package, run.short_id)}")]


def _whole(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else duration_label(seconds)
