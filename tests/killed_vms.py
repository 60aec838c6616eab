"""Kill parts of runs on VMs at random moments, and compare logs, bills and VMs with the promises.

python tests/killed_vms.py [--count 100] [--seed 1] starts a local cloud with shortened times and a Jupyter server. In
each case, a kernel starts a run on a VM that prints 10,000 numbered lines, and a random part is killed at a random
moment: the kernel, the Jupyter server, the supervisor on the VM, the VM, its network connections, or the cloud. Then:

- the log has the lines 1 to 10,000 once each and in order, or the run reports that it ended early,
- the receipt equals the bills of all VMs of the run, and is at most the maximum cost,
- no VM is active after its time to live and a grace period.

With --start, parts of lk start --on vm are killed instead.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from conftest import RunningCloud
from killed_starts import run_cases
from vms.on_vm import living

import lk_jupyter
from lk_jupyter.errors import LkError
from lk_jupyter.runs.run import Run
from lk_jupyter.vms import facts as vm_facts
from lk_jupyter.vms.vms import NAME_PREFIX

KINDS = ("kernel", "server", "supervisor", "vm", "network", "cloud")
LINES, MAX_COST = 10_000, "0.05"

#: Seconds, shortened: the code's time limit, the rest of the time to live, until a VM without a notebook deletes
#: itself, until others delete it, between two looks of the server, and after the time to live.
TIMEOUT, SETUP, LINGER, RELEASE, LOOK, GRACE = 40, 20, 3.0, 2.0, 1.0, 20.0

#: Prints numbered lines in blocks with pauses, and saves after each block.
CODE = """
import json, os, time
import lk_jupyter
from lk_jupyter.remote.checkpoints import report_saved
path = lk_jupyter.checkpoint_folder() / "state.json"
first = json.loads(path.read_text()) if path.exists() else 0
for block in range(first, 20):
    for line in range(500 * block + 1, 500 * block + 501):
        print("line", line)
    time.sleep(0.2)
    path.with_suffix(".tmp").write_text(json.dumps(block + 1))
    os.replace(path.with_suffix(".tmp"), path)
    report_saved()
"""

SHORTENED = f"""
from lk_jupyter.vms import facts, hosted, replacing, sending
from lk_jupyter.runs.package import rented
from lk_jupyter.runs.package import bundle
facts.RELEASE_SECONDS, sending.LINGER_SECONDS, replacing._REPLACE_PAUSE = {RELEASE}, {LINGER}, 1.0
replacing._LEAST_SECONDS = 1
hosted.SETUP_SECONDS = replacing.SETUP_SECONDS = rented.SETUP_SECONDS = bundle.SETUP_SECONDS = {SETUP}
"""

KERNEL = f"""
import sys
{SHORTENED}
import lk_jupyter
session = lk_jupyter.connect()
run = session.run(sys.argv[1], on="vm", gpu="A100", max_cost="{MAX_COST}", timeout={TIMEOUT}, retries=3)
print(run.execution_id, flush=True)
for event in run.follow():
    pass
run.wait()
"""

SERVER = f"""
{SHORTENED}
from lk_jupyter.serverext import rent
rent.LOOK_SECONDS = {LOOK}
from jupyter_server.serverapp import main
main()
"""


class Parts:
    """The processes of all cases: the cloud, and the Jupyter server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "work").mkdir()
        os.chdir(folder / "work")  # not next to the package, which code that imports it would upload
        self.cloud = RunningCloud(folder / "cloud", "--clock-speed", "50", "--credits", "1000")
        os.environ |= {"LK_BASE_URL": self.cloud.base_url, "LK_API_KEY": self.cloud.api_key, "HOME": str(folder)}
        self.start_server()

    def start_server(self) -> None:
        """Start a Jupyter server with the extension."""
        options = ("--no-browser", "--ServerApp.port=0", "--allow-root", f"--ServerApp.root_dir={self._folder}")
        extension = "--ServerApp.jpserver_extensions={'lk_jupyter.serverext': True}"
        log = (self._folder / "server.log").open("ab")
        command = [sys.executable, "-c", SERVER, *options, extension]
        self.server = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        """End both."""
        self.server.kill()
        self.server.wait()
        self.cloud.stop()


def kill(kind: str, parts: Parts, kernel: subprocess.Popen[str], run_id: str, delay: float) -> None:
    """Kill a part now. The Jupyter server and the cloud start again after ``delay`` seconds."""
    if kind == "kernel":
        kernel.kill()
    elif kind == "server":
        parts.server.kill()
        parts.server.wait()
        time.sleep(delay)
        parts.start_server()
    elif kind == "cloud":
        parts.cloud.kill()
        time.sleep(delay)
        parts.cloud.start()
    else:
        facts = vm_facts.read_facts(run_id.removeprefix("vm-"))
        home = parts.cloud.data / "vms" / facts.active_id / "home"
        if kind == "vm":
            parts.cloud.client.vms.delete(facts.active_id)
        elif kind == "supervisor":
            for path in home.glob(".lk/*/pid"):
                with suppress(ProcessLookupError):  # ended before
                    os.kill(int(path.read_text()), signal.SIGKILL)
        else:
            for path in home.glob(".lk/*/contact"):  # the commands of the notebook, as a broken connection ends them
                _kill_readers(path.parent)


def _kill_readers(folder: Path) -> None:
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "vm.agent" in words and "read" in words and process.info["cwd"] == str(folder):
            process.kill()


def run_case(kind: str, parts: Parts, chance: random.Random) -> str:
    """Run a case, and return its result in words. Raises AssertionError for a broken promise."""
    with subprocess.Popen([sys.executable, "-c", KERNEL, CODE], stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout
        run_id = kernel.stdout.readline().strip()
        assert run_id, "the run didn't start"
        moment = chance.uniform(0.0, 6.0)
        time.sleep(moment)
        kill(kind, parts, kernel, run_id, chance.uniform(0.0, 3.0))
        try:
            kernel.wait(TIMEOUT + SETUP + GRACE)
        except subprocess.TimeoutExpired:
            kernel.kill()
    facts = vm_facts.read_facts(run_id.removeprefix("vm-"))
    end = time.monotonic() + TIMEOUT + SETUP + GRACE
    while active_vms(parts, facts.token):
        assert time.monotonic() < end, f"a VM is active after its time to live: {active_vms(parts, facts.token)}"
        time.sleep(0.2)
    with lk_jupyter.connect() as session:
        run = Run.attach(session, run_id)
        text = "".join(getattr(event, "content", "") for event in run.follow())
        problem = ""
        try:
            run.result()
        except LkError as error:
            problem = str(error).partition("\n")[0]
        cost = run.cost
    bills = [vm.billed or Decimal(0) for vm in vms_of(parts, facts.token)]
    assert cost == sum(bills), f"the receipt is {cost}, the bills are {bills}"
    assert sum(bills) <= Decimal(MAX_COST), f"the bills are {bills}"
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]
    assert numbers == list(range(1, len(numbers) + 1)), "lines are missing, repeated or out of order"
    assert len(numbers) == LINES or problem, f"{len(numbers)} lines, and no problem is reported"
    result = "all lines" if len(numbers) == LINES else f"{len(numbers)} lines, reported: {problem[:90]}"
    return f"{kind:10} killed after {moment:.1f} s, {len(bills)} VMs, {result}"


def vms_of(parts: Parts, token: str) -> list[Any]:
    """Return the VMs of a run, ended ones too."""
    return [vm for vm in parts.cloud.client.vms.list() if vm.display_name == NAME_PREFIX + token[:12]]


def active_vms(parts: Parts, token: str) -> list[str]:
    """Return the ids of the active VMs of a run."""
    return [vm.vm_id for vm in vms_of(parts, token) if vm.status != "terminated"]


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", action="store_true", help="kill parts of lk start --on vm: tests/killed_starts.py")
    options = parser.parse_args()
    if options.start:
        with tempfile.TemporaryDirectory() as folder:
            return run_cases(options.count, options.seed, Path(folder))
    chance, passed, complete = random.Random(options.seed), 0, 0
    exec(SHORTENED)
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder))
        try:
            for number in range(options.count):
                try:
                    line = run_case(KINDS[number % len(KINDS)], parts, chance)
                    passed, complete = passed + 1, complete + ("all lines" in line)
                except AssertionError as error:
                    line = f"{KINDS[number % len(KINDS)]:10} FAILED: {error}"
                print(f"{number + 1:3}: {line}", flush=True)
            active = living(parts.cloud)
        finally:
            parts.stop()
    print(f"{passed} of {options.count} passed, {complete} with all lines, {len(active)} VMs active at the end")
    return 0 if passed == options.count and not active else 1


if __name__ == "__main__":
    sys.exit(main())
