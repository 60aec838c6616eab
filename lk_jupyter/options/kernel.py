"""Options of the subcommands of ``%lk_kernel``."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from lk_jupyter.options.runs import Options, ServerOptions, flag_of


def _machine(completer: str) -> str:
    field: str = Field(
        description="GPU or machine type, such as A100 or cpu.",
        json_schema_extra=flag_of(metavar="MACHINE", positional=True, completer=completer),
    )
    return field


class AddOptions(Options):
    """Options of ``%lk_kernel add``."""

    machine: str = _machine("gpus")
    idle: float = Field(
        20,
        gt=0,
        allow_inf_nan=False,
        description="Minutes without work after which the machine is released.",
        json_schema_extra=flag_of(metavar="MINUTES"),
    )
    max_cost: Decimal | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Release the machine before it costs more credits than this. Default: setting max_cost.",
        json_schema_extra=flag_of(metavar="CREDITS"),
    )
    timeout: int | None = Field(
        None,
        ge=1,
        description="Seconds after which the machine is released. Default: setting max_timeout.",
        json_schema_extra=flag_of(metavar="SECONDS"),
    )
    image: str = Field(
        ServerOptions.model_fields["image"].default,
        description="Image with a Jupyter server, such as quay.io/jupyter/pytorch-notebook.",
        json_schema_extra=flag_of(metavar="IMAGE"),
    )
    title: str | None = Field(None, description='Name in the launcher. Default: for example "Python on A100, 1.59/h".')


class RemoveOptions(Options):
    """Options of ``%lk_kernel remove``."""

    machine: str = _machine("gpus")
