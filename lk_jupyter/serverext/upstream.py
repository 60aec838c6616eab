"""The only module with httpx in this package: send requests to the API as the user, and check the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from pydantic_core import from_json

from lk_jupyter.api._answers import RawAnswer, read_request_id
from lk_jupyter.api._audit import record_call
from lk_jupyter.api._body import ENCODINGS, MOST_REASON_BYTES, describe_excess, describe_refused_encoding
from lk_jupyter.api._client import Client
from lk_jupyter.api._connection import NO_PROXY, STREAM_TIMEOUT, USER_AGENT, org_header, silent_logs
from lk_jupyter.api._detail import error_message
from lk_jupyter.api._endpoint import Endpoint, explain
from lk_jupyter.api._failures import lost_request, refused_by_proxy, too_large
from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.connection.connection import Connection, Target
from lk_jupyter.errors import LkError, NotSignedIn, OperationNotAvailable, UsageError
from lk_jupyter.protocol.json_limits import MOST_BYTES, JsonTooLarge, load_encodable_json, require_small
from lk_jupyter.serverext.allowlist import secret_fields, without
from lk_jupyter.serverext.request_problem import RequestProblem

#: Seconds to wait for an answer: a page that polls needs an early result.
PATIENCE = {"GET": 10.0}
ELSE_PATIENCE = 60.0

#: Statuses of a gateway whose API doesn't answer.
_GATEWAY = {502, 503, 504, 520, 521, 522, 523, 524}


class Upstream:
    """A server, with requests as an account. ``aclose`` ends the connections."""

    def __init__(self, target: Target) -> None:
        self.connection = Connection(target)
        self.addresses: dict[str, str] = {}  # of the output of runs, by their ids
        self._http = httpx.AsyncClient(
            verify=httpx.create_ssl_context(),
            headers={**USER_AGENT, **org_header(target.org), **ENCODINGS},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            mounts=dict.fromkeys(NO_PROXY),
            trust_env=uses_proxies(target.key.base_url),
        )

    @property
    def client(self) -> Client:
        """The typed client of the same account."""
        return self.connection.client

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self.connection.close()

    @asynccontextmanager
    async def open(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and yield the answer, whose body hasn't arrived yet. Raises RequestProblem."""
        try:
            refuse_if_read_only(endpoint.effect)
        except UsageError as problem:
            raise RequestProblem("refused", str(problem)) from None
        url = self.client.address(self.client.assumptions.paths(path)[0])
        try:
            response = await self._send_request(endpoint, url, params=query or None, headers=headers, content=content)
        except (RequestProblem, asyncio.CancelledError):
            self._record_call(endpoint, url, "no answer")
            raise
        self.client._http.compare_clocks(response.headers.get("date"))
        try:
            if not response.is_success:
                self._record_call(endpoint, url, response.status_code)
                raise await self._build_status_problem(endpoint, response)
            yield response
        except httpx.RequestError as failure:
            raise lost(failure, url, endpoint) from None
        finally:
            await asyncio.shield(response.aclose())  # a cancelled close would leave the stream open forever

    async def json(self, endpoint: Endpoint, path: str, **request: Any) -> Any:
        """Return the JSON of an answer, without fields that a browser may not receive. Raises RequestProblem."""
        async with self.open(endpoint, path, **request) as response:
            return await self.content(endpoint, response)

    async def call(self, endpoint: Endpoint, **arguments: Any) -> Any:
        """Return the JSON of an operation that needs no body. Raises RequestProblem."""
        call = endpoint.call(**arguments)
        return await self.json(endpoint, call.path, query=call.query)

    async def answer(self, endpoint: Endpoint, **arguments: Any) -> Any:
        """Return the typed answer of an operation that needs no body. Raises RequestProblem."""
        content = await self.call(endpoint, **arguments)
        try:
            return endpoint.answer_type.validate_python(content)
        except ValueError as error:
            raise RequestProblem(
                "not-an-api",
                f"The response to {endpoint.title} doesn't have the format of this API: {explain(cast('Any', error))}.",
            ) from None

    async def content(self, endpoint: Endpoint, response: httpx.Response) -> Any:
        """Return the JSON of an open answer, without fields that a browser may not receive. Raises RequestProblem."""
        host = urlsplit(str(response.url)).netloc
        try:
            body = await _read_body(response, MOST_BYTES)
            require_small(body)
        except JsonTooLarge as problem:
            self._record_call(endpoint, str(response.url), response.status_code)
            raise RequestProblem("not-an-api", str(too_large(endpoint, host, str(problem)))) from None
        audited = RawAnswer(200, "", body).json if endpoint.is_audited else None
        self._record_call(endpoint, str(response.url), response.status_code, audited)
        if not body:
            return None
        if "json" not in response.headers.get("content-type", ""):
            raise _build_no_api_problem(response)
        try:
            content = _decode_json(self.hide(body.decode(errors="replace")))
        except (ValueError, RecursionError):
            raise _build_no_api_problem(response) from None
        if isinstance(content, dict) and "streaming_url" in content:
            self.addresses[str(content.get("execution_id"))] = str(content["streaming_url"])
        return without(content, secret_fields(endpoint))

    def _record_call(self, endpoint: Endpoint, url: str, status: int | str, answer: object = None) -> None:
        organization = self.connection.target.org or ""
        record_call(endpoint, url, status, answer=answer, organization=organization, source="JupyterLab")

    def hide(self, text: str) -> str:
        """Return a text of the server without the tokens of the request."""
        return self.client._http._tokens.hide(text)

    async def _send_request(self, endpoint: Endpoint, url: str, **parts: Any) -> httpx.Response:
        patience = endpoint.timeout or PATIENCE.get(endpoint.method, ELSE_PATIENCE)
        timeout = httpx.Timeout(patience, read=STREAM_TIMEOUT if endpoint.streams else patience)
        silence = silent_logs.set(True)
        try:
            client = await asyncio.to_thread(lambda: self.client)
            request = self._http.build_request(endpoint.method, url, timeout=timeout, **parts)
            response = await self._http.send(request, auth=client._http.signer(endpoint), stream=True)
        except NotSignedIn as problem:
            raise RequestProblem("revoked", str(problem)) from None
        except LkError as problem:
            raise RequestProblem("unreachable", str(problem)) from None
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            raise lost(failure, url, endpoint) from None
        finally:
            silent_logs.reset(silence)
        if response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            await response.aclose()
            raise RequestProblem("unreachable", str(refused_by_proxy(url, urlsplit(url).netloc).carries))
        return response

    async def _build_status_problem(self, endpoint: Endpoint, response: httpx.Response) -> RequestProblem:
        try:
            body = await _read_body(response, MOST_REASON_BYTES)
        except (httpx.RequestError, JsonTooLarge):
            body = b""
        host, status = urlsplit(str(response.url)).netloc, response.status_code
        page = "html" in response.headers.get("content-type", "") or body.lstrip()[:1] == b"<"
        if status == httpx.codes.UNAUTHORIZED and not page:
            return RequestProblem("revoked", f"{host} no longer accepts your key. Sign in again.")
        if status in _GATEWAY:
            return RequestProblem("unreachable", f"{host} can't be reached (HTTP {status}). Try again in a minute.")
        if page or response.is_redirect:
            return _build_no_api_problem(response)
        answer = RawAnswer(status, "", body)
        if answer.is_absent and self.client._http.lacks(endpoint, status):
            return RequestProblem("refused", str(OperationNotAvailable(str(endpoint), host, status)), status)
        words = self.client._http.clean(error_message(body)) or response.reason_phrase or "the server gave no reason"
        request_id = read_request_id(response)
        return RequestProblem(
            "refused", words, status, request_id=request_id, retry_after=response.headers.get("retry-after")
        )


def _decode_json(text: str) -> Any:
    """Decode JSON for a browser: without NaN, and with U+FFFD for half of a surrogate pair. Raises ValueError."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        encodable_text = json.dumps(load_encodable_json(text), ensure_ascii=False)
    return from_json(encodable_text, allow_inf_nan=False)


async def _read_body(response: httpx.Response, most: int) -> bytes:
    """Return the body of an answer. Raises JsonTooLarge."""
    content = bytearray()
    if excess := describe_refused_encoding(response):
        raise JsonTooLarge(excess)
    async for piece in response.aiter_bytes():
        content += piece[: most + 1 - len(content)]
        if len(content) > most:
            raise JsonTooLarge(describe_excess(most, response))
    return bytes(content)


def _build_no_api_problem(response: httpx.Response) -> RequestProblem:
    host = urlsplit(str(response.url)).netloc
    kind = response.headers.get("content-type", "").partition(";")[0][:80] or "no content type"
    return RequestProblem(
        "not-an-api",
        f"{host} answered HTTP {response.status_code} with {kind}, which isn't this API. Check the server "
        "address (setting base_url), and whether a proxy or a sign-in page answered.",
    )


def lost(failure: Exception, url: str, endpoint: Endpoint) -> RequestProblem:
    """Return the problem of a request without an answer."""
    host = urlsplit(url).netloc
    if isinstance(failure, httpx.ReadTimeout | httpx.WriteTimeout):
        effect = "" if endpoint.method == "GET" else " The request may have had an effect. Check before you repeat it."
        return RequestProblem("slow", f"{host} takes very long to answer.{effect}")
    return RequestProblem("unreachable", str(lost_request(failure, host).carries))
