"""Options of the subcommands of ``%lk_notebook``."""

from __future__ import annotations

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options, ServerOptions


class StartServerOptions(ServerOptions):
    """Options of ``%lk_notebook start``."""

    no_browser: bool = switch("Start the server without opening it.")
    dry_run: bool = switch("Show the request and its highest possible cost; start nothing.")


def _declare_run() -> str:
    field: str = word("Id of the server's run, or its first characters.", metavar="ID", completer="runs")
    return field


class OpenServerOptions(Options):
    """Options of ``%lk_notebook open``."""

    run: str = _declare_run()
    save: str | None = option(
        None, "Variable that receives the secret password of the server. The server isn't opened.", metavar="VAR"
    )


class StopServerOptions(Options):
    """Options of ``%lk_notebook stop``."""

    run: str = _declare_run()
