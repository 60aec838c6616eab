"""What a refusal means within an organization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lk_jupyter.errors import Forbidden

#: What a role is needed for → who has it.
_WHO = {"keys": "owners and admins", "members": "owners and admins", "roles": "owners", "organization": "owners"}


@contextmanager
def may(slug: str | None, what: Literal["keys", "members", "roles", "organization"]) -> Iterator[None]:
    """Let a refusal say who has the right, and how to find them."""
    try:
        yield
    except Forbidden as refusal:
        if slug:
            refusal.next_step = (
                f"{_WHO[what].capitalize()} of {slug} can do this. Members: %lk_org members --org {slug}"
            )
        raise
