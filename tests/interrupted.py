"""Interrupted runs: in every phase of a run, in every place that waits for one, with two interrupts close together.

``python tests/interrupted.py`` interrupts more than 200 runs on a local cloud, each twice, and counts the runs that
keep running afterwards and those that are billed beyond the stop. ``--count 1000`` interrupts that number of cells at
random, with faults, see ``interrupted_cells``. Tests do both with a sample.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from queue import Empty

import interrupted_cells
import pexpect
from cloud_process import forked_kernels
from jupyter_client.manager import start_new_kernel

from lk_jupyter.api.execution import StreamingExecutionRequest, is_final
from lk_jupyter.journal.journal import SUBMITTING, Journal

GAPS = (0, 0.05, 0.15, 0.3, 1)

#: Seconds in which a run has to end after its place let go, on a machine that does other things too; and for which it
#: may be billed after the last interrupt, or after its start where that came later.
ENDS_IN, BILLED = 20.0, 5.0

#: Seconds that a place may take to come to its phase, and to let go.
PATIENCE = 90.0

SLEEPS = "import time\ntime.sleep(100)\n"
ENDS = "import time\ntime.sleep(0.2)\n"

#: What makes a phase long enough to be interrupted in.
FAULTS = {
    "sending": [{"method": "POST", "path": "/start", "delay": 1, "times": None}],
    "lost answer": [{"method": "POST", "path": "/start", "delay": 0.5, "times": None, "lose_answer": True}],
    "uploading": [{"path": "/storage/credentials", "delay": 1, "times": None}],
    "last fetch": [{"method": "GET", "path": "/execution/", "delay": 1, "times": None}],
}
PHASES = ("sending", "lost answer", "uploading", "installing", "running", "last fetch")


@dataclass(frozen=True)
class Case:
    """Two interrupts, so many seconds apart, of a run in a phase, waited for in a place."""

    place: str
    phase: str
    gap: float

    def __str__(self) -> str:
        return f"{self.place}, {self.phase}, {self.gap} s"

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return 2 if "fan-out" in self.place else 1

    @property
    def code(self) -> str:
        """What runs on the cloud."""
        use = "print(len(data))\n" if self.phase == "uploading" else ""
        return use + (ENDS if self.phase == "last fetch" else SLEEPS)


class Places:
    """A kernel, a terminal and scripts, whose user is signed in to a cloud."""

    def __init__(self, cloud, home: Path) -> None:
        self.cloud = cloud
        self.home = home
        self.journal = home / "journal.sqlite"
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("LK_", "LYCEUM_", "XDG_"))
        }
        self.env |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "LK_JOURNAL": str(self.journal)}
        self.env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_LOG_DIR": str(home / "logs")}
        self._number = 0
        self._kernel = self._terminal = None

    def close(self) -> None:
        if self._kernel:
            manager, client = self._kernel
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        if self._terminal:
            self._terminal.close(force=True)

    def begin(self, case: Case):
        """Begin what is to be interrupted; return the process and a function that waits until it lets go."""
        self._number += 1
        source, wait = case.place.partition(": ")[::2]
        if source == "kernel":
            return self._in_kernel(self._cell(case, wait))
        if source == "terminal":
            return self._in_terminal(self._cell(case, wait))
        return self._in_script(self._script(case, wait))

    def _options(self, case: Case) -> str:
        words = ["--gpu A100,L40S"] if case.runs > 1 else []
        words += ["--in data"] if case.phase == "uploading" else []
        words += [f'-r "httpx>=0.0.{self._number}"'] if case.phase == "installing" else []
        return " ".join(words)

    def _cell(self, case: Case, how: str) -> str:
        before = "data = __import__('os').urandom(1 << 20)\n" if case.phase == "uploading" else ""
        if how == "%lk_attach":
            request = StreamingExecutionRequest(code=case.code, timeout=600)
            run = self.cloud.client.execution.start_streaming(request).execution_id
            return f"get_ipython().run_line_magic('lk_attach', {run!r})"
        if how == "%lk_run_notebook":
            cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": case.code}
            book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
            path = self.home / "book.ipynb"
            path.write_text(json.dumps(book))
            return f"get_ipython().run_line_magic('lk_run_notebook', {f'{path} {self._options(case)}'!r})"
        return f"{before}get_ipython().run_cell_magic('lk_run', {self._options(case)!r}, {case.code!r})"

    def _script(self, case: Case, how: str) -> str:
        options = {"requirements": [f"httpx>=0.0.{self._number}"]} if case.phase == "installing" else {}
        if case.runs > 1:
            options["gpu"] = "A100,L40S"
        data = "{'data': __import__('os').urandom(1 << 20)}" if case.phase == "uploading" else "None"
        call = f"{case.code!r}, inputs={data}, **{options!r}"
        body = {
            "Run.wait": f"session.run({call}).wait()",
            "fan-out": f"session.fan_out({call}).wait()",
            "Executor": f"import time\nwith lk_jupyter.Executor(session=session, **{options!r}) as executor:\n"
            f"    list(executor.map(time.sleep, [{0.3 if case.phase == 'last fetch' else 100}]))",
        }[how]
        return f"import lk_jupyter\nsession = lk_jupyter.connect()\n{body}"

    def _in_kernel(self, code: str):
        if self._kernel is None:
            with forked_kernels():
                self._kernel = start_new_kernel(env=self.env, cwd=str(self.home))
            self._kernel[1].session.metadata = {"cellId": "cell"}  # as from JupyterLab, which shows what is submitted
            self._kernel[1].execute_interactive("%load_ext lk_jupyter", timeout=PATIENCE)
        manager, client = self._kernel
        sent = client.execute(code)
        began = False
        while not began:  # a run that is attached to is sent before its cell
            said = client.get_iopub_msg(timeout=PATIENCE)
            began = said["msg_type"] == "display_data" and said["parent_header"]["msg_id"] == sent

        def let_go() -> str:
            end = time.monotonic() + PATIENCE
            try:
                while (reply := client.get_shell_msg(timeout=end - time.monotonic()))["parent_header"][
                    "msg_id"
                ] != sent:
                    pass
            except Empty:
                return "KeyboardInterrupt"  # the cell had just ended, and it was the kernel that was interrupted
            return reply["content"].get("ename", "")

        return manager.provisioner.process.pid, let_go

    def _in_terminal(self, code: str):
        if self._terminal is None:
            arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"]
            self._terminal = pexpect.spawn(
                sys.executable, arguments, env={**self.env, "TERM": "dumb"}, cwd=str(self.home), timeout=PATIENCE
            )
            self._terminal.expect(r"In \[1\]: ")
            self._terminal.sendline("%load_ext lk_jupyter")
            self._terminal.expect(r"In \[\d+\]: ")
        path = self.home / "cell.py"
        path.write_text(code)
        self._terminal.sendline(f"get_ipython().run_cell(open({str(path)!r}).read()); print('LET', 'GO')")

        def let_go() -> str:
            self._terminal.expect(r"In \[\d+\]: ")
            return "KeyboardInterrupt" if b"KeyboardInterrupt" in self._terminal.before else "nothing"

        return self._terminal.pid, let_go

    def _in_script(self, code: str):
        errors = (self.home / "stderr").open("w+")
        process = subprocess.Popen([sys.executable, "-c", code], env=self.env, cwd=self.home, stderr=errors)

        def let_go() -> str:
            with errors:
                process.wait(PATIENCE)
                errors.seek(0)
                return "KeyboardInterrupt" if "KeyboardInterrupt" in errors.read() else f"exit {process.returncode}"

        return process.pid, let_go


def cases() -> list[Case]:
    """Return all that make sense: a run that is attached to was sent before, a function has no variables."""
    cells = ["kernel: %%lk_run", "terminal: %%lk_run", "kernel: %%lk_run, fan-out"]
    scripts = ["script: Run.wait", "script: fan-out"]
    every = [*cells, *scripts]
    found = list(product(every, PHASES, GAPS))
    found += product(["script: Executor", "kernel: %lk_run_notebook"], [p for p in PHASES if p != "uploading"], GAPS)
    found += product(["kernel: %lk_attach"], ["running", "last fetch"], GAPS)
    return [Case(*each) for each in found]


def interrupted(places: Places, case: Case) -> list[str]:
    """Interrupt a run twice; return what is wrong afterwards."""
    http, faults = places.cloud.http, f"{places.cloud.base_url}/_faults"
    http.delete(faults)
    begun = time.time()
    http.post(faults, json=FAULTS.get(case.phase, [])).raise_for_status()
    process, let_go = places.begin(case)
    _wait_for(lambda: _is_there(places, case, begun))
    os.kill(process, signal.SIGINT)
    time.sleep(case.gap)
    last = time.time()
    with suppress(ProcessLookupError):  # a script may have ended
        os.kill(process, signal.SIGINT)
    how = let_go()
    http.delete(faults)
    wrong = [] if how == "KeyboardInterrupt" else [f"ended with {how}"]
    with suppress(TimeoutError):
        _wait_for(lambda: not _active(places), ENDS_IN)
    late = {run.execution_id for run in _active(places)}  # the server may begin one after its place has let go
    with suppress(TimeoutError):
        _wait_for(lambda: not late & {run.execution_id for run in _active(places)}, ENDS_IN)
    left = [run for run in _active(places) if run.execution_id in late]
    wrong += [f"going on: {run.execution_id}, {run.status}" for run in left]
    for run in left:
        places.cloud.client.workloads.abort(run.execution_id)
    _wait_for(lambda: not _active(places))
    for run in _ended(places, begun):
        record = places.cloud.client.execution.get(run.execution_id)
        if record.start_time is None or record.end_time is None:
            continue
        beyond = record.end_time.timestamp() - max(last, record.start_time.timestamp())
        if beyond > BILLED:
            wrong.append(f"billed beyond the stop: {beyond:.1f} s, {record.billed} credits")
    return wrong


def _is_there(places: Places, case: Case, begun: float) -> bool:
    """Whether the case has come to its phase."""
    if case.phase == "last fetch":
        return sum(is_final(run.status) for run in _ended(places, begun)) >= case.runs
    if case.phase == "running":
        return sum(run.status == "running" for run in _active(places)) >= case.runs
    if not places.journal.exists():
        return False
    with closing(Journal(places.journal)) as journal:
        entries = [entry for entry in journal.entries(since=begun) if entry.created_at >= begun]
    if case.phase == "installing":
        return sum(bool(entry.execution_id) for entry in entries) >= case.runs and _rest(0.1)
    return sum(entry.state == SUBMITTING for entry in entries) >= case.runs and _rest(0.1)


def _rest(seconds: float) -> bool:
    """Let what was written down take effect."""
    time.sleep(seconds)
    return True


def _active(places: Places) -> list:
    return list(places.cloud.client.workloads.list())


def _ended(places: Places, begun: float) -> list:
    return [run for run in places.cloud.client.billing.history() if run.created_at.timestamp() >= begun]


def _wait_for(condition, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def main() -> None:
    """Interrupt them all, or those whose names contain the words of the command line, and print the table.

    With ``--count``, the words are the seeds to try again.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names; with --count, seeds")
    parser.add_argument("--count", type=int, help="cells to interrupt at random, with faults")
    parser.add_argument("--seed", default="0", help="decides what is drawn with --count (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=6, help="kernels at the same time (default: %(default)s)")
    options = parser.parse_args()
    if options.count:
        seeds = options.words or [f"{options.seed}/{number}" for number in range(1, options.count + 1)]
        sys.exit(not interrupted_cells.try_all(seeds, options.workers))
    from conftest import RunningCloud  # noqa: PLC0415 (it needs what only tests have)

    chosen = [case for case in cases() if all(word in str(case) for word in options.words)]
    tried, wrong = Counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        cloud = RunningCloud(Path(folder) / "cloud", "--faults")
        places = Places(cloud, Path(folder))
        try:
            for case in chosen:
                try:
                    found = interrupted(places, case)
                except Exception as error:  # noqa: BLE001 (it is counted)
                    found = [f"not tried: {type(error).__name__} {error}"]
                tried[case.place, case.phase] += 1
                if found:
                    wrong[case] = found
                    print(f"{case}: {'; '.join(found)}", flush=True)
        finally:
            places.close()
            cloud.stop()
    for place in dict.fromkeys(case.place for case in chosen):
        print(f"{place:28}" + "  ".join(f"{phase} {tried[place, phase]}" for phase in PHASES if tried[place, phase]))
    counted = [line for found in wrong.values() for line in found]
    kinds = {kind: sum(line.startswith(kind) for line in counted) for kind in ("going on", "billed beyond")}
    print(
        f"{tried.total()} interrupted twice; going on: {kinds['going on']}; billed beyond the stop: "
        f"{kinds['billed beyond']}; other faults: {len(counted) - sum(kinds.values())}"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
