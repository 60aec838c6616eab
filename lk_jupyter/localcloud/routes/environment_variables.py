"""Environment variables: upsert, list without values, delete."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lk_jupyter.api.environment_variables import (
    EnvironmentVariableBatch,
    EnvironmentVariableInput,
    EnvironmentVariables,
)
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import Context

_MASK = "********"


@implements(EnvironmentVariables.list)
def list_(ctx: Context) -> dict[str, Any]:
    """List names and times; neither a value nor its length is ever shown."""
    return {"environment_variables": [{**row, "value": _MASK} for row in ctx.cloud.variables.list(ctx.caller.org_id)]}


@implements(EnvironmentVariables.upsert)
def upsert(ctx: Context, body: EnvironmentVariableBatch | EnvironmentVariableInput) -> dict[str, Any]:
    """Store a variable or several."""
    rows = body.environment_variables if isinstance(body, EnvironmentVariableBatch) else [body]
    ctx.cloud.variables.upsert(ctx.caller.org_id, [(row.name, row.value) for row in rows])
    return list_(ctx)


@implements(EnvironmentVariables.delete_all)
def delete_all(ctx: Context) -> dict[str, str]:
    """Remove every variable."""
    ctx.cloud.variables.delete(ctx.caller.org_id)
    return {"message": "All environment variables deleted"}


@implements(EnvironmentVariables.delete)
def delete(ctx: Context, env_var_id: str) -> dict[str, str]:
    """Remove a variable."""
    if not ctx.cloud.variables.delete(ctx.caller.org_id, env_var_id):
        raise HTTPException(404, f"No environment variable {env_var_id[:100]!r}")
    return {"message": "Environment variable deleted"}
