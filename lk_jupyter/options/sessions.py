"""Options of the subcommands of ``%lk_sessions``."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.options.runs import Options, flag_of


class StopSessionOptions(Options):
    """Options of ``%lk_sessions stop``."""

    name: str = Field(description="Name of the session.", json_schema_extra=flag_of(metavar="NAME", positional=True))
