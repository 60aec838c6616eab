"""The third level: four runs, a chat and an object. Costs some credits.

Short runs use the cheapest machine: the first examines its environment and prints output that logs may lose, the
second is aborted, the third fails, and the fourth ends at its time limit. Rules compare each answer about them.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import uuid4

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api._events import Finished
from lk_jupyter.api.execution import StreamingExecutionRequest, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import canonical, guess_end_state, is_documented, is_run_id
from lk_jupyter.check.ended_run import EndedRun
from lk_jupyter.check.findings import Report
from lk_jupyter.check.lost_start import abort_marked, find_run_ids
from lk_jupyter.check.run_rules import (
    ABORT,
    LOG,
    RECORD,
    START,
    STREAM,
    RunFacts,
    check_run,
    describe_text_problem,
    is_same_id,
)
from lk_jupyter.check.services import find_cheapest_model, probe_chat, probe_object
from lk_jupyter.config.assumptions import IGNORED
from lk_jupyter.connection.budget import CostRequest, refuse_over_budget
from lk_jupyter.connection.credits import available_credits
from lk_jupyter.errors import ConnectionFailed, LkError, OutcomeUnknown, UsageError
from lk_jupyter.inference.catalogue import ModelOffer
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import add_token_to_name
from lk_jupyter.runs.abort import Abort, abort_soon
from lk_jupyter.runs.follow import Ending
from lk_jupyter.session import Session

#: Seconds: limit of the first two runs, and of a run that ends at its limit; duration of the code of the others.
TIME_LIMIT, SHORT_LIMIT, CODE_SECONDS = 30, 3, 15

#: Seconds by which a run may exceed its time limit.
_LIMIT_SLACK = 5

#: Seconds: patience for the end of a run, of an aborted run, of a stream after the run, for a log, and a late stream.
_PATIENCE, _ABORT_PATIENCE, _STREAM_PATIENCE, _LOG_PATIENCE, _GLANCE = 120.0, 30.0, 10.0, 10.0, 3.0

#: Seconds between reads of a state: of a run that ends, and of a run whose stream is open.
_PACE, _LOOK = 0.2, 2.0

#: Number of runs of a check.
RUNS = 4

#: Exit code of the run that fails.
FAILED_CODE = 3

_BLANK_LINES = "line 1\n\n\nline 2\n"
_LONG_LINE = "x" * 20_000

#: Code of the first run; NAMES are filled in. A file in the working folder remains for the second run.
_LOOKS_AROUND = """
import json, os, sys
def seen(folder):
    return os.path.isfile(os.path.join(folder, *KEY.split("/")))
def fuse():
    try:
        with open("/proc/mounts") as lines:
            return [line.split()[1] for line in lines if line.split()[2].startswith("fuse")]
    except OSError:
        return []
places = [*FOLDERS, os.environ.get("LK_STORAGE") or "", os.getcwd(), *fuse()]
try:
    __import__(MODULE)
    imported = True
except ImportError:
    imported = False
facts = {"bucket": [each for each in dict.fromkeys(places) if each and seen(each)], "imported": imported}
facts["cwd"], facts["python"] = os.getcwd(), sys.version.split()[0]
try:
    open(MARKER, "w").close()
except OSError:
    facts["read_only"] = True
sys.stdout.write("lk_check " + json.dumps(facts) + "\\n" + BLANK_LINES + CANARY + "\\n" + LONG_LINE + "\\nend\\n")
"""

#: Code of the second run: look for the file of the first run, and wait for the abort.
_WAITS = """
import json, os, sys, time
facts = {"found": os.path.exists(MARKER)}
try:
    os.remove(MARKER)
except OSError:
    pass
sys.stdout.write("lk_check " + json.dumps(facts) + "\\n")
sys.stdout.flush()
time.sleep(SECONDS)
"""

#: Code of the third run: fail.
_FAILS = "raise SystemExit(3)\n"

#: Code of the fourth run: count the seconds until the cloud ends the run at its time limit.
_COUNTS = """
import sys, time
for second in range(1, CODE_SECONDS + 1):
    time.sleep(1)
    sys.stdout.write(f"tick {second}\\n")
    sys.stdout.flush()
"""


@dataclass(frozen=True)
class SpendingPlan:
    """The plan of a check: machine of the runs, model of the chat (None: unknown price), and maximum cost."""

    machine: MachineType
    model: ModelOffer | None
    worst: Decimal


def plan(session: Session, most: Decimal) -> SpendingPlan:
    """Return the plan. Raises UsageError if the maximum cost is unknown or exceeds ``most``."""
    spends = estimate(session)
    if spends.worst > most:
        cost = _format_exact(spends.worst)
        raise UsageError(
            f"--spend may cost {cost} credits ({RUNS} runs of at most {TIME_LIMIT} s on "
            f"{spends.machine.hardware_profile}), more than --max-credits {most:f}. Nothing was spent. Allow it: "
            f"%lk_check --spend --max-credits {cost}"
        )
    refuse_over_budget(session, CostRequest("this check", spends.worst, saves=""))
    return spends


def estimate(session: Session) -> SpendingPlan:
    """Return a plan without a limit of its cost. Raises UsageError if the maximum cost is unknown."""
    machine = find_cheapest_machine(session, "--spend")
    model, chat = find_cheapest_model(session)
    seconds = (TIME_LIMIT, TIME_LIMIT, CODE_SECONDS, CODE_SECONDS)
    worst = sum((cost_at_limit(machine.price_per_hour, each) or Decimal(0) for each in seconds), chat)
    return SpendingPlan(machine, model, worst)


def find_cheapest_machine(session: Session, option: str) -> MachineType:
    """Return the machine for the runs of an option. Raises UsageError without a published price."""
    machines = session.machines()
    priced = [each for each in machines if (each.price_per_hour or 0) > 0 and machines.allows(each)]
    if not priced:
        raise UsageError(f"No machine has a published price, so the cost of {option} is unknown. Nothing was spent.")
    return min(priced, key=lambda each: each.price_per_hour or Decimal(0))


def _format_exact(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.0001'), 'ROUND_UP').normalize():f}"


def spend_and_check(session: Session, report: Report, spends: SpendingPlan) -> None:
    """Run, chat, store and read, and record differences; stop or delete everything at the end."""
    before, _ = available_credits(session.client)
    Probe(session, report, spends, before).run_and_clean_up()


class Probe:
    """The runs, the chat and the object of a check; ``balance`` is in credits before the check."""

    def __init__(self, session: Session, report: Report, spends: SpendingPlan, balance: Decimal) -> None:
        self._session = session
        self._client = session.client
        self._report = report
        self._plan = spends
        self._balance = balance
        self._token = uuid4().hex
        self._key = f"lk_check/{self._token}.txt"
        self._module = f"lk_check_{self._token[:12]}"  # a module uploaded with the runs, and a file left by a run
        self._tokens: dict[str, RunFacts | None] = {}  # None: started, without an answer so far
        self._user_id = ""
        self._refused = set(session.client.assumptions.list_parts("refused_fields"))

    def run_and_clean_up(self) -> None:
        """Do all steps, end all runs, and note the credits before and after."""
        try:
            self.run_steps()
        finally:
            self.clean_up()
            with suppress(LkError):
                after, _ = available_credits(self._client)
                worst = _format_exact(self._plan.worst)
                self._report.notes.append(
                    f"Credits before: {self._balance:f}, after: {after:f}. The check could spend at most {worst} "
                    "credits."
                )

    def run_steps(self) -> None:
        """Do all steps of the level."""
        stored = probe_object(self._session, self._report, self._key, self._token.encode())
        with suppress(LkError):
            self._user_id = self._client.user.status().user_id or ""
        first = self._start_run(self._fill_code(_LOOKS_AROUND))
        if first:
            first.lines, first.long_line = ("lk_check ", "line 1", "line 2", "end"), _LONG_LINE
            self._follow_stream(first)
            self._examine_first_run(first, stored=stored)
            if first.has_ended:
                self._build_ended_run(first).compare()
            if second := self._start_run(self._fill_code(_WAITS)):
                self._abort_second_run(second)
            if third := self._start_run(self._fill_code(_FAILS), CODE_SECONDS):
                self._examine_failed_run(third)
            if fourth := self._start_run(self._fill_code(_COUNTS), SHORT_LIMIT):
                self._examine_limited_run(first, fourth)
        probe_chat(self._report, self._plan.model)

    def _build_ended_run(self, started: RunFacts) -> EndedRun:
        price = self._plan.machine.price_per_hour or Decimal(0)
        return EndedRun(self._client, self._report, started.execution_id, price, self._balance)

    def clean_up(self) -> None:
        """Abort active runs, and delete the object. An interrupt ends the waiting, but no abort."""
        aborts: list[Abort] = []
        for token, started in self._tokens.items():
            if started is None:
                aborts += abort_marked(self._client, self._report, token, self._describe_cost())
            elif not started.has_ended or self._is_listed(started):
                aborts.append(abort_soon(self._client, started.execution_id))
            if started and started.stream:
                started.stream.close()
        with suppress(LkError):
            self._session.storage.remove(self._key)
        for abort in aborts:
            if not abort.wait():
                self._report.notes.append(f"{abort.words} {self._describe_cost()}")

    def _is_listed(self, started: RunFacts) -> bool:
        """Return whether a run that is reported as ended is listed as active."""
        with suppress(LkError):
            return any(is_same_id(row.execution_id, started.execution_id) for row in self._client.workloads.list())
        return False

    def _describe_cost(self) -> str:
        """Return the cost of a run that stays active, in words."""
        price = self._plan.machine.price_per_hour or Decimal(0)
        return f"If it stays active, it costs {price:f} credits per hour."

    def _fill_code(self, code: str) -> str:
        values = {
            "KEY": self._key,
            "FOLDERS": self._client.assumptions.candidates("bucket_folder_python"),
            "MODULE": self._module,
            "MARKER": f"{self._module}.mark",
            "BLANK_LINES": _BLANK_LINES,
            "CANARY": self._canary,
            "LONG_LINE": _LONG_LINE,
            "SECONDS": TIME_LIMIT,
            "CODE_SECONDS": CODE_SECONDS,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items()) + code

    @property
    def _canary(self) -> str:
        return f"\x1b]7411;{self._token};canary\x07"

    # Runs

    def _start_run(self, code: str, timeout: int = TIME_LIMIT) -> RunFacts | None:
        """Start a run once; return None if the server refuses the start."""
        token = uuid4().hex
        request = StreamingExecutionRequest(
            code=code,
            execution_type=self._plan.machine.hardware_profile,
            file_name=add_token_to_name("lk_check.py", token),
            import_files=json.dumps({f"{self._module}.py": ""}),
            metadata=None if "metadata" in self._refused else {REQUEST_KEY: token},
        ).model_copy(update={"timeout": timeout})
        body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        started_at = self._client.utc_now
        earlier = {each.execution_id for each in self._tokens.values() if each}
        self._tokens[token] = None
        try:
            raw = self._report.probe("POST", f"{EXTERNAL}/execution/streaming/start", body)
        except ConnectionFailed:
            del self._tokens[token]  # nothing was sent
            raise
        except OutcomeUnknown:
            raw = RawAnswer(502, "", b"")
        if 400 <= raw.status < 500:
            del self._tokens[token]
            if raw.status in {400, 422} and "metadata" not in self._refused and b"metadata" in raw.content:
                self._refused.add("metadata")
                self._report.set_assumption("refused_fields", "metadata", START)
                return self._start_run(code, timeout)
            self._add_refusal(raw)
            return None
        answer = raw.json if isinstance(raw.json, dict) else {}
        execution_id = str(answer.get("execution_id") or "")
        has_answer = raw.status == 200 and is_run_id(execution_id)
        self._report.set_assumption("start_answer", "id" if has_answer else "none", START)
        if execution_id in earlier:
            meaning, does = "Two runs have the same id", "Can't distinguish these runs."
            self._report.add_difference(START, "a new id", "the id of an earlier run", meaning, does)
            execution_id = ""
        execution_id = execution_id if is_run_id(execution_id) else self._find_run_id(token) or ""
        if not execution_id:
            return None  # the end of the check searches again, and reports the run
        url = answer.get("streaming_url")
        started = RunFacts(
            execution_id,
            body,
            started_at,
            self._user_id,
            url if isinstance(url, str) and url else None,
            has_answer=has_answer,
        )
        self._tokens[token] = started
        return started

    def _add_refusal(self, answer: RawAnswer) -> None:
        """Record that the server refused a run."""
        words = f"HTTP {answer.status}: {str(answer.json)[:100]}"
        self._report.add_difference(
            START, "a run", words, "The server refused the run", "Shows the reason from the server."
        )

    def _find_run_id(self, token: str) -> str | None:
        """Return the id of a run whose start returned no id."""
        return next(iter(find_run_ids(self._client, token)), None)

    def _follow_stream(self, started: RunFacts, until: str = "") -> None:
        """Read the stream of a run to its end, until a text appears, or until the run has ended without it."""
        started.stream = self._client.follow(started.execution_id, started.url)
        reading = Thread(target=self._read_stream, args=(started, until), name="lk-check", daemon=True)
        reading.start()
        started_at, ended_at = time.monotonic(), 0.0
        while reading.is_alive() and time.monotonic() - started_at < _PATIENCE:
            reading.join(_LOOK)
            if not ended_at:
                with suppress(LkError):
                    is_over = is_final(self._client.execution.status(started.execution_id).status)
                    ended_at = time.monotonic() if is_over else 0.0
            elif time.monotonic() - ended_at > _STREAM_PATIENCE:
                started.has_open_stream = reading.is_alive()
                break
        started.stream.close()

    def _read_stream(self, started: RunFacts, until: str) -> None:
        try:
            for event in started.stream or ():
                if isinstance(event, Finished):
                    started.end = event
                    return
                started.text += event.content
                if until and until in started.text:
                    return
        except LkError as error:
            started.stream_error = str(error).partition("\n")[0]
            self._report.add_difference(
                STREAM, "the output", started.stream_error, "The stream can't be read", "Waits for the record."
            )

    def _read_late_stream(self, started: RunFacts) -> str:
        """Return the content of a stream that is opened late."""
        stream = self._client.follow(started.execution_id, started.url)
        contents: list[str] = []

        def read() -> None:
            with suppress(LkError):
                contents.extend(getattr(event, "content", "") for event in stream)

        reading = Thread(target=read, name="lk-check", daemon=True)
        reading.start()
        reading.join(_GLANCE)
        stream.close()
        return "".join(contents)

    def _wait_for_record(self, started: RunFacts, patience: float | None = None) -> dict[str, Any]:
        """Return the raw record when the run has ended, or at the time limit."""
        ending, until = Ending(self._client, started.execution_id), time.monotonic() + (patience or _PATIENCE)
        ending.finished = started.end
        while time.monotonic() < until:
            with suppress(LkError):
                if is_final(ending.record().status):
                    started.has_ended = True
                    break
            time.sleep(_PACE)
        path = f"{EXTERNAL}/execution"
        with suppress(LkError):
            started.record = self._report.probe("GET", f"{path}/{started.execution_id}")
        with suppress(LkError):
            started.status = self._report.probe("GET", f"{path}/streaming/{started.execution_id}/status")
        return started.row

    def _examine_first_run(self, started: RunFacts, *, stored: bool) -> None:
        report, assumed = self._report, self._client.assumptions
        record = self._wait_for_record(started)
        text = started.text or str(record.get("stdout") or "")
        facts = _parse_facts(text)
        if started.text:
            report.set_assumption("stream_method", assumed["stream_method"])
            report.set_assumption("stream_auth", assumed["stream_auth"])
            report.set_assumption("frames", "survive" if self._canary in started.text else "plain")
            report.set_assumption("newlines", "exact" if _BLANK_LINES in started.text else "extra")
        self._compare_logs(started, record)
        check_run(report, started)
        self._record_end_state(record, started)
        report.set_assumption(
            "metadata_echo", "echoed" if (record.get("metadata") or {}).get(REQUEST_KEY) else "dropped"
        )
        report.set_assumption("kernel_state", "kept" if record.get("python_globals_out") else "own")
        if facts is None:
            report.add_difference(START, "the output of a run", "none", "The run had no output", "Nothing.")
            return
        report.set_assumption("import_files", "stored" if facts.get("imported") else IGNORED)
        if not facts.get("imported"):
            report.add_difference(
                START,
                "import_files in the folder of a run",
                "not found",
                "A run doesn't see the files of its request",
                "Sends the files inside the code.",
            )
        if stored and isinstance(folders := facts.get("bucket"), list):
            if folders:
                report.set_assumption("bucket_folder_python", str(folders[0]))
            else:
                report.add_difference(
                    START,
                    "the bucket as a folder",
                    "none",
                    "A Python run doesn't see the bucket",
                    "Uses links to objects.",
                )

    def _compare_logs(self, started: RunFacts, record: dict[str, Any]) -> None:
        """Compare stored output with printed output."""
        logs = {RECORD: str(record.get("stdout") or record.get("combined_output") or "")}
        until = time.monotonic() + _LOG_PATIENCE
        while describe_text_problem(log := self._read_log(started), started) and time.monotonic() < until:
            time.sleep(0.5)
        started.log = logs[LOG] = log
        for operation, text in logs.items():
            if text and self._canary not in text and self._report.values.get("frames") != "plain":
                self._report.add_difference(
                    operation,
                    "control characters",
                    "none",
                    "A reader that connects late gets no rich outputs",
                    "Shows the text.",
                )
        late = self._read_late_stream(started)
        self._report.set_assumption("late_attach", "replay" if "line 1" in late else "none")

    def _read_log(self, started: RunFacts) -> str:
        with suppress(LkError):
            return "\n".join(entry.message for entry in self._client.logs.execution(started.execution_id))
        return ""

    def _examine_failed_run(self, started: RunFacts) -> None:
        """Check the end of a run whose code fails."""
        started.code, started.states = FAILED_CODE, frozenset({"failed", "failed_user"})
        self._follow_stream(started)
        self._wait_for_record(started)
        self._check_end(started)

    def _examine_limited_run(self, first: RunFacts, started: RunFacts) -> None:
        """Check that a run ends at its time limit, and that one price explains its bill and the first bill."""
        started.code, started.states = None, frozenset({"timeout", "failed", "aborted", "cancelled", "failed_system"})
        self._follow_stream(started, f"tick {SHORT_LIMIT + _LIMIT_SLACK}\n")
        if f"tick {SHORT_LIMIT + _LIMIT_SLACK}\n" in started.text:
            words = f"the code ran for more than {SHORT_LIMIT + _LIMIT_SLACK} seconds"
            self._report.add_difference(
                START,
                f"the end of a run at its time limit of {SHORT_LIMIT} seconds",
                words,
                "A time limit doesn't limit the cost of a run",
                "Shows the time limit, and doesn't stop the run. Stop it: %lk_abort ID",
            )
            self._abort_run(started)
            return
        self._wait_for_record(started)
        self._check_end(started)
        if first.has_ended and started.has_ended:
            self._build_ended_run(first).compare_bills(started.execution_id)

    def _check_end(self, started: RunFacts) -> None:
        """Check the end of a run whose output was checked with another run."""
        started.log = ""
        check_run(self._report, started)
        if started.word and not is_documented(started.word):
            code = started.end.return_code if started.end else None
            pairs = [f"{started.word}={guess_end_state(started.word, code, failed=started.code is not None)}"]
            self._report.add_to_assumption("final_words", pairs)

    def _record_end_state(self, record: dict[str, Any], started: RunFacts) -> None:
        """Record a final state that the API doesn't document."""
        word = str(record.get("status") or "").strip().lower()
        if not word:
            return
        pairs = []
        if not is_documented(word):
            code = record.get("return_code")
            code = code if isinstance(code, int) else started.end.return_code if started.end else None
            pairs = [f"{word}={guess_end_state(word, code)}"]
        self._report.add_to_assumption("final_words", pairs)

    def _abort_second_run(self, started: RunFacts) -> None:
        report = self._report
        started.states = frozenset({"aborted", "cancelled"})
        self._follow_stream(started, "}\n")
        facts = _parse_facts(started.text)
        if facts is not None:
            report.set_assumption("working_folder", "shared" if facts.get("found") else "own")
            if not self._read_late_stream(started).startswith("lk_check"):
                report.set_assumption("late_attach", "none")
            self._build_ended_run(started).check_listed()
        record = self._abort_run(started)
        word = str(record.get("status") or "").strip().lower()
        if word and not is_documented(word):
            report.add_to_assumption("final_words", [f"{word}=aborted"])
        if started.has_ended and is_documented(word) and is_final(word) and canonical(word) not in started.states:
            meaning = "An aborted run is reported as another end"
            report.add_difference(RECORD, "an aborted run", f"'{word}'", meaning, "Shows the state.")

    def _abort_run(self, started: RunFacts) -> dict[str, Any]:
        """Abort a run, and return the raw record when the run has ended."""
        report, operation = self._report, f"{EXTERNAL}/workloads/abort/{started.execution_id}"
        aborted_at = time.monotonic()
        with suppress(LkError):
            answer = report.probe("POST", operation)
            is_message = answer.status == 200 and isinstance(answer.json, dict)
            if answer.status < 300:
                report.set_assumption("abort_answer", "message" if is_message else "empty")
            else:
                words = f"HTTP {answer.status}"
                report.add_difference(ABORT, "HTTP 200", words, "The abort was refused", "Repeats it.")
        record = self._wait_for_record(started, _ABORT_PATIENCE)
        self._measure_abort(started, time.monotonic() - aborted_at)
        return record

    def _measure_abort(self, started: RunFacts, seconds: float) -> None:
        """Record how long an aborted run stays active and is billed."""
        operation = ABORT
        if started.has_ended:
            words = f"{seconds:.1f} seconds after the abort"
            self._report.add_measurement(
                operation, "the end of the run", words, "An aborted run is billed until it stops"
            )
        else:
            words = f"still active {seconds:.0f} seconds after the abort"
            meaning = "An aborted run stays active and is billed"
            self._report.add_difference(operation, "the end of the run", words, meaning, "Repeats the abort.")


def _parse_facts(text: str) -> dict[str, Any] | None:
    """Return the facts that a run printed."""
    for line in text.splitlines():
        _, mark, rest = line.partition("lk_check ")
        if mark:
            with suppress(ValueError):
                facts = load_json(rest)
                return facts if isinstance(facts, dict) else None
    return None
