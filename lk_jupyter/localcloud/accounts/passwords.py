"""Passwords: kept as argon2 hashes, never as text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher


def hash_password(password: str) -> str:
    """Return the stored hash of a password."""
    return hasher().hash(password)


def matches_hash(password: str, stored: str | None) -> bool:
    """Return whether a password matches the stored hash; without a stored hash, the check takes equally long."""
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415

    try:
        return hasher().verify(stored or _compute_dummy_hash(), password) and stored is not None
    except VerifyMismatchError:
        return False


@cache
def hasher() -> PasswordHasher:
    """Return the object that creates and checks the hashes of passwords."""
    from argon2 import PasswordHasher  # noqa: PLC0415 (most starts of a cloud never need it)

    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's smallest: 19 MiB a sign-in


@cache
def _compute_dummy_hash() -> str:
    return hash_password("")
