"""Options of the subcommands of ``%lk_notebook``."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.options.runs import Options, ServerOptions, flag_of


class StartServerOptions(ServerOptions):
    """Options of ``%lk_notebook start``."""

    no_browser: bool = Field(False, description="Start the server without opening it.")  # noqa: FBT003
    dry_run: bool = Field(False, description="Show the request and its highest possible cost; start nothing.")  # noqa: FBT003


def _run() -> str:
    field: str = Field(
        description="Id of the server's run, or its first characters.",
        json_schema_extra=flag_of(metavar="ID", positional=True, completer="runs"),
    )
    return field


class OpenServerOptions(Options):
    """Options of ``%lk_notebook open``."""

    run: str = _run()
    save: str | None = Field(
        None,
        description="Variable for the address with its token (a secret), instead of opening it.",
        json_schema_extra=flag_of(metavar="VAR"),
    )


class StopServerOptions(Options):
    """Options of ``%lk_notebook stop``."""

    run: str = _run()
