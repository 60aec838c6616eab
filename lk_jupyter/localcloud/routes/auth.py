"""Sessions and personal keys."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.auth import (
    ApiKey,
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyValidateRequest,
    Auth,
    LoginRequest,
    RefreshRequest,
)
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.accounts.keys import Key
from lk_jupyter.localcloud.accounts.sessions import SessionTokens
from lk_jupyter.localcloud.context import AnonymousContext, Context


@implements(Auth.login)
def login(ctx: AnonymousContext, request: LoginRequest) -> dict[str, Any]:
    """Open a session. A wrong password and an unknown user get the same answer."""
    user = ctx.cloud.accounts.users.find_by_password(request.email, request.password)
    return {**_build_token_pair(ctx.cloud.accounts.sign_in(user)), "user_id": user["id"], "email": user["email"]}


@implements(Auth.refresh)
def refresh(ctx: AnonymousContext, request: RefreshRequest) -> dict[str, Any]:
    """Exchange a refresh token, which works once."""
    return _build_token_pair(ctx.cloud.sessions.renew(request.refresh_token))


@implements(Auth.list_api_keys)
def list_api_keys(ctx: Context) -> list[dict[str, Any]]:
    """List the caller's keys."""
    return [
        {field: _build_key_row(key)[field] for field in ApiKey.model_fields}
        for key in ctx.cloud.accounts.keys.list_by_owner(ctx.person["id"])
    ]


@implements(Auth.create_api_key)
def create_api_key(ctx: Context, request: ApiKeyCreate) -> dict[str, Any]:
    """Make a key."""
    owner = ctx.person["id"]
    key, secret = ctx.cloud.accounts.keys.create(owner, owner, request.key_name, expires_at=request.expires_at)
    row = {**_build_key_row(key), "api_key": secret}
    return {field: row[field] for field in ApiKeyCreated.model_fields}


@implements(Auth.revoke_api_key)
def revoke_api_key(ctx: Context, api_key_id: str) -> dict[str, str]:
    """Remove a key."""
    ctx.cloud.accounts.keys.delete(ctx.person["id"], api_key_id)
    return {"message": "API key revoked"}


@implements(Auth.toggle_api_key)
def toggle_api_key(ctx: Context, api_key_id: str) -> dict[str, bool]:
    """Switch a key on or off."""
    return {"is_active": ctx.cloud.accounts.keys.toggle(ctx.person["id"], api_key_id)}


@implements(Auth.validate_api_key)
def validate_api_key(ctx: Context, request: ApiKeyValidateRequest) -> dict[str, Any]:
    """Check a key; a key of an organization has no user."""
    key = ctx.cloud.accounts.keys.find(request.api_key)
    if key is None:
        return {"valid": False}
    dates = {field: key[field] for field in ("created_at", "expires_at", "last_used_at")}
    user = None if key["org"] else ctx.cloud.accounts.users.get(key["user"])
    owner = {"user_id": user["id"], "email": user["email"]} if user else {}
    return {"valid": True, "key_name": key["name"], **dates, **owner}


def _build_token_pair(tokens: SessionTokens) -> dict[str, Any]:
    return {"access_token": tokens.access, "refresh_token": tokens.refresh, "expires_in": tokens.expires_in}


def _build_key_row(key: Key) -> dict[str, Any]:
    """Return a key with the names that personal keys have in the API."""
    return {**key, "key_name": key["name"], "key_prefix": key["prefix"]}
