"""Options of the subcommands of ``%lk_secrets``."""

from __future__ import annotations

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options


def _declare_name() -> str:
    field: str = word("Name of the variable, such as HF_TOKEN.", completer="secrets")
    return field


class SetOptions(Options):
    """Options of ``%lk_secrets set``."""

    name: str = _declare_name()
    value: list[str] = word("Don't write the value of the secret here: a prompt or --from-env reads the value.", [])
    from_env: str | None = option(
        None,
        "Environment variable of this kernel to read the value from, instead of asking.",
        metavar="VARIABLE",
        old_names=["env"],
    )


class DeleteSecretOptions(Options):
    """Options of ``%lk_secrets delete``."""

    names: list[str] = word("Names of variables.", [], metavar="NAME", completer="secrets")
    all: bool = switch("Delete every variable.")
    yes: bool = switch("Delete without asking.", "-y")
