"""A hundred runs followed at once from one kernel, on a local cloud: what they take of it, and how soon they stop."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from figures import Figure
from kernel import Kernel, running_kernel

from lk_jupyter.localcloud import launch

RUNS = 100
SECONDS = 10.0
IDLE_SECONDS = 3.0

#: Each run prints a line a second.
CODE = "import time\nfor line in range(600): print('run', x, 'line', line, flush=True); time.sleep(1)"


def measure() -> Iterator[Figure]:
    """Yield what a fan-out of a hundred runs takes of its kernel."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        env = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_LOG_DIR": str(Path(folder, "logs"))}
        env["LK_JOURNAL"] = str(Path(folder, "journal.sqlite"))
        try:
            with running_kernel(**env) as kernel:
                yield from _measure(kernel)
        finally:
            launch.stop(cloud.data)


def _measure(kernel: Kernel) -> Iterator[Figure]:
    kernel.execute(_cell(2, "print(x)"))  # what is loaded once does not count
    time.sleep(IDLE_SECONDS)
    idle = kernel.process.memory_info().rss
    cell = Lanes(kernel, _cell(RUNS, CODE))
    cell.until(lambda board: f"{RUNS} running" in board)
    share, peak = cell.watch(SECONDS)
    interrupted = time.perf_counter()
    kernel.process.send_signal(signal.SIGINT)
    cell.until(lambda board: "stopping" in board)
    answered = time.perf_counter() - interrupted
    cell.until_idle()
    ended = time.perf_counter() - interrupted
    yield Figure(f"{RUNS} runs followed at once: share of one core", 100 * share, 12, "%", f"over {SECONDS:.0f} s")
    yield Figure(f"{RUNS} runs followed at once: memory beyond idle", (peak - idle) / 1e6, 150, "MB")
    yield Figure("interrupt of them answered after", answered, 1, "s", f"all aborted and billed after {ended:.1f} s")


def _cell(runs: int, code: str) -> str:
    values = ",".join(map(str, range(runs)))
    return f"%%lk_run --gpu A100 --timeout 600 --parallel {runs} --sweep x={values}\n{code}"


class Lanes:
    """A cell with lanes that is being executed."""

    def __init__(self, kernel: Kernel, code: str) -> None:
        self._kernel = kernel
        self._request = kernel.begin(code)

    def until(self, ready: Callable[[str], bool]) -> None:
        """Read what it shows until the board is as asked."""
        while not ready(self._next()["content"].get("data", {}).get("text/plain", "")):
            pass

    def until_idle(self) -> None:
        """Read until it has ended."""
        while self._next()["content"].get("execution_state") != "idle":
            pass

    def watch(self, seconds: float) -> tuple[float, int]:
        """Return the share of one core that the kernel takes for so long, and its most memory."""
        process, memory = self._kernel.process, [0]
        began, used = time.perf_counter(), sum(process.cpu_times()[:2])
        while time.perf_counter() - began < seconds:
            self._next()
            memory.append(process.memory_info().rss)
        return (sum(process.cpu_times()[:2]) - used) / (time.perf_counter() - began), max(memory)

    def _next(self) -> dict[str, Any]:
        return self._kernel.message_of(self._request)
