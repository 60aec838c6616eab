"""Options of the subcommands of ``%lk_kernel``."""

from __future__ import annotations

from decimal import Decimal

from lk_jupyter.options.fields import option, word
from lk_jupyter.options.runs import Options, ServerOptions

#: Maximum cost of a kernel in credits, if neither the kernel nor the setting max_cost sets a maximum.
MAX_COST = Decimal(5)


def _declare_machine(completer: str) -> str:
    field: str = word("GPU or machine type, such as A100 or cpu.", metavar="MACHINE", completer=completer)
    return field


class AddOptions(Options):
    """Options of ``%lk_kernel add``."""

    machine: str = _declare_machine("gpus")
    idle: float = option(
        20,
        "Release the machine after this number of minutes without work.",
        metavar="MINUTES",
        gt=0,
        allow_inf_nan=False,
    )
    max_cost: Decimal | None = option(
        None,
        "Maximum cost in credits: the machine is released before it costs more. Default: setting max_cost, else "
        f"{MAX_COST}.",
        metavar="CREDITS",
        gt=0,
        allow_inf_nan=False,
    )
    timeout: int | None = option(
        None,
        "Time after which the machine is released, such as 2h. Default: setting max_timeout.",
        metavar="DURATION",
        ge=1,
    )
    image: str = option(
        ServerOptions.model_fields["image"].default,
        "Image with a Jupyter server, such as quay.io/jupyter/pytorch-notebook.",
        metavar="IMAGE",
    )
    title: str | None = option(None, 'Name in the launcher. Default: for example "Python on A100, 1.59 credits/h".')


class RemoveOptions(Options):
    """Options of ``%lk_kernel remove``."""

    machine: str = _declare_machine("gpus")
