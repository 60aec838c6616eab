"""``%lk_secrets``: variables that every run of the organization finds in its environment."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.environment_variables import EnvironmentVariable, EnvironmentVariableInput, EnvironmentVariableList
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import ask, ask_hidden
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._secrets_options import DeleteOptions, SetOptions
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import NoOptions
from lk_jupyter.runs.session import current

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

lk_secrets = Verbs(
    "lk_secrets",
    "Keep secrets that every run finds in its environment, such as HF_TOKEN.\n\n"
    "A value is typed where nobody sees it, or read from the environment of this kernel. It never stands in a cell, "
    "and is never shown again.",
)


@lk_secrets.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the secrets by name; their values are never shown."""
    display(_table(current().client.environment_variables.list()))


@lk_secrets.verb("set", SetOptions)
def _set(options: SetOptions, _shell: InteractiveShell) -> None:
    """Keep a secret, or replace the one of that name; asks for its value without showing it.

    Examples::

        %lk_secrets set HF_TOKEN
        %lk_secrets set HF_TOKEN --env HF_TOKEN
    """
    name = _checked(options)
    value = (
        _from_environment(options.env)
        if options.env
        else ask_hidden(
            f"Value of {name} (it is not shown): ",
            f"%lk_secrets set {name} --env VARIABLE takes it from the environment",
        )
    )
    secret = EnvironmentVariableInput(name=name, value=value, is_secret=True)
    current().client.environment_variables.upsert(secret)
    display(Note(f"Kept {name}. Runs that start from now on find it in os.environ[{name!r}]."))


@lk_secrets.verb("delete", DeleteOptions)
def _delete(options: DeleteOptions, _shell: InteractiveShell) -> None:
    """Delete secrets. Asks first.

    Examples::

        %lk_secrets delete HF_TOKEN
        %lk_secrets delete --all --yes
    """
    if options.all == bool(options.names):
        raise UsageError("%lk_secrets delete: name the secrets, or give --all.")
    variables = current().client.environment_variables
    known = {each.name: each for each in variables.list()}
    found = list(known.values()) if options.all else [_named(name, known) for name in options.names]
    what = ", ".join(each.name for each in found)
    if not found:
        say("There are no secrets.")
    elif not options.yes and not ask(f"Delete {what} for good? [y/N] "):
        say("Nothing was deleted. --yes deletes without asking.")
    else:
        _delete_each(found, everything=options.all)
        display(Note(f"Deleted {what}."))


def _delete_each(found: list[EnvironmentVariable], *, everything: bool) -> None:
    variables = current().client.environment_variables
    if everything:
        variables.delete_all()
        return
    for each in found:
        variables.delete(each.id)


def _checked(options: SetOptions) -> str:
    """Return the name. Raises UsageError for a value on the line, which is not told again."""
    name, has_value, _ = options.name.partition("=")
    if has_value or options.value:
        raise UsageError(
            f"%lk_secrets set {name}: a value never stands on the line, since notebook and history keep it. Run it "
            "with the name alone, which asks for the value. If this was a real one, replace it at its source."
        )
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a variable: letters, digits and underscores, no digit first.")
    return name


def _from_environment(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"{variable} is not set in the environment of this kernel. Without --env it is asked for.")
    return value


def _named(name: str, known: dict[str, EnvironmentVariable]) -> EnvironmentVariable:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "%lk_secrets lists what there is."
        raise UsageError(f"There is no secret {name}. {hint}")
    return known[name]


def _table(variables: EnvironmentVariableList) -> Table:
    rows = [
        (each.name, "hidden", (each.updated_at or each.created_at or "")[:16].replace("T", " ")) for each in variables
    ]
    note = "" if rows else "No secrets yet. %lk_secrets set HF_TOKEN asks for one."
    return Table(("Name", "Value", "Set (UTC)"), rows, note=note)
