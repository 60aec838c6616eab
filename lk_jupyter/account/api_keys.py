"""API keys of the caller and of an organization, as one list."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import ApiKey, ApiKeyCreate
from lk_jupyter.api.orgs import OrgApiKey, OrgApiKeyCreate
from lk_jupyter.errors import Forbidden, UsageError

_SPAN = re.compile(r"(\d{1,5})d")


@dataclass(frozen=True)
class Key:
    """A key without its secret; ``org`` is the slug of the organization that owns the key, None for a personal key.

    ``seen_at`` is the time of ``state``, by the server's clock.
    """

    id: str
    name: str
    prefix: str
    is_active: bool | None
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    seen_at: datetime
    org: str | None = None

    @property
    def owner(self) -> str:
        """Return the owner of the key, in words."""
        return self.org or "you"

    @property
    def state(self) -> str:
        """Return whether the key works, in a word."""
        if self.expires_at and self.expires_at <= self.seen_at:
            return "expired"
        return {True: "active", False: "off", None: "unknown"}[self.is_active]


def list_keys(client: Client, org: str | None) -> list[Key]:
    """Return the caller's keys, then the organization's; a key of an organization has no caller."""
    all_keys: list[Key] = []
    with suppress(Forbidden):
        all_keys += (_convert_personal_key(key, client.utc_now) for key in client.auth.list_api_keys())
    if org:
        all_keys += (_convert_org_key(key, client.utc_now, org) for key in client.orgs.list_api_keys(org))
    return all_keys


def find_key(client: Client, text: str, org: str | None) -> Key:
    """Return the key with this name, id or beginning of an id. Raises UsageError for no match, or several."""
    every = list_keys(client, org)
    fitting = [key for key in every if text in {key.name, key.id}] or [
        key for key in every if key.id.startswith(text) or key.prefix.startswith(text)
    ]
    if len(fitting) != 1:
        several = "; ".join(f"{key.id[:8]} ({key.name}, of {key.owner})" for key in fitting)
        hint = f"Give the id of one of these keys: {several}." if fitting else "List keys: %lk_keys"
        raise UsageError(f"{'Several keys match' if fitting else 'Unknown key'} '{text}'. Nothing was changed. {hint}")
    return fitting[0]


def create_key(client: Client, name: str, org: str | None, expires: str | None) -> str:
    """Create a key, for the organization if set; return the secret, which is shown only once."""
    until = parse_expiry(expires, client.utc_now) if expires else None
    if org:
        return client.orgs.create_api_key(org, OrgApiKeyCreate(name=name, expires_at=until)).plaintext_key
    return client.auth.create_api_key(ApiKeyCreate(key_name=name, expires_at=until)).api_key


def parse_expiry(text: str, now: datetime) -> datetime:
    """Return the moment that ``90d`` from now or a date means. Raises UsageError."""
    span = _SPAN.fullmatch(text)
    if span:
        return now + timedelta(days=int(span[1]))
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--expires takes days or a date, got '{text}'. Nothing was sent. Examples: --expires "
            "90d, --expires 2030-12-31"
        ) from None
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=timezone.utc)


def _convert_personal_key(key: ApiKey, now: datetime) -> Key:
    times = (key.created_at, key.expires_at, key.last_used_at)
    return Key(key.id, key.key_name, key.key_prefix, key.is_active, *times, now)


def _convert_org_key(key: OrgApiKey, now: datetime, org: str) -> Key:
    times = (key.created_at, key.expires_at, key.last_used_at)
    return Key(key.id, key.name, key.prefix, key.is_active, *times, now, org)
