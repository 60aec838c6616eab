"""The magic to which the modules of this package add verbs."""

from __future__ import annotations

from lk_jupyter.magics._engine.parser import Subcommands

lk_org = Subcommands(
    "lk_org",
    "Work as a team: organizations, their members, roles and invitations, and their ledger.\n\n"
    "To use another organization for one command, add --org SLUG.",
)
