"""Connections to a server: httpx clients, addresses, signatures, and the sending of a request."""

from __future__ import annotations

import logging
import re
import ssl
from asyncio import to_thread
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from lk_jupyter._version import __version__
from lk_jupyter.api._body import ENCODINGS
from lk_jupyter.api._endpoint import Call, is_form
from lk_jupyter.api._files import Upload
from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.api._tokens import Tokens
from lk_jupyter.errors import UsageError

#: Seconds of silence after which a stream counts as broken; a quiet run may print nothing for minutes.
STREAM_TIMEOUT = 600.0

#: Maximum number of redirects of a request.
_MOVES = 5

USER_AGENT = {"User-Agent": f"lk_jupyter/{__version__}"}
#: Proxies are for other machines, never for this machine.
NO_PROXY: dict[str, httpx.BaseTransport | None] = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))

#: Whether a request of ours is active. The log of httpx would fill the user's cells, and would show the address of a
#: stream, the only secret of a stream. Our threads read streams.
silent_logs: ContextVar[bool] = ContextVar("silent_logs", default=False)
for _logger_name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_logger_name).addFilter(
        lambda record: not (silent_logs.get() or str(record.threadName).startswith("lk-"))
    )


class Bearer(httpx.Auth):
    """Sign a request, and sign the request again with a renewed token if the server refuses the first token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._tokens.usable_token()
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        response = yield request
        if response.status_code == 401 and self._tokens.renewable:
            cast("httpx.SyncByteStream", response.stream).close()
            response.stream = httpx.ByteStream(b"")  # httpx reads the complete stream before the next request
            request.headers["Authorization"] = f"Bearer {self._tokens.newer_token(token).get_secret_value()}"
            yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign in the event loop of a Jupyter server, without blocking the loop during a renewal."""
        token = await to_thread(self._tokens.usable_token)
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        response = yield request
        if response.status_code == 401 and self._tokens.renewable:
            await cast("httpx.AsyncByteStream", response.stream).aclose()
            response.stream = httpx.ByteStream(b"")
            renewed = await to_thread(self._tokens.newer_token, token)
            request.headers["Authorization"] = f"Bearer {renewed.get_secret_value()}"
            yield request


def send_once(client: httpx.Client, request: httpx.Request, *, auth: httpx.Auth | None) -> httpx.Response:
    """Send a request, and follow redirects that keep the method and the server, where the key belongs.

    The body of the answer isn't read.
    """
    response = client.send(request, auth=auth, stream=True)
    for _ in range(_MOVES):
        moved = response.next_request
        if moved is None or moved.method != request.method or not _is_same_server(request.url, moved.url):
            break
        response.close()
        response = client.send(moved, auth=auth, stream=True)
    return response


def _is_same_server(first: httpx.URL, other: httpx.URL) -> bool:
    """Return whether both addresses belong to the same server, or only add TLS."""
    is_upgrade = (first.scheme, other.scheme) == ("http", "https") and first.port is None and other.port is None
    return first.host == other.host and ((first.scheme, first.port) == (other.scheme, other.port) or is_upgrade)


@contextmanager
def request_content(call: Call) -> Iterator[dict[str, Any]]:
    """Return the headers and the body of a request for httpx; files are open while the request is sent."""
    body = call.body
    if body is None:
        yield {"headers": call.headers}
    elif is_form(type(body)):
        with ExitStack() as opened:
            files = [
                (name, (upload.name, opened.enter_context(upload.open()), upload.content_type))
                for name, upload in _iterate_uploads(body)
            ]
            data = body.model_dump(
                mode="json", by_alias=True, exclude_none=True, exclude={n for n, _ in _iterate_uploads(body)}
            )
            yield {"headers": call.headers, "files": files, "data": data}
    else:
        body_bytes = body.model_dump_json(by_alias=True, exclude_none=True).encode()  # a single copy in memory
        yield {"headers": {**call.headers, "Content-Type": "application/json"}, "content": body_bytes}


def _iterate_uploads(body: BaseModel) -> Iterator[tuple[str, Upload]]:
    for name, value in body:
        for upload in value if isinstance(value, list) else [value]:
            if isinstance(upload, Upload):
                yield name, upload


def create_client(base_url: str, verify: ssl.SSLContext, timeout: float, org: dict[str, str]) -> httpx.Client:
    """Return a client for requests to a server. Raises UsageError if a proxy of the environment can't be used."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    headers = {**USER_AGENT, **org, **ENCODINGS, "Accept": "application/json"}
    return httpx.Client(
        verify=verify,
        headers=headers,
        timeout=timeout,
        limits=limits,
        mounts=NO_PROXY,
        trust_env=uses_proxies(base_url),
    )


def create_stream_client(base_url: str, verify: ssl.SSLContext, timeout: float) -> httpx.Client:
    """Return a client without a token, for a single stream. Raises UsageError like ``create_client``."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    headers = {
        **USER_AGENT,
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Cache-Control": "no-cache",
    }
    patient = httpx.Timeout(timeout, read=STREAM_TIMEOUT)
    return httpx.Client(
        verify=verify,
        headers=headers,
        timeout=patient,
        limits=limits,
        mounts=NO_PROXY,
        trust_env=uses_proxies(base_url),
    )


def is_web_address(text: str) -> bool:
    """Return whether a text is a complete HTTP address."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_url(url: str, name: str, variable: str) -> str:
    if not is_web_address(url) or "@" in url:
        raise UsageError(f"The {name} must be a plain address such as https://api.lyceum.technology ({variable}).")
    return url.rstrip("/")


def org_header(org: str | None) -> dict[str, str]:
    if not org:
        return {}
    if not re.fullmatch("[a-z0-9-]+", org):
        raise UsageError(f"'{org}' isn't an organization slug (LK_ORG). Use lowercase letters, digits and dashes.")
    return {"X-Org-Slug": org}


def host_name(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
