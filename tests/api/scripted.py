"""A server whose every byte is scripted, for answers that a well-behaved server never gives."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from patience import PATIENCE

#: A piece of a reply: bytes to send, an event to wait for, or RESET.
RESET = object()

KEY = "lk_secret_key_5f0c"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class ScriptedServer:
    """Answers the requests in the order of ``replies``, then by ``handler``; each is kept in ``requests``."""

    replies: deque = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    handler: object = None
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    left: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def reply(self, *pieces):
        self.replies.append(pieces)
        return self

    def json(self, body, status=200, **headers):
        return self.reply(answer(status, json.dumps(body), "application/json", **headers))

    def page(self, status=200, text="<html><body>Sign in to Hotel Wi-Fi</body></html>", **headers):
        return self.reply(answer(status, text, "text/html; charset=utf-8", **headers))

    def lose_answer(self):
        return self.reply()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        with connection, suppress(ConnectionError):
            request = _read_request(connection)
            if request is None:
                return
            self.requests.append(request)
            pieces = self.replies.popleft() if self.replies else self.handler(request)
            self.arrived.release()
            for piece in pieces:
                if piece is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif isinstance(piece, threading.Event):
                    assert piece.wait(PATIENCE)
                elif piece == "wait until the client leaves":
                    with suppress(ConnectionResetError):  # a client that leaves before it has read all bytes
                        assert connection.recv(1) == b""
                    self.left.set()
                else:
                    connection.sendall(piece)


def _read_request(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        more = connection.recv(65536)
        if not more:
            return None
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = bytearray(body)
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(1 << 20)
    method, path, _ = first.split(" ")
    return Request(method, path, headers, bytes(body))


def answer(status, text, kind, **headers):
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status} Scripted",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def jwt(seconds_left, mark="a"):
    """A session token that ends so many seconds from now, by its own word."""
    claims = json.dumps({"exp": time.time() + seconds_left, "mark": mark}).encode()
    return f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.sig"
