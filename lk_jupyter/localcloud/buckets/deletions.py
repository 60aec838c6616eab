"""A port to which the storage server reports each deletion, so that folders without objects are removed.

S3 has no folders: a list shows what the keys have in common. SeaweedFS keeps a folder whose last object was deleted,
and lists it for a minute or forever. Only the server knows the token of the port.
"""

from __future__ import annotations

import hmac
import json
import queue
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Folder of the server for parts of uploads.
_UPLOADS = ".uploads"

#: Bytes of a report: it has a row for each part of a large object.
_LONGEST = 1 << 24


class DeletionListener:
    """Calls a function with the bucket and the folder of each object or folder that was deleted through S3.

    The function is called in one thread, once for deletions of one folder that are reported meanwhile.
    """

    def __init__(self, handle: Callable[[str, str], None]) -> None:
        self._handle = handle
        self._token = secrets.token_urlsafe(32)
        self._folders: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._waiting: set[tuple[str, str]] = set()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._listener.daemon_threads = True
        for work in (self._listener.serve_forever, self._call):
            threading.Thread(target=work, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the server reports its deletions here."""
        settings = {
            "ENABLED": "true",
            "ENDPOINT": f"http://127.0.0.1:{self._listener.server_port}/",
            "BEARER_TOKEN": self._token,
            "EVENT_TYPES": "delete",
            "PATH_PREFIXES": "/buckets/",
        }
        return {f"WEED_NOTIFICATION_WEBHOOK_{name}": value for name, value in settings.items()}

    def accepts(self, authorization: str) -> bool:
        """Whether a report is from the server."""
        return hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    def add(self, report: dict[str, Any]) -> None:
        """Keep the folder of a deletion for the function; folders that a run empties in its mounted bucket stay."""
        if len(report["message"].get("signatures") or []) > 1:  # the mount's, and the server's
            return
        bucket, _, key = str(report["key"]).removeprefix("/buckets/").partition("/")
        folder = key.rpartition("/")[0]
        if folder and folder.partition("/")[0] != _UPLOADS and (bucket, folder) not in self._waiting:
            self._waiting.add((bucket, folder))
            self._folders.put((bucket, folder))

    def close(self) -> None:
        """Stop listening and calling."""
        self._folders.put(None)
        self._listener.shutdown()
        self._listener.server_close()

    def _call(self) -> None:
        while place := self._folders.get():
            self._waiting.discard(place)
            self._handle(*place)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, listener: DeletionListener, *request: Any) -> None:
        self._deletions = listener
        super().__init__(*request)

    def do_POST(self) -> None:
        """Take a report from the server, and nothing from another process."""
        if not self._deletions.accepts(self.headers.get("Authorization", "")):
            return self.send_error(HTTPStatus.FORBIDDEN)
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            self._deletions.add(json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), _LONGEST))))
        self.send_response_only(HTTPStatus.NO_CONTENT)
        return self.end_headers()

    def send_error(self, *_: Any) -> None:
        """Refuse whatever isn't a report in the same way, without a word."""
        self.close_connection = True
        self.send_response_only(HTTPStatus.FORBIDDEN)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Write no line for a request."""
