"""Refuse files that can never fit during the upload: no byte is stored, on disk or in memory."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.localcloud.buckets.s3 import no_room_error

_UPLOADS = f"{EXTERNAL}/storage/upload"

#: Maximum bytes of the form around a file.
_FORM_BYTES = 16 * 1024


class Oversize:
    """The application behind a limit on the size of uploads."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; an upload that is too large gets the answer after its last byte."""
        if scope["type"] != "http" or not scope["path"].startswith(_UPLOADS):
            await self._app(scope, receive, send)
            return
        body = _Counted(receive, self._most + _FORM_BYTES)
        try:
            await self._app(scope, body, send)
        except _TooLargeError:
            await body.drain()
            refusal = no_room_error(None, self._most)
            await JSONResponse({"detail": refusal.detail}, refusal.status_code)(scope, receive, send)


class _TooLargeError(BaseException):
    """The upload exceeds the limit; a BaseException, so that only our handler catches it."""


class _Counted:
    """The messages of a request, up to a limit of bytes."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._room = most

    async def __call__(self) -> Message:
        message = await self._receive()
        self._room -= len(message.get("body", b""))
        if self._room < 0:
            raise _TooLargeError
        return message

    async def drain(self) -> None:
        """Let the rest pass by, so that the sender gets to read the answer."""
        while (await self._receive()).get("more_body"):
            pass
