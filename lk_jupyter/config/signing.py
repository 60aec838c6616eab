"""Keys that sign the messages of runs and sessions to this machine.

Each run has another key, derived from one secret in a file that only its owner can read: no key is stored, and a run
that is attached after a restart is verified as before.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from lk_jupyter.config.files import config_file, put_in_place
from lk_jupyter.remote.sign import SIZE, STOP, signature

_FILE = "signing.key"

#: The secret of this process if none can be stored; all threads share the secret, to verify each other's signatures.
_UNSTORED = secrets.token_bytes(SIZE)


def signing_key(name: str) -> bytes:
    """Return the key of the run or session with this name, the same in every process of this user.

    If the secret can't be stored, keys are valid in this process only.
    """
    return signature(_read_or_create_secret(config_file().with_name(_FILE)), name.encode())


def stop_content(token: str) -> bytes:
    """Return the content of the object that requests the end of the run with this token."""
    return signature(signing_key(token), STOP)


@cache
def _read_or_create_secret(path: Path) -> bytes:
    with suppress(OSError):
        if len(secret := _read_secret(path)) != SIZE:
            _create_secret(path)
            secret = _read_secret(path)
        if len(secret) == SIZE:
            return secret
    return _UNSTORED


def _read_secret(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _create_secret(path: Path) -> None:
    """Write a new secret, complete under its name from the first moment; the first of two processes wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
        try:
            os.link(draft, path)
        except OSError:  # there is a file, or the disk has no hard links
            if len(_read_secret(path)) != SIZE:
                put_in_place(Path(draft), path)
    finally:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
