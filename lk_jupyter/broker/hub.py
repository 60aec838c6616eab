"""Users of a JupyterHub: their tokens are keys of the broker, with budgets per user and per group."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from lk_jupyter.broker.grants import Grant, GrantLimits, RefusedCall
from lk_jupyter.broker.ledger import ROOT, GrantLedger
from lk_jupyter.errors import UsageError

#: Seconds for which an answer of the hub about a token counts, and most tokens that are remembered.
_ANSWER_SECONDS, _MAX_TOKENS = 30.0, 10_000

#: Name of the budget of users whose name has no budget.
_DEFAULT = "*"


@dataclass(frozen=True)
class HubBudgets:
    """Budgets by name of the user and of the group."""

    users: dict[str, GrantLimits]
    groups: dict[str, GrantLimits]

    @classmethod
    def read(cls, path: Path) -> HubBudgets:
        """Return the budgets of a JSON file. Raises UsageError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(_parse_budgets(content.get("users", {})), _parse_budgets(content.get("groups", {})))
        except OSError as error:
            raise UsageError(f"Can't read '{path}' ({error.strerror}). Nothing was started.") from None
        except (ValueError, AttributeError):
            raise UsageError(
                f"""'{path}' isn't a file of budgets. Nothing was started. Example: """
                '{"groups": {"vision": {"credits": 50, "period": "week"}}, "users": {"*": {"credits": 10}}}'
            ) from None
        except RefusedCall as refusal:
            raise UsageError(f"'{path}': {refusal.detail} Nothing was started.") from None


def _parse_budgets(rows: dict[str, Any]) -> dict[str, GrantLimits]:
    return {name: GrantLimits.parse({**fields, "name": name}, time.time()) for name, fields in rows.items()}


class HubUsers:
    """Find the grant of a token of the hub. A user's grant is below the grant of the first group with a budget."""

    def __init__(self, ledger: GrantLedger, api_url: str, budgets: HubBudgets) -> None:
        self._ledger = ledger
        self._user_url = f"{api_url.rstrip('/')}/user"
        self._budgets = budgets
        self._client = httpx.AsyncClient(timeout=10)
        self._answers: dict[str, tuple[float, dict[str, Any] | None]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find_grant(self, token: str) -> Grant | None:
        """Return the grant of the user of a token; None for a token that the hub doesn't know. Raises RefusedCall."""
        user = await self._read_user(token)
        if user is None:
            return None
        name, groups = user["name"], user["groups"]
        parent = self._ledger.grant(ROOT)
        if group := next((group for group in self._budgets.groups if group in groups), None):
            parent = self._ledger.named_grant(parent, f"group {group}", self._budgets.groups[group])
        limits = self._budgets.users.get(name) or self._budgets.users.get(_DEFAULT)
        limits = limits or (self._budgets.groups[group] if group else None)
        if limits is None:
            raise RefusedCall(403, f"The user '{name}' has no budget. Nothing was done. Request one of the operator.")
        return self._ledger.named_grant(parent, f"user {name}", replace(limits, name=name))

    async def _read_user(self, token: str) -> dict[str, Any] | None:
        """Return name and groups of the user of a token. Raises RefusedCall if the hub doesn't answer."""
        digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()
        read_at, user = self._answers.get(digest, (-_ANSWER_SECONDS, None))
        if time.monotonic() - read_at < _ANSWER_SECONDS:
            return user
        try:
            answer = await self._client.get(self._user_url, headers={"Authorization": f"token {token}"})
            content = answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError, UnicodeError) as error:
            raise RefusedCall(503, f"JupyterHub doesn't answer ({type(error).__name__}). Nothing was done.") from None
        if answer.status_code >= 500:
            raise RefusedCall(503, f"JupyterHub answered HTTP {answer.status_code}. Nothing was done.")
        user = _read_fields(content)
        if len(self._answers) >= _MAX_TOKENS:
            self._answers.clear()
        self._answers[digest] = (time.monotonic(), user)
        return user


def _read_fields(content: Any) -> dict[str, Any] | None:
    """Return name and groups of an answer about a user; None for another kind of answer, such as about a service."""
    is_user = (
        isinstance(content, dict) and content.get("kind", "user") == "user" and isinstance(content.get("name"), str)
    )
    if not is_user:
        return None
    groups = content.get("groups")
    return {"name": content["name"], "groups": set(groups) if isinstance(groups, list) else set()}
