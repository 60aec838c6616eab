"""Stored output lines (``/logs``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import Listing, Model, Timestamp


class LogEntry(Model):
    """One stored line of output; it may end in a newline."""

    timestamp: Timestamp
    message: str
    level: str | None = None
    execution_id: str | None = None
    user_id: str | None = None
    hostname: str | None = None
    labels: dict[str, Any] | None = Field(None, description="Labels of the stream, such as stream: stderr.")


class LogEntries(Listing[LogEntry]):
    """Stored lines within a window; the order is the server's."""

    _key = "logs"
    logs: list[LogEntry]
    total: int


class Logs(Group):
    """Stored output lines, of one run or of all."""

    @GET("/logs/execution/{execution_id}")
    def execution(
        self,
        execution_id: str,
        limit: Annotated[int, Field(ge=1, le=10000)] = 1000,
        hours: Annotated[int, Field(ge=1, le=168)] = 24,
    ) -> LogEntries:
        """Read the stored lines of one run, at most ``limit``, not older than ``hours``."""
        ...

    @GET("/logs/user")
    def user(
        self, limit: Annotated[int, Field(ge=1, le=5000)] = 100, hours: Annotated[int, Field(ge=1, le=24)] = 1
    ) -> LogEntries:
        """Read the stored lines of all the caller's runs, mixed."""
        ...
