"""What must be true of a run of the check, as a table: each rule names one way to lose money or lines.

A rule reads the facts of a run and returns the actual behavior, or an empty text for the expected behavior.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._events import Finished
from lk_jupyter.api._http import EventStream
from lk_jupyter.api.states import SUCCEEDED_STATES, canonical, is_documented, is_final, is_known
from lk_jupyter.api.user import is_same_user
from lk_jupyter.check.findings import Report
from lk_jupyter.text.units import count_label

START, STREAM, RECORD = (
    "POST /execution/streaming/start",
    "POST /stream/{execution_id}",
    "GET /execution/{execution_id}",
)
STATUS, LOG = "GET /execution/streaming/{execution_id}/status", "GET /logs/execution/{execution_id}"
ABORT = "POST /workloads/abort/{execution_id}"

#: Time by which the clocks of two computers may differ.
_CLOCKS = timedelta(minutes=5)

#: Characters of a value in a finding.
_CLIP = 80


@dataclass
class RunFacts:
    """The facts of a run: the request, and each answer about the run, unparsed.

    ``lines`` are the lines that the code prints, ``long_line`` is a line that servers may cut. ``code`` is the exit
    code of the code, None for a run that the cloud must end. ``has_open_stream`` is whether the stream stayed open
    after the end of the run. ``started_at`` is the time of the request, ``states`` are the documented states in which
    the run may end. ``has_answer`` is whether the answer to the start had an id.
    """

    execution_id: str
    request: dict[str, Any]
    started_at: datetime
    user_id: str = ""
    url: str | None = None
    text: str = ""
    end: Finished | None = None
    stream_error: str = ""
    has_open_stream: bool = False
    status: RawAnswer | None = None
    record: RawAnswer | None = None
    log: str = ""
    lines: tuple[str, ...] = ()
    long_line: str = ""
    code: int | None = 0
    states: frozenset[str] = SUCCEEDED_STATES
    has_answer: bool = True
    has_ended: bool = False
    stream: EventStream[Any] | None = field(default=None, repr=False)

    @property
    def row(self) -> dict[str, Any]:
        """The record as JSON; empty without a record."""
        answer = self.record.json if self.record else None
        return answer if isinstance(answer, dict) else {}

    @property
    def word(self) -> str:
        """The state in the record."""
        return str(self.row.get("status") or "").strip().lower()


@dataclass(frozen=True)
class RunRule:
    """A rule: the operation, the expected behavior, how to find another behavior, its meaning and our response."""

    operation: str
    expected: str
    find: Callable[[RunFacts], str]
    meaning: str
    does: str


def check_run(report: Report, facts: RunFacts) -> None:
    """Add a finding for each rule that a run doesn't follow."""
    for rule in RULES:
        if actual := rule.find(facts):
            report.add_difference(rule.operation, rule.expected, actual[:_CLIP], rule.meaning, rule.does)


def is_same_id(one: object, other: object) -> bool:
    """Return whether both are forms of the same id: some servers write dashes in some answers only."""
    return _normalize_id(one) == _normalize_id(other)


def _normalize_id(value: object) -> str:
    return str(value).replace("-", "").lower()


def describe_text_problem(text: str, facts: RunFacts) -> str:
    """Return how a text differs from the printed lines; empty if all lines are complete, single and in order."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")
    rows = [row.strip() for row in plain.split("\n")]
    places = {line: [at for at, row in enumerate(rows) if row.startswith(line)] for line in facts.lines}
    missing = [line for line, numbers in places.items() if not numbers]
    repeated = [line for line, numbers in places.items() if len(numbers) > 1]
    firsts = [numbers[0] for numbers in places.values() if numbers]
    if len(missing) == len(facts.lines):
        return "no output" if facts.lines else ""
    if missing:
        return f"{len(missing)} of {len(facts.lines)} lines are missing"
    if repeated:
        return f"{len(repeated)} of {len(facts.lines)} lines appear more than once"
    if firsts != sorted(firsts):
        return "the lines have another order"
    return "a line of 20,000 characters is cut" if facts.long_line and facts.long_line not in text else ""


def _describe_stream_problem(facts: RunFacts) -> str:
    return "" if facts.stream_error else describe_text_problem(facts.text, facts)


def _describe_record_text(facts: RunFacts) -> str:
    if not facts.row:
        return ""
    return describe_text_problem(str(facts.row.get("stdout") or facts.row.get("combined_output") or ""), facts)


def _describe_log(facts: RunFacts) -> str:
    return describe_text_problem(facts.log, facts)


def _describe_id(facts: RunFacts) -> str:
    value = facts.row.get("execution_id")
    if value is None or str(value) == facts.execution_id:
        return ""
    return "the id in another form" if is_same_id(value, facts.execution_id) else "the id of another run"


def _describe_stream_end(facts: RunFacts) -> str:
    if not facts.text or facts.stream_error or facts.code is None:
        return ""
    if facts.end is None:
        return "no end of the run"
    if (facts.end.return_code or 0) != facts.code:
        return f"exit code {facts.end.return_code}"
    return ""


def _describe_state(facts: RunFacts) -> str:
    if not facts.row or is_final(facts.word) or (facts.word and not is_known(facts.word)):
        return ""
    return f"'{facts.word}' after the end of the run" if facts.word else "no state"


def _describe_wrong_end(facts: RunFacts) -> str:
    """Return a documented final state with another meaning."""
    if not is_documented(facts.word) or not is_final(facts.word):
        return ""
    return "" if canonical(facts.word) in facts.states else f"'{facts.word}'"


def _describe_status(facts: RunFacts) -> str:
    answer = facts.status
    if answer is None or answer.is_absent:
        return ""
    if answer.status >= 300 or not isinstance(answer.json, dict):
        return f"HTTP {answer.status}" if answer.status >= 300 else "no state"
    word = str(answer.json.get("status") or "").strip().lower()
    return "" if not facts.word or word == facts.word else f"'{word}', but '{facts.word}' in the record"


def _describe_exit_code(facts: RunFacts) -> str:
    if facts.code is None or not facts.row or not is_final(facts.word):
        return ""
    codes = [facts.row[name] for name in ("return_code", "exit_code") if facts.row.get(name) is not None]
    if not codes:
        return "no exit code"
    return "" if str(codes[0]) == str(facts.code) else f"exit code {str(codes[0])[:20]}"


def _describe_missing_record(facts: RunFacts) -> str:
    if facts.record is None:
        return "no answer"
    if facts.record.status >= 300:
        return f"HTTP {facts.record.status}"
    return "" if facts.row else "another form"


def _describe_user(facts: RunFacts) -> str:
    if not facts.row or not facts.user_id:
        return ""
    user_id = facts.row.get("user_id")
    if not user_id:
        return "no user_id"
    return "" if is_same_user(str(user_id), facts.user_id) else "the user_id of another user"


def _describe_machine(facts: RunFacts) -> str:
    machine, requested = facts.row.get("hardware_profile"), facts.request.get("execution_type")
    return "" if not machine or machine == requested else f"'{machine}'"


def _describe_file_name(facts: RunFacts) -> str:
    if not facts.row:
        return ""
    name = facts.row.get("file_name")
    return "" if name == facts.request.get("file_name") else f"'{name}'" if name else "no file_name"


def _describe_times(facts: RunFacts) -> str:
    """Return times of the record that contradict each other, or this computer's clock."""
    times = {name: time for name in ("created_at", "start_time", "end_time") if (time := _parse_time(facts, name))}
    if facts.row and "created_at" not in times:
        return "no created_at"
    for name, time in times.items():
        distance = abs(time - facts.started_at)
        if distance > _CLOCKS:
            minutes = count_label(round(distance.total_seconds() / 60), "minute")
            return f"'{name}' {minutes} from the clock of this computer"
    if "start_time" in times and "end_time" in times and times["end_time"] < times["start_time"]:
        return "an end before the start"
    return ""


def _parse_time(facts: RunFacts, name: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(facts.row.get(name)).replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _describe_limit(facts: RunFacts) -> str:
    requested, recorded = facts.request.get("timeout"), facts.row.get("timeout")
    is_same = recorded is None or str(recorded) == str(requested)
    return "" if is_same else f"{str(recorded)[:20]} s instead of {requested} s"


_LOST_START = "If the answer to a start is lost, lk_jupyter can't find the run."

RULES: tuple[RunRule, ...] = (
    RunRule(
        START,
        "the requested machine",
        _describe_machine,
        "The run was on another machine, at another price",
        "Shows the machine of the record in the receipt.",
    ),
    RunRule(
        START,
        "the requested time limit",
        _describe_limit,
        "The run has another time limit",
        "Uses the time limit of the request for budgets.",
    ),
    RunRule(
        STREAM, "each printed line once", _describe_stream_problem, "The stream changes the output", "Reads the record."
    ),
    RunRule(
        STREAM,
        "the end of the run with its exit code",
        _describe_stream_end,
        "The stream doesn't show how the run ended",
        "Reads the record.",
    ),
    RunRule(
        STREAM,
        "a closed stream after the end",
        lambda facts: "an open stream" if facts.has_open_stream else "",
        "The stream stays open",
        "Polls the state of the run.",
    ),
    RunRule(
        START,
        "an address of the stream",
        lambda facts: "" if facts.url or not facts.has_answer else "no streaming_url",
        "The start doesn't return the address of the output",
        "Uses the documented address.",
    ),
    RunRule(RECORD, "a record", _describe_missing_record, "The run has no record", "Uses the stream and the state."),
    RunRule(RECORD, "the id of the run", _describe_id, "The record has another id", "Compares ids without their form."),
    RunRule(RECORD, "the user_id of the key", _describe_user, "The record doesn't show your user", _LOST_START),
    RunRule(RECORD, "the file_name of the request", _describe_file_name, "The name of the run differs", _LOST_START),
    RunRule(
        RECORD,
        "a final state",
        _describe_state,
        "The run is never reported as ended",
        "Uses the end of the stream, after a minute.",
    ),
    RunRule(RECORD, "another final state", _describe_wrong_end, "The state contradicts the end", "Shows the state."),
    RunRule(STATUS, "the state of the record", _describe_status, "State and record differ", "Uses the record."),
    RunRule(RECORD, "the exit code", _describe_exit_code, "The record has another exit code", "Uses the stream."),
    RunRule(
        RECORD,
        "times of the run in UTC",
        _describe_times,
        "Durations and costs can't be computed from the record",
        "Estimates both from the clock of this computer.",
    ),
    RunRule(
        RECORD,
        "each printed line once",
        _describe_record_text,
        "The record changes the output",
        "Reads the stream and the stored log.",
    ),
    RunRule(
        LOG,
        "each printed line once",
        _describe_log,
        "The stored log changes the output",
        "Reads the stream and the record.",
    ),
)
