"""The third level: two runs, a chat and an object. Costs some credits.

Two short runs use the cheapest machine: the first examines its environment and prints output that logs may lose, the
second is aborted.
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
from lk_jupyter.api._creation import LOOK_PAUSE, LOOKS
from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api._events import Finished
from lk_jupyter.api._http import EventStream
from lk_jupyter.api.execution import StreamingExecutionRequest, is_final
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.serverless import Usage
from lk_jupyter.api.states import guess_end_state, is_documented, is_run_id
from lk_jupyter.check.ended_run import EndedRun
from lk_jupyter.check.findings import Report
from lk_jupyter.config.assumptions import ROUTE, find_assumption
from lk_jupyter.connection.budget import CostRequest, refuse_over_budget
from lk_jupyter.connection.credits import available_credits
from lk_jupyter.errors import LkError, OutcomeUnknown, UsageError
from lk_jupyter.inference.catalogue import ModelOffer, read_catalogue
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import add_token_to_name
from lk_jupyter.runs.abort import Abort, abort_soon
from lk_jupyter.runs.follow import Ending
from lk_jupyter.runs.submit.start import find_marked
from lk_jupyter.session import Session

#: Seconds: limit of each run; patience for its end, its log and a late stream; pause between reads of its state.
TIME_LIMIT = 40
_PATIENCE, _LOG_PATIENCE, _GLANCE, _PACE = 120.0, 10.0, 3.0, 0.2

#: Maximum tokens of the chat's answer and of its prompt.
ANSWER_TOKENS, _PROMPT_TOKENS = 8, 40

_ROUTER = "lyceum/router"
_START = "POST /execution/streaming/start"
_QUESTION = [{"role": "user", "content": "Say hi."}]

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


@dataclass(frozen=True)
class SpendingPlan:
    """The plan of a check: machine of the runs, model of the chat (None: unknown price), and maximum cost."""

    machine: MachineType
    model: ModelOffer | None
    worst: Decimal


def plan(session: Session, most: Decimal) -> SpendingPlan:
    """Return the plan. Raises UsageError if the maximum cost is unknown or exceeds ``most``."""
    machine = find_cheapest_machine(session, "--spend")
    model, chat = _find_cheapest_model(session)
    worst = 2 * (cost_at_limit(machine.price_per_hour, TIME_LIMIT) or Decimal(0)) + chat
    if worst > most:
        cost = _format_exact(worst)
        raise UsageError(
            f"--spend may cost {cost} credits (2 runs of {TIME_LIMIT} s on {machine.hardware_profile}), more than "
            f"--max-credits {most:f}. Nothing was spent. Allow it: %lk_check --spend --max-credits {cost}"
        )
    refuse_over_budget(session, CostRequest("this check", worst, saves=""))
    return SpendingPlan(machine, model, worst)


def find_cheapest_machine(session: Session, option: str) -> MachineType:
    """Return the machine for the runs of an option. Raises UsageError without a published price."""
    machines = session.machines()
    priced = [each for each in machines if each.price_per_hour is not None and machines.allows(each)]
    if not priced:
        raise UsageError(f"No machine has a published price, so the cost of {option} is unknown. Nothing was spent.")
    return min(priced, key=lambda each: each.price_per_hour or Decimal(0))


def _format_exact(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.0001'), 'ROUND_UP').normalize():f}"


def _find_cheapest_model(session: Session) -> tuple[ModelOffer | None, Decimal]:
    """Return the cheapest chat model, and the maximum cost of the chat: a router may choose any model."""
    try:
        offers = [each for each in read_catalogue(session) if each.kind == "chat"]
    except LkError:
        return None, Decimal(0)
    usage = Usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=ANSWER_TOKENS)
    costs = {each.id: cost for each in offers if (cost := each.prices.cost(usage)) is not None}
    if not costs:
        return None, Decimal(0)
    cheapest = min(costs, key=lambda name: costs[name])
    return next(each for each in offers if each.id == cheapest), max(costs.values())


def spend_and_check(session: Session, report: Report, spends: SpendingPlan) -> None:
    """Run, chat, store and read, and record differences; stop or delete everything at the end."""
    before, _ = available_credits(session.client)
    Probe(session, report, spends, before).run_and_clean_up()


@dataclass
class Started:
    """A run of the check: id, stream and output."""

    execution_id: str
    url: str | None
    text: str = ""
    end: Finished | None = None
    stream: EventStream[Any] | None = None
    has_ended: bool = False


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
        self._tokens: dict[str, Started | None] = {}  # None: started, without an answer so far

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
        stored = self._probe_object()
        first = self._start_run(self._fill_code(_LOOKS_AROUND))
        if first:
            self._follow_stream(first)
            self._examine_first_run(first, stored=stored)
            if first.has_ended:
                self._build_ended_run(first).compare()
            if second := self._start_run(self._fill_code(_WAITS)):
                self._abort_second_run(second)
        self._probe_chat()

    def _build_ended_run(self, started: Started) -> EndedRun:
        price = self._plan.machine.price_per_hour or Decimal(0)
        return EndedRun(self._client, self._report, started.execution_id, price, self._balance)

    def clean_up(self) -> None:
        """Abort active runs, and delete the object. An interrupt ends the waiting, but no abort."""
        aborts: list[Abort] = []
        for token, started in self._tokens.items():
            execution_id = started.execution_id if started else self._find_run_id(token)
            if execution_id and not (started and started.has_ended):
                aborts.append(abort_soon(self._client, execution_id))
            if started and started.stream:
                started.stream.close()
        with suppress(LkError):
            self._session.storage.remove(self._key)
        for abort in aborts:
            if not abort.wait():
                self._report.notes.append(abort.words)

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
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items()) + code

    @property
    def _canary(self) -> str:
        return f"\x1b]7411;{self._token};canary\x07"

    # Runs

    def _start_run(self, code: str, timeout: int = TIME_LIMIT) -> Started | None:
        """Start a run once; return None if the server refuses the start."""
        token = uuid4().hex
        request = StreamingExecutionRequest(
            code=code,
            execution_type=self._plan.machine.hardware_profile,
            file_name=add_token_to_name("lk_check.py", token),
            import_files=json.dumps({f"{self._module}.py": ""}),
            metadata={REQUEST_KEY: token},
        ).model_copy(update={"timeout": timeout})
        self._tokens[token] = None
        operation = _START
        try:
            body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
            raw = self._report.probe("POST", f"{EXTERNAL}/execution/streaming/start", body)
        except OutcomeUnknown:
            raw = RawAnswer(502, "", b"")
        if 400 <= raw.status < 500:
            del self._tokens[token]
            self._add_refusal(raw)
            return None
        answer = raw.json if isinstance(raw.json, dict) else {}
        execution_id = str(answer.get("execution_id") or "")
        self._report.set_assumption(
            "start_answer", "id" if raw.status == 200 and is_run_id(execution_id) else "none", operation
        )
        execution_id = execution_id if is_run_id(execution_id) else self._find_run_id(token) or ""
        if not execution_id:
            self._report.add_difference(operation, "a run", "no run in any list", "It may be active", "Look: %lk_runs")
            return None
        url = answer.get("streaming_url")
        self._tokens[token] = Started(execution_id, url if isinstance(url, str) and url else None)
        return self._tokens[token]

    def _add_refusal(self, answer: RawAnswer) -> None:
        """Record that the server refused a run."""
        words = f"HTTP {answer.status}: {str(answer.json)[:100]}"
        self._report.add_difference(
            _START, "a run", words, "The server refused the run", "Shows the reason from the server."
        )

    def _find_run_id(self, token: str) -> str | None:
        """Return the id of a run whose start returned no id."""
        for attempt in range(LOOKS):
            time.sleep(LOOK_PAUSE * bool(attempt))
            with suppress(LkError):
                runs = find_marked(self._client, token, {})
                # Only text of an unclear run is read. The run must not stay active either.
                if ids := [runs.user_run.execution_id] if runs.user_run else runs.unclear:
                    return ids[0]
        return None

    def _follow_stream(self, started: Started, until: str = "") -> None:
        """Read the stream of a run to its end, or until a text appears."""
        started.stream = self._client.follow(started.execution_id, started.url)
        reading = Thread(target=self._read_stream, args=(started, until), name="lk-check", daemon=True)
        reading.start()
        reading.join(_PATIENCE)
        started.stream.close()

    def _read_stream(self, started: Started, until: str) -> None:
        try:
            for event in started.stream or ():
                if isinstance(event, Finished):
                    started.end = event
                    return
                started.text += event.content
                if until and until in started.text:
                    return
        except LkError as error:
            words = str(error).partition("\n")[0]
            self._report.add_difference(
                "POST /stream/{execution_id}", "the output", words, "The stream can't be read", "Waits for the record."
            )

    def _read_late_stream(self, started: Started) -> str:
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

    def _wait_for_record(self, started: Started) -> dict[str, Any]:
        """Return the raw record when the run has ended, or at the time limit."""
        ending, until = Ending(self._client, started.execution_id), time.monotonic() + _PATIENCE
        ending.finished = started.end
        while time.monotonic() < until:
            with suppress(LkError):
                if is_final(ending.record().status):
                    started.has_ended = True
                    break
            time.sleep(_PACE)
        content = self._report.probe("GET", f"{EXTERNAL}/execution/{started.execution_id}").json
        return content if isinstance(content, dict) else {}

    def _examine_first_run(self, started: Started, *, stored: bool) -> None:
        report, assumed = self._report, self._client.assumptions
        record = self._wait_for_record(started)
        text = started.text or str(record.get("stdout") or "")
        facts = _parse_facts(text)
        if started.text:
            report.set_assumption("stream_method", assumed["stream_method"])
            report.set_assumption("stream_auth", assumed["stream_auth"])
            report.set_assumption("frames", "survive" if self._canary in started.text else "plain")
            report.set_assumption("newlines", "exact" if _BLANK_LINES in started.text else "extra")
            if _LONG_LINE not in started.text:
                report.add_difference(
                    "POST /stream/{execution_id}",
                    "a line of 20,000 characters",
                    "cut",
                    "Long lines are cut",
                    "Reads the record.",
                )
        self._compare_logs(started, record)
        self._record_end_state(record, started)
        report.set_assumption(
            "metadata_echo", "echoed" if (record.get("metadata") or {}).get(REQUEST_KEY) else "dropped"
        )
        report.set_assumption("kernel_state", "kept" if record.get("python_globals_out") else "own")
        if facts is None:
            report.add_difference(
                "POST /execution/streaming/start", "the output of a run", "none", "The run had no output", "Nothing."
            )
            return
        if not facts.get("imported"):
            report.add_difference(
                "POST /execution/streaming/start",
                "import_files are found",
                "not found",
                "The files of a run aren't in the expected folder",
                "Nothing.",
            )
        if stored and isinstance(folders := facts.get("bucket"), list):
            if folders:
                report.set_assumption("bucket_folder_python", str(folders[0]))
            else:
                report.add_difference(
                    "POST /execution/streaming/start",
                    "the bucket as a folder",
                    "none",
                    "A Python run doesn't see the bucket",
                    "Uses links to objects.",
                )

    def _compare_logs(self, started: Started, record: dict[str, Any]) -> None:
        """Compare stored output with printed output."""
        logs = {"GET /execution/{execution_id}": str(record.get("stdout") or record.get("combined_output") or "")}
        until = time.monotonic() + _LOG_PATIENCE
        while not (log := self._read_log(started)) and time.monotonic() < until:
            time.sleep(0.5)
        logs["GET /logs/execution/{execution_id}"] = log
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

    def _read_log(self, started: Started) -> str:
        with suppress(LkError):
            return "\n".join(entry.message for entry in self._client.logs.execution(started.execution_id))
        return ""

    def _record_end_state(self, record: dict[str, Any], started: Started) -> None:
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

    def _abort_second_run(self, started: Started) -> None:
        report = self._report
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

    def _abort_run(self, started: Started) -> dict[str, Any]:
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
                report.add_difference(
                    "POST /workloads/abort/{execution_id}", "HTTP 200", words, "The abort was refused", "Repeats it."
                )
        record = self._wait_for_record(started)
        self._measure_abort(started, time.monotonic() - aborted_at)
        return record

    def _measure_abort(self, started: Started, seconds: float) -> None:
        """Record how long an aborted run stays active and is billed."""
        operation = "POST /workloads/abort/{execution_id}"
        if started.has_ended:
            words = f"{seconds:.1f} seconds after the abort"
            self._report.add_measurement(
                operation, "the end of the run", words, "An aborted run is billed until it stops"
            )
        else:
            words = f"still active {seconds:.0f} seconds after the abort"
            meaning = "An aborted run stays active and is billed"
            self._report.add_difference(operation, "the end of the run", words, meaning, "Repeats the abort.")

    # Chat and bucket

    def _probe_chat(self) -> None:
        """Request 8 tokens once: from the router, otherwise from the cheapest model."""
        if self._plan.model is None:
            self._report.notes.append("No model has a published price, so no chat was started.")
            return
        assumption = find_assumption("router_prefix")
        for prefix in (assumption.default, *assumption.alternatives):
            if prefix.startswith("/") and self._send_chat(prefix, _ROUTER).status == 200:
                self._report.set_assumption("router_prefix", prefix)
                return
        routed = self._report.probe("POST", f"{EXTERNAL}/serverless/route", {"input": "Say hi."})
        if routed.status == 200:
            self._report.set_assumption("router_prefix", ROUTE)
        else:
            self._report.add_difference(
                "POST /serverless/route",
                "a model",
                f"HTTP {routed.status}",
                "No router answers",
                "Name a model: %lk_models",
            )
        prefix = self._report.values.get("chat_prefix") or self._client.assumptions["chat_prefix"]
        answer = self._send_chat(prefix, self._plan.model.id)
        if answer.status != 200:
            words = f"HTTP {answer.status}: {str(answer.json)[:100]}"
            self._report.add_difference(
                "POST /serverless/chat/completions",
                "HTTP 200",
                words,
                "The chat was refused",
                "Shows the reason from the server.",
            )

    def _send_chat(self, prefix: str, model: str) -> RawAnswer:
        body = {"model": model, "messages": _QUESTION, "max_tokens": ANSWER_TOKENS}
        return self._report.probe("POST", f"{prefix}/chat/completions", body)

    def _probe_object(self) -> bool:
        """Store and read an object; return whether a run can see the object."""
        content = self._token.encode()
        storage = self._session.storage
        try:
            with storage.open(self._key, "wb") as file:
                file.write(content)
            read = bytes(storage.get_bytes(self._key))
        except LkError as error:
            words = str(error).partition("\n")[0]
            self._report.add_difference(
                "POST /storage/credentials",
                "an object is stored and read",
                words,
                "The bucket can't be used",
                "Storage magics fail.",
            )
            return False
        if read != content:
            self._report.add_difference(
                "POST /storage/credentials",
                "the object that was stored",
                "another",
                "The bucket changes objects",
                "Nothing.",
            )
        return True


def _parse_facts(text: str) -> dict[str, Any] | None:
    """Return the facts that a run printed."""
    for line in text.splitlines():
        _, mark, rest = line.partition("lk_check ")
        if mark:
            with suppress(ValueError):
                facts = load_json(rest)
                return facts if isinstance(facts, dict) else None
    return None
