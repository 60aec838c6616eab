"""Forecast time and cost of a run from earlier runs of the same code on the same machine, on this computer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from lk_jupyter.api.states import SUCCEEDED_STATES
from lk_jupyter.code.source import code_hash
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.machines.catalogue import machine_cost
from lk_jupyter.protocol.metadata import INPUTS_KEY
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.units import count_label, credits_label, duration_label

#: The fewest earlier runs of a forecast, and the most that count: the newest.
MIN_RUNS, _MAX_RUNS = 3, 30

#: The newest runs of the code that are compared: reading a run takes 0.1 ms.
_MOST_READ = 100

#: The quantile of the normal distribution for an interval that contains 90 % of the runs.
_NORMAL = 1.6448536269514722

#: Inputs that differ by less than this factor count as equal in size, and so do inputs below this number of bytes.
_SAME_SIZE, _SMALL_BYTES = 1.2, 100_000

#: The least standard deviation of the logarithm, and of the seconds: clouds and clocks vary this much.
_LEAST_SHARE, _LEAST_SECONDS = 0.02, 0.1


@dataclass(frozen=True)
class Forecast:
    """The expected time of a run's code, in seconds, and its cost in credits (None without a price).

    ``count`` is the number of earlier runs.
    """

    low: float
    high: float
    cost: Decimal | None
    count: int

    @property
    def label(self) -> str:
        """The forecast in words, such as ``usually 4 min 06 s to 4 min 54 s, about 0.12 credits (7 runs)``."""
        cost = "" if self.cost is None else f", about {credits_label(self.cost)}"
        runs = count_label(self.count, "run")
        return f"usually {duration_label(self.low)} to {duration_label(self.high)}{cost} ({runs})"


def forecast_run(bundle: Bundle, base_url: str) -> Forecast | None:
    """Return the forecast of a run; None if fewer than MIN_RUNS similar runs completed."""
    entries = journal().entries(
        base_url=base_url, code_hash=code_hash(bundle.source.code), limit=_MOST_READ, with_files=False
    )
    durations = [entry.seconds for entry in entries if entry.seconds and _is_similar(entry, bundle)][:_MAX_RUNS]
    if len(durations) < MIN_RUNS:
        return None
    low, high = (min(bound, bundle.timeout) for bound in predict_interval(durations))
    typical = min(sorted(durations)[len(durations) // 2], bundle.timeout)
    return Forecast(low, high, machine_cost(bundle.machine, typical), len(durations))


def _is_similar(entry: JournalEntry, bundle: Bundle) -> bool:
    """Return whether an entry completed on this machine with equal arguments and inputs of about this size."""
    if entry.state not in SUCCEEDED_STATES or entry.machine != bundle.machine.hardware_profile:
        return False
    if entry.options.get("arg", []) != getattr(bundle.options, "arg", []):
        return False
    if any(entry.metadata.get(name) != str(value) for name, value in bundle.source.values.items()):
        return False
    sizes = sorted([_read_bytes(entry), bundle.input_bytes])
    return sizes[1] <= max(_SMALL_BYTES, sizes[0] * _SAME_SIZE)


def _read_bytes(entry: JournalEntry) -> int:
    text = entry.metadata.get(INPUTS_KEY, "")
    return int(text) if text.isdecimal() else 0


def predict_interval(durations: Sequence[float]) -> tuple[float, float]:
    """Return the bounds between which the next duration is expected with a probability of 90 %, in seconds.

    The logarithms count as normal, so that the interval of few durations is wide.
    """
    from statistics import fmean, stdev  # noqa: PLC0415 (few runs have a history)

    logarithms = [math.log(seconds) for seconds in durations]
    center, count = fmean(logarithms), len(durations)
    least = max(_LEAST_SHARE, _LEAST_SECONDS / fmean(durations))
    width = _compute_student_quantile(count - 1) * max(stdev(logarithms), least) * math.sqrt(1 + 1 / count)
    return math.exp(center - width), math.exp(center + width)


def _compute_student_quantile(degrees: int) -> float:
    """Return the quantile of Student's distribution for 90 %, by the expansion of the normal quantile in degrees."""
    z = _NORMAL
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return sum(term / float(degrees) ** power for power, term in enumerate(terms))
