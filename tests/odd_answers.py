"""Real actions of a user while the cloud answers oddly, judged by the truth of the cloud.

``python tests/odd_answers.py`` draws an action for each row of ``odd_catalogue``, runs it in a notebook's shell, in
Python or on the command line, and compares what it shows with the truth of the local cloud behind ``odd_server``:

- ``silent``: what is active at the end isn't shown with its id and a command, and no listed command shows it
- ``twice``: more was created, or ran, than the action requested
- ``false``: a sentence contradicts the truth
- ``hang``: the action doesn't return within its bound
- ``internal``: the output has a traceback of the package or words of a library

``--kind vm --count 50 --seed 2`` chooses, and words after the options choose scenarios by parts of their names.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from odd_catalogue import KINDS, Scenario, all_scenarios, scenarios
from odd_server import OddServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lk_jupyter.api._client import Client

#: Seconds that an action may take, with the shortened patience of the client; and that its background work gets.
LIMIT, SETTLES = 40, 8.0

RULES = ("silent", "twice", "false", "hang", "internal")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFrZXlmb3J0ZXN0c29mb2RkYW5zd2Vyc2FhYWFhYWFh odd"

LINES = 5

#: Kinds of objects that cost credits.
KINDS_OF_TRUTH = ("vm", "run", "volume", "deployment", "batch")

#: Characters of the output that are printed for a failed scenario.
MOST_SHOWN = 1500


# The client


def shorten_patience() -> None:
    """Shorten the pauses and the patience of the client in this process."""
    from lk_jupyter.api import _creation, _lifecycle, _polling, _retry  # noqa: PLC0415 (the parent process needs none)
    from lk_jupyter.inference import batch, deploy  # noqa: PLC0415
    from lk_jupyter.runs import abort, follow, run  # noqa: PLC0415
    from lk_jupyter.storage._s3_http import Wire  # noqa: PLC0415
    from lk_jupyter.vms import ends, facts, hosted, replacing, sending, vms  # noqa: PLC0415

    for module, name, value in (
        (_polling, "PATIENCE", 6.0), (_polling, "PATIENCE_UNKNOWN", 1.5), (_retry, "pause", lambda _: 0.05),
        (_creation, "LOOK_PAUSE", 0.1), (vms, "PATIENCE", 10.0), (vms, "PAUSES", (0.1, 0.2)),
        (_lifecycle, "ABSENCE_SECONDS", 1.0), (_lifecycle, "ODD_SECONDS", 3.0),
        (_lifecycle, "CONFIRM_SECONDS", 4.0), (_lifecycle, "RESEND_SECONDS", 0.5),
        (_lifecycle, "REPEAT_SECONDS", 1.0), (ends, "VOLUME_ABSENCE_SECONDS", 1.0),
        (sending, "LINGER_SECONDS", 2.0), (facts, "RELEASE_SECONDS", 1.0),
        (sending, "_CONNECT_SECONDS", 8.0), (sending, "_CONNECT_PAUSE", 0.3), (replacing, "_REPLACE_SECONDS", 6.0),
        (replacing, "_REPLACE_PAUSE", 0.5), (hosted, "_FAILURE_PAUSE", 0.2), (deploy, "PACE", 0.1),
        (batch, "LONGEST_PACE", 0.3), (batch, "LATE_PAUSES", (0.1, 0.3)),
        (follow, "NEW_SECONDS", 1.0), (follow, "UNREADABLE", 2.0), (follow, "LAGGING", 2.0),
        (follow, "_GLANCE", 0.5), (follow, "PAUSES", (0.05, 0.2)),
        (abort, "PAUSES", (0.05, 0.2)), (abort, "LET_GO", 4.0), (abort, "PATIENCE", 4.0), (abort, "_LOOK", 0.1),
        (abort, "_REPEAT", 0.5), (run, "POLL_SECONDS", 0.1), (Wire.__init__, "__defaults__", ((0.0, 0.05),)),
    ):  # fmt: skip
        if hasattr(module, name):  # otherwise the limit of each action shows what takes longer
            setattr(module, name, value)


# Actions


@dataclass(frozen=True)
class Action:
    """What a user does: cells of a notebook before the answers are odd, and the cells that are judged.

    A cell ``lk …`` is a command line. ``creates`` is how many objects the cells request, ``remains`` whether an object
    is expected to stay. The cells know ``marker``, the file in which the code of runs reports its start and end.
    """

    cells: tuple[str, ...]
    before: tuple[str, ...] = ()
    creates: int = 1


CODE = f"""
with open({{marker!r}}, "a") as report: report.write("start ")
for number in range(1, {LINES + 1}): print("line " + str(number))
with open({{marker!r}}, "a") as report: report.write("end ")
"""
SLEEP = """
import time
with open({marker!r}, "a") as report: report.write("start ")
print("line 1", flush=True)
time.sleep(600)
"""
VM_RUN = "--on vm --gpu A100 --max-cost 5 --timeout 10m --fresh"
START_VM = (
    "import lk_jupyter\nsession = lk_jupyter.connect()\n"
    "run = session.run({code!r}, on='vm', gpu='A100', max_cost=5, timeout=600)\n"
)
FIRST_LINE = "next(event for event in run.follow() if getattr(event, 'content', ''))"
START = "import lk_jupyter\nsession = lk_jupyter.connect()\nrun = session.run({code!r}, gpu='A100', timeout=600)\n"
RESULT = "print(run.execution_id)\nresult = run.result()\nprint(result.stdout, 'return_code=', result.return_code)"
TEXTS = "texts = ['one', 'two', 'three']"
BATCH = "%lk_batch texts -m local/echo --max-tokens 5 --yes --save answers"

ACTIONS = {
    "create": Action(("%lk_vm create --gpu A100 --name {name} --yes",)),
    "delete": Action(("%lk_vm delete {name} --yes",), ("%lk_vm create --gpu A100 --name {name} --yes --no-wait",), 0),
    "cell": Action((f"%%lk_run {VM_RUN}{CODE}",)),
    "call": Action((f"{START_VM}{RESULT}",)),
    "abort": Action(("run.abort()\nprint(run.status)",), (f"{START_VM.replace('code', 'sleep')}{FIRST_LINE}",), 0),
    "create with volume": Action((
        "%lk_vm create --gpu A100 --new-volume 10 --name {name} --yes", "%lk_volumes", "%lk_vm delete {name} --yes",
    )),
    "cell with volume": Action((f"%%lk_run {VM_RUN} --volume new:10{CODE}", "%lk_volumes")),
    "delete volume": Action(("%lk_volumes delete {volume} --yes",), (
        "%lk_vm create --gpu A100 --new-volume 10 --name {name} --yes --no-wait", "%lk_vm delete {name} --yes",
    ), 0),
    "deploy": Action(("%lk_deploy local/echo --gpu A100 --yes",)),
    "undeploy": Action(("%lk_undeploy {deployment}",), ("%lk_deploy local/echo --gpu A100 --yes --no-wait",), 0),
    "batch": Action((BATCH, "print(get_ipython().user_ns.get('answers'))", BATCH)),
    "cancel batch": Action((BATCH.replace(" --yes --save answers", " --cancel"),), ("{batch}",), 0),
    "docker": Action(("%%lk_docker python:3.11 --machine gpu.l40s\necho epoch 1",)),
    "compose": Action(("%%lk_compose --machine gpu.l40s\nservices:\n  app:\n    image: python:3.11",)),
    "stop container": Action(("%lk_abort {run}",), ("{container}",), 0),
    "session": Action((f"%%lk_run --session {{name}} --gpu A100{CODE}", "%lk_sessions")),
    "stop session": Action(("%lk_sessions stop {name}",), ("%%lk_run --session {name} --gpu A100\nprint('on')",), 0),
    "run": Action((f"%%lk_run --gpu A100 --fresh{CODE}",)),
    "run with files": Action(("data = b'1' * 3_000_000\n%lk_put {file} up/", f"%%lk_run --gpu A100 --in data{CODE}")),
    "upload": Action(("%lk_put {file} up/", "%lk_ls up/", "%lk_get up/file.bin copy.bin"), (), 0),
    "lk run": Action(("lk run -c {code!r} --gpu A100 --seconds 20",)),
    "abort run": Action(("run.abort()\nprint(run.status)",), (f"{START.replace('code', 'sleep')}{FIRST_LINE}",), 0),
}  # fmt: skip


# The truth


@dataclass
class Truth:
    """What the cloud knows: active objects by kind as id → name, what was created, and what runs have done."""

    active: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    created: Counter[str] = field(default_factory=Counter)
    bills: dict[str, Decimal] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    ends: int = 0
    stored: set[str] = field(default_factory=set)
    rows_sent: int = 0


#: Kind of an active object → a command that a user can give about it.
COMMANDS = {
    "vm": r"%?lk_vm|lk vm|%?lk[_ ]abort|%?lk[_ ]runs|lk stop|--stop-all",
    "run": r"%?lk[_ ](abort|runs|attach|wait|logs|status|sessions|notebook)|lk stop|--stop-all|released at",
    "volume": "%lk_volumes",
    "deployment": "%lk_(undeploy|deployments)",
    "batch": r"--cancel|batches\.list|[Rr]un the (same )?line again",
}

#: Kind → commands that list active objects, each with the kind's words in the output that make them known.
LISTS = {"vm": "%lk_vm list", "run": "%lk_runs", "volume": "%lk_volumes", "deployment": "%lk_deployments"}

#: What is shown before anything is created.
PLAN = re.compile(
    r"(?m)^(Machine|Free now|Cost|Name|Your key|Volume|Deleted|Reclaimed)  .*$|^◌ (submitting|plan) .*$|"
    r"^  Billed until you stop it .*$"
)

MAY_BE = re.compile(
    r"may (still )?(be active|be billed|exist|have)|still active|is unknown|costs? credits|can't be confirmed|Check"
)

INTERNAL = re.compile(
    r"Traceback \(most recent|Exception in thread|Error in callback|validation error|pydantic|input_value|NoneType|"
    r"httpx|object has no attribute|\x1b\[2J|Exception ignored|unexpected keyword|KeyError|AttributeError|TypeError"
)


class Case:
    """A scenario on a cloud of the worker."""

    def __init__(self, worker: Worker, scenario: Scenario) -> None:
        self.worker, self.scenario = worker, scenario
        self.action = ACTIONS[scenario.action]
        self.folder = Path(tempfile.mkdtemp(dir=worker.folder))
        self.marker = self.folder / "marker"
        self.is_captured = scenario.row.kind == "container"
        if self.is_captured:
            from mutated_answers import CapturedCloud  # noqa: PLC0415 (it reads the recordings)

            self.captured = CapturedCloud("running" if scenario.action == "stop container" else "completed", None)
        self.server = OddServer(self.captured.url if self.is_captured else worker.cloud.base_url)
        worker.number += 1
        self.values: dict[str, Any] = {"marker": str(self.marker), "name": f"odd{worker.number}"}

    # Play

    def play(self) -> tuple[str, list[str]]:
        """Run the cells; return what they show, and what is wrong."""
        (self.folder / ".ssh").mkdir()
        (self.folder / ".ssh" / "id_ed25519.pub").write_text(f"{KEY}\n")
        (self.folder / "file.bin").write_bytes(b"1" * 100_000)
        self.worker.sign_in(self.server.url, self.folder)
        self.before = self.read_truth()
        first = ""
        for cell in self.action.before:
            first += self.run_cell(cell)
        self.first = self.read_truth()
        self.learn_ids()
        self.server.changes = self.scenario.row.build()
        self.requests = Counter(self.server.executed)
        began = time.monotonic()
        try:
            with self.worker.time_limit(LIMIT):
                shown = "\n".join([self.run_cell(cell) for cell in self.action.cells])
        except Hang:
            shown = f"{self.worker.take_output()}\nHang"
        self.seconds = time.monotonic() - began
        truth = self.settle()
        shown += self.worker.take_output()
        return f"{first}\n──\n{shown}", list(self.judge(shown, truth))

    def run_cell(self, cell: str) -> str:
        """Run a cell of a notebook, or a command."""
        text = self.fill(cell)
        return self.worker.run_command(text) if text.startswith("lk ") else self.worker.run_cell(text)

    def fill(self, cell: str) -> str:
        """Return a cell with the values of this case."""
        code, sleep = CODE.format(**self.values), SLEEP.format(**self.values)
        if cell == "{batch}":  # a batch that is active, because its user has interrupted the cell
            return f"{TEXTS}\n" + BATCH
        if cell == "{container}":
            start = "lk_jupyter.connect().run_image('python:3.11', 'sleep 100', gpu='L40S')"
            return f"import lk_jupyter\nrun = {start}"
        known = {**self.values, "code": code, "sleep": sleep, "file": str(self.folder / "file.bin")}
        if cell.startswith("lk "):
            return cell.replace("{code!r}", shlex.quote(code))
        prefix = f"{TEXTS}\n" if cell.startswith("%lk_batch") else ""
        text = cell.format_map(Known(known))
        if prefix:
            self.worker.run_cell(prefix)
        return text

    def learn_ids(self) -> None:
        """Learn the ids that the next cells use."""
        new = {
            kind: next(iter(set(self.first.active[kind]) - set(self.before.active[kind])), "none")
            for kind in KINDS_OF_TRUTH
        }
        self.values |= new

    # Truth

    def read_truth(self) -> Truth:
        """Read the truth from the cloud, without the odd answers."""
        truth = Truth()
        if self.marker.exists():
            words = self.marker.read_text().split()
            truth.starts, truth.ends = words.count("start"), words.count("end")
        if self.is_captured:
            for run in self.captured.cloud_runs.values():
                truth.created["run"] += 1
                truth.states[run.run_id] = run.state
                if run.state == "running":
                    truth.active["run"][run.run_id] = ""
            return truth
        client = self.worker.cloud.client
        self.read_machines(truth, client)
        for each in client.inference.list(include_terminated=True):
            truth.created["deployment"] += 1
            truth.states[each.deployment_id] = each.status
            if each.status not in {"stopped", "failed"}:
                truth.active["deployment"][each.deployment_id] = each.hf_model_id
        for batch in client.batches.list():
            truth.created["batch"] += 1
            truth.rows_sent += (batch.request_counts.total or 0) if batch.request_counts else 0
            truth.states[batch.id] = batch.status
            if batch.status not in {"completed", "failed", "cancelled", "expired", "cancelling"}:
                truth.active["batch"][batch.id] = ""
        return truth

    def read_machines(self, truth: Truth, client: Client) -> None:
        """Read the truth about VMs, volumes and runs."""
        for vm in client.vms.list():
            truth.created["vm"] += 1
            truth.states[vm.vm_id] = vm.status
            truth.bills[vm.vm_id] = vm.croesus_billed or Decimal(0)
            if vm.status != "terminated":
                truth.active["vm"][vm.vm_id] = vm.display_name or ""
        for volume in client.block.list():
            truth.created["volume"] += 1
            truth.active["volume"][volume.volume_id] = volume.name or ""
        for run in client.workloads.list():
            truth.active["run"][run.execution_id] = run.run_name or ""
            truth.states[run.execution_id] = run.status
        for run in client.billing.history():
            truth.created["run"] += 1
            truth.states[run.execution_id] = run.status
            truth.bills[run.execution_id] = run.billed or Decimal(0)
        truth.created["run"] += len(set(truth.active["run"]) - set(truth.bills))

    def settle(self) -> Truth:
        """Return the truth once nothing new is active, or after the time of the background work."""
        end = time.monotonic() + (SETTLES if self.action.creates == 0 or "cell" in self.scenario.action else 1.5)
        while True:
            truth = self.read_truth()
            if not any(self.find_new(truth, kind) for kind in KINDS_OF_TRUTH) or time.monotonic() > end:
                return truth
            time.sleep(0.2)

    def find_new(self, truth: Truth, kind: str) -> dict[str, str]:
        """Return the active objects that this case has created."""
        return {each: name for each, name in truth.active[kind].items() if each not in self.before.active[kind]}

    # Judge

    def judge(self, shown: str, truth: Truth) -> Iterator[str]:
        """Yield each broken rule with its facts."""
        if re.search(r"\bHang\b", shown):
            yield f"hang: more than {LIMIT} s"
        if match := INTERNAL.search(shown):
            yield f"internal: {shown[max(0, match.start() - 60) : match.end() + 60]!r}"
        yield from self.judge_active(shown, truth)
        yield from self.judge_counts(shown, truth)
        yield from self.judge_sentences(shown, truth)

    def judge_active(self, shown: str, truth: Truth) -> Iterator[str]:
        for kind in KINDS_OF_TRUTH:
            for each, name in self.find_new(truth, kind).items():
                if self.is_session(name) and re.search(
                    f"session {self.values['name']}|%lk_sessions stop {self.values['name']}", PLAN.sub("", shown)
                ):
                    continue
                if self.is_known(shown, kind, each, name):
                    continue
                command = LISTS.get(kind)
                listing = self.worker.run_cell(command) if command else ""
                if command and command in shown and (self.has_name(listing, each, name) or MAY_BE.search(shown)):
                    continue
                is_listed = "listed" if self.has_name(listing, each, name) else "not listed either"
                yield f"silent: {kind} {each[:12]} {name} is active ({is_listed})"

    def is_session(self, name: str) -> bool:
        """Return whether a run is the kept machine of this case."""
        return name == f"session {self.values['name']}"

    def is_known(self, shown: str, kind: str, each: str, name: str) -> bool:
        """Return whether an object is shown with its id or name, and with a command."""
        told = PLAN.sub("", shown)
        return self.has_name(told, each, name) and re.search(COMMANDS[kind], told) is not None

    def has_name(self, shown: str, each: str, name: str) -> bool:
        """Return whether a text has an id, as the cloud shows it, or the name."""
        forms = {
            each,
            *(str(change.shown[each]) for change in self.server.changes if each in getattr(change, "shown", {})),
        }
        plain = shown.replace("-", "").lower()
        run_key = f"vm-{name.removeprefix('lk-run-')}" if name.startswith("lk-run-") else name
        return bool(name and (name in shown or run_key in shown)) or any(
            form[:8] in shown or form.replace("-", "").lower()[:8] in plain for form in forms
        )

    def judge_counts(self, shown: str, truth: Truth) -> Iterator[str]:
        kind = {"container": "run", "session": "run"}.get(self.scenario.row.kind, self.scenario.row.kind)
        label = self.scenario.row.label
        extra = 1 if label == "two machines for one request" else 0
        for each in {kind, "vm"} - {"volume", "batch"}:
            new = truth.created[each] - self.first.created[each]
            if new > self.action.creates + extra + (kind == "run" and "with files" in self.scenario.action):
                yield f"twice: {new} objects of kind {each}"
        if truth.starts > 1:
            yield f"twice: the code ran {truth.starts} times"
        if kind == "batch":
            rows = truth.rows_sent - self.first.rows_sent
            if rows > 3:
                yield f"twice: {rows} rows sent for 3 without a question"

    def judge_sentences(self, shown: str, truth: Truth) -> Iterator[str]:
        facts = Facts(self, shown, truth)
        for pattern, holds in SENTENCES.items():
            for match in re.finditer(pattern, shown):
                if not holds(facts, match):
                    line = shown[shown.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
                    yield f"false: {line[:160]!r}"
                    break

    def clean(self) -> None:
        """End what the case has left. Its server stays for threads of the client, and answers the truth."""
        self.server.changes = []
        if self.is_captured:
            self.captured.close()
        else:
            self.worker.clean(self.read_truth())


class Known(dict):
    """Values for a cell; other names in braces stay."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


@dataclass
class Facts:
    """What sentences are compared with."""

    case: Case
    shown: str
    truth: Truth

    @property
    def created(self) -> int:
        """The number of objects that the judged cells have created."""
        return sum(self.truth.created[kind] - self.case.first.created[kind] for kind in ("vm", "run", "deployment"))

    @property
    def rows_sent(self) -> int:
        """The number of rows that the judged cells have sent in batches."""
        return self.truth.rows_sent - self.case.first.rows_sent

    @property
    def active(self) -> dict[str, str]:
        """The VMs, runs and deployments that are active."""
        return {each: kind for kind in ("vm", "run", "deployment") for each in self.case.find_new(self.truth, kind)}

    @property
    def has_completed(self) -> bool:
        """Whether what was started has completed."""
        if self.case.is_captured:
            return all(state == "completed" for state in self.truth.states.values())
        if self.case.scenario.row.kind == "batch":
            return True
        return self.truth.ends > 0 or ("CODE" not in str(self.case.action) and self.truth.starts == 0)

    @property
    def lines(self) -> int:
        """The number of different lines of the code that are shown."""
        return len(set(re.findall(r"\bline (\d+)", self.shown)))

    @property
    def is_list_odd(self) -> bool:
        """Whether the cloud itself shows a list without active objects."""
        return self.case.scenario.row.dimension.startswith("list")

    def kind_ended(self, kind: str) -> bool:
        """Return whether no object of a kind is active."""
        return not self.case.find_new(self.truth, kind)


Holds = Callable[[Facts, "re.Match[str]"], bool]

_INCOMPLETE = re.compile(r"incomplete|not stored|hasn't stored|may be missing|lost|no log|No log|can't be read|missing")


def _has_lines(facts: Facts, _: re.Match[str]) -> bool:
    code_ran = facts.truth.ends > 0 and not facts.case.is_captured
    return not code_ran or facts.lines == LINES or bool(_INCOMPLETE.search(facts.shown))


def _is_price(facts: Facts, match: re.Match[str]) -> bool:
    """Return whether a cost that is shown as a bill is the bill."""
    return Decimal(match[1]) > 0 or all(bill == 0 for bill in facts.truth.bills.values())


#: Pattern of a sentence → whether it is true.
SENTENCES: dict[str, Holds] = {
    r"Nothing was rented(?! until)": lambda facts, _: facts.truth.created["vm"] == facts.case.first.created["vm"],
    r"Nothing was rented or charged": lambda facts, _: facts.truth.created["vm"] == facts.case.first.created["vm"],
    r"Nothing was sent(?! again)": lambda facts, _: facts.created == facts.rows_sent == 0,
    r"Nothing was started": lambda facts, _: facts.created == 0,
    r"Nothing was deleted": lambda facts, _: not facts.case.first.active["volume"] or not facts.kind_ended("volume"),
    r"The VM was deleted|Deleted odd\d|VM \w+ was deleted": lambda facts, _: facts.kind_ended("vm"),
    r"Deleted vol-": lambda facts, _: facts.kind_ended("volume"),
    r"■ (stopped|terminated|deleted) · local/echo": lambda facts, _: facts.kind_ended("deployment"),
    r"■ (aborted|cancelled|released|stopped)(?! · local/echo)": lambda facts, _: facts.kind_ended("run"),
    r"(?m)^(aborted|cancelled|timeout|failed|completed)$": lambda facts, _: not facts.active,
    r"✓ completed": lambda facts, _: facts.has_completed,
    r"(?s)✓ completed|return_code= 0": _has_lines,
    r"✗ (failed|system failure|platform failure)": lambda facts, _: not (
        facts.truth.ends and not facts.case.is_captured and "platform" not in facts.shown
    ) or facts.case.scenario.row.dimension in {"output", "state"} or not facts.has_completed,
    r"✓ completed[^\n]*?(?<!≈ )\b(0(?:\.0+)?) credits?\b": _is_price,
    r"No sessions\.": lambda facts, _: facts.kind_ended("run") or facts.is_list_odd,
    r"No deployments\.": lambda facts, _: facts.kind_ended("deployment") or facts.is_list_odd,
    r"No volumes\.": lambda facts, _: facts.kind_ended("volume") or facts.is_list_odd,
    r"Nothing was charged": lambda facts, _: facts.created == 0,
    r"'POST [^\n]*\nNothing was done": lambda facts, _: facts.created == 0,
    r"No VMs\.": lambda facts, _: facts.kind_ended("vm") or facts.is_list_odd,
}  # fmt: skip


# Workers


class Hang(BaseException):
    """An action took longer than its bound."""


class Worker:
    """A process with a shell of a notebook and a cloud of its own."""

    def __init__(self, folder: Path) -> None:
        from conftest import RunningCloud  # noqa: PLC0415 (the parent process needs none)
        from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415
        from traitlets.config import Config  # noqa: PLC0415

        import lk_jupyter  # noqa: PLC0415

        self.folder, self.number = folder, 0
        options = ("--engine", "none", "--clock-speed", "50", "--credits", "100000", "--no-capacity", "h200")
        self.cloud = RunningCloud(folder / "cloud", *options, has_lab=False)
        shorten_patience()
        os.environ["IPYTHONDIR"] = str(folder / "ipython")
        self.output = io.StringIO()
        sys.stdout = sys.stderr = self.output
        self.shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
        self.shell.colors = "nocolor"
        lk_jupyter.load_ipython_extension(self.shell)
        threading.excepthook = lambda error: print(
            "Exception in thread", error.thread.name, "".join(traceback.format_exception(error.exc_value)[-4:])
        )

    def sign_in(self, url: str, home: Path) -> None:
        """Let a new user on this machine sign in."""
        from lk_jupyter import session  # noqa: PLC0415
        from lk_jupyter.journal import journal  # noqa: PLC0415

        session.close_all()
        journal.close_all()
        for name in [name for name in os.environ if name.startswith(("LK_", "XDG_"))]:
            del os.environ[name]
        os.environ |= {"HOME": str(home), "LK_BASE_URL": url, "LK_API_KEY": self.cloud.api_key, "LK_CARRY": "always"}
        os.environ |= {"LK_LOG_DIR": str(home / "logs"), "LK_JOURNAL": str(home / "state" / "journal.sqlite")}
        os.chdir(home)
        self.shell.user_ns.pop("answers", None)
        self.take_output()

    def take_output(self) -> str:
        """Return what was shown since the last call."""
        text = self.output.getvalue()
        self.output.seek(0)
        self.output.truncate()
        return text

    def run_cell(self, code: str) -> str:
        """Run a cell, and return what it shows."""
        self.shell.run_cell(code)
        return self.take_output()

    def run_command(self, line: str) -> str:
        """Run a command of ``lk``, and return what it prints."""
        from lk_jupyter.cli import main  # noqa: PLC0415

        code = main(shlex.split(line)[1:])
        return f"{self.take_output()}\nexit code {code}\n"

    def try_scenario(self, scenario: Scenario) -> tuple[list[str], str, float]:
        """Run a scenario; return what is wrong, what it shows, and its seconds."""
        case, began = Case(self, scenario), time.monotonic()
        try:
            shown, faults = case.play()
        except Exception:  # noqa: BLE001 (it is counted)
            shown, faults = self.take_output(), [f"harness: {traceback.format_exc()[-600:]}"]
        finally:
            with suppress(Exception):
                case.clean()
        return faults, shown, time.monotonic() - began

    @contextmanager
    def time_limit(self, seconds: int) -> Iterator[None]:
        """Raise Hang after these seconds."""

        def stop(*_: object) -> None:
            raise Hang

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    def clean(self, truth: Truth) -> None:
        """End what is active."""
        from lk_jupyter.api.inference import StopDeploymentRequest  # noqa: PLC0415
        from lk_jupyter.runs.notebooks import warm_python  # noqa: PLC0415

        client = self.cloud.client
        for warm in [*warm_python.connected_warm_pythons.values()]:
            with suppress(Exception):
                warm.close()
        for run in truth.active["run"]:
            with suppress(Exception):
                client.workloads.abort(run)
        for vm in truth.active["vm"]:
            client.vms.delete(vm)
        for each in truth.active["deployment"]:
            client.inference.stop(StopDeploymentRequest(deployment_id=each))
        for volume in truth.active["volume"]:
            with suppress(Exception):
                client.block.delete(volume)
        for batch in truth.active["batch"]:
            with suppress(Exception):
                client.batches.cancel(batch)
        end = time.monotonic() + 10
        while list(client.workloads.list()) and time.monotonic() < end:
            time.sleep(0.1)


@dataclass
class Result:
    """What became of a scenario."""

    scenario: Scenario
    faults: list[str]
    shown: str = ""
    seconds: float = 0.0


def serve(pipe: Any) -> None:
    """Run the scenarios whose names come through a pipe."""
    every = all_scenarios()
    with tempfile.TemporaryDirectory(prefix="odd") as folder:
        worker = Worker(Path(folder))
        try:
            while (name := pipe.recv()) is not None:
                pipe.send(worker.try_scenario(every[name]))
        finally:
            worker.cloud.stop()
    os._exit(0)


class WorkerProcess:
    """A worker, started again after a scenario that doesn't return."""

    def __init__(self) -> None:
        self._process: Any = None

    def run(self, scenario: Scenario) -> Result:
        """Run a scenario."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=serve, args=(other,))
            self._process.start()
            other.close()
        fault = "hang: the process doesn't react"
        try:
            self._pipe.send(str(scenario))
            if self._pipe.poll(3 * LIMIT + 30):
                faults, shown, seconds = self._pipe.recv()
                return Result(scenario, faults, shown, seconds)
        except (EOFError, OSError):
            fault = "harness: the process ended"
        self._process.kill()
        self._process = None
        return Result(scenario, [fault])

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            with suppress(OSError):
                self._pipe.send(None)
            self._process.join(20)
            self._process.kill()


def try_all(chosen: list[Scenario], workers: int, report: Callable[[Result], None]) -> list[Result]:
    """Run scenarios; report each when it has ended."""
    left, results = SimpleQueue[Scenario](), list[Result]()
    for scenario in chosen:
        left.put(scenario)

    def work() -> None:
        process = WorkerProcess()
        try:
            with suppress(Empty):
                while True:
                    result = process.run(left.get_nowait())
                    results.append(result)
                    report(result)
        finally:
            process.stop()

    threads = [threading.Thread(target=work) for _ in range(min(workers, len(chosen)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def format_table(results: list[Result]) -> str:
    """Return count and failures by kind and rule."""
    rules = (*RULES, "harness")
    rows = [f"{'':12}{'tried':>7}{'passed':>8}" + "".join(f"{rule:>10}" for rule in rules)]
    for kind in (*KINDS, "all"):
        chosen = [result for result in results if kind in {result.scenario.row.kind, "all"}]
        broken = Counter(rule for result in chosen for rule in {fault.partition(":")[0] for fault in result.faults})
        passed = sum(not result.faults for result in chosen)
        if chosen:
            rows.append(f"{kind:12}{len(chosen):7}{passed:8}" + "".join(f"{broken[rule]:10}" for rule in rules))
    return "\n".join(rows)


def main() -> int:
    """Run the chosen scenarios, and print the failures and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the names of scenarios, of all actions")
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=[*KINDS])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--show", action="store_true", help="print what each scenario shows")
    options = parser.parse_args()
    every = all_scenarios().values() if options.words else scenarios(options.seed, kind=options.kind)
    fitting = [each for each in every if options.kind in {None, each.row.kind}]
    chosen = [each for each in fitting if all(word in str(each) for word in options.words)][: options.count]
    if options.list:
        print(*chosen, sep="\n")
        return 0
    done = Counter[str]()

    def report(result: Result) -> None:
        done["all"] += 1
        if result.faults or options.show:
            print(f"{result.scenario} [{result.seconds:.1f} s]", *(f"   {fault}" for fault in result.faults), sep="\n")
            shown = result.shown if options.show else result.shown.rpartition("──")[2][-MOST_SHOWN:]
            print("\n".join(f"      | {line}" for line in shown.splitlines() if line.strip()), flush=True)
        if done["all"] % 25 == 0:
            print(f"... {done['all']} of {len(chosen)}", flush=True)

    results = try_all(chosen, options.workers, report)
    print(format_table(results))
    return 1 if any(result.faults for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
