"""The life of a replica as a function of time: state, start of service, cost.

A replica is a dictionary with ``replica_id``, the second of the request (``since``) and the second of the end
(``until``), or None.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

from lk_jupyter.localcloud.billing.catalogue import compute_cost_by_hour
from lk_jupyter.localcloud.clock import to_text
from lk_jupyter.localcloud.models.builtin import BROKEN

Json = dict[str, Any]

#: States on the way up, with their seconds.
STARTING = (("pending", 1.0), ("pulling_docker_image", 4.0), ("initing_docker_container", 5.0))

#: States of a replica whose engine doesn't start: the cloud tries twice.
FAILING = (*STARTING, ("restarting", 2.0), ("initing_docker_container", 5.0))

FAIL_REASON = "the engine ended at its start, with exit code 1"
LOGS = f"INFO loading {BROKEN}\nERROR {BROKEN} has no weights: this model demonstrates a failure\n"


def create_replica(now: float) -> Json:
    """Return a new, just requested replica."""
    return {"replica_id": str(uuid4()), "since": now, "until": None}


def compute_state(replica: Json, model: str, now: float, speed: float) -> str:
    """Return the state of a replica of a model, on a clock that runs at some speed."""
    if replica["until"] is not None:
        return "stopped"
    age = (now - replica["since"]) * speed
    for name, seconds in FAILING if model == BROKEN else STARTING:
        if age < seconds:
            return name
        age -= seconds
    return "failed" if model == BROKEN else "running"


def compute_service_start(replica: Json, speed: float) -> float:
    """Return the second from which a replica serves, if its model can."""
    start: float = replica["since"] + sum(seconds for _, seconds in STARTING) / speed
    return start


def compute_cost(replica: Json, model: str, per_hour: Decimal, now: float, speed: float) -> Decimal:
    """Return the cost of a replica so far, in credits: for the time of service only."""
    if model == BROKEN:
        return Decimal(0)
    end = now if replica["until"] is None else replica["until"]
    return compute_cost_by_hour(per_hour, end - compute_service_start(replica, speed))


def build_view(replica: Json, model: str, now: float, speed: float) -> Json:
    """Return a replica in the form of the API."""
    current = compute_state(replica, model, now, speed)
    checked = current in {"running", "failed"}
    return {
        "replica_id": replica["replica_id"],
        "status": current,
        "healthy": current == "running" if checked else None,
        "last_health_check": to_text(now) if checked else None,
        "fail_reason": FAIL_REASON if current == "failed" else None,
    }
