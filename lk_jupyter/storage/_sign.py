"""Sign S3 requests (signature version 4): from a request to its headers, without sending."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from urllib.parse import quote, urlsplit

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.errors import StorageError

_ALGORITHM = "AWS4-HMAC-SHA256"
_MOMENT = "%Y%m%dT%H%M%SZ"


@lru_cache(maxsize=1000)  # the links of a run differ in their keys only
def quote_text(text: str, safe: str = "") -> str:
    """Return text quoted as in URLs and in signed strings."""
    return quote(text, safe=f"-_.~{safe}")


def canonical_query(query: Mapping[str, str]) -> str:
    """Return a query in canonical order, as signed."""
    return "&".join(f"{quote_text(name)}={quote_text(value)}" for name, value in sorted(query.items()))


@dataclass(frozen=True)
class Request:
    """An S3 request to an object, or to the bucket if the key is empty."""

    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | bytearray | memoryview = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the body: the server refuses a different body."""
        return hashlib.sha256(self.body).hexdigest()

    def path(self, credentials: StorageCredentials) -> str:
        """Return the path on the server, below the path that the address of the server may have."""
        bucket = credentials.bucket_name
        below = quote_text(f"/{bucket}/{self.key}" if self.key else f"/{bucket}", "/")
        return urlsplit(server_address(credentials)).path.rstrip("/") + below


def sign_headers(request: Request, host: str, credentials: StorageCredentials, now: datetime) -> dict[str, str]:
    """Return the headers of a request."""
    moment = f"{now:{_MOMENT}}"
    headers = {"host": host, "x-amz-content-sha256": request.digest, "x-amz-date": moment, **request.headers}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = [
        request.method,
        request.path(credentials),
        canonical_query(request.query),
        lines,
        names,
        request.digest,
    ]
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{_build_key_scope(credentials, now)}, "
        f"SignedHeaders={names}, Signature={_sign_request(canonical, credentials, now)}"
    )
    return headers


def presigned_urls(
    credentials: StorageCredentials, method: str, keys: list[str], now: datetime, life: timedelta
) -> list[str]:
    """Return a URL for each key, with which anyone can send this request until ``life`` has passed."""
    server = urlsplit(server_address(credentials))
    origin = f"{server.scheme}://{server.netloc}"
    return [origin + _build_presigned_path(Request(method, key), server.netloc, credentials, now, life) for key in keys]


def server_address(credentials: StorageCredentials) -> str:
    """Return the address of the server, such as https://s3.example.com or https://example.com/storage/s3.

    Raises:
        StorageError: The credentials have no valid address.
    """
    address = credentials.endpoint if "://" in credentials.endpoint else f"https://{credentials.endpoint}"
    try:
        _ = urlsplit(address).port
    except ValueError:
        raise StorageError(f"The storage address '{address:.100}' isn't valid. Nothing was sent.") from None
    return address


def _build_presigned_path(
    request: Request, host: str, credentials: StorageCredentials, now: datetime, life: timedelta
) -> str:
    """Return path and query of a request that anyone can send until ``life`` has passed."""
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{_build_key_scope(credentials, now)}",
        "X-Amz-Date": f"{now:{_MOMENT}}",
        "X-Amz-Expires": str(int(life.total_seconds())),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": credentials.session_token} if credentials.session_token else {}),
    }
    path = request.path(credentials)
    canonical = [request.method, path, canonical_query(query), f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"]
    return f"{path}?{canonical_query(query)}&X-Amz-Signature={_sign_request(canonical, credentials, now)}"


def _build_key_scope(credentials: StorageCredentials, now: datetime) -> str:
    return f"{now:%Y%m%d}/{credentials.region}/s3/aws4_request"


def _sign_request(canonical: list[str], credentials: StorageCredentials, now: datetime) -> str:
    scope = _build_key_scope(credentials, now)
    text = "\n".join([_ALGORITHM, f"{now:{_MOMENT}}", scope, hashlib.sha256("\n".join(canonical).encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
