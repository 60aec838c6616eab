"""Keys: find the key for a server, and store keys.

The places in order: the environment, the key that ``%lk_login`` stored (in the keyring, or in the config file without a
keyring), the file of the cloud's command line tool, which is never written. A stored key is only used for the server
for which the key was stored.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from hashlib import sha256
from typing import Any

from lk_jupyter.config import keyring
from lk_jupyter.config.files import (
    CONFIG_FILE,
    KEY_VARIABLES,
    LYCEUM,
    change_config,
    config_file,
    lyceum_file,
    lyceum_server,
    read_json,
)
from lk_jupyter.errors import NotSignedIn, UsageError

KEYRING = "keyring"

KEY_SHAPE = re.compile(r"lk_[\w.+/=~:-]+|[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
KEY_WAYS = "Unlock the keyring, run %lk_login again, or set LK_API_KEY."


@dataclass(frozen=True)
class Credential:
    """A key, or a session's pair of tokens, for one server; secrets stay out of its repr."""

    base_url: str
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    source: str = field(default="", compare=False)


def find_key(server: str) -> Credential | None:
    """Return the key for a server; None without a key.

    Raises UsageError for a key of the wrong shape, NotSignedIn if the keyring is locked.
    """
    key = _key_from_environment(server) or _stored_key(server) or _lyceum_key(server)
    if key:
        check_key(key.token, key.source)
    return key


def check_key(text: str, source: str) -> str:
    """Return the key if its shape is valid. Raises UsageError, which doesn't show the key."""
    if not KEY_SHAPE.fullmatch(text):
        raise UsageError(
            f"The key from {source} isn't an API key. Nothing was sent. An API key looks like lk_…, without "
            "spaces, quotes or line breaks. A session token, which has three parts separated by dots, also works."
        )
    return text


def store_key(key: Credential) -> str:
    """Store a key for its server, in the keyring or else in the config file; return the place, in words."""
    secret = {"token": key.token, "refresh_token": key.refresh_token}
    entry = {"stored": datetime.now(timezone.utc).isoformat(), **_key_origin(key)}
    try:
        keyring.store_secret(key.base_url, json.dumps(secret))
    except keyring.KeyringUnusable:
        _change_keys({key.base_url: {**entry, **secret}})
        return f"the file {config_file()}"
    _change_keys({key.base_url: entry})
    return KEYRING


def delete_key(base_url: str) -> bool:
    """Delete the stored key of a server; return whether a key was stored."""
    is_stored = base_url in _stored_keys()
    if is_stored:
        with suppress(keyring.KeyringUnusable):
            keyring.delete_secret(base_url)
        _change_keys({base_url: None})
    return is_stored


def _key_from_environment(server: str) -> Credential | None:
    values = ((os.environ.get(variable), variable) for variable in KEY_VARIABLES)
    return next((Credential(server, text, source=variable) for text, variable in values if text), None)


def _stored_key(server: str) -> Credential | None:
    entry = _stored_keys().get(server)
    if not entry or ("renewed_from" in entry and entry["renewed_from"] != _digest(lyceum_file().get("api_key"))):
        return None  # or the cloud's own tool has signed in or out since the session that this entry renews
    secret, source = (
        (entry, CONFIG_FILE) if "token" in entry else (_read_keyring(server, entry.get("stored", "")), KEYRING)
    )
    return Credential(server, secret["token"], secret.get("refresh_token"), source)


def _key_origin(key: Credential) -> dict[str, Any]:
    """Return the digest of the command line tool's key that a pair of tokens renews, if any."""
    if key.source == LYCEUM:
        return {"renewed_from": _digest(lyceum_file().get("api_key"))}
    entry = _stored_keys().get(key.base_url, {}) if key.source in {KEYRING, CONFIG_FILE} else {}
    return {name: value for name, value in entry.items() if name == "renewed_from"}


def _lyceum_key(server: str) -> Credential | None:
    theirs = lyceum_file()
    if not theirs.get("api_key") or lyceum_server() != server:
        return None
    return Credential(server, theirs["api_key"], theirs.get("refresh_token"), LYCEUM)


@lru_cache
def _read_keyring(server: str, stored: str) -> dict[str, Any]:  # noqa: ARG001 (a newer key is another entry)
    try:
        text = keyring.read_secret(server)
    except keyring.KeyringUnusable as problem:
        raise NotSignedIn(f"The keyring has the API key for {server}, but {problem}. {KEY_WAYS}") from None
    if text is None:
        raise NotSignedIn(f"The keyring no longer has the API key for {server}. {KEY_WAYS}")
    secret: dict[str, Any] = json.loads(text)
    return secret


def _stored_keys() -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = read_json(config_file()).get("credentials", {})
    return keys


def _change_keys(changes: dict[str, dict[str, Any] | None]) -> None:
    keys = {server: entry for server, entry in {**_stored_keys(), **changes}.items() if entry is not None}
    change_config({"credentials": keys or None})


def _digest(text: str | None) -> str:
    return sha256((text or "").encode()).hexdigest()
