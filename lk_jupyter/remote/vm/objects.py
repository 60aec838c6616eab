"""The objects of a run, which its code reads and writes on the VM as in the bucket."""

from __future__ import annotations

import os

from .files import FOLDER, OBJECTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def serve_objects(on_checkpoint: Callable[[], None] | None = None) -> str:
    """Serve the objects to the code, on a port of this machine and below a secret path; return the address.

    ``on_checkpoint`` is called when the code reports a complete checkpoint.
    """
    import threading
    from http.server import ThreadingHTTPServer

    prefix = "/{}/".format(os.urandom(24).hex())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler_class(prefix, on_checkpoint))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:{}{}".format(server.server_address[1], prefix)


def _make_handler_class(prefix: str, on_checkpoint: Callable[[], None] | None) -> Any:  # noqa: C901 (a class of short methods)
    from http.server import BaseHTTPRequestHandler
    from urllib.parse import unquote

    class ObjectHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                with open(self._find_file(), "rb") as file:
                    content = file.read()
            except OSError:
                self._send_answer(404)
                return
            first, _, last = (self.headers.get("Range") or "").replace("bytes=", "").partition("-")
            if first.isdigit():
                self._send_answer(206, content[int(first) : int(last) + 1 if last.isdigit() else None])
            else:
                self._send_answer(200, content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(prefix):
                self._send_answer(403)
                return
            put_object(unquote(self.path[len(prefix) :]), content)
            self._send_answer(200)

        def do_POST(self) -> None:
            if on_checkpoint is None or self.path != prefix + "checkpoint":
                self._send_answer(404)
                return
            try:
                on_checkpoint()
            except OSError:  # the files changed meanwhile: they are stored when they stay unchanged
                self._send_answer(409)
            else:
                self._send_answer(200)

        def _find_file(self) -> str:
            is_secret = self.path.startswith(prefix)
            return object_path(unquote(self.path[len(prefix) :])) if is_secret else os.path.join(OBJECTS, "")

        def _send_answer(self, status: int, content: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return ObjectHandler


def object_path(key: str) -> str:
    """Return the file of an object; no key leads out of the folder."""
    from urllib.parse import quote

    return os.path.join(OBJECTS, "o-" + quote(key, safe=""))


def object_key(name: str) -> str:
    """Return the key of the object in a file."""
    from urllib.parse import unquote

    return unquote(name[2:])


def put_object(key: str, content: bytes) -> None:
    """Store an object, completely or not at all."""
    path = object_path(key)
    draft = os.path.join(FOLDER, "draft-" + os.urandom(8).hex())
    with open(draft, "wb") as file:
        file.write(content)
    os.replace(draft, path)
