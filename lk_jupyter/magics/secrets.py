"""``%lk_secrets``: environment variables for every run of the organization."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.environment_variables import EnvironmentVariable, EnvironmentVariableInput, EnvironmentVariableList
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import ask_hidden, is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.several import apply_to_each
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.options.secrets import DeleteSecretOptions, SetOptions
from lk_jupyter.session import current
from lk_jupyter.text.secrets import register_secrets

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

lk_secrets = Subcommands(
    "lk_secrets",
    "Store secrets, such as HF_TOKEN, that every run finds in its environment.\n\nA hidden prompt asks for the value, "
    "or this kernel's environment supplies it. The value never appears in a cell and is never shown again.",
)


@lk_secrets.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the names of secrets; values are never shown."""
    display(_build_table(current().client.environment_variables.list()))


@lk_secrets.verb("set", SetOptions)
def _set(options: SetOptions, _shell: InteractiveShell) -> None:
    """Store or replace a secret; prompts for the value without showing it.

    Examples::

        %lk_secrets set HF_TOKEN
        %lk_secrets set HF_TOKEN --from-env HF_TOKEN
    """
    name = _require_no_value(options)
    value = (
        _read_environment(options.from_env)
        if options.from_env
        else ask_hidden(
            f"Value of {name} (it is not shown): ",
            f"give --from-env: %lk_secrets set {name} --from-env VARIABLE",
        )
    )
    secret = EnvironmentVariableInput(name=name, value=value, is_secret=True)
    current().client.environment_variables.upsert(secret)
    display(Note(f"Stored {name}. Runs that start from now on find it in os.environ[{name!r}]."))


@lk_secrets.verb("delete", DeleteSecretOptions)
def _delete(options: DeleteSecretOptions, _shell: InteractiveShell) -> None:
    """Delete secrets, after your confirmation.

    Examples::

        %lk_secrets delete HF_TOKEN
        %lk_secrets delete --all --yes
    """
    if options.all == bool(options.names):
        raise UsageError("%lk_secrets delete needs names, or --all. Nothing was deleted.")
    variables = current().client.environment_variables
    by_name = {each.name: each for each in variables.list()}
    secrets = list(by_name.values()) if options.all else [_find_secret(name, by_name) for name in options.names]
    what = ", ".join(each.name for each in secrets)
    if not secrets:
        show_text("No secrets.")
    elif is_sure(options, f"Delete {what} permanently?", "Nothing was deleted."):
        _delete_each(secrets, everything=options.all)
        display(Note(f"Deleted {what}."))


def _delete_each(secrets: list[EnvironmentVariable], *, everything: bool) -> None:
    variables = current().client.environment_variables
    if everything:
        variables.delete_all()
        return
    apply_to_each(
        secrets,
        lambda each: variables.delete(each.id),
        lambda each: each.name,
        "Secrets that may still be stored: {0}. Check: %lk_secrets. Delete them: %lk_secrets delete {0}",
    )


def _require_no_value(options: SetOptions) -> str:
    """Return the name. Raises UsageError for a value on the line, which isn't repeated."""
    name, has_value, _ = options.name.partition("=")
    if has_value or options.value:
        raise UsageError(
            f"%lk_secrets set {name}: the value must not be on the line, because the notebook and the history "
            "keep the line. Run the line with only the name. If the value was a real secret, replace the secret "
            "where it was issued."
        )
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' isn't a variable name. Use letters, digits and underscores, with no digit first.")
    return name


def _read_environment(variable: str) -> str:
    value = os.environ.get(variable)
    register_secrets(value)
    if not value:
        raise UsageError(
            f"'{variable}' isn't set in this kernel's environment. Nothing was sent. Without --from-env, a "
            "prompt asks for the value."
        )
    return value


def _find_secret(name: str, by_name: dict[str, EnvironmentVariable]) -> EnvironmentVariable:
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Names: %lk_secrets list"
        raise UsageError(f"Unknown secret '{name}'. {hint}")
    return by_name[name]


def _build_table(variables: EnvironmentVariableList) -> Table:
    rows = [
        (each.name, "hidden", (each.updated_at or each.created_at or "")[:16].replace("T", " ")) for each in variables
    ]
    note = "" if rows else "No secrets. Store one: %lk_secrets set HF_TOKEN"
    return Table(("Name", "Value", "Set (UTC)"), rows, note=note)
