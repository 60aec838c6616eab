"""Compare how long the runs of a cell took to start: in an image, and with packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lk_jupyter.api.states import SUCCEEDED_STATES
from lk_jupyter.code.source import code_hash
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.text.units import count_label, duration_label

if TYPE_CHECKING:
    from lk_jupyter.options.runs import RunOptions
    from lk_jupyter.runs.package.bundle import Bundle

#: The figure of a run in the journal: seconds from its machine to its code, with image and packages.
START_KEY = "start_seconds"

#: The image of ``--image auto``.
AUTO = "auto"

#: The newest runs that are compared.
_MAX_RUNS = 100


@dataclass(frozen=True)
class MeasuredStart:
    """The start of a cell in an image, or with packages (``image`` is empty): the median in seconds, and its runs."""

    image: str
    requirements: tuple[str, ...]
    seconds: float
    count: int

    def __str__(self) -> str:
        return f"{self.image or 'packages'} {duration_label(self.seconds)} ({count_label(self.count, 'run')})"


def is_compared(bundle: Bundle) -> bool:
    """Return whether the start of a run takes long enough to compare it: in an image, or with packages."""
    return bool(getattr(bundle.options, "image", None) or bundle.request.requirements_content)


def read_earlier_starts(base_url: str, code: str) -> list[MeasuredStart]:
    """Return the starts of the completed runs of a cell from this machine, the fastest first."""
    from statistics import median  # noqa: PLC0415 (takes long to import)

    groups: dict[tuple[str, tuple[str, ...]], list[float]] = {}
    entries = journal().entries(base_url=base_url, code_hash=code_hash(code), limit=_MAX_RUNS, with_files=False)
    for entry in entries:
        for seconds in _read_start(entry):
            image = str(entry.options.get("image") or "")
            groups.setdefault((image, tuple(entry.options.get("requirements") or ())), []).append(seconds)
    starts = [MeasuredStart(*way, median(seconds), len(seconds)) for way, seconds in groups.items()]
    return sorted(starts, key=lambda start: start.seconds)


def _read_start(entry: JournalEntry) -> Iterator[float]:
    """Yield the seconds of the start of a run in an image or with packages, if they are known."""
    seconds = entry.summary.get(START_KEY)
    has_way = entry.options.get("image") or entry.request.get("requirements_content")
    if has_way and entry.state in SUCCEEDED_STATES and isinstance(seconds, (int, float)):
        yield float(seconds)


def describe_starts(base_url: str, code: str) -> str:
    """Return which start is faster; empty without two ways to compare."""
    starts = read_earlier_starts(base_url, code)
    if len({start.image for start in starts}) < 2:
        return ""
    fastest = starts[0]
    advice = f"faster with --image {fastest.image}" if fastest.image else "faster without --image"
    return f"{', '.join(map(str, starts))}: {advice}"


def choose_start(base_url: str, code: str, options: RunOptions) -> tuple[RunOptions, str]:
    """Return the options with the faster start for ``--image auto``, and the reason. Raises UsageError without runs."""
    starts = read_earlier_starts(base_url, code)
    if not starts:
        raise UsageError(
            "--image auto compares earlier runs of this cell, but this cell has none. Nothing was sent. Run the cell "
            "once with -r, and once with an image: --image python:3.12"
        )
    fastest = starts[0]
    update = {"image": fastest.image or None, "requirements": list(fastest.requirements)}
    return options.model_copy(update=update), f"start by --image auto: {', '.join(map(str, starts))}"
