"""Explain refusals within an organization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lk_jupyter.errors import Forbidden

#: Subject of a refused request → the roles with the right.
_WHO = {"keys": "owners and admins", "members": "owners and admins", "roles": "owners", "organization": "owners"}


@contextmanager
def explain_missing_role(slug: str | None, what: Literal["keys", "members", "roles", "organization"]) -> Iterator[None]:
    """Add to a refusal the roles with the right, and the command that lists their members."""
    try:
        yield
    except Forbidden as refusal:
        if slug:
            refusal.next_step = (
                f"{_WHO[what].capitalize()} of {slug} can do this. Members: %lk_org members --org {slug}"
            )
        raise
