"""Secrets that are handed out once: made here, kept as hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from lk_jupyter.config.files import put_in_place


def new_secret(prefix: str = "") -> str:
    """Return a fresh secret."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the stored form of a secret. The lookup uses this form, so no comparison reveals how close a guess was."""
    return hashlib.sha256(secret.encode()).hexdigest()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, completely or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    put_in_place(draft, path)
