"""The ports of runs: forward requests and web sockets to the server of a run.

Two forms of address replace ``https://{id}-{port}.port.lyceum.technology/``. Programs use ``/ports/{id}/{port}/`` of
this server. Because pages have links, a browser is redirected to ``http://{id}-{port}.port.localhost``, a host for this
port alone, which browsers resolve to this machine.
"""

from __future__ import annotations

import asyncio
import re
import socket as net
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, cast

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from lk_jupyter.api.ports import PAGE_HEADERS
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.runs import processes
from lk_jupyter.localcloud.runs.live_run import LiveRun

if TYPE_CHECKING:
    import httpx

_PATH = re.compile(rb"/ports/([\w-]+)/(\d{1,5})(/.*)?", re.DOTALL)
_HOST = re.compile(r"([\w-]+)-(\d{1,5})\.port\.localhost(:\d+)?", re.ASCII)

#: Headers that apply to a single connection only.
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade",
}  # fmt: skip

#: Headers of an answer that a browser gets at a path of this cloud, whose host has pages and cookies of other programs.
_PATH_HEADERS = PAGE_HEADERS | {"content-length", "location"}

#: Headers of an answer that are forwarded to a browser at the host of a port, which has no other pages.
_HOST_HEADERS = _PATH_HEADERS | {
    "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
    "access-control-allow-origin", "access-control-expose-headers", "content-security-policy",
    "cross-origin-embedder-policy", "cross-origin-opener-policy", "cross-origin-resource-policy", "referrer-policy",
    "set-cookie", "www-authenticate", "x-content-type-options", "x-frame-options",
}  # fmt: skip

#: The attribute that makes a cookie one of other hosts too.
_DOMAIN = re.compile(rb";\s*domain\s*=[^;]*", re.IGNORECASE)

_CONNECT_SECONDS = 5.0
_HANDSHAKE_SECONDS = 60.0  # Jupyter answers when the kernel has started


@dataclass(frozen=True)
class PortRequest:
    """A request to a port of a run; ``prefix`` is the part of the path that the port doesn't see."""

    run_id: str
    port: int
    prefix: str
    path: str

    @property
    def host(self) -> str:
        """The name that belongs to the port alone."""
        return f"{self.run_id}-{self.port}.port.localhost"


class Ports:
    """The application behind the ports of runs."""

    def __init__(self, app: ASGIApp, cloud: Cloud) -> None:
        self._app = app
        self._cloud = cloud

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the port of a run, or to the application."""
        port_request = parse_port_request(scope) if scope["type"] in {"http", "websocket"} else None
        if port_request is None:
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).close()
            else:
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._handle_socket(port_request, WebSocket(scope, receive, send))
        else:
            await self._handle_request(port_request, scope, receive, send)

    async def _handle_request(self, port_request: PortRequest, scope: Scope, receive: Receive, send: Send) -> None:
        if port_request.prefix and Headers(scope=scope).get("sec-fetch-mode") == "navigate":
            address = f"http://{port_request.host}:{scope['server'][1]}{port_request.path}"
            await RedirectResponse(address)(scope, receive, send)
            return
        try:
            place = await self._require_port_address(port_request)
            await self._forward_request(port_request, place, Request(scope, receive), send)
        except HTTPException as error:
            await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, send)

    async def _require_port_address(self, port_request: PortRequest) -> tuple[str, int]:
        """Return where a port of a run is; 404 without such a run, 502 where nothing listens."""
        run = self._cloud.runs.find_active(port_request.run_id)
        if run is None:
            raise HTTPException(404, f"No active run '{port_request.run_id}'")
        place = await _find_port_address(run, port_request.port)
        if place is None:
            raise HTTPException(502, f"No program of run {port_request.run_id} listens on port {port_request.port} yet")
        return place

    async def _forward_request(
        self, port_request: PortRequest, place: tuple[str, int], request: Request, send: Send
    ) -> None:
        """Forward a request and its answer as a stream, until either side closes the connection."""
        import httpx  # noqa: PLC0415 (most clouds never pass anything on)

        has_body = {"content-length", "transfer-encoding"} & set(request.headers)
        outgoing = self._client.build_request(
            request.method,
            _format_url("http", place, port_request.path),
            headers=_drop_headers(request.headers.raw, _list_withheld_headers(port_request, request)),
            content=request.stream() if has_body else None,
        )
        try:
            answer = await self._client.send(outgoing, stream=True)
        except ClientDisconnect:
            return
        except httpx.TransportError as error:
            raise HTTPException(
                502, f"Port {port_request.port} of run {port_request.run_id} does not answer: {error!r}"
            ) from None
        try:
            await _send_answer(answer, port_request, request, send)
        finally:
            await answer.aclose()

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415

        client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS)
        )
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # callers share no cookies
        return client

    async def _handle_socket(self, port_request: PortRequest, socket: WebSocket) -> None:
        from websockets.asyncio.client import connect  # noqa: PLC0415
        from websockets.exceptions import WebSocketException  # noqa: PLC0415

        try:
            host, port = await self._require_port_address(port_request)
            outer = _format_url("ws", (socket.headers.get("host", "localhost"), None), port_request.path)
            async with connect(
                outer,
                host=host,
                port=port,
                additional_headers=_select_socket_headers(socket, port_request),
                subprotocols=cast("Any", socket.scope["subprotocols"]) or None,
                origin=cast("Any", socket.headers.get("origin")),
                proxy=None,
                max_size=None,
                compression=None,
                open_timeout=_HANDSHAKE_SECONDS,
            ) as inner:
                await socket.accept(inner.subprotocol)
                await _run_until_first(_copy_to_run(socket, inner), _copy_to_client(inner, socket))
        except (HTTPException, OSError, WebSocketException, TimeoutError):
            with suppress(RuntimeError):  # the other side has closed the socket
                await socket.close(1011)


def parse_port_request(scope: Scope) -> PortRequest | None:
    """Return the run and the port of a request; None for a request to this cloud itself."""
    query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    if match := _HOST.fullmatch(Headers(scope=scope).get("host", "")):
        return PortRequest(match[1], int(match[2]), "", raw.decode("latin-1") + query)
    if in_path := _PATH.fullmatch(raw):
        run_id, port, path = (part.decode("latin-1") for part in (in_path[1], in_path[2], in_path[3] or b"/"))
        return PortRequest(run_id, int(port), f"/ports/{run_id}/{port}", path + query)
    return None


async def _find_port_address(run: LiveRun, port: int) -> tuple[str, int] | None:
    port = run.ports.get(port, port)
    for host in await run.list_hosts():
        if await _is_reachable(host, port):
            return host, port
    address = await asyncio.to_thread(processes.find_listen_address, run.id, run.pid, port)
    return (address, port) if address else None


async def _is_reachable(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_SECONDS)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True


def _format_url(scheme: str, place: tuple[str, int | None], path: str) -> str:
    host, port = place
    host_part = f"[{host}]" if ":" in host and port else host
    return f"{scheme}://{host_part}{f':{port}' if port else ''}{path}"


def _list_withheld_headers(port_request: PortRequest, connection: HTTPConnection) -> set[str]:
    """Return the headers of a request that the program behind a port doesn't get.

    A browser sends the cookies of this cloud's host, which belong to other programs; a client such as the one of a
    kept machine sends the cookies of the program alone.
    """
    return {*_HOP_BY_HOP, "cookie"} if port_request.prefix and _is_from_browser(connection) else _HOP_BY_HOP


def _drop_headers(headers: Iterable[tuple[bytes, bytes]], withheld: set[str]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.decode("latin-1").lower() not in withheld]


def _select_socket_headers(socket: WebSocket, port_request: PortRequest) -> list[tuple[str, str]]:
    """Return the headers of a socket without the headers of the handshake."""
    withheld = _list_withheld_headers(port_request, socket) | {"host", "origin"}
    return [
        (name, value)
        for name, value in socket.headers.items()
        if name not in withheld and not name.startswith("sec-websocket-")
    ]


def _select_answer_headers(
    answer: httpx.Response, port_request: PortRequest, request: Request
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a program's answer. A program that sent the request gets them all, as from the service.

    A browser gets headers of a list, and a cookie only for the host of the port.
    """
    headers = _drop_headers(answer.headers.raw, _HOP_BY_HOP)
    if _is_from_browser(request):
        allowed = _PATH_HEADERS if port_request.prefix else _HOST_HEADERS
        headers = [(name, value) for name, value in headers if name.decode("latin-1").lower() in allowed]
    cookie = b"set-cookie"
    headers = [(name, _DOMAIN.sub(b"", value) if name.lower() == cookie else value) for name, value in headers]
    return [_rewrite_redirect(name, value, port_request) for name, value in headers]


def _is_from_browser(request: HTTPConnection) -> bool:
    """Return whether a browser may have sent a request: each has one of these marks, and no page can remove both."""
    marks = {"origin", "sec-fetch-site", "sec-fetch-mode"} & set(request.headers)
    return bool(marks) or "mozilla" in request.headers.get("user-agent", "").lower()


async def _send_answer(answer: httpx.Response, port_request: PortRequest, request: Request, send: Send) -> None:
    headers = _select_answer_headers(answer, port_request, request)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await _run_until_first(_send_body(answer, send), _wait_for_disconnect(request))


async def _send_body(answer: httpx.Response, send: Send) -> None:
    import httpx  # noqa: PLC0415

    with suppress(httpx.TransportError):  # the answer broke off, so this answer ends too
        async for part in answer.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _rewrite_redirect(name: bytes, value: bytes, port_request: PortRequest) -> tuple[bytes, bytes]:
    """Lead a redirect within the port to where the port is here."""
    if name.lower() == b"location" and value.startswith(b"/") and not value.startswith(b"//"):
        return name, port_request.prefix.encode() + value
    return name, value


def _acknowledge_fast(transport: asyncio.BaseTransport) -> None:
    """Acknowledge received packets without the usual delay of 40 ms, for which Jupyter's server waits.

    Jupyter's server sends a small message only after the message before is acknowledged. Linux forgets the option after
    each packet that is sent; other systems don't have the option.
    """
    if option := getattr(net, "TCP_QUICKACK", None):
        with suppress(OSError):  # the connection was closed
            transport.get_extra_info("socket").setsockopt(net.IPPROTO_TCP, option, 1)


async def _copy_to_run(socket: WebSocket, inner: Any) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            await inner.send(text if text is not None else message["bytes"])
            _acknowledge_fast(inner.transport)


async def _copy_to_client(inner: Any, socket: WebSocket) -> None:
    async for message in inner:
        _acknowledge_fast(inner.transport)
        await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))
    await socket.close(inner.close_code if inner.close_code in range(1000, 5000) and inner.close_code != 1006 else 1011)


async def _run_until_first(*works: Any) -> None:
    """Run several awaitables until the first is done, and raise its exception, if any."""
    tasks = [asyncio.create_task(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()
