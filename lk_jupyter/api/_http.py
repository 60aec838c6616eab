"""Send Calls with httpx, and convert failures into our errors.

Only this module and its neighbors know httpx. A failure becomes a value first and an error of ours later, outside of
the ``except`` block: so no error references the frames of httpx, whose locals contain the token.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import takewhile
from threading import Event
from typing import Any, Generic, TypeVar, cast, get_args
from weakref import WeakSet

import httpx
from httpx_sse import EventSource, ServerSentEvent
from pydantic import SecretStr, ValidationError
from pydantic_core import to_jsonable_python

from lk_jupyter._fork import renew_in_child
from lk_jupyter.api._answers import (
    RawAnswer,
    is_absent,
    is_page,
    is_stream,
    open_download,
    read_answer,
    read_request_id,
)
from lk_jupyter.api._audit import record_call
from lk_jupyter.api._body import get_excess, is_compressed, read_body, read_into, select_content_headers
from lk_jupyter.api._connection import (
    Bearer,
    check_url,
    create_client,
    create_stream_client,
    host_name,
    org_header,
    request_content,
    send_once,
    silent_logs,
)
from lk_jupyter.api._detail import error_message
from lk_jupyter.api._endpoint import CLOUD_HEADER, EXTERNAL, IRIS, LEASE_HEADER, PLACEHOLDER, Call, Endpoint, explain
from lk_jupyter.api._events import DONE, StreamEvent, complete_stream, reader_for
from lk_jupyter.api._failures import check_advice, lost_request, refused_by_proxy, too_large
from lk_jupyter.api._models import Model
from lk_jupyter.api._proxy import find_proxy
from lk_jupyter.api._retry import AGAIN, Loss, RequestOutcome, send_with_retries, unknown
from lk_jupyter.api._tokens import ServerEnded, Tokens
from lk_jupyter.api._tolerant import empty
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
from lk_jupyter.protocol.json_limits import JsonTooLarge
from lk_jupyter.text.terminal import plain

#: Seconds and bytes for a probed answer.
PROBE_TIMEOUT, PROBE_BYTES = 15.0, 4_000_000

#: Seconds by which clocks may differ and count as equal: dates have full seconds, and answers take time.
_CLOSE = 30.0

#: Unix seconds between which a server's clock is trusted, from 2001 to 2286: calculations use the clock.
_ERA = (1e9, 1e10)

#: What a broker reports: the address of the cloud, and the end of the key in Unix seconds.
_MOMENT = re.compile(r"\d{10}", re.ASCII)
_CLOUD_URL = re.compile(r"https?://[\w.:\[\]-]+", re.ASCII)

#: Attempts to open the stream of a run: with another method, and signed.
_WAYS = 3

E = TypeVar("E")

#: Fields with the id of a question that a server accepted without an answer.
_ANSWER_IDS = ("request_id", "inference_id", "id")

#: Words of the audit log for a call without an answer.
_CLOSED = RequestOutcome(Loss.UNREACHABLE, "This client is closed. Create a new one.")
_UNANSWERED = {Loss.UNREACHABLE: "not sent", Loss.ANSWER: "no answer"}

#: Maximum length of a server's text in a message.
CLIP = 300

_log = logging.getLogger("lk_jupyter")


class Http:
    """Send Calls to a server over persistent connections; safe to use from several threads.

    ``iris_url`` is the address of the Iris host, None if Iris is below ``base_url``. ``assumptions`` contain the
    places of operations with an uncertain place. ``timeout`` is in seconds, for each step (connect, read, write);
    ``backoff`` multiplies the pauses between attempts.
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
        self.base_url = check_url(base_url, "base URL", "LK_BASE_URL").removesuffix(EXTERNAL)
        self._iris_url = check_url(iris_url, "Iris URL", "LK_IRIS_URL") if iris_url else None
        self.backoff = backoff
        self.assumptions = assumptions
        self._tokens = tokens
        self._bearer = Bearer(tokens)
        self._timeout = timeout
        verify = httpx.create_ssl_context()
        self.org_headers = org_header(org)
        self._new_calls = partial(create_client, self.base_url, verify, timeout, self.org_headers)
        self._idle: deque[httpx.Client] = deque()  # clients without a request
        self.stream_client = partial(create_stream_client, self.base_url, verify, timeout)
        self.ahead = 0.0  # seconds by which the server's clock is ahead of ours
        self.cloud_url = self.base_url  # a broker reports the cloud that it calls
        self.lease_end: int | None = None  # and when the key ends, in Unix seconds
        self._closed = Event()
        self._warnings: set[str] = set()
        self._wires: WeakSet[_Wire[Any]] = WeakSet()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent."""
        self._idle = deque()

    @contextmanager
    def _borrow_client(self) -> Iterator[httpx.Client]:
        """Lend a client to one request at a time.

        An interrupt can leave a lock of the client locked. So an interrupted client isn't used again: the abort
        of a run, in another thread, would wait for that lock.
        """
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._new_calls()
        try:
            yield client
        except Exception:
            self._return_client(client)
            raise
        self._return_client(client)

    def _return_client(self, client: httpx.Client) -> None:
        if self._closed.is_set():
            client.close()
        else:
            self._idle.append(client)

    def send(self, call: Call) -> Any:
        """Return the answer, in the declared type of the operation.

        Raises the ApiError of the status, ConnectionFailed, OutcomeUnknown or InvalidResponse.
        """
        host = host_name(self.address(call.path))
        if isinstance(call.body, Model) and (reason := call.body.broker_reason()):
            self._require_broker(reason)
        outcome = self._send_audited(call)
        if error := self._build_error(call.endpoint, outcome, host):
            raise error
        answer: httpx.Response = outcome.carries
        if call.endpoint.downloads:
            return open_download(answer, host)
        return self._parse_answer(call.endpoint, answer, host)

    def _require_broker(self, reason: str) -> None:
        """Raise UsageError with a reason if no broker answers; each answer of a broker shows that it is a broker."""
        if not self.has_broker:
            self.probe("GET", f"{EXTERNAL}/user/status")
        if not self.has_broker:
            raise UsageError(f"{reason} {host_name(self.base_url)} isn't a broker. Nothing was sent.")

    @property
    def has_broker(self) -> bool:
        """Whether the last answers came from a broker."""
        return self.cloud_url != self.base_url

    def _send_audited(self, call: Call) -> RequestOutcome:
        """Send a request, and record the request in the audit log, even if an interrupt ends the wait."""
        refuse_if_read_only(call.endpoint.effect)
        if self._closed.is_set():  # nothing is sent, and the files of another user may be in place
            return _CLOSED
        status: int | str = "interrupted"
        answer = None
        try:
            outcome = self.send_to_first_path(call, lambda url: self._send_to_url(call, url), self._closed)
            status = outcome.end if isinstance(outcome.end, int) else _UNANSWERED[outcome.end]
            if isinstance(outcome.carries, httpx.Response) and call.endpoint.is_audited:
                answer = RawAnswer(outcome.carries.status_code, "", outcome.carries.content).json
        finally:
            url, organization = self.address(call.path), self.org_headers.get("X-Org-Slug", "")
            record_call(call.endpoint, url, status, body=call.body, answer=answer, organization=organization)
        return outcome

    def stream(self, call: Call, url: SecretStr | None = None) -> EventStream[Any]:
        """Return the events of a stream, from ``url`` if the server returned an address.

        The stream connects on the first event.
        """
        wire: _Wire[Any] = _Wire(self, call, url)
        self._wires.add(wire)
        return EventStream(wire)

    def probe(self, method: str, path: str, body: Any = None, *, is_signed: bool = True) -> RawAnswer:
        """Send a request once, without changes, and return the unparsed answer, cut to a limit.

        Raises ConnectionFailed without an answer, OutcomeUnknown after a lost answer, and ReadOnlyMode.
        """
        refuse_if_read_only("reads" if method == "GET" else "writes")
        url = self.address(path)

        def answer() -> httpx.Response:
            signer = self._bearer if is_signed else None
            with self._borrow_client() as client:
                request = client.build_request(method, url, json=body, timeout=min(self._timeout, PROBE_TIMEOUT))
                return client.send(request, auth=signer, stream=True)

        outcome = self.attempt(answer, host_name(url))
        if isinstance(outcome.end, Loss):
            kind = ConnectionFailed if outcome.end is Loss.UNREACHABLE else OutcomeUnknown
            raise kind(outcome.carries)
        response: httpx.Response = outcome.carries
        content = bytearray()
        with suppress(httpx.RequestError):  # a partial body is enough
            read_into(content, response, PROBE_BYTES)
        return RawAnswer(outcome.end, response.headers.get("content-type", ""), bytes(content[:PROBE_BYTES]))

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def wait_until_closed(self, seconds: float) -> bool:
        """Wait at most this long for ``close``; return whether the client is closed."""
        return self._closed.wait(seconds)

    def close(self) -> None:
        """End the streams and close the connections; calls that wait for another attempt stop."""
        self._closed.set()
        for wire in list(self._wires):
            wire.cut()
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def attempt(self, request: Callable[[], httpx.Response], host: str) -> RequestOutcome:
        """Send a request once."""
        if self._closed.is_set():
            return _CLOSED
        silence = silent_logs.set(True)
        try:
            response = request()
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            return lost_request(failure, host)
        except ServerEnded as missing:
            return RequestOutcome(Loss.UNREACHABLE, str(missing))
        finally:
            silent_logs.reset(silence)
        if response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            return refused_by_proxy(str(response.url), host)
        self.compare_clocks(response.headers.get("date"))
        if _CLOUD_URL.fullmatch(cloud_url := response.headers.get(CLOUD_HEADER, "")):
            self.cloud_url = cloud_url
        if _MOMENT.fullmatch(lease_end := response.headers.get(LEASE_HEADER, "")):
            self.lease_end = int(lease_end)
        return RequestOutcome(
            response.status_code, response, response.headers.get("retry-after"), response.headers.get("date")
        )

    def compare_clocks(self, date: str | None) -> None:
        """Compare the clocks by the ``date`` of an answer."""
        with suppress(ValueError, TypeError, OverflowError):
            server_time = parsedate_to_datetime(date or "").timestamp()
            ahead = server_time - time.time()
            self.ahead = ahead if abs(ahead) > _CLOSE and _ERA[0] < server_time < _ERA[1] else 0.0

    def send_to_first_path(
        self, call: Call, request: Callable[[str], httpx.Response], stop: Event, address: SecretStr | None = None
    ) -> RequestOutcome:
        """Send a request to the first place at which the server has its operation, and return the last outcome.

        The next place is only tried if the answer reports a missing operation: then nothing was done.
        ``address`` is the address from the server, if any. Raises ReadOnlyMode.
        """
        refuse_if_read_only(call.endpoint.effect)
        first = None
        model = str(getattr(call.body, "model", ""))
        for path in self.assumptions.paths(call.path, model):
            url = address.get_secret_value() if address else self.address(path)
            once = partial(self.attempt, partial(request, url), host_name(url))
            outcome = send_with_retries(call.endpoint, once, backoff=self.backoff, stop=stop)
            if not is_absent(outcome):
                if first and not model.startswith(ROUTERS):
                    self.assumptions.store_path(call.path, path)
                return outcome
            first = first or outcome
        return cast("RequestOutcome", first)

    def address(self, path: str) -> str:
        """Return the full address of a path that starts with the prefix of a server."""
        if path.startswith(f"{IRIS}/") and self._iris_url:
            return self._iris_url + path.removeprefix(IRIS)
        return self.base_url + path

    def sign(self, headers: MutableMapping[str, str], *, keys_apart: bool) -> None:
        """Sign the request of another client; ``keys_apart`` is whether an API key has a separate header."""
        token = self._tokens.usable_token().get_secret_value()
        if keys_apart and token.startswith("lk_"):
            headers.pop("Authorization", None)
            headers["X-Api-Key"] = token
        else:
            headers["Authorization"] = f"Bearer {token}"

    def signer(self, endpoint: Endpoint, *, is_signed: bool = False) -> httpx.Auth | None:
        """Return the signer of an operation's requests, if required; ``is_signed`` requires a signature in any case."""
        return self._bearer if endpoint.auth or is_signed else None

    def _send_to_url(self, call: Call, url: str) -> httpx.Response:
        endpoint = call.endpoint
        with request_content(call) as content, self._borrow_client() as client:
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
            return response if endpoint.downloads and response.is_success else read_body(response)

    def _parse_answer(self, endpoint: Endpoint, answer: httpx.Response, host: str) -> Any:
        """Return the content of a successful answer.

        Any 2xx confirms a change. So an unreadable answer is only an error if its content is needed, and the
        error never denies the change.
        """
        if is_page(answer):
            raise self._build_bad_answer_error(answer, host)
        excess = ""
        try:
            parsed, odd = read_answer(endpoint, answer)
        except JsonTooLarge as error:
            what = excess = str(error)
        except ValidationError as error:
            what = explain(error)
        else:
            if odd:
                self._warn_once(f"{host} answered {endpoint} with a list, and a part of the list can't be read: {odd}.")
            return parsed
        changes = endpoint.method != "GET"
        contents = (None,) if endpoint.takes_any_answer else empty(endpoint.answer_type) if changes else ()
        for nothing in contents:
            return nothing
        if excess:
            raise too_large(endpoint, host, excess)
        raise self._build_form_error(endpoint, answer, host, what)

    def _build_form_error(self, endpoint: Endpoint, answer: httpx.Response, host: str, what: str) -> LkError:
        """Return the error for a successful answer of another form; ``what`` is the reason."""
        if endpoint.method != "GET" and not endpoint.repeatable:
            return self._build_unreadable_error(endpoint, answer, host)
        if answer.content and "json" not in answer.headers.get("content-type", ""):
            return self._build_bad_answer_error(answer, host)
        return InvalidResponse(
            f"{host} answered {endpoint} with something that isn't from this API: {what}.\nCheck "
            "LK_BASE_URL. If the address is right, update lk_jupyter: a newer version may read this answer."
        )

    def _warn_once(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            _log.warning("lk_jupyter: %s", text)

    def _build_error(self, endpoint: Endpoint, outcome: RequestOutcome, host: str) -> LkError | None:
        """Return the error for the last attempt of a request, if the request failed."""
        if isinstance(outcome.end, int) and outcome.carries.is_success:
            return None
        if unknown(endpoint, outcome):
            lost = str(outcome.carries).partition(". ")[0].removesuffix(".")  # without the advice to try again
            how = f"{lost}." if isinstance(outcome.end, Loss) else f"{host} answered HTTP {outcome.end}."
            return OutcomeUnknown(f"{how}\n{check_advice(endpoint)}")
        if isinstance(outcome.end, Loss):
            return ConnectionFailed(outcome.carries)
        answer: httpx.Response = outcome.carries
        if is_absent(outcome) and self.lacks(endpoint, answer.status_code):
            return OperationNotAvailable(str(endpoint), host, answer.status_code, read_request_id(answer))
        if answer.is_error and (outcome.end in AGAIN or not is_page(answer)):
            error = error_for(outcome.end, self._format_error_detail(answer), read_request_id(answer))
            error.pause = outcome.requested_pause
            return error
        return self._build_bad_answer_error(answer, host)

    def lacks(self, endpoint: Endpoint, status: int) -> bool:
        """Return whether an absence means the operation: some servers use the same words for absent objects."""
        return status == 405 or not PLACEHOLDER.search(endpoint.path) or self.assumptions.lacks(str(endpoint))

    def _format_error_detail(self, answer: httpx.Response) -> str:
        """Return the server's message for an error, without secrets and never as a web page."""
        excess = get_excess(answer)
        text = (
            f"The server's reason wasn't read: {excess}"
            if excess
            else ""
            if is_page(answer)
            else error_message(answer.content)
        )
        return self.clean(text) or answer.reason_phrase or "The server gave no reason"

    def clean(self, text: str) -> str:
        """Return a server's text for a message: without tokens, and without control characters of terminals."""
        return plain(self._tokens.hide(text))[:CLIP]

    def _build_unreadable_error(self, endpoint: Endpoint, answer: httpx.Response, host: str) -> OutcomeUnknown:
        words = f": {self.clean(error_message(answer.content))!r}" if answer.content else ""
        return OutcomeUnknown(
            f"{host} accepted {endpoint} (HTTP {answer.status_code}), but its answer can't be read{words}.\n"
            f"{check_advice(endpoint)}"
        )

    def _build_accepted_only_error(
        self, endpoint: Endpoint, answer: httpx.Response, content: dict[str, Any], host: str
    ) -> OutcomeUnknown:
        """Return the error for a question that was only accepted, with the id from the server."""
        name = next((content[name] for name in _ANSWER_IDS if content.get(name)), None)
        if name is None:
            return self._build_unreadable_error(endpoint, answer, host)
        accepted = OutcomeUnknown(
            f"{host} accepted {endpoint} under the id '{self.clean(str(name))}' (HTTP {answer.status_code}), but sent "
            f"no answer.\nThe request may be billed. Check your bills before you send it again: %lk_billing"
        )
        accepted.is_accepted = True
        return accepted

    def _build_bad_answer_error(self, answer: httpx.Response, host: str) -> InvalidResponse:
        kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
        moved = ", a redirect" if answer.is_redirect else ""
        return InvalidResponse(
            f"{host} answered HTTP {answer.status_code}{moved} with {kind[:80]}, which is not this API.\nCheck "
            f"LK_BASE_URL. {_name_gate(str(answer.url))} or a sign-in page may have answered."
        )


def _name_gate(url: str) -> str:
    """Return what may have answered instead of the server."""
    proxy = find_proxy(url)
    return f"The {proxy}" if proxy else "A proxy"


class EventStream(Iterator[E]):
    """The events of a stream.

    The stream connects on the first event, and ends with the last event, when the server closes an output stream,
    or when any thread calls ``close``. Raises the ApiError of the status, ConnectionFailed when the connection
    breaks, InvalidResponse.
    """

    def __init__(self, wire: _Wire[E]) -> None:
        self._wire = wire
        self._events: Iterator[E] = wire.events()

    def __iter__(self) -> Iterator[E]:  # noqa: PYI034 (the generator itself is faster)
        return self._events

    def __next__(self) -> E:
        return next(self._events)

    def passed(self, follow: Callable[[Iterator[E]], Iterator[E]]) -> EventStream[E]:
        """Return the stream with all events passed through a function."""
        self._events = follow(self._events)
        return self

    def close(self) -> None:
        """End the stream; a thread that waits for the next event sees the end immediately."""
        self._wire.cut()
        self._events = iter(())  # drop the generator: closing a generator that another thread runs can crash Python


class _Wire(Generic[E]):
    """The connection under an EventStream; separate, so that dropping the stream closes the connection.

    Each wire has its own httpx client: the garbage collector may close a dropped stream in the middle of another
    request, and would wait forever for that request's lock on a shared client.
    """

    def __init__(self, http: Http, call: Call, address: SecretStr | None) -> None:
        self._http = http
        self._client = http.stream_client()
        self._call = call
        self._address = address
        self._host = host_name(address.get_secret_value() if address else http.address(call.path))
        self._kind = get_args(call.endpoint.returns)[0]
        self._reader = reader_for(self._kind, self._host)
        self._is_output = self._kind == StreamEvent
        self._closed = Event()
        self._socket: socket.socket | None = None

    def cut(self) -> None:
        """Shut the connection down, which wakes a thread that reads from the connection. Closing would not."""
        self._closed.set()
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def events(self) -> Generator[E, None, None]:
        endpoint = self._call.endpoint
        opening = self._open_stream()
        error = self._http._build_error(endpoint, opening, self._host)
        if error is None:
            error = yield from self._read_events(opening.carries)
            if isinstance(error, ConnectionFailed):
                error.is_accepted = not endpoint.repeatable
        if isinstance(error, ApiError):  # an event with the server's message
            error = error_for(error.status, self._http.clean(error.detail), error.request_id)
        if error is not None and not self._closed.is_set():
            raise error

    def _open_stream(self) -> RequestOutcome:
        """Open the stream. If the server refuses one way to open the stream of a run, use the other way."""
        if not self._is_output:
            return self._http.send_to_first_path(self._call, self._open_response, self._closed)
        assumed, is_api_host = self._http.assumptions, self._host == host_name(self._http.base_url)
        method, is_signed = assumed["stream_method"], is_api_host and assumed["stream_auth"] == "bearer"
        for _ in range(_WAYS):
            opens = partial(self._open_response, method=method, is_signed=is_signed)
            outcome = self._http.send_to_first_path(self._call, opens, self._closed, self._address)
            if outcome.end == 405:
                method = "GET" if method == "POST" else "POST"
            elif outcome.end in {401, 403} and is_api_host and not is_signed:
                is_signed = True
            else:
                break
        if outcome.end == 200 and is_stream(outcome.carries):
            assumed.store_finding("stream_method", method)
            if is_api_host:
                assumed.store_finding("stream_auth", "bearer" if is_signed else "none")
        return outcome

    def _open_response(self, url: str, *, method: str | None = None, is_signed: bool = False) -> httpx.Response:
        signer = self._http.signer(self._call.endpoint, is_signed=is_signed)
        with request_content(self._call) as content:
            request = self._client.build_request(
                method or self._call.endpoint.method,
                url,
                params=to_jsonable_python(self._call.query) or None,
                extensions={"trace": self._store_open_socket},
                **content,
            )
            if signer:
                request.headers.update(self._http.org_headers)
            response = send_once(self._client, request, auth=signer)
        return response if response.is_success else read_body(response)

    def _store_open_socket(self, step: str, info: dict[str, Any]) -> None:
        """Store the socket as soon as the connection is open."""
        if step in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._closed.is_set():
                self.cut()

    def _read_events(self, response: httpx.Response) -> Generator[E, None, LkError | None]:
        """Yield the events; return the error that broke the stream, if any."""
        if is_compressed(response):  # despite the requested encoding; limits count unpacked bytes
            headers, stream = select_content_headers(response), _Unpacked(response)
            response = httpx.Response(response.status_code, headers=headers, stream=stream, request=response.request)
        response.encoding = "utf-8"
        response.stream = _Events(cast("httpx.SyncByteStream", response.stream), is_output=self._is_output)
        try:
            if not is_stream(response):
                return (yield from self._yield_complete_answer(response))
            frames = takewhile(lambda _: not self._closed.is_set(), EventSource(response).iter_sse())
            return (yield from self._reader(frames))
        except httpx.RequestError as failure:
            return ConnectionFailed(lost_request(failure, self._host).carries)
        except JsonTooLarge as error:
            return too_large(self._call.endpoint, self._host, str(error))
        finally:
            response.close()

    def _yield_complete_answer(self, response: httpx.Response) -> Generator[E, None, LkError | None]:
        """Yield an answer that arrived as an object instead of a stream, and is billed as usual."""
        response.read()
        content = RawAnswer(response.status_code, "", response.content).json
        if self._is_output or self._call.endpoint.method == "GET" or not isinstance(content, dict):
            return self._http._build_bad_answer_error(response, self._host)
        if "error" in content or self._holds_answer(content):
            return (yield from self._reader(map(ServerSentEvent, ("message",) * 2, (json.dumps(content), DONE))))
        return self._http._build_accepted_only_error(self._call.endpoint, response, content, self._host)

    def _holds_answer(self, content: dict[str, Any]) -> bool:
        with suppress(ValidationError):
            return bool(self._kind.model_validate(content).holds_answer())
        return False


class _Events(httpx.SyncByteStream):
    """The bytes of a stream, prepared for the event parser."""

    def __init__(self, stream: httpx.SyncByteStream, *, is_output: bool) -> None:
        self._stream = stream
        self._is_output = is_output

    def __iter__(self) -> Iterator[bytes]:
        return complete_stream(self._stream, is_output=self._is_output)

    def close(self) -> None:
        self._stream.close()


class _Unpacked(httpx.SyncByteStream):
    """The unpacked content of a stream that was compressed unexpectedly."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_bytes()

    def close(self) -> None:
        self._response.close()
