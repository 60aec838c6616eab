"""Users of a JupyterHub: their tokens are keys of the broker, with budgets per user and per group."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.broker.grants import Grant, GrantLimits, RefusedCall
from lk_jupyter.broker.ledger import ROOT, GrantLedger
from lk_jupyter.errors import UsageError

#: Seconds for which an answer of the hub about a token counts, and most tokens that are remembered.
_ANSWER_SECONDS, _MAX_TOKENS = 30.0, 10_000

#: Name of the budget of users whose name has no budget.
_DEFAULT = "*"


@dataclass(frozen=True)
class HubBudgets:
    """Budgets by name of the user and of the group, and the users that may see the spending of all."""

    users: dict[str, GrantLimits]
    groups: dict[str, GrantLimits]
    administrators: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> HubBudgets:
        """Return the budgets of a JSON file. Raises UsageError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            users, groups = _parse_budgets(content.get("users", {})), _parse_budgets(content.get("groups", {}))
            return cls(users, groups, _parse_names(content.get("administrators", [])))
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


def _parse_names(names: Any) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RefusedCall(422, "'administrators' must be a list of user names.")
    return frozenset(names)


@dataclass(frozen=True)
class HubService:
    """The broker as a service of a hub, for users with a browser: paths and addresses for their sign-in (OAuth).

    ``prefix`` is the path of the pages without a slash at the end, ``secret`` the token of the service.
    """

    prefix: str
    client_id: str
    secret: str = field(repr=False)
    callback_path: str
    authorize_url: str
    token_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> HubService | None:
        """Return the service in the environment that a hub sets; None if the service has no ``url`` in the hub."""
        prefix, client_id = environment.get("JUPYTERHUB_SERVICE_PREFIX", ""), environment.get("JUPYTERHUB_CLIENT_ID")
        if not prefix or not client_id or not environment.get("JUPYTERHUB_SERVICE_URL"):
            return None
        prefix = prefix.rstrip("/")
        root = environment.get("JUPYTERHUB_HOST", "") + environment.get("JUPYTERHUB_BASE_URL", "/")
        return cls(
            prefix=prefix,
            client_id=client_id,
            secret=environment["JUPYTERHUB_API_TOKEN"],
            callback_path=environment.get("JUPYTERHUB_OAUTH_CALLBACK_URL") or f"{prefix}/oauth_callback",
            authorize_url=f"{root}hub/api/oauth2/authorize",
            token_url=f"{environment['JUPYTERHUB_API_URL'].rstrip('/')}/oauth2/token",
        )

    def sign_in_url(self, state: str) -> str:
        """Return the address at which the hub signs a user in."""
        query = {"client_id": self.client_id, "redirect_uri": self.callback_path, "response_type": "code"}
        return f"{self.authorize_url}?{urlencode({**query, 'state': state})}"

    async def read_token(self, code: str) -> str:
        """Return the token for the code of a sign-in. Raises RefusedCall."""
        form = {
            "client_id": self.client_id, "client_secret": self.secret, "grant_type": "authorization_code",
            "code": code, "redirect_uri": self.callback_path,
        }  # fmt: skip
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=uses_proxies(self.token_url)) as client:
                answer = await client.post(self.token_url, data=form)
            token = answer.json().get("access_token") if answer.is_success else None
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise RefusedCall(503, f"JupyterHub doesn't answer ({type(error).__name__}). Try again.") from None
        if not isinstance(token, str):
            raise RefusedCall(403, "JupyterHub didn't confirm the sign-in. Open the page again.")
        return token


def read_access_scopes(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the scopes of which a token needs one to use this service, as the hub sets them in the environment."""
    scopes: Any = None
    with suppress(ValueError):
        scopes = json.loads(environment.get("JUPYTERHUB_OAUTH_ACCESS_SCOPES", ""))
    if isinstance(scopes, list) and scopes and all(isinstance(scope, str) for scope in scopes):
        return frozenset(scopes)
    name = environment.get("JUPYTERHUB_SERVICE_NAME", "")
    return frozenset({"access:services", *([f"access:services!service={name}"] if name else [])})


class HubUsers:
    """Find the grant of a token of the hub. A user's grant is below the grant of the first group with a budget.

    ``access_scopes`` are the scopes of which a token needs one: a hub issues tokens that may only read a name, and
    such a token spends nothing. ``service`` signs users in with a browser; None if the broker has no pages in the hub.
    """

    def __init__(
        self,
        ledger: GrantLedger,
        api_url: str,
        budgets: HubBudgets,
        access_scopes: frozenset[str],
        service: HubService | None = None,
    ) -> None:
        self.service = service
        self._access_scopes = access_scopes
        self._ledger = ledger
        self._user_url = f"{api_url.rstrip('/')}/user"
        self._budgets = budgets
        self._client = httpx.AsyncClient(timeout=10, trust_env=uses_proxies(api_url))
        self._answers: dict[str, tuple[float, dict[str, Any] | None]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find_grant(self, token: str) -> Grant | None:
        """Return the grant of the user of a token; None for a token that the hub doesn't know. Raises RefusedCall."""
        user = await self.read_user(token)
        return None if user is None else self.user_grant(user)

    def is_administrator(self, user: Mapping[str, Any]) -> bool:
        """Return whether a user may see the spending of all users."""
        return user["name"] in self._budgets.administrators

    def user_grant(self, user: Mapping[str, Any]) -> Grant:
        """Return the grant of a user. Raises RefusedCall without a budget."""
        name, groups = user["name"], user["groups"]
        parent = self._ledger.grant(ROOT)
        if group := next((group for group in self._budgets.groups if group in groups), None):
            parent = self._ledger.named_grant(parent, f"group {group}", self._budgets.groups[group])
        limits = self._budgets.users.get(name) or self._budgets.users.get(_DEFAULT)
        limits = limits or (self._budgets.groups[group] if group else None)
        if limits is None:
            raise RefusedCall(
                403, f"The user '{name}' has no budget. Nothing was done. The operator of the broker sets budgets."
            )
        return self._ledger.named_grant(parent, f"user {name}", replace(limits, name=name))

    async def read_user(self, token: str) -> dict[str, Any] | None:
        """Return name and groups of the user of a token.

        Raises RefusedCall if the hub doesn't answer, or if the token has no access to this service.
        """
        user = await self._read_answer(token)
        if user is not None and not user["scopes"] & self._access_scopes:
            scope = max(self._access_scopes, key=len)
            raise RefusedCall(
                403,
                f"This token of the hub has no access to this service. Nothing was done. The operator of the hub adds "
                f"the scope '{scope}' to the roles 'user' and 'server'.",
            )
        return user

    async def _read_answer(self, token: str) -> dict[str, Any] | None:
        """Return name, groups and scopes of the user of a token, from the hub or from a recent answer."""
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
    """Return name, groups and scopes of an answer about a user; None for another kind, such as about a service."""
    is_user = (
        isinstance(content, dict) and content.get("kind", "user") == "user" and isinstance(content.get("name"), str)
    )
    if not is_user:
        return None
    return {"name": content["name"], "groups": _read_texts(content, "groups"), "scopes": _read_texts(content, "scopes")}


def _read_texts(content: dict[str, Any], name: str) -> set[str]:
    values = content.get(name)
    return {value for value in values if isinstance(value, str)} if isinstance(values, list) else set()
