"""Requests to the organization's bucket with credentials that only this module has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import httpx

from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.broker.grants import RefusedCall
from lk_jupyter.broker.signature import UNSIGNED, SignedRequest, quote_strictly, sign
from lk_jupyter.broker.upstream import OddAnswer, OrganizationClient, read_body, read_moment
from lk_jupyter.config.files import LOOPBACK

#: Seconds for the steps of a request: the completion of a large upload is silent for minutes.
_TIMEOUT = httpx.Timeout(30.0, read=600.0, write=600.0, pool=None)

#: Time before their end at which credentials are renewed, and life of credentials without an end.
_MARGIN, _LIFE = timedelta(minutes=2), timedelta(minutes=15)

_FORBIDDEN = 403


@dataclass(frozen=True)
class _Credentials:
    """Credentials of the bucket; ``endpoint`` is a checked URL, ``ends_at`` is None if the cloud doesn't report it."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    endpoint: str
    bucket_name: str
    region: str
    ends_at: datetime | None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> _Credentials:
        """Return the credentials in an answer of the cloud. Raises OddAnswer."""
        texts = {name: fields.get(name) or "" for name in ("access_key", "secret_key", "session_token", "endpoint")}
        texts |= {"bucket_name": fields.get("bucket_name") or "", "region": fields.get("region") or "us-east-1"}
        is_complete = all(isinstance(text, str) and (text or name == "session_token") for name, text in texts.items())
        if not is_complete:
            raise OddAnswer("The cloud gives no credentials for its storage.")
        texts["endpoint"] = _read_address(texts["endpoint"])
        return cls(**texts, ends_at=read_moment(fields.get("expires_at")))


@dataclass(frozen=True)
class OpenAnswer:
    """An answer of the storage whose body hasn't been read; the reader closes it."""

    status: int
    headers: Mapping[str, str]
    response: httpx.Response

    def chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it was sent."""
        return self.response.aiter_raw()

    async def read(self, limit: int) -> bytes:
        """Return the body and close the answer. Raises OddAnswer for a body above the limit, in bytes."""
        return await read_body(self.response, self.chunks(), limit, "storage")

    async def close(self) -> None:
        """Close the answer."""
        await self.response.aclose()


class BucketClient:
    """The bucket of the organization."""

    def __init__(self, upstream: OrganizationClient) -> None:
        self._upstream = upstream
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=httpx.Limits(max_connections=None), trust_env=uses_proxies(upstream.base_url)
        )
        self._lock = asyncio.Lock()
        self._credentials: _Credentials | None = None
        self._requested_at = self._ends_at = datetime.min.replace(tzinfo=timezone.utc)

    def __repr__(self) -> str:
        return "BucketClient()"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def name(self) -> str:
        """Return the name of the bucket. Raises OddAnswer, RefusedCall."""
        return (await self._get_credentials()).bucket_name

    async def send(  # noqa: PLR0913 (the parts of a request)
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        digest: str = UNSIGNED,
        content: AsyncIterator[bytes] | bytes | None = None,
    ) -> OpenAnswer:
        """Send a request about an object, or about the bucket if the key is empty. Raises OddAnswer."""
        credentials = await self._get_credentials()
        parts = urlsplit(credentials.endpoint)
        object_path = f"/{credentials.bucket_name}/{key}" if key else f"/{credentials.bucket_name}"
        path = parts.path.rstrip("/") + quote_strictly(object_path, "/")
        text = "&".join(f"{quote_strictly(name)}={quote_strictly(value)}" for name, value in query.items())
        url = f"{parts.scheme}://{parts.netloc}{path}" + (f"?{text}" if text else "")
        signed = {name: value for name, value in headers.items() if name != "content-length"}
        signed["host"] = parts.netloc
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        signed = sign(
            SignedRequest(method, path, text, signed), credentials.access_key, credentials.secret_key,
            digest=digest, now=datetime.now(timezone.utc), region=credentials.region,
        )  # fmt: skip
        if "content-length" in headers:
            signed["content-length"] = headers["content-length"]
        headers = {**signed, "accept-encoding": "identity"}
        request = self._client.build_request(method, url, headers=headers, content=content)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise OddAnswer(f"The storage gave no answer ({type(error).__name__}).") from None
        if response.status_code == _FORBIDDEN:
            self._credentials = None
        if response.is_redirect:
            await response.aclose()
            raise OddAnswer(f"The storage answered HTTP {response.status_code}, a redirect.")
        return OpenAnswer(response.status_code, dict(response.headers), response)

    async def _get_credentials(self) -> _Credentials:
        """Return credentials that don't end soon. Raises OddAnswer, and RefusedCall with the status of the cloud."""
        async with self._lock:
            now = datetime.now(timezone.utc)
            if self._credentials is None or self._ends_at - now < min(
                _MARGIN, (self._ends_at - self._requested_at) / 5
            ):
                answer = await self._upstream.send("POST", "/storage/credentials")
                if answer.status >= 400:
                    raise RefusedCall(answer.status, "The cloud gives no credentials for its storage.")
                self._credentials, self._requested_at = _Credentials.parse(answer.fields or {}), now
                self._ends_at = self._credentials.ends_at or now + _LIFE
            return self._credentials


def _read_address(endpoint: str) -> str:
    """Return the URL of the S3 server. Raises OddAnswer for an address without TLS that isn't on this machine."""
    address = endpoint if "://" in endpoint else f"https://{endpoint}"
    try:
        parts = urlsplit(address)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and (parts.hostname or "") in LOOPBACK)
    except ValueError:
        is_safe = False
    if not is_safe:
        raise OddAnswer("The address of the storage isn't valid or doesn't use TLS.")
    return address
