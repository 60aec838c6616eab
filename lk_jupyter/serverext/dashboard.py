"""``lk/dashboard/VM/PAGE``: the dashboard of a Dask cluster on a VM, whose port the kernel forwards to this machine.

The pages come from the VM, so they must not act for the user: they are in a sandbox without cookies of this server. A
signed-in user is redirected to an address with a secret of this server, which all parts of the pages use.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth import decorator
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler, websocket_connect

if TYPE_CHECKING:
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider

#: The id of a VM, as in the address of its dashboard.
_VM_ID = re.compile(r"[0-9a-f]{32}")

#: Scripts may run, and nothing else: to the browser, the page isn't a page of this server.
_SANDBOX = "sandbox allow-scripts allow-popups; frame-ancestors 'self'"

#: Headers of the dashboard that a browser gets.
_PASSED = ("Cache-Control", "Content-Type", "Etag", "Last-Modified")

#: Secret → id of the VM, for the pages that were opened.
_pages: dict[str, str] = {}

allow_unauthenticated: Any = getattr(decorator, "allow_unauthenticated", lambda method: method)  # jupyter_server 2.13


class Dashboard(WebSocketHandler, JupyterHandler):
    """Pass requests and web sockets of the pages to the dashboard of a cluster."""

    auth_resource = "lk_jupyter"

    def initialize(self, desk: UpstreamProvider) -> None:  # noqa: ARG002 (each route gets it)
        """Start without a connection to the dashboard."""
        self._upstream: WebSocketClientConnection | None = None

    @allow_unauthenticated  # type: ignore[untyped-decorator]  # older releases lack it
    async def get(self, path: str) -> None:
        """Redirect a signed-in user, and answer requests with the secret."""
        key, _, page = path.partition("/")
        if key not in _pages:
            await self._redirect_user(key, page)
            return
        port = read_port(_pages[key])
        query = f"?{self.request.query}" if self.request.query else ""
        self._address = f"127.0.0.1:{port}/{page}{query}"
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get()
        else:
            await self._pass_page()

    async def _redirect_user(self, vm_id: str, page: str) -> None:
        user = self.current_user
        may = user and await ensure_async(self.authorizer.is_authorized(self, user, "read", self.auth_resource))
        if not may or not _VM_ID.fullmatch(vm_id):
            raise web.HTTPError(403)
        read_port(vm_id)
        key = next((key for key, value in _pages.items() if value == vm_id), None) or os.urandom(32).hex()
        _pages[key] = vm_id
        self.redirect(f"{self.base_url}lk/dashboard/{key}/{page or 'status'}")

    async def _pass_page(self) -> None:
        from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest  # noqa: PLC0415 (at first use)

        request = HTTPRequest(f"http://{self._address}", follow_redirects=False, decompress_response=True)
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (HTTPError, OSError):
            raise web.HTTPError(502, "The dashboard doesn't answer. The cluster may have ended.") from None
        self.set_status(answer.code if answer.code in {200, 304, 404} else 502)
        for name in _PASSED:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        self.finish(answer.body or b"")

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
        """Remember the protocols of the page, and choose the first, as the dashboard does."""
        self._protocols = subprotocols
        return subprotocols[0] if subprotocols else None

    async def open(self, *_: str, **__: str) -> None:
        """Connect the page with the dashboard."""
        from tornado.httpclient import HTTPError  # noqa: PLC0415 (at first use)

        protocols = getattr(self, "_protocols", [])
        try:
            self._upstream = await websocket_connect(
                f"ws://{self._address}",
                subprotocols=protocols,
                on_message_callback=self._send,
                max_message_size=1 << 26,
            )
        except (HTTPError, OSError):
            self.close()

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message of the page."""
        if self._upstream:
            await self._upstream.write_message(message, binary=isinstance(message, bytes))

    def _send(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
            return
        try:
            self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            self.on_close()

    def on_close(self) -> None:
        """Close the connection to the dashboard."""
        if self._upstream:
            self._upstream.close()


def read_port(vm_id: str) -> int:
    """Return the port of this machine that leads to a dashboard. Raises HTTPError 404 after the end of its cluster."""
    from lk_jupyter.vms.facts import dashboard_path  # noqa: PLC0415 (few users have clusters)

    try:
        return int(dashboard_path(vm_id).read_text("ascii"))
    except (OSError, ValueError):
        raise web.HTTPError(404, "No cluster has this dashboard. It may have closed.") from None
