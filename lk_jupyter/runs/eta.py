"""Estimate from the steps in the log of a run when the run ends, and the cost until then."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from decimal import Decimal

from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.runs.scalars import MOST_HOURS, MOST_LINES, LoggedRun
from lk_jupyter.text.scalars import ScalarParser, StepRate
from lk_jupyter.text.units import credits_label, duration_label


@dataclass(frozen=True)
class RunEta:
    r"""The estimated rest of a run: ``seconds``, and ``cost`` in credits, None without a price.

    ``step`` and ``total`` are the last printed step and the number of all steps.

    Example:
        >>> code = "import time\nfor i in range(1, 9): print(f'step {i}/8', flush=True); time.sleep(0.5)"
        >>> run = session.run(code)
        >>> for event in run.follow():
        ...     if "step 4/8" in getattr(event, "content", ""):
        ...         eta = run.eta()
        >>> eta.step, eta.total, 0 < eta.seconds < 60, eta.label, len(eta.facts)
        (4, 8, True, 'about ... s left · about ... credits more', 2)
        >>> run.eta() is None
        True
    """

    seconds: float
    cost: Decimal | None
    step: int
    total: int

    @property
    def label(self) -> str:
        """The estimate in words."""
        return " · ".join(self.facts)

    @property
    def facts(self) -> list[str]:
        """The estimate in words, each fact separately."""
        cost = [] if self.cost is None else [f"about {credits_label(self.cost)} more"]
        return [f"about {duration_label(self.seconds)} left", *cost]


def estimate_rest(rate: StepRate, price_per_hour: Decimal | None, moment: float | None = None) -> RunEta | None:
    """Return the estimate from the steps so far; None before two steps, and after the last step.

    ``moment`` is the current time, on the clock of the steps: time since the last step is subtracted.
    """
    if rate.rest is None:
        return None
    step, total, seconds = rate.rest
    if not math.isfinite(seconds):
        return None
    if moment is not None:
        seconds -= max(0.0, moment - rate.last_seconds)
    seconds = max(0.0, seconds)
    return RunEta(seconds, cost_at(price_per_hour, seconds), step, total)


def read_eta(run: LoggedRun, price_per_hour: Decimal | None) -> RunEta | None:
    """Return the estimate from the stored lines of an active run; None if the cloud stores no times of lines."""
    parser = ScalarParser()
    for entry in run.logs(limit=MOST_LINES, hours=MOST_HOURS):
        if entry.timestamp:
            parser.feed(f"{entry.message}\n", entry.timestamp.timestamp())
    return estimate_rest(parser.rate, price_per_hour, time.time())
