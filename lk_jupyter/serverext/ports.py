"""``lk/ports/VM/NAME/PAGE``, a port of a VM that the kernel forwards to this machine; ``lk/vms/VM/ssh``, its SSH port.

The pages come from the VM, so they must not act for the user: they are in a sandbox without cookies of this server. A
signed-in user is redirected to an address with a secret of this server, which all parts of the pages use.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_core.utils import ensure_async
from jupyter_server.auth import decorator
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.netutil import Resolver
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler

from lk_jupyter.errors import LkError
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tornado.httpclient import HTTPRequest
    from tornado.iostream import IOStream

    from lk_jupyter.serverext.upstream_provider import UpstreamProvider

#: The id of a VM and the name of its port, as in the address of a page.
_VM_ID, _NAME = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9]{1,5}|dashboard")

#: Scripts and forms may run, and nothing else: to the browser, the page isn't a page of this server.
_SANDBOX = "sandbox allow-scripts allow-popups allow-forms allow-downloads; frame-ancestors 'self'"

#: Headers of a request that the program doesn't get: they sign in to this server, or belong to the connection.
_WITHHELD = frozenset(
    {
        "authorization",
        "connection",
        "cookie",
        "host",
        "origin",
        "referer",
        "upgrade",
        "x-xsrftoken",
        "transfer-encoding",
    }
)

#: In a sandbox, reading the storage and starting a worker are errors. Programs such as TensorBoard get a storage that
#: lasts as long as their page, and workers that load their script.
_STORAGE = b"""<script>(() => {
  const storage = () => {
    const items = new Map();
    return {
      get length() { return items.size; },
      key: index => [...items.keys()][index] ?? null,
      getItem: key => items.get(String(key)) ?? null,
      setItem: (key, value) => void items.set(String(key), String(value)),
      removeItem: key => void items.delete(String(key)),
      clear: () => items.clear()
    };
  };
  for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { value: storage() });
  Object.defineProperty(document, 'cookie', { get: () => '', set: () => undefined });
  window.Worker = class extends Worker {
    constructor(address, options) {
      const url = JSON.stringify(new URL(address, document.baseURI).href);
      const code = options?.type === 'module' ? `import ${url};` : `importScripts(${url});`;
      super(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), options);
    }
  };
})();</script>"""

#: The place in a page before which no script may be.
_HEAD = re.compile(rb"<head(?:\s[^>]*)?>|<!doctype[^>]*>(?!.*<head)", re.IGNORECASE | re.DOTALL)

_LOOPBACK = "127.0.0.1"

#: The most bytes of a message of a tunnel, and seconds for a connection to a VM.
_PIECE, _CONNECT_SECONDS = 65536, 15.0

#: Seconds of a request: programs may stream events.
_LONGEST_SECONDS = 3600.0

#: Secret → id of the VM and name of its port, for the pages that were opened.
_pages: dict[str, tuple[str, str]] = {}

allow_unauthenticated: Any = getattr(decorator, "allow_unauthenticated", lambda method: method)  # jupyter_server 2.13


class VmPort(WebSocketHandler, JupyterHandler):
    """Pass requests and web sockets of the pages to a port of a VM."""

    auth_resource = "lk_jupyter"

    def initialize(self, desk: UpstreamProvider) -> None:  # noqa: ARG002 (each route gets it)
        """Start without a connection to the program."""
        self._upstream: WebSocketClientConnection | None = None
        self._is_page = False  # the next data is the start of a page

    def check_xsrf_cookie(self) -> None:
        """Accept pages of the sandbox, which have no cookie: the address has the secret."""
        if self.path_kwargs or self.path_args[0].partition("/")[0] not in _pages:
            super().check_xsrf_cookie()

    @allow_unauthenticated  # type: ignore[untyped-decorator]  # older releases lack it
    async def get(self, path: str) -> None:
        """Redirect a signed-in user, and answer requests with the secret."""
        key, _, page = path.partition("/")
        if key not in _pages:
            name, _, page = page.partition("/")
            await self._redirect_user(key, name, page)
        elif self.request.headers.get("Upgrade", "").lower() == "websocket":
            self._set_address(key, page)
            await super().get()
        else:
            await self._pass_request(key, page)

    @allow_unauthenticated  # type: ignore[untyped-decorator]
    async def post(self, path: str) -> None:
        """Pass a request with the secret."""
        key, _, page = path.partition("/")
        if key not in _pages:
            raise web.HTTPError(403)
        await self._pass_request(key, page)

    put = patch = delete = head = post

    @allow_unauthenticated  # type: ignore[untyped-decorator]
    async def options(self, path: str) -> None:
        """Let pages of the sandbox send requests: to the browser, their address is another site."""
        if path.partition("/")[0] not in _pages:
            raise web.HTTPError(403)
        self.set_header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
        self.set_header("Access-Control-Allow-Headers", self.request.headers.get("Access-Control-Request-Headers", ""))
        self.set_status(204)
        self.finish()

    async def _redirect_user(self, vm_id: str, name: str, page: str) -> None:
        user = self.current_user
        may = user and await ensure_async(self.authorizer.is_authorized(self, user, "read", self.auth_resource))
        if not may or not _VM_ID.fullmatch(vm_id) or not _NAME.fullmatch(name):
            raise web.HTTPError(403)
        read_port_address(vm_id, name)
        page_port = vm_id, name
        key = next((key for key, value in _pages.items() if value == page_port), None) or os.urandom(32).hex()
        _pages[key] = page_port
        self.redirect(f"{self.base_url}lk/ports/{key}/{page}")

    def _set_address(self, key: str, page: str) -> None:
        address = read_port_address(*_pages[key])
        self._resolver = address.resolver
        query = f"?{self.request.query}" if self.request.query else ""
        self._address = f"{address.host or _LOOPBACK}:{address.port}/{page}{query}"

    async def _pass_request(self, key: str, page: str) -> None:
        from tornado.httpclient import HTTPError, HTTPRequest  # noqa: PLC0415 (at first use)
        from tornado.simple_httpclient import SimpleAsyncHTTPClient  # noqa: PLC0415

        self._set_address(key, page)
        headers = {name: value for name, value in self.request.headers.items() if name.lower() not in _WITHHELD}
        if "text/html" in headers.get("Accept", ""):
            headers["Accept-Encoding"] = "identity"  # the page gets a script
        has_body = self.request.method in {"POST", "PUT", "PATCH"} or self.request.body
        request = HTTPRequest(
            f"http://{self._address}",
            method=self.request.method or "GET",
            headers=headers,
            body=self.request.body if has_body else None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            request_timeout=_LONGEST_SECONDS,
            header_callback=self._take_header,
            streaming_callback=self._pass_data,
        )
        client = SimpleAsyncHTTPClient(force_instance=True, resolver=self._resolver)
        try:
            await client.fetch(request, raise_error=False)
        except (HTTPError, OSError, web.HTTPError):
            raise web.HTTPError(502, "The program doesn't answer. It may have ended.") from None
        finally:
            client.close()
        if not self._finished:
            await self.finish()

    def _take_header(self, line: str) -> None:
        """Set the status or a header of the answer from a line of the program."""
        from lk_jupyter.api.ports import PAGE_HEADERS  # noqa: PLC0415 (the start of a server waits for few modules)

        name, colon, value = line.strip().partition(":")
        if line.startswith("HTTP/"):
            self.set_status(int(line.split()[1]))
        elif colon and name.lower() == "location":  # an address of the program is an address below the secret
            target = value.strip()
            prefix = f"{self.base_url}lk/ports/{self.path_args[0].partition('/')[0]}"
            self.set_header("Location", prefix + target if target.startswith("/") else target)
        elif colon and name.lower() in PAGE_HEADERS:
            self.set_header(name, value.strip())
            self._is_page = self._is_page or (name.lower() == "content-type" and value.strip().startswith("text/html"))

    def _pass_data(self, data: bytes) -> None:
        if self._is_page and self._headers.get("Content-Encoding", "identity") == "identity":
            self._is_page = False
            head = _HEAD.search(data)
            data = data[: head.end()] + _STORAGE + data[head.end() :] if head else _STORAGE + data
        if self.request.connection and not self.request.connection.stream.closed():  # type: ignore[attr-defined]
            self.write(data)
            self.flush()

    def set_default_headers(self) -> None:
        """Put the pages into a sandbox, and keep the secret in their addresses."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", _SANDBOX)
        self.set_header("Access-Control-Allow-Origin", "null")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def check_origin(self, origin: str | None = None) -> bool:  # noqa: ARG002 (a sandbox has none)
        """Accept pages of the sandbox: the address has the secret."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Remember the protocols of the page, and choose the first, as the program does."""
        self._protocols = subprotocols
        return subprotocols[0] if subprotocols else None

    async def open(self, *_: str, **__: str) -> None:
        """Connect the page with the program."""
        from tornado.httpclient import HTTPError, HTTPRequest  # noqa: PLC0415 (at first use)

        request = HTTPRequest(f"ws://{self._address}")
        try:
            self._upstream = await _connect_socket(
                request,
                self._resolver,
                subprotocols=getattr(self, "_protocols", None) or None,  # an empty header is refused
                on_message_callback=self._send_message,
                max_message_size=1 << 26,
            )
        except (HTTPError, OSError):
            self.close()

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message of the page."""
        if self._upstream:
            await self._upstream.write_message(message, binary=isinstance(message, bytes))

    def _send_message(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
            return
        try:
            self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            self.on_close()

    def on_close(self) -> None:
        """Close the connection to the program."""
        if self._upstream:
            self._upstream.close()


class PlaceResolver(Resolver):
    """Resolve every host to one place: a Unix socket, or a port of this machine."""

    def initialize(self, family: int, place: Any) -> None:
        """Set the family of the socket, and its address."""
        self._results = [(family, place)]

    async def resolve(self, *_: object, **__: object) -> list[tuple[int, Any]]:
        """Return the place."""
        return self._results


class PortAddress(NamedTuple):
    """The port that the program sees, and the place of this machine that leads to the program.

    The place is a Unix ``socket``, or the port of this machine, which answers to the name ``host`` only.
    """

    port: int
    socket: str
    host: str

    @property
    def resolver(self) -> Resolver:
        """The resolver of the place."""
        place: tuple[int, Any] = (socket.AF_INET, (_LOOPBACK, self.port))
        if self.socket:
            place = (socket.AF_UNIX, self.socket)
        resolver: Resolver = PlaceResolver(*place)
        return resolver


def _connect_socket(request: HTTPRequest, resolver: Resolver, **options: Any) -> Awaitable[WebSocketClientConnection]:
    """Open a web socket through a resolver."""
    from tornado.tcpclient import TCPClient  # noqa: PLC0415 (at first use)

    connection = WebSocketClientConnection(request, **options)
    connection.tcp_client = TCPClient(resolver=resolver)  # releases before 6.6 have no option for it
    return connection.connect_future


def read_port_address(vm_id: str, name: str) -> PortAddress:
    """Return the address of a port of a VM on this machine. Raises HTTPError 404 after the end of its kernel."""
    from lk_jupyter.vms.facts import forward_path  # noqa: PLC0415 (few users have VMs)

    try:
        facts = json.loads(forward_path(vm_id, name).read_text("utf-8"))
        return PortAddress(int(facts["port"]), str(facts["socket"]), str(facts["host"]))
    except (OSError, ValueError, TypeError, KeyError):
        raise web.HTTPError(404, "No port is open here. Open it again: %lk_open") from None


class VmTunnel(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Pass bytes between a signed-in user and the SSH port of a VM. This server can't read them.

    The address is from the record of a VM of the user's account, never from the request, so no other address is opened.
    """

    auth_resource = "lk_jupyter"

    def initialize(self, desk: UpstreamProvider) -> None:
        """Start without a connection to a VM."""
        self._desk = desk
        self._vm: IOStream | None = None
        self._task: asyncio.Task[None] | None = None

    async def get(self, vm_id: str) -> None:
        """Connect a user who is signed in; another site can't read the token against forgery."""
        may = self.current_user and await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)
        )
        if not may:
            raise web.HTTPError(403)
        self.check_xsrf_cookie()
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPError(400, "This route is a web socket.")
        try:
            self._vm = await self._connect_to_vm(vm_id)
        except RequestProblem as problem:
            self.set_status(problem.status)
            self.finish(problem.content())
            return
        await super().get(vm_id)
        if self.ws_connection is None:
            self.on_close()

    async def _connect_to_vm(self, vm_id: str) -> IOStream:
        """Connect to the SSH port of a VM of the account. Raises RequestProblem."""
        from tornado.tcpclient import TCPClient  # noqa: PLC0415 (at first use, like all below)

        from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415
        from lk_jupyter.api.vms import Vms  # noqa: PLC0415
        from lk_jupyter.vms.ssh import SshEndpoint  # noqa: PLC0415

        upstream = await self._desk.upstream()
        status = await upstream.answer(endpoint_of(Vms.status), vm_id=vm_id)
        if not status.usable:
            raise RequestProblem("refused", f"The VM is {status.status} and has no address.", 409)
        try:
            endpoint = SshEndpoint.of(status.ip_address)
            return await asyncio.wait_for(TCPClient().connect(endpoint.host, endpoint.port), _CONNECT_SECONDS)
        except (LkError, OSError, asyncio.TimeoutError) as error:
            reason = str(error).rstrip(".") or "no answer"
            raise RequestProblem("unreachable", f"The VM doesn't answer this Jupyter server: {reason}.", 502) from None

    def open(self, *_: str, **__: str) -> None:
        """Pass what the VM sends."""
        super().open()
        self._task = asyncio.create_task(self._pass_output())

    async def _pass_output(self) -> None:
        assert self._vm  # noqa: S101 (connected before)
        try:
            while data := await self._vm.read_bytes(_PIECE, partial=True):
                await self.write_message(data, binary=True)
        except (StreamClosedError, WebSocketClosedError):
            self.close()

    async def on_message(self, message: str | bytes) -> None:
        """Pass what the user sends."""
        if self._vm:
            try:
                await self._vm.write(message if isinstance(message, bytes) else message.encode())
            except StreamClosedError:
                self.close()

    def on_close(self) -> None:
        """Close the connection to the VM."""
        if self._vm:
            self._vm.close()
