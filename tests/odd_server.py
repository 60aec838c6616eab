"""A server in front of a local cloud, which changes the answers to chosen requests.

The cloud behind it knows the truth. A change is a function of a request and of ``forward``, which lets the cloud handle
the request: it returns an answer, or None to close the connection without an answer. Each change sees the answers of
the changes after it.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mutated_answers import endpoint_of, plain

#: Seconds that the cloud may take for an answer.
PATIENCE = 60

#: Headers that belong to a connection, not to a message.
_HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})

PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Request:
    """A request; ``operation`` is as ``GET /vms/{}/status``, empty for other paths."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    operation: str


@dataclass
class Answer:
    """An answer; the body of a stream comes from ``pieces``."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    pieces: Iterator[bytes] | None = None

    @classmethod
    def of(cls, status: int, content: Any) -> Answer:
        """Return an answer with JSON, or with a text such as a page of a proxy."""
        if isinstance(content, str):
            return cls(status, content.encode(), {"content-type": "text/html"})
        return cls(status, json.dumps(content).encode())


Forward = Callable[[Request], "Answer | None"]
Change = Callable[[Request, Forward], "Answer | None"]


class OddServer:
    """The server, on a port of its own. ``executed`` counts the operations that the cloud has done."""

    def __init__(self, cloud_url: str, changes: Iterable[Change] = ()) -> None:
        self.cloud_url = cloud_url.rstrip("/")
        self.changes = list(changes)
        self.executed: Counter[str] = Counter()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def respond(self, request: Request) -> Answer | None:
        """Return the answer to a request after all changes."""

        def forward_to(number: int) -> Forward:
            if number == len(self.changes):
                return self._forward
            return lambda each: self.changes[number](each, forward_to(number + 1))

        return forward_to(0)(request)

    def _forward(self, request: Request) -> Answer:
        """Let the cloud handle a request. The addresses in its answer lead here."""
        host = urlsplit(self.cloud_url)
        connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=PATIENCE)
        path = f"{request.path}?{request.query}" if request.query else request.path
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        connection.request(request.method, path, request.body or None, {**headers, "accept-encoding": "identity"})
        response = connection.getresponse()
        if response.status < 300:
            self.executed[request.operation] += 1
        kept = {name.lower(): value for name, value in response.getheaders() if name.lower() not in _HOP}
        if "event-stream" in kept.get("content-type", ""):
            return Answer(response.status, b"", kept, _read_pieces(response, connection))
        body = response.read()
        connection.close()
        if "json" in kept.get("content-type", ""):
            body = body.replace(self.cloud_url.encode(), self.url.encode())
        return Answer(response.status, body, kept)


def _read_pieces(response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> Iterator[bytes]:
    with suppress(OSError, http.client.HTTPException):
        while piece := response.read1(65536):
            yield piece
    connection.close()


class _Handler(BaseHTTPRequestHandler):
    """Handle the requests of one connection."""

    server_of: OddServer
    protocol_version = "HTTP/1.1"

    def handle_request(self) -> None:
        """Answer a request, or close the connection."""
        if self.headers.get("upgrade"):
            self._connect_through()
            return
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        endpoint = endpoint_of(self.command, target.path)
        operation = plain(str(endpoint)) if endpoint else ""
        request = Request(self.command, target.path, target.query, dict(self.headers.items()), body, operation)
        try:
            answer = self.server_of.respond(request)
        except (OSError, http.client.HTTPException):  # the cloud has ended
            answer = None
        with suppress(OSError):
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_request  # noqa: N815

    def _send(self, answer: Answer | None) -> None:
        if answer is None or answer.pieces is not None:
            self.close_connection = True
        if answer is None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.pieces is None:
            if answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(b"" if answer.status in {204, 304} or self.command == "HEAD" else answer.body)
            return
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in answer.pieces:
            self.wfile.write(piece)
            self.wfile.flush()

    def _connect_through(self) -> None:
        """Connect a WebSocket to the cloud."""
        self.close_connection = True
        host = urlsplit(self.server_of.cloud_url)
        path = self.path
        for change in self.server_of.changes:
            path = change.find_path(path) if isinstance(change, RenamedIds) else path
        with socket.create_connection((host.hostname, host.port)) as cloud:
            head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            cloud.sendall(f"{self.command} {path} HTTP/1.1\r\n{head}\r\n".encode())
            threading.Thread(target=_pump, args=(self.connection, cloud), daemon=True).start()
            _pump(cloud, self.connection)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


# Changes


def at(operation: str, effect: Change, *, nth: int = 1, times: int | None = None) -> Change:
    """Return a change that has its effect on these requests only: from the ``nth`` on, ``times`` times, or always."""
    lock, count = threading.Lock(), Counter[str]()

    def change(request: Request, forward: Forward) -> Answer | None:
        if request.operation != operation:
            return forward(request)
        with lock:
            count[operation] += 1
            number = count[operation]
        is_due = number >= nth and (times is None or number < nth + times)
        return effect(request, forward) if is_due else forward(request)

    return change


def refuse(status: int, content: Any) -> Change:
    """Return an effect: the cloud does nothing, and answers this."""
    return lambda _request, _forward: Answer.of(status, content)


def execute(status: int, content: Any) -> Change:
    """Return an effect: the cloud does its work, and answers something else."""

    def effect(request: Request, forward: Forward) -> Answer | None:
        forward(request)
        return Answer.of(status, content)

    return effect


def lose(request: Request, forward: Forward) -> Answer | None:
    """Let the cloud do its work, and lose the answer."""
    forward(request)
    return None


def drop(_request: Request, _forward: Forward) -> Answer | None:
    """Close the connection before the request reaches the cloud."""
    return None


def delay(seconds: float) -> Change:
    """Return an effect: the answer is late."""

    def effect(request: Request, forward: Forward) -> Answer | None:
        answer = forward(request)
        time.sleep(seconds)
        return answer

    return effect


def edit(change: Callable[[Any], Any]) -> Change:
    """Return an effect: the content of a successful answer is changed."""

    def effect(request: Request, forward: Forward) -> Answer | None:
        answer = forward(request)
        if answer is None or answer.status >= 300 or "json" not in answer.headers.get("content-type", ""):
            return answer
        content = json.loads(answer.body) if answer.body else None
        return Answer(answer.status, json.dumps(change(content)).encode(), answer.headers)

    return effect


def edit_rows(key: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Return an effect: each object of an answer that has this field is changed."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            row = {name: walk(inner) for name, inner in value.items()}
            return change(row) if key in row else row
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return edit(walk)


class RenamedIds:
    """A change: the ids of a field have another form in each answer, and only this form is known in requests."""

    def __init__(self, key: str, form: Callable[[str], str | int]) -> None:
        self._key = key
        self._form = form
        self.shown: dict[str, str | int] = {}

    def __call__(self, request: Request, forward: Forward) -> Answer | None:
        """Translate the ids of a request and of its answer."""
        raw_ids = {str(shown): raw for raw, shown in self.shown.items()}
        steps = [unquote(step) for step in request.path.split("/")]
        if any(step in self.shown and str(self.shown[step]) != step for step in steps):
            return Answer.of(404, {"detail": "Not found: unknown id"})
        path = self.find_path(request.path)
        body, query = request.body, request.query
        if b"{" in body[:1]:
            with suppress(ValueError):
                body = json.dumps(self._replace(json.loads(body), raw_ids)).encode()
        for shown, raw in raw_ids.items():
            query = query.replace(quote(shown, safe=""), raw)
        answer = forward(Request(request.method, path, query, request.headers, body, request.operation))
        if answer is None or answer.pieces is not None or "json" not in answer.headers.get("content-type", ""):
            return answer
        with suppress(ValueError):
            content = json.loads(answer.body)
            self._learn(content)
            answer.body = json.dumps(self._replace(content, self.shown)).encode()
        return answer

    def find_path(self, path: str) -> str:
        """Return a path with the ids of the cloud."""
        for raw, shown in self.shown.items():
            path = path.replace(quote(str(shown), safe=""), raw)
        return path

    def _learn(self, value: Any) -> None:
        for row in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self._learn(row)
        if isinstance(value, dict) and isinstance(value.get(self._key), str):
            self.shown.setdefault(value[self._key], self._form(value[self._key]))

    def _replace(self, value: Any, names: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {name: self._replace(inner, names) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._replace(inner, names) for inner in value]
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value) in names:
            return names[str(value)]
        if isinstance(value, str):
            for name, other in names.items():
                value = value.replace(name, str(other)) if len(name) > 8 else value
        return value
