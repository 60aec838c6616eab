"""Rank the runs of a fan-out: their order, their curves as sparklines and as a picture, and data for JupyterLab."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.machines.catalogue import machine_name
from lk_jupyter.runs.fanout.comparison import MemberResult, best_labels, rank
from lk_jupyter.runs.fanout.fanout import FanOut, result_with_scores
from lk_jupyter.runs.fanout.member import FanOutMember
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.text.plotting import COLOURS
from lk_jupyter.text.scalars import Curve
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import plain

#: Numbers that are shown, the points of each curve, and the points of all curves together.
MOST_NAMES, MOST_POINTS, _ALL_POINTS = 8, 300, 20_000

_SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 8

_DASHES = ("", "8 4", "2 3", "10 3 2 3", "14 4", "6 2 2 2 2 2", "1 5")
_WIDTH, _HEIGHT, _MARGIN, _ROW, _PANELS, _LEGEND = 720, 190, 56, 16, 3, 24


class Ranking:
    """A snapshot of the runs: ``results``, the best first, with the ``scores`` and ``names`` of the printed numbers."""

    def __init__(self, fan: FanOut) -> None:
        self.scores = fan.scores
        self.members = {member.plan.number: member for member in fan.members}
        self.results = rank([_build_result(member, self.scores) for member in fan.members], self.scores)
        self.by_number = {result.number: result for result in self.results}
        self.labels = best_labels(self.results, self.scores)
        self.curves = {number: _group_curves_by_name(member) for number, member in self.members.items()}
        curve_names = dict.fromkeys(name for curves in self.curves.values() for name in curves)
        first = [score.name for score in self.scores if score.name in curve_names]
        self.names = list(dict.fromkeys([*first, *curve_names]))[:MOST_NAMES]

    def curve(self, number: int, name: str) -> Curve | None:
        """Return a curve of a run; None if the run has printed no such number often enough."""
        return self.curves[number].get(name)

    def facts(self) -> dict[str, Any]:
        """Return the order and the names of the leaderboard for JupyterLab."""
        score = self.scores[0] if self.scores else None
        members = list(self.members.values())
        return {
            "swept": list(members[0].plan.values),
            "score": {"name": score.name, "highest": score.highest} if score else None,
            "names": self.names,
            "longest": setting("max_timeout"),
        }

    def member_facts(self, member: FanOutMember) -> dict[str, Any]:
        """Return number, values, score, marks and curves of a run for JupyterLab."""
        number = member.plan.number
        most = max(10, min(MOST_POINTS, _ALL_POINTS // max(1, len(self.members) * len(self.names))))
        curves = [curve for name in self.names if (curve := self.curve(number, name))]
        score = self.by_number[number].scores.get(self.scores[0].name) if self.scores else None
        return {
            "number": number,
            "values": {name: str(value) for name, value in member.plan.values.items()},
            "score": score if not isinstance(score, float) or math.isfinite(score) else None,
            "marks": self.labels[number],
            "curves": [curve.content(most) for curve in curves],
        }


def _group_curves_by_name(member: FanOutMember) -> Mapping[str, Curve]:
    return {curve.name: curve for curve in member.scalars.curves}


def _build_result(member: FanOutMember, scores: Sequence[Score]) -> MemberResult:
    """Return the result of a run, of an active run so far."""
    plan = member.plan
    result = member.outcome or MemberResult(plan.number, plan.machine, plan.values, member.state)
    return result_with_scores(member, result, scores)


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """Return values as a line of block characters; empty for fewer than two finite values."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    count = min(width, len(finite))
    places = [round(at * (len(finite) - 1) / (count - 1)) for at in range(count)]
    least, span = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(_SPARKS[int((finite[place] - least) / span * (len(_SPARKS) - 1))] for place in places)


@dataclass(frozen=True)
class DrawnRun:
    """A run in a picture: its ``number`` sets color and dashes, ``curves`` is name → curve."""

    number: int
    label: str
    curves: Mapping[str, Curve]


def leaderboard_picture(ranking: Ranking) -> str:
    """Return the picture of the curves of all runs."""
    return curves_picture(
        ranking.names, [DrawnRun(n, _format_run_label(m), ranking.curves[n]) for n, m in ranking.members.items()]
    )


def _format_run_label(member: FanOutMember) -> str:
    values = " ".join(f"{name}={value}" for name, value in member.plan.values.items()) or machine_name(
        member.plan.machine
    )
    return f"{member.plan.number} · {_redact_text(values)[:18]}"


def _redact_text(text: str) -> str:
    """Return a text for a picture, without control characters and secrets: later steps can't read the picture."""
    return redact(plain(text))


def curves_picture(names: Sequence[str], runs: Sequence[DrawnRun]) -> str:
    """Return curves as an image in HTML, for front ends without our extension; empty without curves."""
    names = [name for name in names if any(name in run.curves for run in runs)][:_PANELS]
    if not names:
        return ""
    rows = math.ceil(min(len(runs), _LEGEND) / 4)
    height = len(names) * _HEIGHT + rows * _ROW + 8
    panels = "".join(_draw_panel(name, runs, at * _HEIGHT) for at, name in enumerate(names))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{panels}'
        f"{_draw_legend(runs, len(names) * _HEIGHT + 12)}</svg>"
    )
    source = b64encode(svg.encode()).decode()
    return f'<img alt="Curves of {escape(_redact_text(", ".join(names)))}" src="data:image/svg+xml;base64,{source}">'


def _draw_panel(name: str, runs: Sequence[DrawnRun], top: int) -> str:
    curves = {run.number: run.curves[name] for run in runs if name in run.curves}
    values = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    steps = [step for curve in curves.values() for step in curve.steps]
    if not values:
        return ""
    (first, last), (low, high) = (min(steps), max(steps)), (min(values), max(values))
    wide, tall = (last - first) or 1.0, (high - low) or 1.0
    bottom, drawn = top + _HEIGHT - 22, _HEIGHT - 46

    def place(step: float, value: float) -> str:
        x = _MARGIN + (step - first) / wide * (_WIDTH - _MARGIN - 12)
        return f"{x:.1f},{bottom - (value - low) / tall * drawn:.1f}"

    lines = "".join(
        f'<polyline fill="none" {_choose_stroke(number)} stroke-width="1.5" points="'
        + " ".join(place(s, v) for s, v in zip(curve.steps, curve.values, strict=True) if math.isfinite(v))
        + '"/>'
        for number, curve in curves.items()
    )
    frame = f'<path d="M{_MARGIN} {top + 20}V{bottom}H{_WIDTH - 12}" fill="none" stroke="#888"/>'
    labels = (
        f'<text x="{_MARGIN}" y="{top + 14}" font-weight="bold">{escape(_redact_text(name))}</text>'
        f'<text x="{_MARGIN - 4}" y="{top + 28}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_MARGIN - 4}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_MARGIN}" y="{bottom + 14}">{first:g}</text>'
        f'<text x="{_WIDTH - 12}" y="{bottom + 14}" text-anchor="end">step {last:g}</text>'
    )
    return frame + labels + lines


def _draw_legend(runs: Sequence[DrawnRun], top: int) -> str:
    width = (_WIDTH - _MARGIN) // 4
    items = []
    for at, run in enumerate(runs[:_LEGEND]):
        x, y = _MARGIN + at % 4 * width, top + at // 4 * _ROW
        items.append(
            f'<path d="M{x} {y - 4}h22" {_choose_stroke(run.number)} stroke-width="2"/>'
            f'<text x="{x + 27}" y="{y}">{escape(run.label)}</text>'
        )
    return "".join(items)


def _choose_stroke(number: int) -> str:
    """Return color and dashes of a run's line: runs of the same color differ in their dashes."""
    at = number - 1
    dashes = _DASHES[(at + at // len(COLOURS)) % len(_DASHES)]
    return f'stroke="{COLOURS[at % len(COLOURS)]}" stroke-dasharray="{dashes}"'
