"""Trainings that end at a random moment: by an interrupt, the time limit, ``--max-cost``, Stop, a crash and an abort.

A crash of the interpreter and an abort by another client return the last saved moment.

``python tests/ended.py --count 100`` ends that number of trainings in a notebook on a local cloud, and counts those
whose state isn't restored up to the last step in the log, and those that leave a run active. A test does so once for
each way. With ``--load 20``, 20 processes compete for the processor meanwhile: a cell may end before its run then, and
its abort continues in the background.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

WAYS = ("interrupt", "time limit", "--max-cost", "Stop", "crash", "abort")

#: Ways that kill the run, and the seconds of its work that may be lost then.
KILLS, LOSS_SECONDS = {"crash", "abort"}, 2.0

#: Credits per hour of the machine, for a maximum cost that is reached after some seconds.
PRICE = 1.59

TRAINING = """%%lk_run --gpu A100 {options}
import os, time
while True:
    state["step"] += 1
    if state["step"] == {crash}:
        os._exit(3)
    if state["step"] % 5 == 0:
        print("step", state["step"], flush=True)
    time.sleep(0.02)
"""

#: Ends the only active run after some seconds.
END = """
import threading, time
from lk_jupyter.widgets import Runs
def end_later(seconds, end):
    active = []
    while not active:
        active = [run.execution_id for run in session.client.workloads.list() if run.status == "running"]
        time.sleep(0.05)
    time.sleep(seconds)
    end(active[0])
"""


@dataclass(frozen=True)
class Ending:
    """The state after a training that was ended in a way, and the last step in the log."""

    way: str
    seconds: float
    step: int
    logged: int
    shown: str

    @property
    def loss(self) -> float:
        """The seconds of work that the log shows and the state lacks."""
        return max(0, self.logged - self.step) * 0.02

    @property
    def is_complete(self) -> bool:
        """Whether the state contains all steps in the log; after a kill, the steps until a saved moment."""
        if self.way in KILLS:
            return self.step > 0 and self.loss <= LOSS_SECONDS and "variables that were saved at" in self.shown
        return self.step >= self.logged > 0


def end_training(kernel, way: str, seconds: float) -> Ending:
    """End a training in a way after some seconds, and read its state in the notebook."""
    options = {
        "time limit": f"--timeout {max(2, round(seconds) + 1)}",
        "--max-cost": f"--max-cost {(seconds + 3) * PRICE / 3600:.5f}",
    }
    kernel.run("state = {'step': 0}")
    if way in {"Stop", "abort"}:
        end = {"Stop": "lambda run_id: Runs().abort(run_id)", "abort": "session.client.workloads.abort"}[way]
        kernel.run(f"threading.Thread(target=end_later, args=({seconds}, {end}), daemon=True).start()")
    steps = round(seconds / 0.02)
    crash = steps if way == "crash" else -1

    def is_reached(cell) -> bool:
        return way == "interrupt" and _last_step(cell.text) >= steps

    training = TRAINING.format(options=options.get(way, ""), crash=crash)
    cell = kernel.run(training, on=kernel.interrupt_when(is_reached))
    return Ending(way, seconds, int(kernel.value("state['step']")), _last_step(cell.text), "\n".join(cell.shown))


def _last_step(text: str) -> int:
    return int(([0, *re.findall(r"step (\d+)\n", text)])[-1])


def end_trainings(kernel, count: int, seed: int):
    """Yield trainings that end in each way in turn, after random seconds."""
    kernel.run(f"import lk_jupyter\nsession = lk_jupyter.connect()\n{END}")
    draw = random.Random(seed)
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        yield end_training(kernel, way, draw.uniform(3, 6) if way in KILLS else draw.uniform(1, 4))


@contextmanager
def busy_processor(count: int) -> Iterator[None]:
    """Run this number of endless loops in a block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


#: Seconds in which a run must end after its cell: an abort is repeated in the background.
END_SECONDS = 60.0


def wait_for_end(client) -> tuple[float, list[str]]:
    """Wait until no run is active; return the seconds, and the ids of runs that are active after END_SECONDS."""
    start_time = time.monotonic()
    while active := [run.execution_id for run in client.workloads.list()]:
        if time.monotonic() - start_time > END_SECONDS:
            break
        time.sleep(0.1)
    return time.monotonic() - start_time, active


def main() -> None:
    """End trainings, and print a line for each incomplete state, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="number of trainings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", type=int, default=0, help="number of processes that keep the processor busy")
    arguments = parser.parse_args()
    from conftest import RunningCloud  # noqa: PLC0415 (a module of pytest)
    from magics.kernels import Kernel, running_kernel  # noqa: PLC0415 (the same)

    complete, active, late, loss = Counter[str](), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home, cloud = Path(folder), RunningCloud(Path(folder) / "cloud")
        stack.callback(cloud.stop)
        env = {name: text for name, text in os.environ.items() if not name.startswith(("LK_", "XDG_"))}
        env |= {"HOME": folder, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_CARRY": "always"}
        env |= {"LK_JOURNAL": str(home / "journal.sqlite"), "LK_LOG_DIR": str(home / "logs"), "LK_LOG_LINES": "5000"}
        kernel = Kernel(*stack.enter_context(running_kernel(env, home)), home)
        kernel.run("%load_ext lk_jupyter")
        stack.enter_context(busy_processor(arguments.load))
        for ending in end_trainings(kernel, arguments.count, arguments.seed):
            complete[ending.way] += ending.is_complete
            seconds, active_ids = wait_for_end(cloud.client)
            late += seconds > 1
            active += len(active_ids)
            loss = max(loss, ending.loss)
            if not ending.is_complete or active_ids or seconds > 1:
                print(ending, f"run ended {seconds:.1f} s after its cell", *active_ids, flush=True)
    total = sum(complete.values())
    figures = f"{total} of {arguments.count} states complete {dict(complete)}; {active} runs left active"
    figures += f", {late} ended after their cells"
    print(f"{figures}; at most {loss:.1f} s of work lost")
    sys.exit(total < arguments.count or active > 0)


if __name__ == "__main__":
    main()
