"""Options of the subcommands of ``%lk_sessions``."""

from __future__ import annotations

from lk_jupyter.options.fields import word
from lk_jupyter.options.runs import Options


class SessionNameOptions(Options):
    """Options of the subcommands of ``%lk_sessions`` with a session as the only argument."""

    name: str | None = word(
        "Name of the session. Default: the session that --keep started for this notebook.", None, metavar="NAME"
    )
