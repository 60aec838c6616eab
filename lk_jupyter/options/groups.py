"""Groups of the options of ``%%lk_run``, in the order of the help and of the reference, with an example for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Example(NamedTuple):
    """A line of ``%%lk_run`` and the comment that explains the line."""

    line: str
    comment: str


class OptionGroup(NamedTuple):
    """Options on one topic: title, names of the options, and an example."""

    title: str
    options: tuple[str, ...]
    example: Example


#: Option of ``RunOptions`` → example. The help shows these six first.
COMMON = {
    "gpu": Example("%%lk_run --gpu A100", "run the cell on an A100"),
    "dry_run": Example("%%lk_run --gpu A100 --dry-run", "show machine and highest cost, send nothing"),
    "max_cost": Example("%%lk_run --gpu A100 --max-cost 2", "stop before the run costs more than 2 credits"),
    "timeout": Example("%%lk_run --gpu A100 --timeout 30m", "stop after 30 minutes"),
    "requirements": Example("%%lk_run --gpu A100 -r torch", "install a package before the code starts"),
    "detach": Example("%%lk_run --gpu A100 --detach", "free the cell while the run is active"),
}

GROUPS = (
    OptionGroup(
        "Machine",
        ("gpu", "machine", "memory", "max_price", "nproc"),
        Example("%%lk_run --gpu any --memory 40 --max-price 2", "use the cheapest GPU with 40 GiB, up to 2 credits/h"),
    ),
    OptionGroup(
        "Data",
        ("sync", "fresh", "inputs", "in_all", "outputs", "pickle", "files", "stage", "volume", "arg", "secret"),
        Example("%%lk_run --in df --out model", "upload df, download model"),
    ),
    OptionGroup("Packages", ("requirements",), Example("%%lk_run -r auto", "install the imports of the cell")),
    OptionGroup(
        "Limits",
        ("dry_run", "ask", "max_cost", "timeout", "on_interrupt", "allow_secrets"),
        Example("%%lk_run --max-cost 2 --timeout 2h", "stop at 2 credits or 2 hours"),
    ),
    OptionGroup(
        "Output",
        ("save", "quiet", "rich", "time", "no_hints", "name", "label", "metadata"),
        Example("%%lk_run --quiet --save run", "show only the receipt, and store the Run object in a variable"),
    ),
    OptionGroup(
        "Long work",
        (
            "on",
            "spot",
            "retries",
            "no_vm_key",
            "relay",
            "detach",
            "attach",
            "resume",
            "session",
            "idle",
            "keep",
            "image",
        ),
        Example("%%lk_run --session train --gpu A100", "keep variables on the machine between cells"),
    ),
    OptionGroup(
        "Several runs",
        ("sweep", "parallel", "metric", "stop_on_first", "require_all"),
        Example("%%lk_run --gpu A100,H100 --sweep lr=0.1,0.01", "start 4 runs and compare them"),
    ),
)


def option_groups(names: list[str]) -> Iterator[tuple[str, Example | None, list[str]]]:
    """Iterate over title, example and options of each group; options without a group are in the last, ``More``."""
    for title, options, example in GROUPS:
        if members := [name for name in options if name in names]:
            yield title, example, members
    if rest := [name for name in names if not any(name in group.options for group in GROUPS)]:
        yield "More", None, rest
