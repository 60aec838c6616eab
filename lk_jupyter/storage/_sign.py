"""Signatures of S3 requests, version 4: from a request to its headers, without sending anything."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import quote, urlsplit

from lk_jupyter.api.storage import StorageCredentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_MOMENT = "%Y%m%dT%H%M%SZ"


def quoted(text: str, safe: str = "") -> str:
    """Return text as it is written in an address and in what is signed."""
    return quote(text, safe=f"-_.~{safe}")


def query_of(query: Mapping[str, str]) -> str:
    """Return a query in the order in which it is signed."""
    return "&".join(f"{quoted(name)}={quoted(value)}" for name, value in sorted(query.items()))


@dataclass(frozen=True)
class Request:
    """What is asked of S3: of an object, or of the bucket where the key is empty."""

    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | bytearray | memoryview = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the body: the server refuses another one."""
        return hashlib.sha256(self.body).hexdigest()

    def path(self, given: StorageCredentials) -> str:
        """Return the path on the server, below the path that the address of the server may have."""
        bucket = given.bucket_name
        below = quoted(f"/{bucket}/{self.key}" if self.key else f"/{bucket}", "/")
        return urlsplit(address_of(given)).path.rstrip("/") + below


def signed(request: Request, host: str, given: StorageCredentials, now: datetime) -> dict[str, str]:
    """Return the headers of a request."""
    moment = f"{now:{_MOMENT}}"
    headers = {"host": host, "x-amz-content-sha256": request.digest, "x-amz-date": moment, **request.headers}
    if given.session_token:
        headers["x-amz-security-token"] = given.session_token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    asked = [request.method, request.path(given), query_of(request.query), lines, names, request.digest]
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={given.access_key}/{_scope(given, now)}, SignedHeaders={names}, "
        f"Signature={_signature(asked, given, now)}"
    )
    return headers


def links(given: StorageCredentials, method: str, keys: list[str], now: datetime, life: timedelta) -> list[str]:
    """Return an address for each key, with which whoever has it may send this request for so long from now on."""
    server = urlsplit(address_of(given))
    origin = f"{server.scheme}://{server.netloc}"
    return [origin + _presigned(Request(method, key), server.netloc, given, now, life) for key in keys]


def address_of(given: StorageCredentials) -> str:
    """Return the address of the server, such as https://s3.example.com or https://example.com/storage/s3."""
    return given.endpoint if "://" in given.endpoint else f"https://{given.endpoint}"


def _presigned(request: Request, host: str, given: StorageCredentials, now: datetime, life: timedelta) -> str:
    """Return the path and the query of a request that whoever has them may send for so long."""
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{given.access_key}/{_scope(given, now)}",
        "X-Amz-Date": f"{now:{_MOMENT}}",
        "X-Amz-Expires": str(int(life.total_seconds())),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": given.session_token} if given.session_token else {}),
    }
    path = request.path(given)
    asked = [request.method, path, query_of(query), f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"]
    return f"{path}?{query_of(query)}&X-Amz-Signature={_signature(asked, given, now)}"


def _scope(given: StorageCredentials, now: datetime) -> str:
    return f"{now:%Y%m%d}/{given.region}/s3/aws4_request"


def _signature(asked: list[str], given: StorageCredentials, now: datetime) -> str:
    scope = _scope(given, now)
    told = "\n".join([_ALGORITHM, f"{now:{_MOMENT}}", scope, hashlib.sha256("\n".join(asked).encode()).hexdigest()])
    key = f"AWS4{given.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, told.encode(), "sha256").hexdigest()
