"""Signatures of S3 requests (version 4): check the signature of a child key, and sign for the cloud."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, unquote

#: Digest of a body that isn't signed.
UNSIGNED = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
_MOMENT = "%Y%m%dT%H%M%SZ"
_REGION = "us-east-1"

#: Difference of two clocks that is tolerated, and the longest life of a signed URL.
_SKEW, _LONGEST_LIFE = timedelta(minutes=15), timedelta(days=7)

_AUTHORIZATION = re.compile(rf"{_ALGORITHM} +Credential=([^, ]+), *SignedHeaders=([^, ]+), *Signature=([0-9a-f]{{64}})")


class BadSignature(Exception):
    """A request whose signature doesn't prove who sent it."""


@dataclass(frozen=True)
class SignedRequest:
    """A request as it was signed: ``path`` and ``query`` as sent, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, str]:
        """The decoded query; a name that is repeated has its last value."""
        return dict(_read_query(self.query))


@dataclass(frozen=True)
class _Claim:
    """What a request states about its signature."""

    access_key: str
    scope: str
    signed_names: tuple[str, ...]
    signature: str = field(repr=False)
    moment: datetime
    digest: str
    life: timedelta | None = None


def verify(request: SignedRequest, find_secret: Callable[[str], str | None], now: datetime) -> str:
    """Return the access key whose secret has signed a request, in its headers or in its address.

    ``find_secret`` returns the secret of an access key, or None. Raises BadSignature.
    """
    claim = _read_claim(request)
    if claim.life is None and abs(now - claim.moment) > _SKEW:
        raise BadSignature("The time in the request differs too much from the time of the broker.")
    if claim.life is not None and not claim.moment - _SKEW <= now <= claim.moment + min(claim.life, _LONGEST_LIFE):
        raise BadSignature("The address has expired.")
    unsigned = {name for name in request.headers if name.startswith("x-amz-")} - set(claim.signed_names)
    if "host" not in claim.signed_names or unsigned:
        raise BadSignature("A header of the request isn't signed.")
    secret = find_secret(claim.access_key)
    if secret is None:
        raise BadSignature("The access key is unknown.")
    pairs = [(name, value) for name, value in _read_query(request.query) if name != "X-Amz-Signature"]
    headers = {name: request.headers.get(name, "") for name in claim.signed_names}
    canonical = _build_canonical_request(request.method, unquote(request.path), pairs, headers, claim.digest)
    if not hmac.compare_digest(_compute_signature(canonical, secret, claim.moment, claim.scope), claim.signature):
        raise BadSignature("The signature doesn't match.")
    return claim.access_key


def sign(  # noqa: PLR0913 (the parts of a signature)
    request: SignedRequest, access_key: str, secret: str, *, digest: str, now: datetime, region: str = _REGION
) -> dict[str, str]:
    """Return the headers of a request with its signature. All headers of the request are signed."""
    headers = {**request.headers, "x-amz-content-sha256": digest, "x-amz-date": f"{now:{_MOMENT}}"}
    scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
    canonical = _build_canonical_request(
        request.method, unquote(request.path), list(_read_query(request.query)), headers, digest
    )
    names = ";".join(sorted(headers))
    signature = _compute_signature(canonical, secret, now, scope)
    authorization = f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}


def quote_strictly(text: str, safe: str = "") -> str:
    """Return text quoted as in signed paths and queries."""
    return quote(text, safe=f"-_.~{safe}", errors="surrogateescape")


def _read_claim(request: SignedRequest) -> _Claim:
    parameters, headers = request.parameters, request.headers
    try:
        if "X-Amz-Signature" in parameters:
            access_key, _, scope = parameters["X-Amz-Credential"].partition("/")
            if parameters["X-Amz-Algorithm"] != _ALGORITHM:
                raise BadSignature("The algorithm of the signature isn't supported.")
            names, signature = parameters["X-Amz-SignedHeaders"], parameters["X-Amz-Signature"]
            life = timedelta(seconds=int(parameters["X-Amz-Expires"]))
            moment, digest = parameters["X-Amz-Date"], headers.get("x-amz-content-sha256", UNSIGNED)
        else:
            match = _AUTHORIZATION.fullmatch(headers.get("authorization", "").strip())
            if not match:
                raise BadSignature("The request isn't signed.")
            (access_key, _, scope), names, signature = match[1].partition("/"), match[2], match[3]
            life, moment, digest = None, headers["x-amz-date"], headers["x-amz-content-sha256"]
        signed_at = datetime.strptime(moment, _MOMENT).replace(tzinfo=timezone.utc)
    except (KeyError, ValueError, OverflowError):
        raise BadSignature("The signature is incomplete.") from None
    return _Claim(access_key, scope, tuple(names.lower().split(";")), signature, signed_at, digest, life)


def _read_query(query: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in query.split("&") if part]
    return [
        (unquote(name, errors="surrogateescape"), unquote(value, errors="surrogateescape")) for name, _, value in parts
    ]


def _build_canonical_request(
    method: str, path: str, pairs: list[tuple[str, str]], headers: Mapping[str, str], digest: str
) -> str:
    quoted = sorted((quote_strictly(name), quote_strictly(value)) for name, value in pairs)
    query = "&".join(f"{name}={value}" for name, value in quoted)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    return "\n".join([method, quote_strictly(path, "/"), query, lines, ";".join(sorted(headers)), digest])


def _compute_signature(canonical: str, secret: str, moment: datetime, scope: str) -> str:
    digest = hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest()
    text = "\n".join([_ALGORITHM, f"{moment:{_MOMENT}}", scope, digest])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(errors="replace"), "sha256")
    return hmac.new(key, text.encode(errors="replace"), "sha256").hexdigest()
