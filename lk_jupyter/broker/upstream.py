"""Requests to the cloud with the organization's key, which only this module has."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api._models import RUN_ID_NAMES
from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.broker.grants import BILLION
from lk_jupyter.config.files import strip_api_path

#: Seconds for which prices and the list of stored secrets are used again.
_PRICE_SECONDS, _SECRET_SECONDS = 60.0, 2.0

#: Seconds for the steps of a request; a stream may be silent for any time.
_TIMEOUT = httpx.Timeout(30.0, pool=None)
_STREAM_TIMEOUT = httpx.Timeout(30.0, read=None, pool=None)

#: Most bytes of an answer that is read into memory, and most runs of a page of the history.
MAX_ANSWER, _PAGE = 64 << 20, 100


class OddAnswer(Exception):
    """The cloud gave no usable answer; the request may have had its effect."""


@dataclass(frozen=True)
class TokenRates:
    """Prices of a token of the prompt and of the answer, in credits."""

    prompt: Decimal
    completion: Decimal

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the price of tokens in billionths, rounded up."""
        return math.ceil((prompt_tokens * self.prompt + completion_tokens * self.completion) * BILLION)


@dataclass(frozen=True)
class Answer:
    """An answer of the cloud: status, JSON content (None for other content), and Retry-After."""

    status: int
    content: Any
    retry_after: str | None = None

    @classmethod
    def parse(cls, response: httpx.Response, body: bytes) -> Answer:
        """Return the answer of a response whose body was read."""
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        return cls(response.status_code, content, response.headers.get("retry-after"))

    @property
    def is_success(self) -> bool:
        """Whether the status reports success."""
        return 200 <= self.status < 300

    @property
    def fields(self) -> dict[str, Any] | None:
        """The object of a successful answer; None for other answers."""
        return self.content if self.is_success and isinstance(self.content, dict) else None


class _CheckedStream(httpx.AsyncByteStream):
    """The body of an answer, which stops before a piece that repeats the organization's key.

    The end of a piece that may be the start of the key waits for the next piece.
    """

    def __init__(self, stream: httpx.AsyncByteStream, key: bytes) -> None:
        self._stream = stream
        self._key = key

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        async for piece in self._stream:
            data = rest + piece
            if self._key in data:
                raise httpx.ReadError("The answer contains the key of the broker.")
            size = next((size for size in range(len(self._key) - 1, 0, -1) if data.endswith(self._key[:size])), 0)
            rest = data[len(data) - size :]
            if size < len(data):
                yield data[: len(data) - size]
        if rest:
            yield rest

    async def aclose(self) -> None:
        """Close the answer."""
        await self._stream.aclose()


class OrganizationClient:
    """The cloud, as the organization.

    ``prices`` are the operator's prices of machine types without a published price, in billionths per hour.
    """

    def __init__(self, base_url: str, key: str, prices: Mapping[str, int] | None = None) -> None:
        self._operator_prices = prices or {}
        self.base_url = strip_api_path(base_url)
        self._key = key
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=httpx.Limits(max_connections=None), trust_env=uses_proxies(self.base_url)
        )
        self._prices: dict[str, int] = {}
        self._book: list[dict[str, Any]] = []
        self._priced_at = self._secrets_at = self._book_at = -1e9
        self._has_secrets = False

    def __repr__(self) -> str:
        return f"OrganizationClient({self.base_url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(
        self, method: str, path: str, *, query: str = "", body: Any = None, timeout: float | None = None
    ) -> Answer:
        """Send a request and return the answer. ``path`` follows the prefix of the API; ``timeout`` is in seconds.

        Raises OddAnswer if no answer arrives, for a redirect, and for an answer that repeats the key.
        """
        url = f"{self.base_url}{EXTERNAL}{path}" + (f"?{query}" if query else "")
        try:
            limit = _TIMEOUT if timeout is None else httpx.Timeout(timeout, pool=None)
            response = await self._client.request(method, url, json=body, headers=self._build_headers(), timeout=limit)
        except httpx.HTTPError as error:
            raise OddAnswer(f"The cloud gave no answer ({type(error).__name__}).") from None
        is_odd = self._key.encode() in response.content or self._is_in_headers(response)
        if is_odd or len(response.content) > MAX_ANSWER:
            raise OddAnswer("The answer of the cloud can't be forwarded.")
        if response.is_redirect:
            raise OddAnswer(f"The cloud answered HTTP {response.status_code}, a redirect.")
        return Answer.parse(response, response.content)

    async def stream(self, url: str | None, path: str, body: Any = None) -> httpx.Response:
        """Open the output of a run at its address, which needs no key, or at a path, with a JSON body.

        The caller closes the answer, whose body stops before a piece that repeats the key. Raises OddAnswer.
        """
        address = url if url and urlsplit(url).scheme in {"http", "https"} else f"{self.base_url}{path}"
        is_upstream = urlsplit(address)[:2] == urlsplit(self.base_url)[:2]
        kind = "text/event-stream" if body is None or body.get("stream") else "application/json"
        headers = {"Accept": kind, "Cache-Control": "no-cache", "Accept-Encoding": "identity"}
        if is_upstream:
            headers |= self._build_headers()  # a foreign host never gets the key
        request = self._client.build_request("POST", address, json=body, headers=headers, timeout=_STREAM_TIMEOUT)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise OddAnswer(f"The cloud gave no answer ({type(error).__name__}).") from None
        is_encoded = response.headers.get("content-encoding", "identity") != "identity"
        if is_encoded or self._is_in_headers(response):  # the key can't be found in an encoded answer
            await response.aclose()
            raise OddAnswer("The answer of the cloud can't be forwarded.")
        response.stream = _CheckedStream(cast("httpx.AsyncByteStream", response.stream), self._key.encode())
        return response

    def _is_in_headers(self, response: httpx.Response) -> bool:
        """Return whether a header of an answer repeats the key."""
        return any(self._key in value for value in response.headers.values())

    async def price(self, machine: str) -> int | None:
        """Return the price of a machine type in billionths of a credit per hour; None without a price.

        A price that isn't a number above 0 doesn't count as published: it would reserve nothing.
        """
        if time.monotonic() - self._priced_at > _PRICE_SECONDS:
            answer = await self.send("GET", "/machine-types")
            rows = (answer.fields or {}).get("machine_types")
            if not isinstance(rows, list):
                raise OddAnswer("The cloud lists no machine types.")
            self._prices = {
                str(row["hardware_profile"]): price
                for row in rows
                if isinstance(row, dict)
                and "hardware_profile" in row
                and (price := billionths(row.get("price_per_hour")) or 0) > 0
            }
            self._priced_at = time.monotonic()
        return self._prices.get(machine) or self._operator_prices.get(machine)

    async def token_prices(self, model: str, *, has_answer: bool) -> TokenRates | None:
        """Return the prices of the tokens of a model, which may answer with tokens; None without published prices.

        Raises OddAnswer.
        """
        selector = {"deployment_id": f"serverless:{model}"}
        prompt = await self._find_price("serverless_inference_prompt_tokens", selector, "unit_price")
        answer = await self._find_price("serverless_inference_completion_tokens", selector, "unit_price")
        if prompt is None or (answer is None and has_answer):
            return None
        return TokenRates(prompt, answer or Decimal(0))

    async def vm_price(self, name: str) -> int | None:
        """Return the price of a VM such as on-demand.a100.1x in billionths per hour, or None. Raises OddAnswer."""
        return billionths(await self._find_price("vm_running", {"hardware_profile": name}, "unit_price_per_hour"))

    async def _find_price(self, meter: str, selector: dict[str, str], field: str) -> Decimal | None:
        """Return a price above 0 in the price book, the highest of several, or None. Raises OddAnswer."""
        if time.monotonic() - self._book_at > _PRICE_SECONDS:
            answer = await self.send("GET", "/pricing")
            if not answer.is_success:
                raise OddAnswer("The cloud lists no prices.")
            self._book, self._book_at = list(list_rows(answer.content)), time.monotonic()
        prices = [
            price
            for row in self._book
            if row.get("meter_slug") == meter
            and selector in (row.get("applies_to"), row.get("group_by"))
            and (price := _read_amount(row.get(field)) or Decimal(0)) > 0
        ]
        return max(prices, default=None)

    async def has_secrets(self) -> bool:
        """Return whether the organization has stored secrets, which each run can read."""
        if time.monotonic() - self._secrets_at > _SECRET_SECONDS:
            answer = await self.send("GET", "/environment-variables/")
            if not answer.is_success and answer.status not in {404, 405}:
                raise OddAnswer("The cloud doesn't list its stored secrets.")
            self._has_secrets = answer.is_success and any(True for _ in list_rows(answer.content))
            self._secrets_at = time.monotonic()
        return self._has_secrets

    async def list_active(self) -> dict[str, dict[str, Any]]:
        """Return the active runs of the organization by id. Raises OddAnswer."""
        return await self._list_runs("/workloads/list", "active")

    async def history(self, pages: int) -> AsyncIterator[dict[str, dict[str, Any]]]:
        """Iterate over pages of the runs of the organization by id, newest first. Raises OddAnswer."""
        earlier: set[str] = set()
        for page in range(pages):
            query = f"limit={_PAGE}&offset={page * _PAGE}"
            rows = await self._list_runs("/billing/history", "finished", query)
            if not rows.keys() - earlier:
                return
            yield rows
            if len(rows) < _PAGE:
                return
            earlier |= rows.keys()

    async def _list_runs(self, path: str, kind: str, query: str = "") -> dict[str, dict[str, Any]]:
        """Return the runs of a list by id. Raises OddAnswer, with the kind of the runs."""
        answer = await self.send("GET", path, query=query)
        if not answer.is_success or not isinstance(answer.content, (list, dict)):
            raise OddAnswer(f"The cloud doesn't list its {kind} runs.")
        return {run_id: row for row in list_rows(answer.content) if (run_id := read_id(row))}

    def _build_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}


def billionths(value: Any) -> int | None:
    """Return an amount of the API in billionths, rounded up; None for an amount that isn't a number."""
    number = _read_amount(value)
    return None if number is None else math.ceil(number * BILLION)


def _read_amount(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < BILLION else None


def read_moment(value: Any) -> datetime | None:
    """Return a time in an answer, in UTC if it has no zone; None for a value that isn't a time."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


async def read_limited(chunks: AsyncIterator[bytes], limit: int) -> bytes | None:
    """Return the bytes of a body; None for a body above the limit, in bytes."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def read_body(response: httpx.Response, chunks: AsyncIterator[bytes], limit: int, sender: str) -> bytes:
    """Return the body of an open response, and close the response. ``sender`` is who answers, such as cloud.

    Raises OddAnswer for a body that stops, and for a body above the limit, in bytes.
    """
    try:
        body = await read_limited(chunks, limit)
    except httpx.HTTPError as error:
        raise OddAnswer(f"The {sender} ended its answer early ({type(error).__name__}).") from None
    finally:
        await response.aclose()
    if body is None:
        raise OddAnswer(f"The answer of the {sender} can't be forwarded.")
    return body


def list_rows(content: Any) -> Iterator[dict[str, Any]]:
    """Iterate over the objects of a list, which may be in a field of an object."""
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), ())
    for row in content if isinstance(content, list) else ():
        if isinstance(row, dict):
            yield row


def read_id(row: Mapping[str, Any]) -> str | None:
    """Return the id of the run that a row describes."""
    return next((value for name in RUN_ID_NAMES if isinstance(value := row.get(name), str) and value), None)
