"""``lk/api/…``: the declared operations of the API, sent with the user's key, which stays on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, cast

from tornado import web
from tornado.iostream import StreamClosedError

from lk_jupyter.errors import LkError, OutcomeUnknown
from lk_jupyter.protocol.json_limits import VALIDATED, require_small
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    import httpx

    from lk_jupyter.api._endpoint import Endpoint
    from lk_jupyter.api._models import Model
    from lk_jupyter.connection.gate import End, Reservation
    from lk_jupyter.serverext.allowlist import Allowed
    from lk_jupyter.serverext.upstream import Upstream

#: Headers of a browser's request that are forwarded to the API, besides the headers that the operation declares.
REQUEST_HEADERS = ("Content-Type", "Content-Length")

#: Headers of the API's answer that are forwarded to the browser with a file.
FILE_HEADERS = ("Content-Length", "ETag", "Last-Modified")

#: Largest body that is read completely, for a check before sending.
MOST_CHECKED_BYTES = 1 << 20

#: Largest body of a request that spends.
MOST_PRICED_BYTES = 64 << 20

#: Bytes of the end of a stream that are searched for the counts of tokens.
_LAST_EVENTS = 1 << 14

#: Largest body that a browser may send; the body is forwarded in pieces and never stored.
MOST_BYTES = 1 << 40

_WITH_BODY = {"POST", "PUT", "PATCH"}
_EVENTS = "text/event-stream"


@web.stream_request_body
class Proxy(Handler):
    """Forward an operation of the API. Bodies pass piece by piece in both directions."""

    _opening: asyncio.Future[httpx.Response | None] | None = None
    _reservation: Reservation | End | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Start the request when the body starts to arrive."""
        await super().prepare()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._opened = AsyncExitStack()
        if self._has_body():
            await self.check_may_ask()
            self.wire.set_max_body_size(MOST_BYTES)
            self._opening = asyncio.ensure_future(self._send_api_request(self._iterate_body()))

    async def data_received(self, piece: bytes) -> None:
        """Take a piece of the body, when the piece before was passed on."""
        handing: asyncio.Future[Any] = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait({handing, cast("asyncio.Future[Any]", self._opening)}, return_when=asyncio.FIRST_COMPLETED)
        handing.cancel()

    def on_connection_close(self) -> None:
        """Cancel the request."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening.add_done_callback(lambda _: asyncio.ensure_future(self._opened.aclose()))
        super().on_connection_close()

    @guarded
    async def get(self, _path: str) -> None:
        """Forward a request, with its body if any."""
        if self._opening is not None:
            await self.data_received(b"")
        await self.until_disconnect(self._send_response())

    post = put = patch = delete = get

    def _has_body(self) -> bool:
        """Return whether a body follows. A DELETE with a body has headers for the body."""
        headers = self.request.headers
        announced = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
        return self.request.method in _WITH_BODY or (self.request.method == "DELETE" and announced)

    async def _iterate_body(self) -> AsyncIterator[bytes]:
        while piece := await self._pieces.get():
            yield piece

    async def _send_api_request(self, content: AsyncIterator[bytes] | None) -> httpx.Response | None:
        """Return the answer of the API; None if a run ended before its abort was sent."""
        self._allowed = await self._match_operation()
        if content and (model := self._allowed.endpoint.checked_body):
            content = await _check_body(model, content)
        self._upstream = await self.desk.upstream()
        if await self._has_stopped():
            return None
        if content:
            content = await self._reserve_cost(content)
        if self.request.headers.get("If-None-Match") == "*":
            await self._claim_key()
        try:
            return await self._opened.enter_async_context(
                self._upstream.open(
                    self._allowed.endpoint,
                    self._allowed.path,
                    query=self._read_query(),
                    headers=self._select_forwarded_headers(),
                    content=content,
                )
            )
        except RequestProblem as problem:
            if self._reservation:
                is_refused = problem.state == "refused" and problem.status < 500
                self._reservation.fail(LkError(problem.detail) if is_refused else OutcomeUnknown(problem.detail))
            raise

    async def _reserve_cost(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Reserve the cost of a start in the body, as a kernel's client does. Raises UsageError beyond a budget."""
        from lk_jupyter.connection.gate import changes_billing  # noqa: PLC0415 (at first use)

        if not changes_billing(self._allowed.endpoint):
            return content
        body = await _collect_body(content, MOST_PRICED_BYTES)
        self._reservation = await asyncio.to_thread(
            _reserve_spending, self._upstream, self._allowed, body, self._select_forwarded_headers()
        )
        return _yield_body(body)

    async def _claim_key(self) -> None:
        """Prevent an upload from replacing an object, if the browser requests that."""
        from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (as below)
        from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415
        from lk_jupyter.serverext.storage import claim  # noqa: PLC0415

        if self._allowed.endpoint is endpoint_of(StorageGroup.upload):
            await self._opened.enter_async_context(claim(self._upstream, self.get_query_argument("key", strip=False)))

    async def _match_operation(self) -> Allowed:
        """Return the requested operation, by the path as sent."""
        from lk_jupyter.serverext import allowlist  # noqa: PLC0415 (it loads all declarations: at first use)

        _, _, raw = self.request.path.partition("/lk/api/")
        try:
            return allowlist.match(str(self.request.method), raw)
        except allowlist.NotAllowed as no:
            raise RequestProblem(
                "not-allowed", f"{self.request.method} {raw[:200]} isn't forwarded: {no}.", no.status
            ) from None

    def _read_query(self) -> dict[str, list[str]]:
        """Return the parameters that the operation declares, so that no token of Jupyter is forwarded."""
        names = self.request.query_arguments.keys() & set(self._allowed.endpoint.query_names)
        return {name: self.get_query_arguments(name, strip=False) for name in sorted(names)}

    def _select_forwarded_headers(self) -> dict[str, str]:
        endpoint = self._allowed.endpoint
        declared = [endpoint.header(name) for name in endpoint.signature.parameters]
        names = [*REQUEST_HEADERS, *filter(None, declared)]
        forwarded = {name: self.request.headers[name] for name in names if name in self.request.headers}
        as_it_is = {"Accept": "*/*", "Accept-Encoding": "identity"} if endpoint.downloads or endpoint.streams else {}
        return {"Accept": f"application/json, {_EVENTS}", **forwarded, **as_it_is}

    async def _send_response(self) -> None:
        async with self._opened:
            response = await (self._opening or self._send_api_request(None))
            if response is None:
                await self.finish("null")
                return
            self.set_status(response.status_code)
            if _EVENTS in response.headers.get("content-type", ""):
                await self._pass_on(response, _EVENTS)
            elif self._allowed.endpoint.downloads:
                self._prepare_file(response)
                await self._pass_on(response, "application/octet-stream")
            else:
                content = await self._upstream.content(self._allowed.endpoint, response)
                if self._reservation:
                    self._reservation.confirm(_parse_response(self._allowed.endpoint, content))
                await self.finish(None if response.status_code == 204 else json.dumps(content))

    async def _has_stopped(self) -> bool:
        """Return whether the request aborts a run that has returned its variables and ended by now."""
        from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (at first use)
        from lk_jupyter.api.workloads import Workloads  # noqa: PLC0415 (the same)
        from lk_jupyter.serverext.stop import stops_itself  # noqa: PLC0415 (the same)

        if self._allowed.endpoint is not endpoint_of(Workloads.abort):
            return False
        return await stops_itself(self._upstream, str(self._allowed.values["execution_id"]))

    def _prepare_file(self, response: httpx.Response) -> None:
        """Make a browser save a file, and never show the file as a page of this server."""
        for name in FILE_HEADERS:
            if name in response.headers:
                self.set_header(name, response.headers[name])
        self.set_attachment_header(next(iter(self._allowed.values.values())).rpartition("/")[2])

    async def _pass_on(self, response: httpx.Response, kind: str) -> None:
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")  # a proxy in front is not to wait either
        await self.flush()
        end = b""
        try:
            async for piece in response.aiter_raw():
                end = (end + piece)[-_LAST_EVENTS:]
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return
        except Exception:
            self.break_off()
            raise
        finally:
            if self._reservation:
                self._reservation.confirm(_find_usage_event(end))
        await self.finish(set_content_type=kind)


def _reserve_spending(
    upstream: Upstream, allowed: Allowed, body: bytes, headers: dict[str, str]
) -> Reservation | End | None:
    """Return the reservation of a request. Raises UsageError for a request that a budget doesn't allow."""
    from pydantic import TypeAdapter  # noqa: PLC0415 (as above)

    from lk_jupyter.api._endpoint import Call  # noqa: PLC0415 (as above)
    from lk_jupyter.connection.budget import active_budgets  # noqa: PLC0415

    endpoint = allowed.endpoint
    kinds = [row.annotation for name, row in endpoint.signature.parameters.items() if endpoint.place(name) == "body"]
    try:
        require_small(body, VALIDATED)
        model = TypeAdapter(kinds[0]).validate_json(body)
    except ValueError:
        if not active_budgets():
            return None  # the API reports the error
        raise RequestProblem(
            "refused",
            "The body isn't valid for this operation, so the cost is unknown and a budget can't be enforced. "
            "Nothing was sent.",
            422,
        ) from None
    return upstream.connection.gate(Call(endpoint, allowed.path, {}, headers, model))


def _parse_response(endpoint: Endpoint, content: Any) -> Any:
    """Return an answer as the client parses it; None for an answer of another form."""
    with suppress(ValueError):
        return endpoint.answer_type.validate_python(content)
    return None


def _find_usage_event(events: bytes) -> Any:
    """Return the event of a stream that has the token counts, if present in the last bytes."""
    from lk_jupyter.api.serverless import ChatCompletionChunk  # noqa: PLC0415 (as above)

    for line in reversed(events.splitlines()):
        if line.startswith(b"data:") and b'"usage"' in line:
            with suppress(ValueError):
                chunk = ChatCompletionChunk.model_validate_json(line[len(b"data:") :])
                if chunk.usage:
                    return chunk
    return None


async def _check_body(model: type[Model], content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return a body that may be sent. Raises RequestProblem if its cost differs from its fields."""
    body = await _collect_body(content, MOST_CHECKED_BYTES)
    with suppress(ValueError):  # the API reports the error of a body that doesn't fit
        if problem := model.model_validate_json(body).problem():
            raise RequestProblem("refused", f"{problem} Nothing was sent.", 422)
    return _yield_body(body)


async def _collect_body(content: AsyncIterator[bytes], most: int) -> bytes:
    body = bytearray()
    async for piece in content:
        body += piece
        if len(body) > most:
            raise RequestProblem("refused", f"The body has more than {most:,} bytes. Nothing was sent.", 413)
    return bytes(body)


async def _yield_body(body: bytes) -> AsyncIterator[bytes]:
    yield body
