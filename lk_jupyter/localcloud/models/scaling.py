"""Compute the number of replicas of a deployment from its latest requests."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Any

Json = dict[str, Any]

#: Seconds over which requests are counted.
WINDOW = 10.0

_MOST_REQUESTS = 10_000


class Demand:
    """The latest requests of each deployment; a restart forgets the requests."""

    def __init__(self, speed: float) -> None:
        self._window = WINDOW / speed
        self._requests: defaultdict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_MOST_REQUESTS))

    def add(self, deployment_id: str, now: float, seconds: float) -> None:
        """Count a request that took some seconds."""
        self._requests[deployment_id].append((now, seconds))

    def count_needed_replicas(self, deployment: Json, now: float) -> int:
        """Return the number of replicas that the targets require, within the bounds."""
        requests = self._requests[deployment["deployment_id"]]
        while requests and requests[0][0] < now - self._window:
            requests.popleft()
        replica_count = math.ceil(len(requests) / self._window / deployment["target_rps"])
        if _compute_p95([seconds for _, seconds in requests]) * 1000 > deployment["target_latency_p95_ms"]:
            replica_count = max(replica_count, deployment["desired_replicas"] + 1)
        return int(min(max(replica_count, deployment["min_replicas"]), deployment["max_replicas"]))


def _compute_p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.95) - 1] if values else 0.0
