"""The time limit of a run: counted down, warned of, and how to go on from what was saved before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.runs.bundle import Bundle
from lk_jupyter.runs.checkpoint import CHECKPOINT, LATE, resume_line, told
from lk_jupyter.runs.companion import WARNING, Companion, Remark
from lk_jupyter.runs.cost import duration_label
from lk_jupyter.runs.frames import Frame

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Countdown(Companion):
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

    def remarks(self) -> list[Remark]:
        """Warn late in the run, and tell what it saved."""
        saved = [told(self._saved.payload)] if self._saved else []
        if self._limit is None or self._left is None or self._limit - self._left < LATE * self._limit:
            return saved
        late = f"{_whole(self._left)} are left of the {_whole(self._limit)} that it may take."
        return [Remark(late, WARNING), *saved]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:
        """Tell what was saved, and the line that goes on from there if the run did not come to its end."""
        if self._saved is None:
            return []
        remark = told(self._saved.payload)
        if "problem" in self._saved.payload or record.status.lower() in SUCCEEDED_STATES:
            return [remark]
        return [Remark(f"{remark.text} To go on from there: {resume_line(self._package, run.short_id)}")]


def _whole(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else duration_label(seconds)
