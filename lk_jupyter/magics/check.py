"""``%lk_check``: compare the server in use with the assumptions of lk_jupyter."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.check.levels import MOST_CREDITS, LevelRequest
from lk_jupyter.check.start import start
from lk_jupyter.magics._engine.ask import is_sure
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import show_text
from lk_jupyter.options.fields import option, switch
from lk_jupyter.options.runs import Options


class CheckOptions(Options):
    """Options of ``%lk_check``."""

    public: bool = switch("Send only requests that need no key.")
    probe_starts: bool = switch(
        "Send start requests that lack a field. If the server accepts such a request, what it starts is aborted "
        "and billed."
    )
    spend: bool = switch("Start four short runs, and request 8 tokens from a model.")
    max_credits: Decimal = option(
        MOST_CREDITS, "Maximum cost of --spend, in credits.", metavar="CREDITS", gt=0, allow_inf_nan=False
    )
    run_limit: int | None = option(
        None,
        "To find the limit of your account, start a run with this time limit and abort the run. It needs your "
        "consent first.",
        metavar="DURATION",
        ge=1,
    )
    yes: bool = switch("Start the run of --run-limit without a question.", "-y")
    record: Path | None = option(
        None,
        "Write the server's responses to this file, without keys, addresses, names and ids.",
        metavar="FILE",
        completer="files",
    )


@magic(CheckOptions)
def lk_check(options: CheckOptions, _shell: InteractiveShell) -> None:
    """Find how the server differs from what lk_jupyter assumes, and store the differences for this server.

    The check is free and only reads, unless you add --spend, --probe-starts or --run-limit. All magics then use the
    stored differences. %lk_config lists them, and ``%lk_config guess.NAME VALUE`` changes a value.

    Examples::

        %lk_check
        %lk_check --spend
        %lk_check --run-limit 3h
        %lk_check --spend --max-credits 0.10 --record check.json
    """
    check = start(
        LevelRequest(
            options.public,
            options.probe_starts,
            options.spend,
            options.max_credits,
            options.record,
            options.run_limit,
            lambda question: is_sure(options, question, "No run was started."),
        )
    )
    try:
        check.run(show_text)
    finally:
        display(check.report.table())
