"""The one room of httpx: how a Call travels, and what becomes of its failures.

Nothing of httpx leaves this file. A failure becomes a value first and an error of ours later, outside
of the ``except`` block: so no error drags along the frames of httpx, whose locals hold the token.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
import socket
import ssl
import time
from asyncio import to_thread
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import takewhile
from threading import Event
from typing import Any, Generic, NamedTuple, TypeVar, cast, get_args
from urllib.parse import urlsplit
from weakref import WeakSet

import httpx
from httpx_sse import EventSource, ServerSentEvent
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import to_jsonable_python

from lk_jupyter._fork import renew_in_child
from lk_jupyter._version import __version__
from lk_jupyter.api._audit import record_call
from lk_jupyter.api._body import ENCODINGS, complete, content_headers, get_excess, is_compressed, read_into
from lk_jupyter.api._detail import said
from lk_jupyter.api._endpoint import EXTERNAL, IRIS, PLACEHOLDER, Call, Endpoint, explain, is_form
from lk_jupyter.api._events import DONE, StreamEvent, readable, reader_for
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._retry import AGAIN, Loss, RequestOutcome, send_with_retries, unknown
from lk_jupyter.api._tokens import ServerEnded, Tokens
from lk_jupyter.api._tolerant import empty, read
from lk_jupyter.config.assumptions import ROUTERS, Assumptions
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    LkError,
    OperationNotAvailable,
    OutcomeUnknown,
    UsageError,
    error_for,
)
from lk_jupyter.protocol.json_limits import VALIDATED, JsonTooLarge, load_json
from lk_jupyter.text.terminal import plain

#: Seconds of silence after which a stream is given up; a quiet run may say nothing for minutes.
STREAM_TIMEOUT = 600.0

#: Seconds and bytes for an answer that is only looked at.
PROBE_TIMEOUT, PROBE_BYTES = 15.0, 4_000_000

#: Seconds by which two clocks may differ and count as equal: a date has whole seconds, and an answer is on its way.
_CLOSE = 30.0

#: Unix seconds between which a server's clock is believed, from 2001 to 2286: it is counted with.
_ERA = (1e9, 1e10)

#: Redirects that one request follows.
_MOVES = 5

#: Ways in which the stream of a run is asked for: by another method, and signed.
_WAYS = 3

E = TypeVar("E")

#: The names under which a server gives the id of a question that it only accepted.
_ANSWER_IDS = ("request_id", "inference_id", "id")

#: Words of the audit log for a call without an answer.
_UNANSWERED = {Loss.UNREACHABLE: "not sent", Loss.ANSWER: "no answer"}

#: Longest piece of a server's text in a message.
CLIP = 300

#: Beginning of a path → the command that shows what a request to it has made. The first row that fits counts.
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

_log = logging.getLogger("lk_jupyter")

USER_AGENT = {"User-Agent": f"lk_jupyter/{__version__}"}
_REQUEST_ID_HEADERS = ("x-request-id", "x-correlation-id", "cf-ray")

#: A proxy is for the world outside, never for this machine.
_NO_PROXY: dict[str, httpx.BaseTransport | None] = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))

#: Failures that come before a request has left.
_NOT_DELIVERED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

_CHECK = "Check your network and LK_BASE_URL."

#: Cause of a failure → what happened and what to do. The first row that fits counts.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "its certificate isn't trusted ({}). For an authority of your organization, set SSL_CERT_FILE.",
    ),
    (ssl.SSLEOFError, "the connection broke. Try again."),
    (ssl.SSLError, "it doesn't use TLS. Check whether LK_BASE_URL should start with http://."),
    (socket.gaierror, f"its name is unknown. {_CHECK}"),
    (ConnectionRefusedError, f"nothing listens there. {_CHECK}"),
    (httpx.ConnectTimeout, f"it took too long to connect. {_CHECK}"),
    (ConnectionResetError, "the connection broke. Try again."),
    (httpx.ConnectError, f"there is no route to it. {_CHECK}"),
    (httpx.ProxyError, "the proxy refused. Check HTTPS_PROXY and HTTP_PROXY."),
    (httpx.UnsupportedProtocol, f"its address is malformed. {_CHECK}"),
    (httpx.InvalidURL, f"its address is malformed. {_CHECK}"),
    (httpx.TimeoutException, "it took too long. Try again in a minute."),
    (Exception, "the connection broke. Try again."),
)

#: Whether httpx is at work for us: its log would fill the cells of those who log, and name the address of
#: a stream, which is the only secret that a stream has. Our threads read streams.
_silent: ContextVar[bool] = ContextVar("_silent", default=False)
for _of_httpx in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_of_httpx).addFilter(
        lambda record: not (_silent.get() or str(record.threadName).startswith("lk-"))
    )


class Seen(NamedTuple):
    """An answer as it came."""

    status: int
    media_type: str
    content: bytes

    @property
    def json(self) -> Any:
        """What it holds as JSON; None where it is none, or too large."""
        with suppress(ValueError, RecursionError):
            return load_json(self.content, VALIDATED)  # a check parses an answer several times
        return None

    @property
    def is_absent(self) -> bool:
        """Whether it is the framework's own answer for an address, or a method, that it does not have."""
        return self.status in _ABSENT and self.json == _ABSENT[self.status]


class Http:
    """Sends Calls to one server over connections that are kept open; safe to use from several threads.

    ``iris_url`` is the address of the Iris host, None where it is below ``base_url``. ``assumptions`` say where
    operations are whose place is not sure. ``timeout`` is in seconds and for one step (connect, read, write); the
    pauses between tries are multiplied by ``backoff``.
    """

    def __init__(  # noqa: PLR0913 (the facts of one client)
        self,
        base_url: str,
        tokens: Tokens,
        *,
        iris_url: str | None,
        org: str | None,
        assumptions: Assumptions,
        timeout: float,
        backoff: float,
    ) -> None:
        self.base_url = _checked_url(base_url, "base URL", "LK_BASE_URL").removesuffix(EXTERNAL)
        self._iris_url = _checked_url(iris_url, "Iris URL", "LK_IRIS_URL") if iris_url else None
        self.backoff = backoff
        self.assumptions = assumptions
        self._tokens = tokens
        self._bearer = _Bearer(tokens)
        self._timeout = timeout
        verify = httpx.create_ssl_context()
        self.org_headers = org_header(org)
        self._new_calls = partial(_calls_client, verify, timeout, self.org_headers)
        self._idle: deque[httpx.Client] = deque()  # those that no request uses
        self.stream_client = partial(_stream_client, verify, timeout)
        self.ahead = 0.0  # seconds by which the server's clock is ahead of this one
        self._closed = Event()
        self._warnings: set[str] = set()
        self._wires: WeakSet[_Wire[Any]] = WeakSet()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent."""
        self._idle = deque()

    @contextmanager
    def _lent(self) -> Iterator[httpx.Client]:
        """Lend a client to one request at a time.

        An interrupt can leave a lock in it taken. So an interrupted one is not used again: the abort of a run, in
        another thread, would wait for that lock.
        """
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._new_calls()
        try:
            yield client
        except Exception:
            self._take_back(client)
            raise
        self._take_back(client)

    def _take_back(self, client: httpx.Client) -> None:
        if self._closed.is_set():
            client.close()
        else:
            self._idle.append(client)

    def send(self, call: Call) -> Any:
        """Return the answer, of the type that the operation declares.

        Raises the ApiError of the status, ConnectionFailed, OutcomeUnknown or InvalidResponse.
        """
        host = _host(self.address(call.path))
        outcome = self._audited(call)
        if error := self._error(call.endpoint, outcome, host):
            raise error
        answer: httpx.Response = outcome.carries
        if call.endpoint.downloads:
            return _download(answer, host)
        return self._parsed(call.endpoint, answer, host)

    def _audited(self, call: Call) -> RequestOutcome:
        """Send a request, and record it in the audit log: also if an interrupt ends the wait for its answer."""
        refuse_if_read_only(call.endpoint.effect)
        status: int | str = "interrupted"
        answer = None
        try:
            outcome = self.found(call, lambda url: self._answer(call, url), self._closed)
            status = outcome.end if isinstance(outcome.end, int) else _UNANSWERED[outcome.end]
            if isinstance(outcome.carries, httpx.Response) and call.endpoint.is_audited:
                answer = Seen(outcome.carries.status_code, "", outcome.carries.content).json
        finally:
            url, organization = self.address(call.path), self.org_headers.get("X-Org-Slug", "")
            record_call(call.endpoint, url, status, body=call.body, answer=answer, organization=organization)
        return outcome

    def stream(self, call: Call, url: SecretStr | None = None) -> EventStream[Any]:
        """Return the events of a stream, from ``url`` where the server gave one.

        It connects when the first event is asked for.
        """
        wire: _Wire[Any] = _Wire(self, call, url)
        self._wires.add(wire)
        return EventStream(wire)

    def probe(self, method: str, path: str, body: Any = None, *, is_signed: bool = True) -> Seen:
        """Send one request as it stands, once, and return the answer as it came, cut to a length.

        Raises ConnectionFailed where there was no answer, OutcomeUnknown where it was lost, and ReadOnlyMode.
        """
        refuse_if_read_only("reads" if method == "GET" else "writes")
        url = self.address(path)

        def answer() -> httpx.Response:
            signer = self._bearer if is_signed else None
            with self._lent() as client:
                request = client.build_request(method, url, json=body, timeout=min(self._timeout, PROBE_TIMEOUT))
                return client.send(request, auth=signer, stream=True)

        outcome = self.attempt(answer, _host(url))
        if isinstance(outcome.end, Loss):
            kind = ConnectionFailed if outcome.end is Loss.UNREACHABLE else OutcomeUnknown
            raise kind(outcome.carries)
        response: httpx.Response = outcome.carries
        content = bytearray()
        with suppress(httpx.RequestError):  # what came of it is what is seen
            read_into(content, response, PROBE_BYTES)
        return Seen(outcome.end, response.headers.get("content-type", ""), bytes(content[:PROBE_BYTES]))

    def close(self) -> None:
        """End the streams and close the connections; calls that wait for their next try give up."""
        self._closed.set()
        for wire in list(self._wires):
            wire.cut()
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def attempt(self, request: Callable[[], httpx.Response], host: str) -> RequestOutcome:
        """Send once."""
        if self._closed.is_set():
            return RequestOutcome(Loss.UNREACHABLE, "This client is closed. Create a new one.")
        silence = _silent.set(True)
        try:
            response = request()
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            return lost_request(failure, host)
        except ServerEnded as missing:
            return RequestOutcome(Loss.UNREACHABLE, str(missing))
        finally:
            _silent.reset(silence)
        self.compare_clocks(response.headers.get("date"))
        return RequestOutcome(
            response.status_code, response, response.headers.get("retry-after"), response.headers.get("date")
        )

    def compare_clocks(self, date: str | None) -> None:
        """Take the server's clock from the ``date`` of an answer."""
        with suppress(ValueError, TypeError, OverflowError):
            server_time = parsedate_to_datetime(date or "").timestamp()
            ahead = server_time - time.time()
            self.ahead = ahead if abs(ahead) > _CLOSE and _ERA[0] < server_time < _ERA[1] else 0.0

    def found(
        self, call: Call, request: Callable[[str], httpx.Response], stop: Event, address: SecretStr | None = None
    ) -> RequestOutcome:
        """Send a request to the first place where the server has its operation, and return how the last try ended.

        A place is left for the next one only where the answer says that the operation is not there: nothing was done.
        ``address`` is the address, where the server gave one. Raises ReadOnlyMode.
        """
        refuse_if_read_only(call.endpoint.effect)
        first = None
        model = str(getattr(call.body, "model", ""))
        for path in self.assumptions.paths(call.path, model):
            url = address.get_secret_value() if address else self.address(path)
            once = partial(self.attempt, partial(request, url), _host(url))
            outcome = send_with_retries(call.endpoint, once, backoff=self.backoff, stop=stop)
            if not _is_absent(outcome):
                if first and not model.startswith(ROUTERS):
                    self.assumptions.learn_path(call.path, path)
                return outcome
            first = first or outcome
        return cast("RequestOutcome", first)

    def address(self, path: str) -> str:
        """Return the full address of a path that begins with the prefix of a server."""
        if path.startswith(f"{IRIS}/") and self._iris_url:
            return self._iris_url + path.removeprefix(IRIS)
        return self.base_url + path

    def sign(self, headers: MutableMapping[str, str], *, keys_apart: bool) -> None:
        """Sign the request of another client; ``keys_apart`` is whether an API key has its own header."""
        token = self._tokens.usable().get_secret_value()
        if keys_apart and token.startswith("lk_"):
            headers.pop("Authorization", None)
            headers["X-Api-Key"] = token
        else:
            headers["Authorization"] = f"Bearer {token}"

    def signer(self, endpoint: Endpoint, *, is_signed: bool = False) -> httpx.Auth | None:
        """Return what signs a request of an operation, if it must be signed; ``is_signed`` signs it in any case."""
        return self._bearer if endpoint.auth or is_signed else None

    def _answer(self, call: Call, url: str) -> httpx.Response:
        endpoint = call.endpoint
        with _content(call) as content, self._lent() as client:
            request = client.build_request(
                endpoint.method,
                url,
                params=to_jsonable_python(call.query),
                timeout=endpoint.timeout or self._timeout,
                **content,
            )
            if endpoint.downloads:
                request.headers.update({"Accept": "*/*", "Accept-Encoding": "identity"})
            signer = self.signer(endpoint)
            response = send_once(client, request, auth=signer)
            return response if endpoint.downloads and response.is_success else complete(response)

    def _parsed(self, endpoint: Endpoint, answer: httpx.Response, host: str) -> Any:
        """Return what a successful answer holds.

        Any 2xx says that a change was made. So an answer that can't be read is only an error where something of it is
        needed, and it never says that a change was not made.
        """
        if _is_page(answer):
            raise self._bad_answer(answer, host)
        excess = ""
        try:
            parsed, odd = _read_answer(endpoint, answer)
        except JsonTooLarge as error:
            what = excess = str(error)
        except ValidationError as error:
            what = explain(error)
        else:
            if odd:
                self._say_once(f"{host} answered {endpoint} with a partly unreadable list: {odd}.")
            return parsed
        changes = endpoint.method != "GET"
        contents = (None,) if endpoint.takes_any_answer else empty(endpoint.answer_type) if changes else ()
        for nothing in contents:
            return nothing
        if excess:
            raise too_large(endpoint, host, excess)
        raise self._misfit(endpoint, answer, host, what)

    def _misfit(self, endpoint: Endpoint, answer: httpx.Response, host: str, what: str) -> LkError:
        """Return the error for an answer of success that doesn't fit; ``what`` is the reason."""
        if endpoint.method != "GET" and not endpoint.repeatable:
            return self._unreadable(endpoint, answer, host)
        if answer.content and "json" not in answer.headers.get("content-type", ""):
            return self._bad_answer(answer, host)
        return InvalidResponse(
            f"{host} answered {endpoint} with something that isn't from this API: {what}.\nCheck LK_BASE_URL. If "
            "it is right, a newer lk_jupyter may know this form."
        )

    def _say_once(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            _log.warning("lk_jupyter: %s", text)

    def _error(self, endpoint: Endpoint, outcome: RequestOutcome, host: str) -> LkError | None:
        """Return the error to raise for the last try of a request, if it went wrong."""
        if isinstance(outcome.end, int) and outcome.carries.is_success:
            return None
        if unknown(endpoint, outcome):
            lost = str(outcome.carries).partition(". ")[0].removesuffix(".")  # and not the advice to try again
            how = f"{lost}." if isinstance(outcome.end, Loss) else f"{host} answered HTTP {outcome.end}."
            return OutcomeUnknown(f"{how}\n{_look(endpoint)}")
        if isinstance(outcome.end, Loss):
            return ConnectionFailed(outcome.carries)
        answer: httpx.Response = outcome.carries
        if _is_absent(outcome) and self.lacks(endpoint, answer.status_code):
            return OperationNotAvailable(str(endpoint), host, answer.status_code, request_id_of(answer))
        if answer.is_error and (outcome.end in AGAIN or not _is_page(answer)):
            return error_for(outcome.end, self._detail(answer), request_id_of(answer))
        return self._bad_answer(answer, host)

    def lacks(self, endpoint: Endpoint, status: int) -> bool:
        """Whether an answer that names no object means the operation; some servers use its words for an object too."""
        return status == 405 or not PLACEHOLDER.search(endpoint.path) or self.assumptions.lacks(str(endpoint))

    def _detail(self, answer: httpx.Response) -> str:
        """Return the server's own words for an error, without secrets and never as a web page."""
        excess = get_excess(answer)
        text = f"The reason wasn't read: {excess}" if excess else "" if _is_page(answer) else said(answer.content)
        return self.clean(text) or answer.reason_phrase or "The server gave no reason"

    def clean(self, text: str) -> str:
        """Return a server's text as a message may hold it: without tokens, and without what a terminal obeys."""
        return plain(self._tokens.hide(text))[:CLIP]

    def _unreadable(self, endpoint: Endpoint, answer: httpx.Response, host: str) -> OutcomeUnknown:
        words = f": {self.clean(said(answer.content))!r}" if answer.content else ""
        return OutcomeUnknown(
            f"{host} accepted {endpoint} (HTTP {answer.status_code}) in a form that can't be read{words}.\n"
            f"{_look(endpoint)}"
        )

    def _without_answer(
        self, endpoint: Endpoint, answer: httpx.Response, content: dict[str, Any], host: str
    ) -> OutcomeUnknown:
        """Return the error for a question that was only accepted, with the id that was given to it."""
        name = next((content[name] for name in _ANSWER_IDS if content.get(name)), None)
        if name is None:
            return self._unreadable(endpoint, answer, host)
        accepted = OutcomeUnknown(
            f"{host} accepted {endpoint} under the id '{self.clean(str(name))}' (HTTP {answer.status_code}), but sent "
            f"no answer.\nIt may be billed: check before you ask again (%lk_billing)."
        )
        accepted.is_accepted = True
        return accepted

    def _bad_answer(self, answer: httpx.Response, host: str) -> InvalidResponse:
        kind = answer.headers.get("content-type", "").partition(";")[0] or "text of no stated kind"
        moved = ", a redirect" if answer.is_redirect else ""
        return InvalidResponse(
            f"{host} answered HTTP {answer.status_code}{moved} with {kind[:80]}, which is not this API.\nCheck "
            "LK_BASE_URL, and whether a proxy or a sign-in page is in between."
        )


class _Bearer(httpx.Auth):
    """Signs a request, and once more with a renewed token when the server does not take the first."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._tokens.usable()
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        response = yield request
        if response.status_code == 401 and self._tokens.renewable:
            cast("httpx.SyncByteStream", response.stream).close()
            response.stream = httpx.ByteStream(b"")  # httpx reads all of it before the next request
            request.headers["Authorization"] = f"Bearer {self._tokens.renewed(token).get_secret_value()}"
            yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same in the event loop of a Jupyter server, which does not wait while a token is renewed."""
        token = await to_thread(self._tokens.usable)
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        response = yield request
        if response.status_code == 401 and self._tokens.renewable:
            await cast("httpx.AsyncByteStream", response.stream).aclose()
            response.stream = httpx.ByteStream(b"")
            renewed = await to_thread(self._tokens.renewed, token)
            request.headers["Authorization"] = f"Bearer {renewed.get_secret_value()}"
            yield request


class EventStream(Iterator[E]):
    """The events of one stream.

    It connects when the first event is asked for, and ends with its last event, when the server
    closes an output stream, or when ``close`` is called, from whichever thread. Raises the ApiError
    of the status, ConnectionFailed when the stream breaks, InvalidResponse.
    """

    def __init__(self, wire: _Wire[E]) -> None:
        self._wire = wire
        self._events: Iterator[E] = wire.events()

    def __iter__(self) -> Iterator[E]:  # noqa: PYI034 (the generator itself is faster)
        return self._events

    def __next__(self) -> E:
        return next(self._events)

    def passed(self, follow: Callable[[Iterator[E]], Iterator[E]]) -> EventStream[E]:
        """Return the stream with its events passed through a function."""
        self._events = follow(self._events)
        return self

    def close(self) -> None:
        """End the stream; a thread that waits for its next event sees the end at once."""
        self._wire.cut()
        self._events = iter(())  # let go of the generator: closing one that another thread runs can crash Python


class _Wire(Generic[E]):
    """The connection under an EventStream; apart from it, so that dropping the stream closes the connection.

    Each has its own httpx client: a dropped stream may be closed by the garbage collector, in the
    middle of another request, and would wait for ever for the lock that this request has of its client.
    """

    def __init__(self, http: Http, call: Call, address: SecretStr | None) -> None:
        self._http = http
        self._client = http.stream_client()
        self._call = call
        self._address = address
        self._host = _host(address.get_secret_value() if address else http.address(call.path))
        self._kind = get_args(call.endpoint.returns)[0]
        self._reader = reader_for(self._kind, self._host)
        self._is_output = self._kind == StreamEvent
        self._closed = Event()
        self._socket: socket.socket | None = None

    def cut(self) -> None:
        """Shut the connection down: unlike closing it, this wakes a thread that reads from it."""
        self._closed.set()
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def events(self) -> Generator[E, None, None]:
        endpoint = self._call.endpoint
        opening = self._opened()
        error = self._http._error(endpoint, opening, self._host)
        if error is None:
            error = yield from self._read(opening.carries)
        if isinstance(error, ApiError):  # an event in the server's words
            error = error_for(error.status, self._http.clean(error.detail), error.request_id)
        if error is not None and not self._closed.is_set():
            raise error

    def _opened(self) -> RequestOutcome:
        """Open the stream. If the server refuses one way to open the stream of a run, use the other."""
        if not self._is_output:
            return self._http.found(self._call, self._open, self._closed)
        assumed, is_api_host = self._http.assumptions, self._host == _host(self._http.base_url)
        method, is_signed = assumed["stream_method"], is_api_host and assumed["stream_auth"] == "bearer"
        for _ in range(_WAYS):
            opens = partial(self._open, method=method, is_signed=is_signed)
            outcome = self._http.found(self._call, opens, self._closed, self._address)
            if outcome.end == 405:
                method = "GET" if method == "POST" else "POST"
            elif outcome.end in {401, 403} and is_api_host and not is_signed:
                is_signed = True
            else:
                break
        if outcome.end == 200 and _is_stream(outcome.carries):
            assumed.learn("stream_method", method)
            if is_api_host:
                assumed.learn("stream_auth", "bearer" if is_signed else "none")
        return outcome

    def _open(self, url: str, *, method: str | None = None, is_signed: bool = False) -> httpx.Response:
        signer = self._http.signer(self._call.endpoint, is_signed=is_signed)
        with _content(self._call) as content:
            request = self._client.build_request(
                method or self._call.endpoint.method,
                url,
                params=to_jsonable_python(self._call.query) or None,
                extensions={"trace": self._watch},
                **content,
            )
            if signer:
                request.headers.update(self._http.org_headers)
            response = send_once(self._client, request, auth=signer)
        return response if response.is_success else complete(response)

    def _watch(self, step: str, info: dict[str, Any]) -> None:
        """Learn of the connection as soon as there is one."""
        if step in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._closed.is_set():
                self.cut()

    def _read(self, response: httpx.Response) -> Generator[E, None, LkError | None]:
        """Yield the events; return what broke the stream, if something did."""
        if is_compressed(response):  # although it was requested uncompressed; limits count unpacked bytes
            headers, stream = content_headers(response), _Unpacked(response)
            response = httpx.Response(response.status_code, headers=headers, stream=stream, request=response.request)
        response.encoding = "utf-8"
        response.stream = _Events(cast("httpx.SyncByteStream", response.stream), is_output=self._is_output)
        try:
            if not _is_stream(response):
                return (yield from self._at_once(response))
            frames = takewhile(lambda _: not self._closed.is_set(), EventSource(response).iter_sse())
            return (yield from self._reader(frames))
        except httpx.RequestError as failure:
            return ConnectionFailed(lost_request(failure, self._host).carries)
        except JsonTooLarge as error:
            return too_large(self._call.endpoint, self._host, str(error))
        finally:
            response.close()

    def _at_once(self, response: httpx.Response) -> Generator[E, None, LkError | None]:
        """Yield an answer that came as one object in place of a stream: it is billed like any other."""
        response.read()
        content = Seen(response.status_code, "", response.content).json
        if self._is_output or self._call.endpoint.method == "GET" or not isinstance(content, dict):
            return self._http._bad_answer(response, self._host)
        if "error" in content or self._holds_answer(content):
            return (yield from self._reader(map(ServerSentEvent, ("message",) * 2, (json.dumps(content), DONE))))
        return self._http._without_answer(self._call.endpoint, response, content, self._host)

    def _holds_answer(self, content: dict[str, Any]) -> bool:
        with suppress(ValidationError):
            return bool(self._kind.model_validate(content).holds_answer())
        return False


class _Events(httpx.SyncByteStream):
    """The bytes of a stream, made ready for its events to be read."""

    def __init__(self, stream: httpx.SyncByteStream, *, is_output: bool) -> None:
        self._stream = stream
        self._is_output = is_output

    def __iter__(self) -> Iterator[bytes]:
        return readable(self._stream, is_output=self._is_output)

    def close(self) -> None:
        self._stream.close()


class _Unpacked(httpx.SyncByteStream):
    """The content of a stream that was compressed although it should not be."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_bytes()

    def close(self) -> None:
        self._response.close()


def send_once(client: httpx.Client, request: httpx.Request, *, auth: httpx.Auth | None) -> httpx.Response:
    """Send a request, and follow redirects that keep it what it is and on its server, where the key belongs.

    The body of the answer isn't read.
    """
    response = client.send(request, auth=auth, stream=True)
    for _ in range(_MOVES):
        moved = response.next_request
        if moved is None or moved.method != request.method or not _is_same_server(request.url, moved.url):
            break
        response.close()
        response = client.send(moved, auth=auth, stream=True)
    return response


def _is_same_server(first: httpx.URL, other: httpx.URL) -> bool:
    """Whether both addresses belong to one server, or only add TLS."""
    is_upgrade = (first.scheme, other.scheme) == ("http", "https") and first.port is None and other.port is None
    return first.host == other.host and ((first.scheme, first.port) == (other.scheme, other.port) or is_upgrade)


@contextmanager
def _content(call: Call) -> Iterator[dict[str, Any]]:
    """Give the headers and the body of a request, as httpx takes them; files are open while it is sent."""
    body = call.body
    if body is None:
        yield {"headers": call.headers}
    elif is_form(type(body)):
        with ExitStack() as opened:
            files = [
                (name, (upload.name, opened.enter_context(upload.open()), upload.content_type))
                for name, upload in _uploads(body)
            ]
            data = body.model_dump(
                mode="json", by_alias=True, exclude_none=True, exclude={n for n, _ in _uploads(body)}
            )
            yield {"headers": call.headers, "files": files, "data": data}
    else:
        body_bytes = body.model_dump_json(by_alias=True, exclude_none=True).encode()  # one copy of it while it is sent
        yield {"headers": {**call.headers, "Content-Type": "application/json"}, "content": body_bytes}


def _uploads(body: BaseModel) -> Iterator[tuple[str, Upload]]:
    for name, value in body:
        for upload in value if isinstance(value, list) else [value]:
            if isinstance(upload, Upload):
                yield name, upload


def _download(answer: httpx.Response, host: str) -> Download:
    """Return the bytes of an answer that is still on its way."""
    length = None if "content-encoding" in answer.headers else answer.headers.get("content-length")
    kind = answer.headers.get("content-type", "")
    size = int(length) if length else None
    return Download(_pieces(answer, host), size=size, content_type=kind, close=answer.close)


def _pieces(answer: httpx.Response, host: str) -> Generator[bytes, None, None]:
    error = yield from _read_pieces(answer, host)
    if error:
        raise error


def _read_pieces(answer: httpx.Response, host: str) -> Generator[bytes, None, LkError | None]:
    try:
        yield from answer.iter_bytes()
    except httpx.RequestError as failure:
        return ConnectionFailed(lost_request(failure, host).carries)
    except httpx.StreamError:
        return UsageError("This download was already read or closed. Request it again.")
    finally:
        answer.close()
    return None


def _calls_client(verify: ssl.SSLContext, timeout: float, org: dict[str, str]) -> httpx.Client:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    headers = {**USER_AGENT, **org, **ENCODINGS, "Accept": "application/json"}
    return httpx.Client(verify=verify, headers=headers, timeout=timeout, limits=limits, mounts=_NO_PROXY)


def _stream_client(verify: ssl.SSLContext, timeout: float) -> httpx.Client:
    """Return a client that knows no token, for one stream and its connection."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    headers = {
        **USER_AGENT,
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Cache-Control": "no-cache",
    }
    patient = httpx.Timeout(timeout, read=STREAM_TIMEOUT)
    return httpx.Client(verify=verify, headers=headers, timeout=patient, limits=limits, mounts=_NO_PROXY)


def is_web_address(text: str) -> bool:
    """Whether this is a complete address of HTTP."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _checked_url(url: str, name: str, variable: str) -> str:
    if not is_web_address(url) or "@" in url:
        raise UsageError(f"The {name} must be a plain address such as https://api.lyceum.technology ({variable}).")
    return url.rstrip("/")


def org_header(org: str | None) -> dict[str, str]:
    if not org:
        return {}
    if not re.fullmatch("[a-z0-9-]+", org):
        raise UsageError(f"'{org}' isn't an organization slug (LK_ORG). Use lowercase letters, digits and dashes.")
    return {"X-Org-Slug": org}


def _look(endpoint: Endpoint) -> str:
    command = next(command for start, command in _LOOKS if endpoint.path.startswith(start))
    return f"{endpoint} may have taken effect: check before you repeat it ({command})."


def too_large(endpoint: Endpoint, host: str, excess: str) -> LkError:
    """Return the error for an answer of success that is too large to read; a change may have been made."""
    if endpoint.effect == "reads":
        return InvalidResponse(f"{host} answered {endpoint} with {excess}. It wasn't read. Nothing was changed.")
    return OutcomeUnknown(f"{host} accepted {endpoint} with {excess}. The answer wasn't read.\n{_look(endpoint)}")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def lost_request(failure: Exception, host: str) -> RequestOutcome:
    loss = Loss.UNREACHABLE if isinstance(failure, _NOT_DELIVERED) else Loss.ANSWER
    causes = list(_causes(failure))
    reason = next(
        words.format(getattr(cause, "verify_message", "").rstrip("."))
        for kind, words in _REASONS
        for cause in causes
        if isinstance(cause, kind)
    )
    return RequestOutcome(loss, f"{loss.value} {host}: {reason}")


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def _is_stream(answer: httpx.Response) -> bool:
    return "text/event-stream" in answer.headers.get("content-type", "")


#: What FastAPI says of an address or a method that it does not have.
_ABSENT = {404: {"detail": "Not Found"}, 405: {"detail": "Method Not Allowed"}}


def _is_absent(outcome: RequestOutcome) -> bool:
    """Whether the answer is the framework's own, for an address that it does not have."""
    answer = outcome.carries
    is_refusal = outcome.end in _ABSENT and isinstance(answer, httpx.Response)
    return is_refusal and Seen(answer.status_code, "", answer.content).is_absent


def _read_answer(endpoint: Endpoint, answer: httpx.Response) -> tuple[Any, str]:
    """Return the typed answer, and in words what was left out of it. Raises JsonTooLarge, ValidationError."""
    if excess := get_excess(answer):
        raise JsonTooLarge(excess)
    return read(endpoint.answer_type, endpoint.returns, answer.content.removeprefix(codecs.BOM_UTF8))


def _is_page(answer: httpx.Response) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.content.lstrip()[:1] == b"<"


def request_id_of(answer: httpx.Response) -> str | None:
    return next((answer.headers[name][:80] for name in _REQUEST_ID_HEADERS if name in answer.headers), None)
