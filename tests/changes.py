"""Requests that reach a server and may change something: all but those that read. A line of a file for each."""

from collections.abc import Awaitable, Callable
from pathlib import Path

READING = {"GET", "HEAD", "OPTIONS"}


def record_asgi(app: Callable[..., Awaitable[None]], log: Path) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that records the requests to this one."""

    async def recording(scope, receive, send):
        if scope["type"] == "http":
            _record(log, scope["method"], scope["path"])
        await app(scope, receive, send)

    return recording


def record_tornado(log: Path) -> None:
    """Record the requests to the Tornado server of this process, such as Jupyter's."""
    from tornado.web import Application  # noqa: PLC0415 (the local cloud has none)

    log_request = Application.log_request

    def recording(application, handler):
        _record(log, handler.request.method, handler.request.uri)
        log_request(application, handler)

    Application.log_request = recording


def read(log: Path) -> list[str]:
    """Return the requests that were recorded so far."""
    return log.read_text().splitlines() if log.exists() else []


def _record(log: Path, method: str, path: str) -> None:
    if method not in READING:
        with log.open("a") as lines:
            lines.write(f"{method} {path}\n")
