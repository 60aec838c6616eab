"""Kill parts of ``lk start --on vm`` at random moments, and count the VMs that are active after their stated end.

tests/killed_vms.py --start executes the cases. Each case has a home folder of its own, as a computer of its own. Its
code would run for minutes, and its VM has a stated end. At a random moment, a part is killed: the shell with the
command, the detached driver, the network of the computer (not of the VM), or shell and driver together, as if the
computer was off.

- After the stated end, no VM is active if its guard had arrived.
- After one later ``lk`` command, no VM is active.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from conftest import RunningCloud

from lk_jupyter.errors import UsageError
from lk_jupyter.vms.facts import VmFacts
from lk_jupyter.vms.vms import NAME_PREFIX

KINDS = ("shell", "driver", "network", "computer")

#: Seconds, shortened: the code's time limit and the rest of the time to live; the latest moment of a kill; until a VM
#: must have ended after its stated end, and after the later command.
TIMEOUT, SETUP, LATEST, GRACE, COMMAND = 8, 12, 9.0, 10.0, 90.0

#: Cases at the same time.
AT_ONCE = 6

START = f"""
from lk_jupyter.vms import hosted, replacing
from lk_jupyter.runs.package import rented, bundle
hosted.SETUP_SECONDS = replacing.SETUP_SECONDS = rented.SETUP_SECONDS = bundle.SETUP_SECONDS = {SETUP}
replacing._LEAST_SECONDS = 1
from lk_jupyter.cli import entry
entry()
"""

WORDS = ("start", "--on", "vm", "--gpu", "A100", "--max-cost", "1", "--timeout", str(TIMEOUT), "--json")
CODE = "import time; time.sleep(600)"


class Network:
    """A network between one computer and the cloud, which can be down; requests of VMs pass nevertheless."""

    def __init__(self, port: int) -> None:
        self.is_down = False
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the cloud behind this network."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """End all connections of the computer, and refuse others."""
        self.is_down = True
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Let requests pass again."""
        self.is_down = False

    def close(self) -> None:
        """End the network."""
        self.cut()
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._pass_request, args=self._server.accept()[:1], daemon=True).start()

    def _pass_request(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
            is_from_vm = b"python-urllib" in head.lower()
            if self.is_down and not is_from_vm:
                return
            with socket.create_connection(("127.0.0.1", self._port)) as cloud:
                pair = {client, cloud}
                if not is_from_vm:
                    self._sockets |= pair
                cloud.sendall(head)
                threading.Thread(target=_copy, args=(client, cloud), daemon=True).start()
                _copy(cloud, client)
                self._sockets -= pair


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@dataclass
class Computer:
    """A computer of a case: its home folder, its network, and its processes."""

    cloud: RunningCloud
    home: Path
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        (self.home / "work").mkdir(parents=True)
        self.network = Network(int(self.cloud.base_url.rpartition(":")[2]))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its commands."""
        account = {"LK_BASE_URL": self.network.url, "LK_API_KEY": self.cloud.api_key}
        places = {"HOME": str(self.home), "LK_JOURNAL": str(self.home / "journal.db")}
        return {**os.environ, **account, **places}

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command in a shell of its own."""
        return self._open("-c", START, *WORDS, "-c", CODE)

    def execute_command(self) -> None:
        """Execute a later command, whichever it is."""
        self._open("-m", "lk_jupyter.cli", "runs").wait(COMMAND)

    def _open(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.home / "log").open("ab")
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.home / "work",
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def kill_drivers(self) -> None:
        """Kill the detached drivers of this computer."""
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                is_driver = "lk_jupyter.cli.driver" in (process.info["cmdline"] or [])
                if is_driver and process.environ().get("HOME") == str(self.home):
                    process.kill()

    def read_facts(self) -> VmFacts | None:
        """Return the facts of the run of this computer; None before the run is recorded."""
        for path in self.home.glob("vms/*.json"):
            with suppress(OSError, ValueError, UsageError):
                return VmFacts.model_validate_json(path.read_text("utf-8"))
        return None

    def list_active_vms(self) -> list[str]:
        """Return the ids of the active VMs of this computer."""
        facts = self.read_facts()
        name = NAME_PREFIX + facts.token[:12] if facts else ""
        return [
            vm.vm_id for vm in self.cloud.client.vms.list() if vm.display_name == name and vm.status != "terminated"
        ]

    def has_guard(self, vm_id: str) -> bool:
        """Return whether the guard has arrived on a VM."""
        return any((self.cloud.data / "vms" / vm_id / "home").glob(".lk/*/guard-pid"))


def kill(kind: str, computer: Computer, shell: subprocess.Popen[bytes]) -> None:
    """Kill a part now."""
    if kind == "network":
        computer.network.cut()
    if kind in {"shell", "computer"}:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    if kind in {"driver", "computer"}:
        computer.kill_drivers()


def run_case(kind: str, cloud: RunningCloud, home: Path, moment: float) -> str:
    """Run a case, and return its result in words. Raises AssertionError for a broken promise."""
    computer = Computer(cloud, home)
    shell = computer.start()
    try:
        time.sleep(moment)
        kill(kind, computer, shell)
        before = f"{kind:9} killed after {moment:4.1f} s"
        with suppress(subprocess.TimeoutExpired):
            shell.wait(COMMAND)
        if (facts := computer.read_facts()) is None:
            return f"{before}: nothing was rented"
        rented = computer.list_active_vms() or [facts.active_id]
        had_guard = any(computer.has_guard(vm_id) for vm_id in rented if vm_id)
        _await_end(computer, facts.ends_at + GRACE)
        if not (active := computer.list_active_vms()):
            return f"{before}: ended without a command, {'guard' if had_guard else 'no guard'}"
        had_guard = any(map(computer.has_guard, active))
        assert not had_guard, f"a VM with a guard is active {GRACE:.0f} s after its end: {active}"
        computer.network.restore()
        computer.execute_command()
        _await_end(computer, time.time() + COMMAND)
        assert not computer.list_active_vms(), f"a VM is active after a later command: {active}"
        return f"{before}: ended by a later command, no guard"
    finally:
        computer.kill_drivers()
        computer.network.close()
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def _await_end(computer: Computer, latest: float) -> None:
    """Wait until no VM of the computer is active, at most until a moment in Unix seconds."""
    while time.time() < latest and computer.list_active_vms():
        time.sleep(0.2)


def run_cases(count: int, seed: int, folder: Path) -> int:
    """Run all cases, and return the exit code."""
    chance = random.Random(seed)
    cloud = RunningCloud(folder / "cloud", "--clock-speed", "50", "--credits", "1000")
    cases = [
        (KINDS[number % len(KINDS)], folder / f"home{number}", chance.uniform(0, LATEST)) for number in range(count)
    ]
    results: Counter[str] = Counter()

    def run_numbered(number: int) -> None:
        kind, home, moment = cases[number]
        try:
            line = run_case(kind, cloud, home, moment)
            results[line.partition(": ")[2]] += 1
        except AssertionError as error:
            line = f"{kind:9} killed after {moment:4.1f} s: FAILED: {error}"
            results["FAILED"] += 1
        print(f"{number + 1:3}: {line}", flush=True)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(run_numbered, range(count)))
        active = [vm.vm_id for vm in cloud.client.vms.list() if vm.status != "terminated"]
    finally:
        cloud.stop()
    print(f"{count - results['FAILED']} of {count} passed, {len(active)} VMs active at the end")
    for result, number in results.most_common():
        print(f"  {number:3} {result}")
    return 1 if results["FAILED"] or active else 0
