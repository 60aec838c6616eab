"""What the verbs of ``%lk_notebook`` take."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.options import Options, ServerOptions, _flag


class StartServerOptions(ServerOptions):
    """Options of ``%lk_notebook start``."""

    no_browser: bool = Field(False, description="Start it without opening it.")  # noqa: FBT003
    plan: bool = Field(False, description="Show what would be started and what it may cost; start nothing.")  # noqa: FBT003


def _run() -> str:
    field: str = Field(
        description="Id of the server's run, or its first characters.",
        json_schema_extra=_flag(metavar="ID", positional=True, completer="runs"),
    )
    return field


class OpenServerOptions(Options):
    """Options of ``%lk_notebook open``."""

    run: str = _run()
    save: str | None = Field(
        None,
        description="Variable that receives the address with its token, a secret, in place of opening it here.",
        json_schema_extra=_flag(metavar="VAR"),
    )


class StopServerOptions(Options):
    """Options of ``%lk_notebook stop``."""

    run: str = _run()
