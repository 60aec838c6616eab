"""Interrupted cells of all kinds, at random moments, on clouds that answer starts, aborts and states with faults.

``python tests/interrupted.py --count 1000`` counts by kind and fault what became of their runs: ``ended``; ``reported``
as possibly active, with the command that stops it; or ``listed``, with the command that lists active runs, where the
id isn't known. Defects are runs that stay active ``silently``, runs
that are ``billed twice``, and cells that ``hang``.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from threading import Lock, Thread

import nbformat
from magics.kernels import running_kernel

from lk_jupyter.api.execution import StreamingExecutionRequest

GAPS = (0, 0.05, 0.15, 0.3, 1)

#: Seconds that a cell may take to let go, that a run may take to end, and that a reported run gets to end too.
LETS_GO_IN, ENDS_IN, REPORTED_ENDS_IN = 60.0, 45.0, 3.0

#: Seconds in which a run starts, if no fault prevents it.
STARTS_IN = 12.0

#: Seconds without an active run after which none is expected any more, and which an answer that comes late takes.
QUIET, LATE = 1.0, 4.0

SLEEPS = "import time\nprint('on')\ntime.sleep(100)\n"
ENDS = "import time\nprint('on')\ntime.sleep(0.2)\n"

NOT_FOUND = "Execution not found"
BODIES = (
    "",
    "null",
    "[]",
    "1",
    '"ok"',
    "{}",
    "{not json",
    '{"status": null}',
    '{"execution_id": null}',
    "<html>",
    "\0",
)

#: Fault → how a row of it is drawn.
FAULTS: dict[str, Callable[[Random], dict]] = {
    "404": lambda _: {"status": 404, "detail": NOT_FOUND},
    "5xx": lambda random: {"status": random.choice([500, 502, 503, 504])},
    "timeout": lambda _: {"delay": LATE, "lose_answer": True},
    "lost answer": lambda _: {"lose_answer": True},
    "202 without effect": lambda _: {"status": 202, "body": "{}"},
    "odd body": lambda random: {"handled": True, "body": random.choice(BODIES)},
    "reset": lambda random: {"reset": True, "handled": random.random() < 0.5},
}

#: Target → the requests that a fault hits.
TARGETS = {
    "start": [{"method": "POST", "path": "/start"}],
    "abort": [{"method": "POST", "path": "abort"}, {"method": "POST", "path": "/workloads/stop"}],
    "state": [{"method": "GET", "path": "/execution/"}],
}
TARGETS["abort and state"] = TARGETS["abort"] + TARGETS["state"]
TARGETS["storage"] = [{"path": "/storage/"}]

#: How often a fault comes; None: until the cell has let go and its runs were looked at.
TIMES = (1, 3, 8, None)


@dataclass(frozen=True)
class Cell:
    """A cell that is interrupted: at most ``runs`` are started by it; ``session`` is the session that it starts."""

    code: str
    runs: int = 1
    session: str = ""


@dataclass(frozen=True)
class Case:
    """A cell of a kind that is interrupted after each of the ``pauses``, while requests to a target meet a fault.

    ``times`` is how often the fault comes; None: until the runs of the cell were looked at. With ``starts``, the first
    pause begins once a run of the cell is active. ``seed`` decides the rest.
    """

    kind: str
    target: str
    fault: str
    times: int | None
    pauses: tuple[float, ...]
    seed: str = "0"
    starts: bool = False

    @classmethod
    def drawn(cls, seed: str) -> Case:
        """Draw a case."""
        random = Random(seed)
        kind = random.choice(list(KINDS))
        targets = [name for name in TARGETS if name != "storage" or kind in {"upload", "download"}]
        gaps = (random.choice(GAPS) for _ in range(random.choice([0, 0, 1, 2])))
        pauses = (round(10 ** random.uniform(-2, 0.6), 2), *gaps)
        target, fault, times = random.choice(targets), random.choice(list(FAULTS)), random.choice(TIMES)
        return cls(kind, target, fault, times, pauses, seed, starts=random.random() < 0.6)

    def rows(self) -> list[dict]:
        """Return the rows of its fault."""
        random = Random(self.seed)
        return [{**row, **FAULTS[self.fault](random), "times": self.times} for row in TARGETS[self.target]]

    def cell(self, worker: Worker) -> Cell:
        """Return the cell."""
        return KINDS[self.kind](worker, Random(self.seed))

    def __str__(self) -> str:
        how_often = "always" if self.times is None else f"{self.times} times"
        pauses = ", ".join(map(str, self.pauses))
        since = "its start" if self.starts else "its cell"
        return f"{self.kind}, {self.target}, {self.fault} {how_often}, {pauses} s after {since}, seed {self.seed}"


def _run(worker: Worker, random: Random) -> Cell:
    return Cell(f"%%lk_run\n{random.choice([SLEEPS, SLEEPS, ENDS])}")


def _fan_out(worker: Worker, random: Random) -> Cell:
    return Cell(f"%%lk_run --gpu A100,L40S\n{random.choice([SLEEPS, SLEEPS, ENDS])}", runs=2)


def _session(worker: Worker, random: Random) -> Cell:
    if random.random() < 0.5:
        worker.number += 1
        return Cell(f"%%lk_run --session new{worker.number}\n{SLEEPS}", session=f"new{worker.number}")
    if not worker.warm:
        worker.execute("%%lk_run --session warm\npass")
    return Cell(f"%%lk_run --session warm\n{SLEEPS}", runs=0, session="warm")


def _executor(worker: Worker, random: Random) -> Cell:
    seconds = random.choice([100, 100, 0.3])
    calls = [
        f"with lk_jupyter.Executor(2) as executor:\n    list(executor.map(time.sleep, [{seconds}, {seconds}]))",
        f"executor = lk_jupyter.Executor(2)\nlist(executor.map(time.sleep, [{seconds}, {seconds}]))",
        f"executor = lk_jupyter.Executor(2)\nexecutor.submit(time.sleep, {seconds}).result()",
    ]
    return Cell(f"import lk_jupyter, time\n{random.choice(calls)}", runs=2)


def _wait(worker: Worker, random: Random) -> Cell:
    calls = ["run({code!r}).wait()", "run({code!r}).result()", "fan_out({code!r}, gpu='A100,L40S').wait()"]
    call = random.choice(calls).format(code=random.choice([SLEEPS, SLEEPS, ENDS]))
    return Cell(f"import lk_jupyter\nlk_jupyter.connect().{call}", runs=2 if "fan_out" in call else 1)


def _attach(worker: Worker, random: Random) -> Cell:
    request = StreamingExecutionRequest(code=random.choice([SLEEPS, SLEEPS, ENDS]), timeout=600)
    run = worker.cloud.client.execution.start_streaming(request).execution_id
    return Cell(f"%lk_{random.choice(['attach', 'attach', 'abort'])} {run}")


def _notebook(worker: Worker, random: Random) -> Cell:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(random.choice([SLEEPS, SLEEPS, ENDS]))])
    nbformat.write(book, worker.home / "book.ipynb")
    return Cell("%lk_run_notebook book.ipynb")


def _server(worker: Worker, random: Random) -> Cell:
    return Cell("%lk_notebook start --no-browser")


def _upload(worker: Worker, random: Random) -> Cell:
    worker.number += 1
    put = f"open('file.bin', 'wb').write(__import__('os').urandom(1 << 23))\n%lk_put file.bin up{worker.number}/"
    run = f"data = __import__('os').urandom(1 << 22)\nget_ipython().run_cell_magic('lk_run', '--in data', {SLEEPS!r})"
    return Cell(random.choice([put, run]))


def _download(worker: Worker, random: Random) -> Cell:
    code = "data = b'1' * (1 << 22)\n"
    get = "%lk_get large.bin got.bin"
    run = f"get_ipython().run_cell_magic('lk_run', '--out data', {code!r})"
    return Cell(random.choice([get, run]))


KINDS: dict[str, Callable[[Worker, Random], Cell]] = {
    "cell": _run,
    "fan-out": _fan_out,
    "session": _session,
    "Executor": _executor,
    "wait": _wait,
    "attach": _attach,
    "notebook": _notebook,
    "server": _server,
    "upload": _upload,
    "download": _download,
}


@dataclass
class Result:
    """What became of a case: ``outcome`` in a word, ``ename`` of the error that ended the cell, and what it showed."""

    outcome: str
    ename: str = ""
    text: str = ""
    facts: list[str] = field(default_factory=list)


DEFECTS = ("silent", "billed twice", "hangs", "broken")


class Worker:
    """A kernel whose user is signed in to a cloud of its own."""

    def __init__(self, stack: ExitStack, cloud, home: Path) -> None:
        home.mkdir()
        self.cloud, self.home, self.number = cloud, home, 0
        env = {name: value for name, value in os.environ.items() if not name.startswith(("LK_", "LYCEUM_", "XDG_"))}
        env |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "LK_LOG_DIR": str(home / "logs")}
        env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(home / "journal.sqlite")}
        self.manager, self.client = stack.enter_context(running_kernel(env, home))
        (home / "large.bin").write_bytes(os.urandom(1 << 23))
        for code in (
            "%load_ext lk_jupyter",
            "%lk_put large.bin",
            "%%lk_run\n1",
            "import lk_jupyter; lk_jupyter.Executor()",
        ):
            self.execute(code)

    def active(self) -> list:
        return list(self.cloud.client.workloads.list())

    @property
    def warm(self) -> set[str]:
        """The id of the run of the session that cells share, if it is active."""
        return {run.execution_id for run in self.active() if run.run_name == "session warm"}

    def clean(self) -> None:
        """Abort all runs, but for the session that cells share, and wait until they have ended."""
        end = time.monotonic() + ENDS_IN
        while left := {run.execution_id for run in self.active()} - self.warm:
            for run_id in left:
                self.cloud.client.workloads.abort(run_id)
            if time.monotonic() > end:
                raise TimeoutError("runs don't end")
            time.sleep(0.1)

    def execute(self, code: str) -> None:
        """Run a cell that nothing interrupts."""
        self.client.execute_interactive(code, timeout=LETS_GO_IN, output_hook=lambda _: None)

    def interrupt(self) -> None:
        os.kill(self.manager.provisioner.process.pid, signal.SIGINT)

    def try_case(self, case: Case) -> Result:
        """Interrupt the cell of a case; return what became of its runs."""
        self.clean()
        before = {run.execution_id for run in [*self.cloud.client.billing.history(), *self.active()]}
        cell = case.cell(self)
        before |= self.warm
        faults = f"{self.cloud.base_url}/_faults"
        self.cloud.http.post(faults, json=case.rows()).raise_for_status()
        try:
            return self._result(case, cell, before)
        finally:
            self.cloud.http.delete(faults)
            self.clean()

    def _result(self, case: Case, cell: Cell, before: set[str]) -> Result:
        shown = Shown(self.client, self.client.execute(cell.code))
        self._interrupt_cell(case, before, shown)
        if shown.reply is None:
            return Result("hangs", "", shown.text)
        outcome = self._watch(case, cell, before, shown)
        interrupted = shown.reply.get("ename") == "KeyboardInterrupt"
        if case.kind == "attach" and "Traceback" in shown.text and "lk_jupyter" not in shown.text:
            outcome = "none"  # the interrupt came before the magic was called, and the run is active as before
        if (
            cell.session == "warm"
            and interrupted
            and self.warm
            and not shown.mentions("%lk_sessions stop warm|%lk_runs")
        ):
            outcome = "silent"
        ended = {run.execution_id for run in self.cloud.client.billing.history()}
        started = (ended | {run.execution_id for run in self.active()}) - before
        outcome = "ended" if started and outcome == "none" else outcome
        if len(started) > cell.runs:
            outcome = "billed twice"
        return Result(outcome, shown.reply.get("ename", ""), shown.text, [f"{len(started)} started"])

    def _interrupt_cell(self, case: Case, before: set[str], shown: Shown) -> None:
        """Interrupt a cell, and wait until it lets go."""
        shown.read_until(lambda: shown.is_busy, LETS_GO_IN)
        if case.starts:
            shown.read_until(lambda: shown.reply is not None or self._has_started(before), STARTS_IN)
        for pause in case.pauses:
            shown.read_until(lambda: shown.reply is not None, pause)
            if shown.reply is None:
                self.interrupt()
        shown.read_until(lambda: shown.reply is not None, LETS_GO_IN / 3)
        if not shown.is_idle:
            if "Exception ignored in" in shown.text:  # Python dropped the interrupt in a callback
                self.interrupt()
            shown.read_until(lambda: shown.reply is not None, LETS_GO_IN)
        if shown.reply is None and shown.is_idle:
            shown.reply = {}  # the cell had just ended, and the interrupt hit the kernel as it replied

    def _has_started(self, before: set[str]) -> bool:
        return any(run.execution_id not in before for run in self.active())

    def _watch(self, case: Case, cell: Cell, before: set[str], shown: Shown) -> str:
        """Watch the runs of a cell that has let go until each has ended or is reported."""
        begun = quiet_since = time.monotonic()
        is_late = any(row.get("delay") for row in case.rows()) and case.target == "start"
        limit = 8.0 if case.times is None else ENDS_IN
        while True:
            active = [run for run in self.active() if run.execution_id not in before]
            shown.read_until(lambda: False, 0.1)
            waited = time.monotonic() - begun
            if active:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET + LATE * is_late:
                return "none"
            if active and waited > REPORTED_ENDS_IN:
                if all(shown.reports(run, cell) for run in active):
                    return "reported"
                if shown.mentions("%lk_runs"):
                    return "listed"
            if active and waited > limit:
                return "silent"


class Shown:
    """What a cell shows, from its start on and after it has let go."""

    def __init__(self, client, sent: str) -> None:
        self._client, self._sent = client, sent
        self._texts: dict[str, str] = {}
        self.is_busy = self.is_idle = False
        self.reply: dict | None = None

    @property
    def text(self) -> str:
        """What is visible: an update replaces what was in its place."""
        return "\n".join(self._texts.values())

    def read_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Read what comes, at most this number of seconds."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            with suppress(Empty):
                self._take(self._client.get_iopub_msg(timeout=0.02))
            while True:
                try:
                    message = self._client.get_shell_msg(timeout=0)
                except Empty:
                    break
                if message["parent_header"].get("msg_id") == self._sent:
                    self.reply = message["content"]

    def _take(self, message: dict) -> None:
        kind, content = message["msg_type"], message["content"]
        is_own = message["parent_header"].get("msg_id") == self._sent
        if is_own and kind == "status":
            self.is_busy = True
            self.is_idle |= content["execution_state"] == "idle"
        place = content.get("transient", {}).get("display_id") or str(len(self._texts))
        if kind == "stream":
            self._texts[place] = content["text"]
        elif kind == "error":
            self._texts[place] = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(content["traceback"]))
        elif kind in {"display_data", "update_display_data"}:
            self._texts[place] = str(content["data"].get("text/plain", ""))

    def reports(self, run, cell: Cell) -> bool:
        """Whether the user was shown the command that stops this run."""
        run_id = run.execution_id
        stops = rf"%lk_abort [^\n]*{run_id[:8]}|%lk_notebook stop {run_id[:8]}"
        if cell.session:
            stops += rf"|%lk_sessions stop {cell.session}\b"
        return self.mentions(stops)

    def mentions(self, command: str) -> bool:
        """Whether a command is shown, given as a regular expression."""
        return re.search(command, self.text) is not None


def try_all(seeds: Iterable[str], workers: int) -> bool:
    """Try the cases, print defects as they come and then the table; return whether there was none."""
    from conftest import RunningCloud  # noqa: PLC0415 (it needs what only tests have)

    left: SimpleQueue[str] = SimpleQueue()
    for seed in seeds:
        left.put(seed)
    counts: Counter[tuple[str, str, str]] = Counter()
    lock = Lock()

    def work(worker: Worker) -> None:
        with suppress(Empty):
            while True:
                case = Case.drawn(left.get_nowait())
                try:
                    result = worker.try_case(case)
                except Exception as error:  # noqa: BLE001 (it is counted)
                    result = Result("broken", type(error).__name__, str(error))
                with lock:
                    counts[case.kind, f"{case.target}: {case.fault}", result.outcome] += 1
                    _report(case, result)
                if result.outcome in {"hangs", "broken"}:
                    worker.interrupt()

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pool = []
        for number in range(workers):
            cloud = RunningCloud(Path(folder) / f"cloud{number}", "--faults", has_lab=False)
            stack.callback(cloud.stop)
            pool.append(Worker(stack, cloud, Path(folder) / f"home{number}"))
        threads = [Thread(target=work, args=(worker,)) for worker in pool]
        for thread in threads:
            thread.start()
        _wait_for(threads, left)
    print_table(counts)
    defects = {outcome: sum(n for key, n in counts.items() if key[2] == outcome) for outcome in DEFECTS}
    print(f"{counts.total()} interrupted cells; " + "; ".join(f"{name}: {number}" for name, number in defects.items()))
    return not any(defects.values())


def _wait_for(threads: list[Thread], left: SimpleQueue[str]) -> None:
    """Wait until all cases were tried. An interrupt drops the rest."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        with suppress(Empty):
            while True:
                left.get_nowait()
        for thread in threads:
            thread.join()


def _report(case: Case, result: Result) -> None:
    is_verbose = bool(os.environ.get("LK_SHOW_CASES"))
    if result.outcome in DEFECTS or is_verbose:
        text = "\n".join(f"    {line}" for line in result.text.splitlines()[-40:])
        print(
            f"{time.strftime('%X')} {result.outcome}: {case} · {result.ename} · {', '.join(result.facts)}\n{text}",
            flush=True,
        )


def print_table(counts: Counter[tuple[str, str, str]]) -> None:
    """Print how often each kind met each fault, then the outcomes by kind."""
    kinds = [kind for kind in KINDS if any(key[0] == kind for key in counts)]
    faults = [f"{target}: {fault}" for target in TARGETS for fault in FAULTS]
    outcomes = ("ended", "reported", "listed", "none", *DEFECTS)
    by = lambda **key: sum(  # noqa: E731
        number
        for (kind, fault, outcome), number in counts.items()
        if all({"kind": kind, "fault": fault, "outcome": outcome}[name] == value for name, value in key.items())
    )
    print(f"{'':36}" + "".join(f"{kind:>10}" for kind in kinds) + f"{'all':>10}")
    for fault in faults:
        row = [by(kind=kind, fault=fault) for kind in kinds]
        print(f"{fault:36}" + "".join(f"{number:10}" for number in [*row, sum(row)]))
    for outcome in outcomes:
        row = [by(kind=kind, outcome=outcome) for kind in kinds]
        print(f"{outcome:36}" + "".join(f"{number:10}" for number in [*row, sum(row)]))
    print(f"{'all':36}" + "".join(f"{by(kind=kind):10}" for kind in kinds) + f"{counts.total():10}")
