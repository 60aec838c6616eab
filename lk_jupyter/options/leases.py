"""Options of ``%lk_lease``."""

from __future__ import annotations

from decimal import Decimal

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options


class LeaseOptions(Options):
    """Options of ``%lk_lease``."""

    credits: Decimal | None = word(
        "Maximum credits that all runs of the key may cost in total. Without a number, the issued keys are listed.",
        None,
        metavar="CREDITS",
        gt=0,
        allow_inf_nan=False,
    )
    minutes: float | None = option(
        None,
        "Maximum minutes that all runs of the key may take in total.",
        metavar="MINUTES",
        gt=0,
        allow_inf_nan=False,
    )
    machines: list[str] = option(
        [], "Machine types that the key may use, such as A100,L40S. Default: all.", metavar="A,B"
    )
    parallel: int | None = option(None, "Maximum active runs at a time.", metavar="N", ge=1)
    ends_in: int | None = option(
        None, "Time after which the key expires, such as 2h. Default: never.", metavar="DURATION", ge=1
    )
    name: str | None = option(None, "Name in the list.")
    project: str | None = option(None, "Name of the project for the costs of the key in spending reports.")
    to_env: str | None = option(
        None, "Store the key in this environment variable of the kernel instead of showing it.", metavar="VARIABLE"
    )
    revoke: str | None = option(None, "Revoke the key with this id, and abort its runs.", metavar="ID")
    yes: bool = switch("Revoke without a question.", "-y")
