"""Signs of life, without a token (``/health``)."""

from __future__ import annotations

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import Message, Model


class ServerVersion(Model):
    """The version of the server's software."""

    version: str | None = None


class Health(Group):
    """Whether the server answers, and its version.

    Example:
        >>> client.health.ping().message
        '...'
        >>> client.health.version().version
        '...'
    """

    @GET(
        "/health/ping",
        auth=False,
        no_magic="This operation has no magic, because every magic reports when the server doesn't answer.",
    )
    def ping(self) -> Message | None:
        """Check that the server answers."""
        ...

    @GET(
        "/health/version",
        auth=False,
        no_magic="This operation has no magic, because the version doesn't depend on your account.",
    )
    def version(self) -> ServerVersion | None:
        """Read the version of the server."""
        ...
