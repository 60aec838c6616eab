"""Several runs side by side: what each took, and which was the cheapest, the fastest and the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import fmean
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionMetrics
from lk_jupyter.errors import LkError
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.score import Score

#: Points of a metrics series that are asked for, at most.
_POINTS = 600


@dataclass(frozen=True)
class Gpu:
    """What a run made of its GPU, in percent; None where no series tells. ``peak_gib`` of its memory."""

    peak_memory: float | None = None
    mean_use: float | None = None
    peak_gib: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether any series tells of it."""
        return (self.peak_memory, self.mean_use) != (None, None)


@dataclass(frozen=True)
class Outcome:
    """How one run of several ended. ``seconds`` of its code, ``cost`` in credits; None where not known.

    ``exact`` is whether the cost is the bill and no estimate; ``reason`` why it did not complete.
    """

    number: int
    machine: str
    values: Mapping[str, Any]
    state: str
    seconds: float | None = None
    cost: Decimal | None = None
    exact: bool = True
    gpu: Gpu = field(default_factory=Gpu)
    scores: Mapping[str, float | str | None] = field(default_factory=dict)
    execution_id: str = ""
    log: str = ""
    reason: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether the code ran to a clean end."""
        return self.state in SUCCEEDED_STATES

    def row(self, marks: Sequence[str] = ()) -> dict[str, Any]:
        """Return it as one row of a table, in plain values; names of values and scores give way to the fixed ones."""
        told = {
            "state": self.state,
            "seconds": self.seconds,
            "cost": None if self.cost is None else float(self.cost),
            "peak_gpu_memory_percent": self.gpu.peak_memory,
            "peak_gpu_memory_gib": self.gpu.peak_gib,
            "mean_gpu_utilization_percent": self.gpu.mean_use,
        }
        last = {
            "mark": ", ".join(marks),
            "remark": " ".join(filter(None, [self.reason, *self.remarks])),
            "run": self.execution_id,
            "log": self.log,
        }
        first = {"lane": self.number, "machine": self.machine}
        taken = {*first, *told, *last}
        values = {f"swept_{name}" if name in taken else name: value for name, value in self.values.items()}
        taken |= set(values)
        scores = {f"score_{name}" if name in taken else name: value for name, value in self.scores.items()}
        return {**first, **values, **told, **scores, **last}


def marks_of(outcomes: Sequence[Outcome], scores: Sequence[Score]) -> dict[int, list[str]]:
    """Return what stands out, in words, by the number of the run; only what completed counts."""
    completed = [outcome for outcome in outcomes if outcome.completed]
    figures = [
        ("cheapest that finished", {o.number: -float(o.cost) for o in completed if o.cost is not None}),
        ("fastest", {o.number: -o.seconds for o in completed if o.seconds is not None}),
        *((f"best {score.name}", _weights(completed, score)) for score in scores),
    ]
    marks: dict[int, list[str]] = {outcome.number: [] for outcome in outcomes}
    for words, by_number in figures:
        best = max(by_number.values(), default=None)
        for number, figure in by_number.items():
            if figure == best:
                marks[number].append(words)
    return marks


def _weights(outcomes: Iterable[Outcome], score: Score) -> dict[int, float]:
    """Return the scores that are numbers, so that the highest is the best."""
    found = {outcome.number: outcome.scores.get(score.name) for outcome in outcomes}
    sign = 1 if score.highest else -1
    return {number: sign * value for number, value in found.items() if isinstance(value, float) and value == value}  # noqa: PLR0124 (not a number)


def table_of(outcomes: Sequence[Outcome], scores: Sequence[Score]) -> Any:
    """Return the comparison as a pandas DataFrame, a row for each run; as a list of rows where pandas is missing."""
    marks = marks_of(outcomes, scores)
    rows = [outcome.row(marks[outcome.number]) for outcome in outcomes]
    try:
        import pandas  # noqa: ICN001, PLC0415 (for those who ask for a table)
    except ImportError:
        return rows
    return pandas.DataFrame(rows).set_index("lane")


def gpu_of(run: Run, seconds: float | None) -> Gpu:
    """Read what a run made of its GPU; nothing where the cloud has no series of it."""
    with suppress(LkError):
        return _summed_up(run.metrics(f"{max(1, round((seconds or 0) / _POINTS))}s"), run)
    return Gpu()


def _summed_up(series: ExecutionMetrics, run: Run) -> Gpu:
    memory = [point.value for point in series.gpuMemoryUtilizationPercent or [] if point.value is not None]
    use = [point.value for point in series.gpuUtilizationPercent or [] if point.value is not None]
    peak, gib = max(memory, default=None), run.machine.memory_gib if run.machine else None
    return Gpu(peak, fmean(use) if use else None, peak * gib / 100 if peak is not None and gib else None)
