"""Split the time and the bill of a run into phases, as far as the cloud and the run report these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import is_final
from lk_jupyter.errors import ApiError
from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.runs.clock import measure_duration, measure_launch, measure_queue
from lk_jupyter.text.units import credits_label, duration_label

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.api.execution import ExecutionRecord, Timing
    from lk_jupyter.runs.messages import RunMessages

#: Part of the name of a phase in the cloud's answer → our phase.
_REPORTED = {"image": re.compile("image|pull", re.IGNORECASE), "installation": re.compile("install|requirement|pip")}

#: Seconds by which a bill may differ from time and price: clouds round both.
_TOLERANCE = 1


@dataclass(frozen=True)
class RunTiming:
    """Time of a run by phase, in seconds, and cost by phase, in credits; None if unknown.

    ``transfer`` is the upload before the request and the time in which the run stages files, ``queue`` the wait for a
    machine, ``code`` the time of the code. ``launch`` includes ``image``, ``installation`` and ``start``, which most
    servers report as one time. ``costs`` has the phases that the bill contains. ``installs_in_run`` is whether the run
    itself provided its packages, after ``launch``.

    Example:
        >>> run = session.run("print(1)")
        >>> _ = run.result()
        >>> timing = run.timing()
        >>> timing.code > 0, timing.installation, timing.image
        (True, 0.0, None)
        >>> timing.costs["code"] == run.cost
        True
        >>> timing.label
        'transfer ... · queue ... · image, start ... · code ... credits)'
    """

    transfer: float | None = None
    queue: float | None = None
    image: float | None = None
    installation: float | None = None
    start: float | None = None
    launch: float | None = None
    code: float | None = None
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    installs_in_run: bool = False

    @property
    def label(self) -> str:
        """The phases in words, each with its cost if the bill contains it."""
        return " · ".join(self._iterate_labels())

    def _iterate_labels(self) -> Iterator[str]:
        parts = {"image": self.image, "installation": self.installation, "start": self.start}
        later = [("installation", parts.pop("installation"))] if self.installs_in_run else []
        together = [name for name, seconds in parts.items() if seconds is None]
        rows = [("transfer", self.transfer), ("queue", self.queue)]
        rows += [(name, seconds) for name, seconds in parts.items() if seconds]
        if together and self.launch is not None:
            split_seconds = sum(seconds for seconds in parts.values() if seconds is not None)
            rows.append((", ".join(together), max(0.0, self.launch - split_seconds)))
        for name, seconds in [*rows, *later, ("code", self.code)]:
            if seconds is not None:
                cost = self.costs.get(name if name in {"transfer", "queue", "code"} or name in self.costs else "launch")
                yield f"{name} {duration_label(seconds)}" + (f" ({credits_label(cost)})" if cost else "")


def read_phases(messages: RunMessages) -> dict[str, float]:
    """Return the phases whose time the run itself has reported, in seconds: its packages, and staged files."""
    phases: dict[str, float] = {}
    for kind in ("packages", "staged"):
        for frame in messages.read_from_log(kind):
            seconds = frame.payload.get("seconds")
            if isinstance(seconds, (int, float)) and isfinite(seconds):
                phases[kind] = phases.get(kind, 0.0) + float(seconds)
    return phases


def read_timing(
    client: Client,
    record: ExecutionRecord,
    price_per_hour: Decimal | None,
    phases: Mapping[str, float],
    request: Mapping[str, Any] | None,
) -> RunTiming:
    """Return the phases of a run, as far as the cloud reports them.

    ``phases`` is the time of the submission and of ``read_phases`` by phase, in seconds; ``request`` is the request of
    the start, if known.
    """
    timing = None
    with suppress(ApiError):
        timing = client.execution.timing(record.execution_id).timing
    has_packages = request is None or bool(request.get("requirements_content"))
    provided = phases.get("packages")
    split = split_time(
        record, timing, price_per_hour, phases.get("upload"), has_packages=has_packages, provided=provided
    )
    return _move_staging(split, phases.get("staged", 0.0), price_per_hour)


def _move_staging(timing: RunTiming, seconds: float, price: Decimal | None) -> RunTiming:
    """Return the phases with the time in which the run staged files moved from its code to the transfer."""
    if timing.code is None:
        return timing
    seconds = min(max(0.0, seconds), timing.code)
    costs = _move_cost(timing.costs, "transfer", cost_at(price, seconds)) if seconds else timing.costs
    transfer = timing.transfer if not seconds else (timing.transfer or 0.0) + seconds
    return replace(timing, transfer=transfer, code=timing.code - seconds, costs=costs)


def _move_cost(costs: Mapping[str, Decimal], phase: str, cost: Decimal | None) -> dict[str, Decimal]:
    """Return the costs with a part of the code's cost moved to another phase, if both are known."""
    if cost is None or "code" not in costs:
        return dict(costs)
    cost = min(cost, costs["code"])
    return {**costs, phase: cost, "code": costs["code"] - cost}


def split_time(  # noqa: PLR0913 (independent facts)
    record: ExecutionRecord,
    timing: Timing | None,
    price_per_hour: Decimal | None,
    transfer: float | None = None,
    *,
    has_packages: bool = True,
    provided: float | None = None,
) -> RunTiming:
    """Return the phases of a run.

    Args:
        record: The record of the run.
        timing: The phases that the cloud reports; None if it reports none.
        price_per_hour: Price of the machine in credits; None if unknown.
        transfer: Seconds of the upload that this process measured.
        has_packages: Whether the request may list packages. Default: it may.
        provided: Seconds in which the run itself provided its packages, as a part of the code's time.
    """
    queue, launch, code = measure_queue(record), measure_launch(record), measure_duration(record)
    if timing:
        queue = timing.queued if queue is None else queue
        launch = timing.launchingContainer if launch is None else launch
        code = timing.executingJob if code is None else code
    image, installation = (_read_phase(timing, name) for name in ("image", "installation"))
    if installation is None and (not has_packages or provided is not None):
        installation = 0.0
    is_split = launch is not None and image is not None and installation is not None
    start = max(0.0, (launch or 0.0) - (image or 0.0) - (installation or 0.0)) if is_split else None
    costs = _split_bill(record, price_per_hour, launch, code)
    if provided is not None and code is not None:
        installation, code = provided, max(0.0, code - provided)
        costs = _move_cost(costs, "installation", cost_at(price_per_hour, provided))
    return RunTiming(
        transfer, queue, image, installation, start, launch, code, costs, installs_in_run=provided is not None
    )


def _read_phase(timing: Timing | None, name: str) -> float | None:
    """Return the duration of the cloud's phases whose name means a phase of ours."""
    phases = (timing and timing.phases) or {}
    durations = [phase.duration for key, phase in phases.items() if _REPORTED[name].search(key)]
    return sum(each for each in durations if each is not None) if any(each is not None for each in durations) else None


def _split_bill(
    record: ExecutionRecord, price: Decimal | None, launch: float | None, code: float | None
) -> dict[str, Decimal]:
    """Return phase → cost of an ended run, if the bill is the price of the code, or of launch and code."""
    billed = record.billed if is_final(record.status) else None
    code_cost = None if code is None else cost_at(price, code)
    tolerance = cost_at(price, _TOLERANCE)
    if billed is None or code_cost is None or tolerance is None:
        return {}
    if abs(billed - code_cost) <= tolerance:
        return {"code": billed}
    launch_cost = None if launch is None else cost_at(price, launch)
    if launch_cost is not None and abs(billed - code_cost - launch_cost) <= tolerance:
        return {"launch": billed - code_cost, "code": code_cost}
    return {}
