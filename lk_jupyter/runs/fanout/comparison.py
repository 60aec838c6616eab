"""Compare the runs of a fan-out: time, cost, scores, and the cheapest, fastest and best run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES
from lk_jupyter.runs.clock import Bill, CostIs
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.metrics.summary import GpuUsage
from lk_jupyter.text.pandas import set_float_columns
from lk_jupyter.text.terminal import plain_values

#: Numeric columns of the table.
_NUMBERS = (
    "seconds",
    "cost",
    "peak_gpu_memory_percent",
    "peak_gpu_memory_gib",
    "mean_gpu_utilization_percent",
)


@dataclass(frozen=True)
class MemberResult:
    """The result of a run in a fan-out.

    ``number`` of the run, ``machine``, swept ``values``, ``state``, ``seconds`` of the code, ``cost`` in credits (None
    if unknown) and ``cost_is``: billed, estimated or at most. ``gpu`` is a GpuUsage, ``scores`` is name → metric.
    ``execution_id``, ``log`` (path), ``reason`` of a failure, ``notices``.

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
    notices: tuple[str, ...] = ()

    @property
    def bill(self) -> Bill:
        """Return time and cost of the run."""
        return Bill(self.seconds, self.cost, self.cost_is)

    @property
    def completed(self) -> bool:
        """Return whether the run completed."""
        return self.state in SUCCEEDED_STATES

    def row(self, marks: Sequence[str] = ()) -> dict[str, Any]:
        """Return a table row with plain values; values and scores with the name of a fixed column get a prefix."""
        measured = {
            "state": self.state,
            "seconds": self.seconds,
            "cost": None if self.cost is None else float(self.cost),
            "peak_gpu_memory_percent": self.gpu.peak_memory,
            "peak_gpu_memory_gib": self.gpu.peak_gib,
            "mean_gpu_utilization_percent": self.gpu.mean_use,
        }
        last = {
            "mark": ", ".join(marks),
            "remark": " ".join(filter(None, [self.reason, *self.notices])),
            "run": self.execution_id,
            "log": self.log,
        }
        first = {"lane": self.number, "machine": self.machine}
        reserved = {*first, *measured, *last}
        values = {f"swept_{name}" if name in reserved else name: value for name, value in self.values.items()}
        reserved |= set(values)
        scores = {f"score_{name}" if name in reserved else name: value for name, value in self.scores.items()}
        return {**first, **values, **measured, **scores, **last}


def best_labels(outcomes: Sequence[MemberResult], scores: Sequence[Score]) -> dict[int, list[str]]:
    """Return number of the run → labels such as fastest; only completed runs get labels."""
    completed = [outcome for outcome in outcomes if outcome.completed]
    figures = [
        ("cheapest that finished", {o.number: -float(o.cost) for o in completed if o.cost is not None}),
        ("fastest", {o.number: -o.seconds for o in completed if o.seconds is not None}),
        *((f"best {score.name}", _compute_weights(completed, score)) for score in scores),
    ]
    marks: dict[int, list[str]] = {outcome.number: [] for outcome in outcomes}
    for words, weights in figures:
        if (number := _find_first(completed, weights)) is not None:
            marks[number].append(words)
    return marks


def best_number(outcomes: Sequence[MemberResult], score: Score) -> int | None:
    """Return the number of the completed run with the best score, of equal runs the cheapest; None without a score."""
    completed = [outcome for outcome in outcomes if outcome.completed]
    return _find_first(completed, _compute_weights(completed, score))


def _find_first(completed: Sequence[MemberResult], weights: Mapping[int, float]) -> int | None:
    """Return the number of the run with the highest weight, of equal runs the cheapest; None without weights."""
    cost = {o.number: float(o.cost if o.cost is not None else math.inf) for o in completed}
    seconds = {o.number: math.inf if o.seconds is None else o.seconds for o in completed}
    return min(weights, key=lambda number: (-weights[number], cost[number], seconds[number]), default=None)


def rank(outcomes: Sequence[MemberResult], scores: Sequence[Score]) -> list[MemberResult]:
    """Return the runs, the best of the first score first, of equal runs the cheapest; runs without a score last."""
    weights = _compute_weights(outcomes, scores[0]) if scores else {}

    def place(outcome: MemberResult) -> tuple[float, float, int]:
        cost = math.inf if outcome.cost is None or outcome.number not in weights else float(outcome.cost)
        return -weights.get(outcome.number, -math.inf), cost, outcome.number

    return sorted(outcomes, key=place)


def _compute_weights(outcomes: Iterable[MemberResult], score: Score) -> dict[int, float]:
    """Return number of the run → score with the sign that makes the highest the best; without other values."""
    values = {outcome.number: outcome.scores.get(score.name) for outcome in outcomes}
    sign = 1 if score.highest else -1
    return {number: sign * value for number, value in values.items() if isinstance(value, float) and value == value}  # noqa: PLR0124 (not a number)


def build_table(outcomes: Sequence[MemberResult], scores: Sequence[Score]) -> Any:
    """Return the comparison as a pandas DataFrame with a row for each run; without pandas, as a list of rows."""
    marks = best_labels(outcomes, scores)
    rows = plain_values(outcome.row(marks[outcome.number]) for outcome in outcomes)
    try:
        import pandas  # noqa: ICN001, PLC0415 (imported for tables only)
    except ImportError:
        return rows
    frame = pandas.DataFrame(rows, columns=None if rows else list(MemberResult(0, "", {}, "").row()))
    return set_float_columns(frame.astype({"lane": "int64"}), _NUMBERS).set_index("lane")
