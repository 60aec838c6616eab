"""Options of ``%lk_plan``."""

from __future__ import annotations

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options


class PlanOptions(Options):
    """Options of ``%lk_plan``."""

    notebook: str | None = word(
        "Path of a notebook. Default: the saved file of this notebook.", None, metavar="NOTEBOOK"
    )
    times: int = option(1, "Number of times that each approved cell may run.", metavar="N", ge=1, le=10_000)
    withdraw: bool = switch("Delete the approvals of the cells of the notebook.")
