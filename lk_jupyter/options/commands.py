"""Options of the command line ``lk`` that no magic has."""

from __future__ import annotations

from typing import Any

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options, RunIdOptions

#: Seconds after which ``lk run`` and ``lk wait`` return while the run is active.
WAIT_SECONDS = 40


def _declare_seconds(default: int, description: str) -> Any:
    return option(default, description, metavar="SECONDS", ge=0, le=WAIT_SECONDS)


class CodeCommandOptions(Options):
    """Options of the commands that read code: a file, or text."""

    file: str | None = word("Python script to run; - reads the code from stdin.", None, metavar="FILE")
    code: str | None = option(None, "Code to run, instead of a file.", "-c", metavar="CODE")
    outputs: list[str] = option(
        [], "Variables to download when the run has ended, such as history,best.", "--out", metavar="NAMES"
    )


class StartCommandOptions(CodeCommandOptions):
    """Options of ``lk start``."""

    key: str | None = option(
        None,
        "Key that you choose for this start request. If you repeat the request with the same key and code, you "
        "get the same run.",
        metavar="KEY",
        min_length=1,
    )


class RunCommandOptions(StartCommandOptions):
    """Options of ``lk run``."""

    seconds: int = _declare_seconds(WAIT_SECONDS, "Maximum seconds to wait until the run ends.")


class WaitCommandOptions(RunIdOptions):
    """Options of ``lk wait``."""

    seconds: int = _declare_seconds(WAIT_SECONDS, "Maximum seconds to wait until the run ends.")


class LogsCommandOptions(RunIdOptions):
    """Options of ``lk logs``."""

    since: int = option(
        0, "Number of characters to skip: the value 'next' that the last call returned.", metavar="N", ge=0
    )
    seconds: int = _declare_seconds(2, "Maximum seconds to wait for new lines.")


class StopCommandOptions(Options):
    """Options of ``lk stop``."""

    ids: list[str] = word(
        "Ids of runs, relays, VMs or deployments, or their first characters, or their names.", [], metavar="ID"
    )
    all: bool = switch(
        "Stop everything that the account pays for by time, after a list with the cost per hour. Volumes stay: they "
        "contain data."
    )
    yes: bool = switch("With --all: skip the question.", "-y")


class FetchCommandOptions(RunIdOptions):
    """Options of ``lk fetch``."""

    names: list[str] = word("Variables to print. Default: all variables that the run returned.", [], metavar="NAME")
