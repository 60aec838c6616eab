"""Options of the subcommands of ``%lk_secrets``."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.options.runs import Options, flag_of


def _name() -> str:
    field: str = Field(
        description="Name of the variable, such as HF_TOKEN.",
        json_schema_extra=flag_of(positional=True, completer="secrets"),
    )
    return field


class SetOptions(Options):
    """Options of ``%lk_secrets set``."""

    name: str = _name()
    value: list[str] = Field(
        [],
        description="Never here: the value is asked for, or read with --env.",
        json_schema_extra=flag_of(positional=True),
    )
    env: str | None = Field(
        None,
        description="Environment variable of this kernel to read the value from, instead of asking.",
        json_schema_extra=flag_of(metavar="VARIABLE"),
    )


class DeleteSecretOptions(Options):
    """Options of ``%lk_secrets delete``."""

    names: list[str] = Field(
        [],
        description="Names of variables.",
        json_schema_extra=flag_of(metavar="NAME", positional=True, completer="secrets"),
    )
    all: bool = Field(False, description="Delete every variable.")  # noqa: FBT003
    yes: bool = Field(False, description="Delete without asking.", json_schema_extra=flag_of("-y"))  # noqa: FBT003
