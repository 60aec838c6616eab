"""Select the stored secrets that the code of a run can read."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import RemoteModule

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.options.runs import RunOptions

#: The module of a run that removes secrets from its environment.
PART = "script.secrets"


def secrets_part(connection: Connection, options: RunOptions, *, on_vm: bool) -> list[RemoteModule]:
    """Return the module that removes the secrets that ``--secret`` doesn't name. Raises UsageError."""
    if not options.secret:
        return []
    if on_vm:
        raise UsageError("--secret doesn't work with --on vm: a VM gets no stored secrets. Nothing was sent.")
    stored = [variable.name for variable in connection.client.environment_variables.list()]
    for name in options.secret:
        if name not in stored:
            near = get_close_matches(name, stored, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"Store it: %lk_secrets set {name}"
            raise UsageError(f"--secret: no stored secret is called '{name}'. Nothing was sent. {advice}")
    return [RemoteModule(PART, {"remove": sorted(set(stored) - set(options.secret))})]
