"""Several runs side by side: what each took, and which was the cheapest, the fastest and the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES
from lk_jupyter.runs.clock import Bill, CostIs
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.metrics.summary import GpuUsage
from lk_jupyter.text.pandas import typed
from lk_jupyter.text.terminal import plain_values

#: Columns of a table that hold numbers.
_NUMBERS = (
    "seconds",
    "cost",
    "peak_gpu_memory_percent",
    "peak_gpu_memory_gib",
    "mean_gpu_utilization_percent",
)


@dataclass(frozen=True)
class MemberResult:
    """How one run of a fan-out ended.

    ``number`` of the run, ``machine``, swept ``values``, ``state``, ``seconds`` of its code, ``cost`` in credits (None
    if unknown) and ``cost_is``: billed, estimated or at most. ``gpu`` is a GpuUsage, ``scores`` are metrics by name.
    ``execution_id``, ``log`` (path), ``reason`` why it did not complete, ``remarks``.

    Example:
        >>> fan = session.fan_out("print('loss =', x)", sweep=["x=1,2"], metric=["loss"])
        >>> _ = fan.wait()
        >>> first = fan.outcomes()[0]
        >>> first.completed, first.values, first.scores, first.bill.cost_is
        (True, {'x': ...}, {'loss': 1.0}, '...')
    """

    number: int
    machine: str
    values: Mapping[str, Any]
    state: str
    seconds: float | None = None
    cost: Decimal | None = None
    cost_is: CostIs | None = "billed"
    gpu: GpuUsage = field(default_factory=GpuUsage)
    scores: Mapping[str, float | str | None] = field(default_factory=dict)
    execution_id: str = ""
    log: str = ""
    reason: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def bill(self) -> Bill:
        """Time and cost of the run as a Bill."""
        return Bill(self.seconds, self.cost, self.cost_is)

    @property
    def completed(self) -> bool:
        """Whether the run completed."""
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


def best_labels(outcomes: Sequence[MemberResult], scores: Sequence[Score]) -> dict[int, list[str]]:
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


def _weights(outcomes: Iterable[MemberResult], score: Score) -> dict[int, float]:
    """Return the scores that are numbers, so that the highest is the best."""
    found = {outcome.number: outcome.scores.get(score.name) for outcome in outcomes}
    sign = 1 if score.highest else -1
    return {number: sign * value for number, value in found.items() if isinstance(value, float) and value == value}  # noqa: PLR0124 (not a number)


def table_of(outcomes: Sequence[MemberResult], scores: Sequence[Score]) -> Any:
    """Return the comparison as a pandas DataFrame, a row for each run; as a list of rows where pandas is missing."""
    marks = best_labels(outcomes, scores)
    rows = plain_values(outcome.row(marks[outcome.number]) for outcome in outcomes)
    try:
        import pandas  # noqa: ICN001, PLC0415 (for those who ask for a table)
    except ImportError:
        return rows
    frame = pandas.DataFrame(rows, columns=None if rows else list(MemberResult(0, "", {}, "").row()))
    return typed(frame.astype({"lane": "int64"}), _NUMBERS).set_index("lane")
