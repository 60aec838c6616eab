"""Failures of requests: their reasons in words, and advice on how to check for effects."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from lk_jupyter.api._endpoint import Endpoint
from lk_jupyter.api._retry import Loss, RequestOutcome
from lk_jupyter.errors import InvalidResponse, LkError, OutcomeUnknown

#: Start of a path → command that shows the effects of a request. The first matching row counts.
_LOOKS = (
    ("/vms", "%lk_vm list"),
    ("/inference", "%lk_deployments"),
    ("/batches", "lk_jupyter.connect().client.batches.list()"),
    ("/files", "%lk_files"),
    ("/billing/checkout", "%lk_balance"),
    ("/auth/api-keys", "%lk_keys"),
    ("/orgs", "%lk_org list"),
    ("/storage", "%lk_bucket list"),
    ("/serverless", "%lk_billing"),
    ("/chat", "%lk_billing"),
    ("", "%lk_runs"),
)

#: Failures before a request is sent.
_NOT_DELIVERED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

_CHECK = "Check your network and LK_BASE_URL."

#: Cause of a failure → description and fix. The first matching row counts.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        (
            "the server's certificate isn't trusted ({}). If your organization uses a private certificate "
            "authority, set SSL_CERT_FILE."
        ),
    ),
    (ssl.SSLEOFError, "the connection broke. Try again."),
    (ssl.SSLError, "the server doesn't use TLS. Check whether LK_BASE_URL should start with http://."),
    (socket.gaierror, f"the server's name is unknown. {_CHECK}"),
    (ConnectionRefusedError, f"no program listens at this address. {_CHECK}"),
    (httpx.ConnectTimeout, f"the connection took too long. {_CHECK}"),
    (ConnectionResetError, "the connection broke. Try again."),
    (httpx.ConnectError, f"there is no route to the server. {_CHECK}"),
    (httpx.ProxyError, "the proxy refused the connection. Check HTTPS_PROXY and HTTP_PROXY."),
    (httpx.UnsupportedProtocol, f"the server's address is malformed. {_CHECK}"),
    (httpx.InvalidURL, f"the server's address is malformed. {_CHECK}"),
    (httpx.TimeoutException, "the answer took too long. Try again in a minute."),
    (Exception, "the connection broke. Try again."),
)


def check_advice(endpoint: Endpoint) -> str:
    command = next(command for start, command in _LOOKS if endpoint.path.startswith(start))
    return f"The server may have processed {endpoint}. Before you send the request again, check its outcome: {command}"


def too_large(endpoint: Endpoint, host: str, excess: str) -> LkError:
    """Return the error for a successful answer that is too large to read; a change may have been made."""
    if endpoint.effect == "reads":
        return InvalidResponse(
            f"{host} answered {endpoint} with {excess}. The answer wasn't read. Nothing was changed."
        )
    return OutcomeUnknown(
        f"{host} accepted {endpoint} with {excess}. The answer wasn't read.\n{check_advice(endpoint)}"
    )


def lost_request(failure: Exception, host: str) -> RequestOutcome:
    loss = Loss.UNREACHABLE if isinstance(failure, _NOT_DELIVERED) else Loss.ANSWER
    causes = list(_iterate_causes(failure))
    reason = next(
        words.format(getattr(cause, "verify_message", "").rstrip("."))
        for kind, words in _REASONS
        for cause in causes
        if isinstance(cause, kind)
    )
    return RequestOutcome(loss, f"{loss.value} {host}: {reason}")


def _iterate_causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__
