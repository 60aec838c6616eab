"""Failures of requests: their reasons in words, and advice on how to check for effects."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import httpx

from lk_jupyter.api._endpoint import Endpoint
from lk_jupyter.api._proxy import ProxyServer, find_proxy
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
    (httpx.UnsupportedProtocol, f"the server's address is malformed. {_CHECK}"),
    (httpx.InvalidURL, f"the server's address is malformed. {_CHECK}"),
    (httpx.TimeoutException, "the answer took too long. Try again in a minute."),
    (Exception, "the connection broke. Try again."),
)

#: Cause of a failed connection to a proxy → description. The first matching row counts; other causes are in _REASONS.
_PROXY_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLError, ""),
    (httpx.ProxyError, "the {} refused the connection"),
    (socket.gaierror, "the name of the {} is unknown"),
    (ConnectionRefusedError, "no program listens at the {}"),
    (httpx.ConnectTimeout, "the {} took too long to connect"),
    (ConnectionResetError, ""),
    (httpx.ConnectError, "there is no route to the {}"),
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
    proxy = _find_failure_proxy(failure)
    reason = (proxy and _explain_proxy_failure(failure, proxy)) or next(
        words.format(getattr(cause, "verify_message", "").rstrip("."))
        for kind, words in _REASONS
        for cause in _iterate_causes(failure)
        if isinstance(cause, kind)
    )
    path = f" The request was sent through the {proxy}." if proxy and str(proxy) not in reason else ""
    return RequestOutcome(loss, f"{loss.value} {host}: {reason}{path}")


def refused_by_proxy(url: str, host: str) -> RequestOutcome:
    """Return the outcome of a request that a proxy answered with HTTP 407."""
    proxy = find_proxy(url)
    fix = (
        f"the {proxy} needs a user name and a password. Set them: "
        f"{proxy.variable}={proxy.address.scheme}://USER:PASSWORD@{proxy.host}"
        if proxy
        else "a proxy between this computer and the server needs a user name and a password."
    )
    return RequestOutcome(Loss.UNREACHABLE, f"{Loss.UNREACHABLE.value} {host}: {fix}")


def _find_failure_proxy(failure: Exception) -> ProxyServer | None:
    """Return the proxy of a failed request; a failure without a request used no proxy."""
    if isinstance(failure, httpx.RequestError):
        with suppress(RuntimeError):
            return find_proxy(str(failure.request.url))
    return None


def _explain_proxy_failure(failure: Exception, proxy: ProxyServer) -> str:
    """Return why the connection to a proxy failed; empty for a failure of the server."""
    causes = list(_iterate_causes(failure))
    words = next((words for kind, words in _PROXY_REASONS if any(isinstance(cause, kind) for cause in causes)), "")
    status = str(failure)[:60] if isinstance(failure, httpx.ProxyError) else ""
    detail = f" ({status})" if status[:3].isdigit() else ""
    return f"{words.format(proxy)}{detail}. Check {proxy.variable}." if words else ""


def _iterate_causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__
