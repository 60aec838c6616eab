"""Secrets that are handed out once: made here, kept as hashes."""

from __future__ import annotations

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    """Return a fresh secret."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the stored form of a secret. The lookup uses this form, so no comparison reveals how close a guess was."""
    return hashlib.sha256(secret.encode()).hexdigest()
