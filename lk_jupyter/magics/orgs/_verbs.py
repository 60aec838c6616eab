"""The magic that the modules next to this one add their verbs to."""

from __future__ import annotations

from lk_jupyter.magics._engine.parser import Subcommands

lk_org = Subcommands(
    "lk_org",
    "Work as a team: organizations, their members, roles and invitations, and their ledger.\n\n"
    "--org SLUG names another organization than the one in use.",
)
