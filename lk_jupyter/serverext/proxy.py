"""``lk/api/…``: the declared operations of the API, asked with the user's key, which stays here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, cast

from tornado import web
from tornado.iostream import StreamClosedError

from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    import httpx

    from lk_jupyter.api._models import Model
    from lk_jupyter.serverext.allowlist import Allowed

#: Headers of a browser's request that go on to the API, beside those that the operation declares.
REQUEST_HEADERS = ("Content-Type", "Content-Length")

#: Headers of the API's answer that go on to the browser with a file.
FILE_HEADERS = ("Content-Length", "ETag", "Last-Modified")

#: Largest body that is read as a whole, to be looked at before it is sent.
MOST_CHECKED_BYTES = 1 << 20

#: Largest body that a browser may send; it is passed on in pieces and never kept.
MOST_BYTES = 1 << 40

_WITH_BODY = {"POST", "PUT", "PATCH"}
_EVENTS = "text/event-stream"


@web.stream_request_body
class Proxy(Handler):
    """One operation of the API. Bodies pass piece by piece in both directions."""

    _opening: asyncio.Future[httpx.Response] | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Begin to ask when the body begins to come."""
        await super().prepare()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._opened = AsyncExitStack()
        if self._has_body():
            await self.check_may_ask()
            self.wire.set_max_body_size(MOST_BYTES)
            self._opening = asyncio.ensure_future(self._open(self._body()))

    async def data_received(self, piece: bytes) -> None:
        """Take a piece of the body, when the piece before was passed on."""
        handing: asyncio.Future[Any] = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait({handing, cast("asyncio.Future[Any]", self._opening)}, return_when=asyncio.FIRST_COMPLETED)
        handing.cancel()

    def on_connection_close(self) -> None:
        """Ask no further."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening.add_done_callback(lambda _: asyncio.ensure_future(self._opened.aclose()))
        super().on_connection_close()

    @guarded
    async def get(self, _path: str) -> None:
        """Pass a request on, with its body if one comes."""
        if self._opening is not None:
            await self.data_received(b"")
        await self.while_wanted(self._answer())

    post = put = patch = delete = get

    def _has_body(self) -> bool:
        """Whether a body comes. A DELETE with a body says so in its headers."""
        headers = self.request.headers
        announced = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
        return self.request.method in _WITH_BODY or (self.request.method == "DELETE" and announced)

    async def _body(self) -> AsyncIterator[bytes]:
        while piece := await self._pieces.get():
            yield piece

    async def _open(self, content: AsyncIterator[bytes] | None) -> httpx.Response:
        self._allowed = await self._match()
        if content and (model := self._allowed.endpoint.checked_body):
            content = await _checked(model, content)
        self._upstream = await self.desk.upstream()
        if self.request.headers.get("If-None-Match") == "*":
            await self._claim_key()
        return await self._opened.enter_async_context(
            self._upstream.open(
                self._allowed.endpoint,
                self._allowed.path,
                query=self._query(),
                headers=self._kept_headers(),
                content=content,
            )
        )

    async def _claim_key(self) -> None:
        """Let an upload replace nothing, where the browser asks for that."""
        from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (as below)
        from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415
        from lk_jupyter.serverext.storage import claim  # noqa: PLC0415

        if self._allowed.endpoint is endpoint_of(StorageGroup.upload):
            await self._opened.enter_async_context(claim(self._upstream, self.get_query_argument("key", strip=False)))

    async def _match(self) -> Allowed:
        """Return the operation that is meant, by the path as it was sent."""
        from lk_jupyter.serverext import allowlist  # noqa: PLC0415 (it loads all declarations: at first use)

        _, _, raw = self.request.path.partition("/lk/api/")
        try:
            return allowlist.match(str(self.request.method), raw)
        except allowlist.NotAllowed as no:
            raise RequestProblem(
                "not-allowed", f"{self.request.method} {raw[:200]} isn't forwarded: {no}.", no.status
            ) from None

    def _query(self) -> dict[str, list[str]]:
        """Return what the operation declares of the query; so no token of Jupyter's goes along."""
        endpoint = self._allowed.endpoint
        names = [name for name in endpoint.signature.parameters if endpoint.place(name) == "query"]
        return {
            name: self.get_query_arguments(name, strip=False) for name in names if name in self.request.query_arguments
        }

    def _kept_headers(self) -> dict[str, str]:
        endpoint = self._allowed.endpoint
        declared = [endpoint.header(name) for name in endpoint.signature.parameters]
        names = [*REQUEST_HEADERS, *filter(None, declared)]
        kept = {name: self.request.headers[name] for name in names if name in self.request.headers}
        as_it_is = {"Accept": "*/*", "Accept-Encoding": "identity"} if endpoint.downloads or endpoint.streams else {}
        return {"Accept": f"application/json, {_EVENTS}", **kept, **as_it_is}

    async def _answer(self) -> None:
        async with self._opened:
            response = await (self._opening or self._open(None))
            self.set_status(response.status_code)
            if _EVENTS in response.headers.get("content-type", ""):
                await self._pass_on(response, _EVENTS)
            elif self._allowed.endpoint.downloads:
                self._prepare_file(response)
                await self._pass_on(response, "application/octet-stream")
            else:
                content = await self._upstream.content(self._allowed.endpoint, response)
                await self.finish(None if response.status_code == 204 else json.dumps(content))

    def _prepare_file(self, response: httpx.Response) -> None:
        """Make sure that a browser keeps a file and never shows it as a page of this server."""
        for name in FILE_HEADERS:
            if name in response.headers:
                self.set_header(name, response.headers[name])
        self.set_attachment_header(next(iter(self._allowed.values.values())).rpartition("/")[2])

    async def _pass_on(self, response: httpx.Response, kind: str) -> None:
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")  # a proxy in front is not to wait either
        await self.flush()
        try:
            async for piece in response.aiter_raw():
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return
        except Exception:
            self.break_off()
            raise
        await self.finish(set_content_type=kind)


async def _checked(model: type[Model], content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return a body that may be sent. Raises RequestProblem if its cost differs from its fields."""
    body = b""
    async for piece in content:
        body += piece
        if len(body) > MOST_CHECKED_BYTES:
            raise RequestProblem(
                "refused", f"The body has more than {MOST_CHECKED_BYTES:,} bytes. Nothing was sent.", 413
            )
    with suppress(ValueError):  # the API says what is wrong with one that does not fit
        if problem := model.model_validate_json(body).problem():
            raise RequestProblem("refused", f"{problem} Nothing was sent.", 422)
    return _once(body)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
