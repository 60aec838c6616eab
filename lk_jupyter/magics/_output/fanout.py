"""Show several runs: a live board of the runs, a table that compares the results, and the logs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from lk_jupyter.api.states import label_of, mark_of, state_label
from lk_jupyter.machines.catalogue import machine_name, price_label
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.gallery import RecentOutputs
from lk_jupyter.magics._output.leaderboard import Ranking, leaderboard_picture, sparkline
from lk_jupyter.magics._output.live import RUN_MIME
from lk_jupyter.magics._output.run_status import COST_UNKNOWN
from lk_jupyter.protocol.frames import SHOWN
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.fanout.comparison import MemberResult, best_labels, rank
from lk_jupyter.runs.fanout.fanout import FanOut
from lk_jupyter.runs.fanout.member import FanOutMember
from lk_jupyter.runs.fanout.plan import RunPlan
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.metrics.summary import GpuUsage
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.text.secrets import COLOUR, redact, redact_values
from lk_jupyter.text.terminal import plain, shorten_text, terminal_columns
from lk_jupyter.text.units import clock_label, count_label, credits_label, duration_label
from lk_jupyter.views.bars import FONT, Bar, Rows, is_bar, parse_bar
from lk_jupyter.views.run import METADATA_KEY, facts_so_far, receipt_facts

#: Characters of a run's newest line on the board, and of a run's notice in the table.
NEWEST = 60
NOTICE_LENGTH = 120

#: Letters of a line of the board in a terminal, and the fewest letters of a run's newest line there.
TERMINAL_WIDTH, FEWEST_LETTERS = 100, 12

#: Lines that the folded logs of all runs share, and the minimum for each run.
LOG_LINES = 2000
FEWEST_LINES = 10

_SPACES = re.compile(r"\s+")
_CODE = "background: transparent; font-family: var(--jp-code-font-family)"
_DIM = "color: var(--jp-ui-font-color2)"


class Board:
    """A snapshot of the runs, or only their heading after all have ended; ``note`` is shown next to the sums."""

    def __init__(self, fan: FanOut, note: str = "") -> None:
        ranking = Ranking(fan)
        members = [ranking.members[result.number] for result in ranking.results]
        scores = [score.name for score in ranking.scores]
        machine = shared_machine(fan)
        where = [] if machine else ["Machine"]
        figures = {"Time", "Cost", *scores}
        columns = ("#", *where, *fan.members[0].plan.values, "State", *scores, "Time", "Cost", "Run")
        rows = [_build_cells(member, ranking, has_machine=not machine) for member in members]
        newest = {member.plan.number: _format_newest_line(member) for member in members}
        self._table = _add_newest_lines(Table(columns, rows, right=frozenset(figures)), list(newest.values()))
        self._head = plain(" · ".join(filter(None, [_count_states(fan), machine, _format_cost(fan), note])))

        self._warnings = list(map(str, fan.notices))
        self._notices = [
            *self._warnings,
            *merge_notices({member.plan.number: member.notices for member in fan.members}),
        ]
        self._over = all(member.ended for member in fan.members)
        notes = merge_notices({member.plan.number: [member.note] if member.note else [] for member in fan.members})
        sums = f"{fan.bill.label} in total" if self._over else f"at most {format_highest_cost(fan)}"
        self._runs = {
            "head": " · ".join(filter(None, [count_label(len(fan.members), "run"), machine, sums, note])),
            "runs": [
                {**_build_header(member, newest[member.plan.number]), **ranking.member_facts(member)}
                for member in fan.members
            ],
            "board": ranking.facts(),
            "notes": [*notes, *self._notices],
        }
        self._notices += notes
        self._table = replace(self._table, note="\n".join(self._notices))
        self.revision = hash(tuple(member.scalars.revision for member in fan.members))
        self._notes = list(map(plain, notes))
        self._bars = Rows(
            [
                _build_bar(member, member.bar)
                for member in fan.members
                if member.bar and not member.ended and is_bar(member.bar)
            ]
        )

    def __str__(self) -> str:
        return "\n".join([self._head, *self._notes]) if self._over else f"{self._head}\n{self._table}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        head = f'<div role="status" style="{FONT}; color: var(--jp-ui-font-color1)">{escape(self._head)}</div>'
        notes = "".join(f'<div style="{FONT}; {_DIM}">{escape(note)}</div>' for note in self._notes)
        body = notes if self._over else self._table._repr_html_() + self._bars.bundle()["text/html"]
        return {
            "text/plain": str(self),
            "text/html": head + body,
            RUN_MIME: redact_values(self._runs, plain),
        }


def _build_header(member: FanOutMember, newest: str) -> dict[str, Any]:
    """Return a member with its newest line as data of RUN_MIME."""
    plan, silence = member.plan, _compute_silence(member)
    bar = _build_bar(member, member.bar).figures if member.bar and is_bar(member.bar) else ""
    return {
        **({"execution_id": member.run.execution_id} if member.run else {}),
        **facts_so_far(member.bill if silence is None else Bill(), plan.bundle.machine, plan.bundle),
        **({} if silence is None else {"silent_seconds": round(silence)}),
        "name": " · ".join([f"{plan.number}", *(f"{name}={value}" for name, value in plan.values.items())]),
        "state": _find_state(member),
        "told": [] if member.ended else [word for word in (bar, newest) if word],
        "notes": [member.reason] if member.ended and member.reason else [],
        **({"share": round(member.progress, 3)} if member.progress is not None and not member.ended else {}),
    }


def _find_state(member: FanOutMember) -> str:
    is_lost = member.lost or _compute_silence(member) is not None
    return "reconnecting" if is_lost and not member.ended else member.state


def _compute_silence(member: FanOutMember) -> float | None:
    return None if member.ended else member.silent_seconds


def _build_bar(member: FanOutMember, payload: dict[str, Any]) -> Bar:
    """Return the progress bar of a run, labeled with the run's number and the run's newest line."""
    bar = parse_bar(payload)
    return replace(bar, label=" · ".join(filter(None, [f"run {member.plan.number}", bar.label])))


def shared_machine(fan: FanOut) -> str:
    """Return the machine of all runs with its price; empty if the machines differ."""
    machines = {_format_machine(member.plan) for member in fan.members}
    return next(iter(machines)) if len(machines) == 1 else ""


def _format_machine(plan: RunPlan) -> str:
    """Return the machine of a run with its price."""
    return f"{machine_name(plan.machine)} at {price_label(plan.bundle.machine)}"


def _build_cells(member: FanOutMember, ranking: Ranking, *, has_machine: bool) -> tuple[str, ...]:
    state, silence, number = _find_state(member), _compute_silence(member), member.plan.number
    share = "" if member.progress is None or state != "running" else f" {member.progress:.0%}"
    result = ranking.by_number[number]
    return (
        str(number),
        *([_format_machine(member.plan)] if has_machine else []),
        *map(str, member.plan.values.values()),
        state_label(state) + share if silence is None else f"{mark_of(state)} no answer for {clock_label(silence)}",
        *(_format_score_so_far(result, ranking, score.name) for score in ranking.scores),
        "" if member.seconds is None or silence is not None else duration_label(member.seconds),
        (member.bill.label if silence is None else COST_UNKNOWN) if member.run else "",
        member.run.short_id if member.run else "",
    )


def _format_score_so_far(result: MemberResult, ranking: Ranking, name: str) -> str:
    """Return the curve of a score and its last value."""
    curve, value = ranking.curve(result.number, name), result.scores.get(name)
    return f"{sparkline(curve.values) if curve else ''} {'' if value is None else _format_score(value)}".strip()


def _format_newest_line(member: FanOutMember) -> str:
    return _clip_line(member.reason or COLOUR.sub("", member.newest))


def _add_newest_lines(table: Table, newest: Sequence[str]) -> Table:
    """Return the table with the newest line of each run, in a terminal as far as a line has room."""
    columns = terminal_columns()
    if columns is not None:
        used = max(map(len, table.text(None).splitlines()))
        room = min(columns, TERMINAL_WIDTH) - used - 2
        newest = [shorten_text(line, room) for line in newest] if room >= FEWEST_LETTERS else []
    if not any(newest):
        return table
    rows = [(*row, line) for row, line in zip(table.rows, newest, strict=True)]
    return replace(table, columns=(*table.columns, "Newest line"), rows=rows)


def _clip_line(text: str, width: int = NEWEST) -> str:
    return shorten_text(_SPACES.sub(" ", text).strip(), width)


def _count_states(fan: FanOut) -> str:
    states = Counter(label_of(member.state) for member in fan.members)
    return f"{count_label(len(fan.members), 'run')}: {', '.join(f'{count} {state}' for state, count in states.items())}"


def _format_cost(fan: FanOut) -> str:
    if all(member.ended for member in fan.members):
        return f"{fan.bill.label} in total"
    return f"≈ {credits_label(fan.cost)} so far, at most {format_highest_cost(fan)}"


def format_highest_cost(fan: FanOut) -> str:
    """Return a label for the maximum cost of all runs."""
    unknown = {member.plan.machine for member in fan.members if member.plan.bundle.worst_case is None}
    if fan.max_cost is not None or not unknown:
        return credits_label(fan.worst_case)
    rest = f"{', '.join(sorted(unknown))}, whose price is unknown"
    return rest if fan.worst_case is None else f"{credits_label(fan.worst_case)}, plus the cost on {rest}"


def heading_lines(fan: FanOut) -> list[str]:
    """Return the number of runs, the most that they cost together, and the warnings before their start."""
    return list(
        map(
            plain,
            [f"{count_label(len(fan.members), 'run')}, at most {format_highest_cost(fan)}", *map(str, fan.notices)],
        )
    )


def start_line(member: FanOutMember) -> str:
    """Return the line of a run that was started: its machine, values and id, and the commands for it."""
    plan, run = member.plan, member.run
    values = [f"{name}={value}" for name, value in plan.values.items()]
    facts = [str(plan.number), _format_machine(plan), *values, *([f"run {run.execution_id}"] if run else [])]
    commands = f". Follow: %lk_attach {run.short_id}. Stop: %lk_abort {run.short_id}" if run else ""
    return plain(redact(" · ".join(facts) + commands))


def plan_table(fan: FanOut) -> Table:
    """Return the table of ``--dry-run``: machine, values, time limit (s) and maximum cost of each run."""
    plans = [member.plan for member in fan.members]
    rows = [
        (
            str(plan.number),
            _format_machine(plan),
            *map(str, plan.values.values()),
            f"{plan.bundle.timeout} s",
            credits_label(plan.bundle.worst_case),
        )
        for plan in plans
    ]
    columns = ("#", "Machine", *plans[0].values, "Time limit", "Costs at most")
    cost = f"{count_label(len(plans), 'run')} cost at most {format_highest_cost(fan)} in total"
    note = f"{cost}; {fan.parallel} run at once. Nothing was sent."
    return Table(columns, rows, note, right=frozenset({"Time limit", "Costs at most"}))


def decision_table(outcomes: Sequence[MemberResult], scores: Sequence[Score], note: str = "", cause: str = "") -> Table:
    """Compare runs in a table: time, cost, GPU figures, scores, and the reason of each failure without ``cause``."""
    outcomes = rank(outcomes, scores)
    measured = any(outcome.gpu.is_known for outcome in outcomes)
    where = ["Machine"] if len({outcome.machine for outcome in outcomes}) > 1 else []
    names = [score.name for score in scores]
    figures = ("Time", "Cost", *(("Peak GPU memory", "Mean GPU use") if measured else ()), *names)
    marks, reasons = best_labels(outcomes, scores), _list_failure_reasons(outcomes, cause)
    rows = [
        (
            str(outcome.number),
            *([machine_name(outcome.machine)] if where else []),
            *map(str, outcome.values.values()),
            state_label(outcome.state),
            *_list_figures(outcome, measured=measured),
            *(_format_score(outcome.scores.get(name)) for name in names),
            _clip_line("; ".join(filter(None, [*marks[outcome.number], reasons[outcome.number]])), NOTICE_LENGTH),
            outcome.execution_id[:SHORT_ID],
        )
        for outcome in outcomes
    ]
    columns = ("#", *where, *outcomes[0].values, "State", *figures, "Remark", "Run")
    notes = [f"The best value of {score.name} is the {'highest' if score.highest else 'lowest'}." for score in scores]
    notes += (
        [] if measured else ["The table has no GPU memory or GPU use, because the cloud has no metrics of these runs."]
    )
    notes += merge_notices({outcome.number: outcome.notices for outcome in outcomes})
    note_text = "\n".join([*notes, note]).strip()
    return Table(columns, rows, note_text, right=frozenset(figures), folds=frozenset({"State", "Cost", "Remark"}))


def _list_failure_reasons(outcomes: Sequence[MemberResult], cause: str) -> dict[int, str]:
    """Return the failure reasons by run number; a repeated reason becomes a reference, and ``cause`` is left out."""
    first: dict[str, int] = {}
    for outcome in outcomes:
        first.setdefault(outcome.reason, outcome.number)
    return {
        outcome.number: f"like run {first[outcome.reason]}"
        if outcome.reason and first[outcome.reason] != outcome.number
        else outcome.reason.replace(f" ({cause})", "")
        for outcome in outcomes
    }


def merge_notices(by_number: Mapping[int, Sequence[str]]) -> list[str]:
    """Return the notices about runs without repetition, each with the numbers of its runs.

    The variables of each run are left out: a line below the logs lists the variables of all runs.
    """
    about: dict[str, list[str]] = {}
    for number, notices in by_number.items():
        for notice in filter(None, map(_remove_variables, notices)):
            about.setdefault(notice, []).append(str(number))
    return [
        notice if len(numbers) == len(by_number) else f"{notice} (run{'s' * (len(numbers) > 1)} {', '.join(numbers)})"
        for notice, numbers in about.items()
    ]


def _remove_variables(notice: str) -> str:
    parts = [part for part in notice.split(" · ") if not part.startswith(("Set here: ", "Changed here: "))]
    return " · ".join(parts)


def _list_figures(outcome: MemberResult, *, measured: bool) -> list[str]:
    took = "" if outcome.seconds is None else duration_label(outcome.seconds)
    use = ["", ""] if outcome.seconds is None else [_format_memory(outcome.gpu), _format_percent(outcome.gpu.mean_use)]
    return [took, outcome.bill.label, *(use if measured else ())]


def _format_memory(gpu: GpuUsage) -> str:
    percent = _format_percent(gpu.peak_memory)
    return f"{gpu.peak_gib:.1f} GiB ({percent})" if gpu.peak_gib is not None else percent


def _format_percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.0f} %"


def _format_score(value: float | str | None) -> str:
    if value is None:
        return "not printed"
    return value if isinstance(value, str) else f"{value:g}"


class ReceiptTable:
    """A table of runs; its metadata has their receipts, for programs."""

    def __init__(self, table: Table, receipts: Sequence[dict[str, Any]]) -> None:
        self._table = table
        self._metadata: dict[str, Any] = {METADATA_KEY: {"runs": receipts}} if receipts else {}

    def __str__(self) -> str:
        return str(self._table)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return dict(self._table._repr_mimebundle_()), self._metadata


class Decision(ReceiptTable):
    """The table that compares the runs of a fan-out."""

    def __init__(self, fan: FanOut, note: str, cause: str) -> None:
        receipts = [receipt_facts(member.record, member.run, member.bill) for member in fan.members if member.record]
        super().__init__(decision_table(fan.outcomes(), fan.scores, note, cause), receipts)
        self._picture = leaderboard_picture(Ranking(fan))
        self._data = {"head": "", "runs": [], "notes": note.splitlines()}

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the table and the picture of the curves; JupyterLab has both in the leaderboard above."""
        forms, metadata = super()._repr_mimebundle_(**options)
        forms["text/html"] += self._picture
        return {**forms, RUN_MIME: redact_values(self._data, plain)}, metadata


class FanOutLogs:
    """Shows the logs of all runs: collapsed as HTML, and as the paths of the files in text."""

    def __init__(self, members: Sequence[FanOutMember]) -> None:
        self._members = [member for member in members if member.run]
        self._limit = max(FEWEST_LINES, LOG_LINES // max(1, len(self._members)))

    def __str__(self) -> str:
        files = [
            f"  run {member.plan.number} · {member.plan.title}: {member.run and member.run.log_path}"
            for member in self._members
        ]
        return "\n".join(["Complete logs:", *files])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        folded = "".join(map(self._render_folded_log, self._members))
        return {"text/plain": str(self), "text/html": f'<div style="{FONT}; {_DIM}">{folded}</div>'}

    def _render_folded_log(self, member: FanOutMember) -> str:
        lines = member.display_lines()
        omitted = len(lines) - self._limit
        cut = f"… {count_label(omitted, 'line')} omitted here\n" if omitted > 0 else ""
        text = COLOUR.sub("", "\n".join(lines[-self._limit :]))
        path = member.run.log_path if member.run else ""
        return (
            f"<details><summary>Log of run {member.plan.number} · {escape(member.plan.title)} · "
            f"{count_label(len(lines), 'line')}</summary>"
            f'<pre style="{_CODE}">{escape(cut + text)}</pre>{_render_outputs(member)}'
            f"<div>Complete log: {escape(str(path))}</div></details>"
        )


def _render_outputs(member: FanOutMember) -> str:
    """Return the outputs of a run besides text, as HTML."""
    gallery = RecentOutputs()
    for frame in member.frames():
        if frame.kind in SHOWN:
            gallery.take(frame)
    return gallery._repr_mimebundle_()["text/html"]


def format_total(fan: FanOut) -> str:
    """Return a label for the number of started runs and their total cost."""
    return f"{count_label(sum(1 for member in fan.members if member.run), 'run')} for {fan.bill.label} in total"
