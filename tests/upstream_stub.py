"""A small OpenAI-compatible service on a port of its own, as an upstream of local clouds."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@dataclass
class UpstreamStub:
    """Answers chats with the last message in capitals; ``hold`` keeps it from the second piece of a stream on.

    ``requests`` holds the bodies that came, ``headers`` their headers. ``answer`` answers in its place when it is set:
    it gets a body and returns a status and an object.
    """

    requests: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    models: tuple = ("up/large", "up/embed")
    hold: threading.Event = field(default_factory=threading.Event)
    answer: object = None
    cut: object = None

    def __post_init__(self):
        self.hold.set()
        self._server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"stub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that hang up are what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    stub: UpstreamStub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a whole answer is one packet

    def do_GET(self):
        rows = [{"id": name, "object": "model", "owned_by": "stub"} for name in self.stub.models]
        self.send(200, {"object": "list", "data": rows})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.stub.headers.append(self.headers)
        self.stub.requests.append(body)
        if self.stub.answer:
            self.send(*self.stub.answer(body))
        elif "input" in body:
            rows = [{"embedding": [float(len(text)), 1.0], "index": i} for i, text in enumerate(body["input"])]
            self.send(200, {"data": rows, "model": body["model"]})
        elif body["stream"]:
            self.stream(body)
        else:
            self.stub.hold.wait()
            message = {"role": "assistant", "content": said(body)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.send(200, {"id": "up-1", "model": body["model"], "choices": [choice], "usage": USAGE})

    def stream(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for place, word in enumerate(said(body).split(" ")):
            if place:
                self.stub.hold.wait()
            self.frame({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
        if self.stub.cut:
            self.frame(self.stub.cut)
            return
        self.frame({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.frame({"choices": [], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def frame(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def send(self, status, data):
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def said(body):
    return body["messages"][-1]["content"].upper()
