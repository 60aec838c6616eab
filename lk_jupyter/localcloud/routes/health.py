"""Health checks, without authentication."""

from __future__ import annotations

from importlib import metadata

from lk_jupyter.api.health import Health
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.context import AnonymousContext

VERSION = metadata.version("lk_jupyter")


@implements(Health.ping)
def ping(ctx: AnonymousContext) -> dict[str, str]:  # noqa: ARG001 (every handler has it)
    """Answer."""
    return {"message": "pong"}


@implements(Health.version)
def version(ctx: AnonymousContext) -> dict[str, str]:  # noqa: ARG001 (every handler has it)
    """Give the version of this package."""
    return {"version": VERSION}
