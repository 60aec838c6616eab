"""Inject faults for tests: ``POST /_faults`` adds faults, ``DELETE /_faults`` clears them.

A row describes the affected requests and the effect; see Fault. This class wraps the application at the byte level, so
that active streams can be cut.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, cast

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lk_jupyter.localcloud.pages.page import check_origin

PATH = "/_faults"

_PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Fault(BaseModel):
    """A fault: the affected requests, and the effect.

    A fault affects requests whose path contains ``path``, from the ``nth`` on, ``times`` times (None: always).
    ``status`` with ``detail``, ``html`` or ``body`` replace the application's answer; with ``handled``, the application
    handles the request first. ``cut_after`` closes the connection after this number of bytes of the application's body,
    ``lose_answer`` before the first byte. ``reset`` resets the connection. ``delay`` seconds pass before any effect.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    method: str | None = None
    nth: int = 1
    times: int | None = 1
    status: int | None = None
    detail: str = "A fault that a test requested"
    headers: dict[str, str] = {}
    html: bool = False
    body: str | None = None
    handled: bool = False
    reset: bool = False
    cut_after: int | None = None
    delay: float = 0
    lose_answer: bool = False

    def use_for_request(self, method: str, path: str) -> bool:
        """Count a matching request, and return whether the fault is due."""
        if self.path not in path or self.method not in {None, method}:
            return False
        self.nth -= 1
        if self.nth > 0 or self.times == 0:
            return False
        self.times = self.times and self.times - 1
        return True


class Faults:
    """The application behind the faults."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._rows: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, with the first matching fault."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == PATH:
            response = await self._change_faults(Request(scope, receive))
            await response(scope, receive, send)
        elif fault := next((row for row in self._rows if row.use_for_request(scope["method"], scope["path"])), None):
            await self._inject_fault(fault, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _change_faults(self, request: Request) -> Response:
        """Add the fault or the list of faults in the body; DELETE clears all faults."""
        try:
            check_origin(request)
        except HTTPException as refusal:
            return JSONResponse({"detail": refusal.detail}, refusal.status_code)
        if request.method == "DELETE":
            self._rows = []
            return JSONResponse([])
        try:
            rows = await request.json()
            self._rows += [Fault(**row) for row in (rows if isinstance(rows, list) else [rows])]
        except (ValueError, TypeError, ValidationError) as error:
            return JSONResponse({"detail": f"Send a list of faults: {error}"}, 400)
        return JSONResponse([row.model_dump() for row in self._rows])

    async def _inject_fault(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(fault.delay)
        if fault.handled:
            await self._app(scope, receive, _drop_message)
        if fault.reset:
            while not fault.handled and (await receive()).get("more_body"):  # a reset hits the read of the answer
                pass
            _reset_connection(send)
            await _wait_for_disconnect(receive)
        elif fault.body is not None:
            headers = {"content-type": "application/json", **fault.headers}
            await Response(fault.body, fault.status or 200, headers)(scope, receive, send)
        elif fault.html:
            await HTMLResponse(_PROXY_PAGE, fault.status or 502, fault.headers)(scope, receive, send)
        elif fault.status is not None:
            await JSONResponse({"detail": fault.detail}, fault.status, fault.headers)(scope, receive, send)
        elif fault.lose_answer or fault.cut_after is not None:
            await self._app(scope, receive, _Cut(send, fault.cut_after))
            await _wait_for_disconnect(receive)
        else:
            await self._app(scope, receive, send)


async def _drop_message(_: Message) -> None:
    """Drop the answer of the application."""


def _reset_connection(send: Send) -> None:
    """Reset the connection: closed with this option, a socket sends RST in place of FIN."""
    transport = cast("Any", send).__self__.transport
    linger = struct.pack("ii", 1, 0)
    with suppress(OSError):  # the client has already closed the connection
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


class _Cut:
    """A sender that sends this number of bytes of the body and closes the connection. None sends no byte."""

    def __init__(self, send: Send, budget: int | None) -> None:
        self._send = send
        self._budget = budget
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        if self._is_over:
            return
        if self._budget is None:
            self._hang_up()
        elif message["type"] != "http.response.body":
            await self._send(message)
        else:
            await self._send_body(message["body"], self._budget)

    async def _send_body(self, body: bytes, budget: int) -> None:
        self._budget = budget - len(body)
        await self._send({"type": "http.response.body", "body": body[:budget], "more_body": True})
        if self._budget <= 0:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the connection after the sent bytes; ASGI has no such message, so use the server's transport."""
        self._is_over = True
        cast("Any", self._send).__self__.transport.close()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
