"""Options of the subcommands of ``%lk_sessions``."""

from __future__ import annotations

from lk_jupyter.options.fields import word
from lk_jupyter.options.runs import Options


def _session_name() -> str | None:
    name: str | None = word(
        "Name of the session. Default: the session that --keep started for this notebook.", None, metavar="NAME"
    )
    return name


class StopSessionOptions(Options):
    """Options of ``%lk_sessions stop``."""

    name: str | None = _session_name()


class RestoreSessionOptions(Options):
    """Options of ``%lk_sessions restore``."""

    name: str | None = _session_name()
