"""How long a test waits for an event before it fails, and what work costs a busy machine."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds. On a quiet machine each event comes at once; a limit that a busy one exceeds says nothing of the code.
PATIENCE = 300


def wait_until(condition: Callable[[], T]) -> T:
    """Return the first true value of a condition of another thread or process."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "the condition is never true"
        time.sleep(0.02)
    return value


def cpu_seconds(work: Callable[[], object], limit: float) -> float:
    """Return what some work needs of the CPU; the least of three tries, as other processes share its caches."""
    least = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
        if least < limit:
            break
    return least
