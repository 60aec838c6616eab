"""A port to which the storage server reports deletions, so that folders without objects are removed.

S3 has no folders: a list shows common prefixes of keys. SeaweedFS keeps a folder whose last object was deleted, and
lists the folder for a minute or forever. Only the server knows the token of the port.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Folder of the server for parts of uploads.
_UPLOADS = ".uploads"

#: Maximum bytes of a report: a report has a row for each part of a large object.
_LONGEST = 1 << 24

#: Seconds without a deletion in a folder, after which the folder is checked.
_QUIET = 0.5


class DeletionListener:
    """A listener that calls a function with bucket and folder of each object or folder that was deleted through S3.

    The function is called in a single thread, half a second after the last deletion in the folder: a program that
    empties a folder to write new objects has finished by then.
    """

    def __init__(self, handle: Callable[[str, str], None]) -> None:
        self._handle = handle
        self._token = secrets.token_urlsafe(32)
        self._due: dict[tuple[str, str], float] = {}  # the earliest first
        self._is_closed = False
        self._changed = threading.Condition()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._listener.daemon_threads = True
        for work in (self._listener.serve_forever, self._handle_deletions):
            threading.Thread(target=work, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which the server reports deletions to this port."""
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
        """Queue the folder of a deletion for the function; ignore folders that a run empties in its mounted bucket."""
        if len(report["message"].get("signatures") or []) > 1:  # the mount's, and the server's
            return
        bucket, _, key = str(report["key"]).removeprefix("/buckets/").partition("/")
        folder = key.rpartition("/")[0]
        if folder and folder.partition("/")[0] != _UPLOADS:
            with self._changed:
                self._due.pop((bucket, folder), None)
                self._due[bucket, folder] = time.monotonic() + _QUIET
                self._changed.notify()

    def close(self) -> None:
        """Stop listening and calling."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._listener.shutdown()
        self._listener.server_close()

    def _handle_deletions(self) -> None:
        while place := self._wait_for_folder():
            self._handle(*place)

    def _wait_for_folder(self) -> tuple[str, str] | None:
        """Wait for the next folder that is due; None after the end."""
        with self._changed:
            while not self._is_closed:
                place = next(iter(self._due), None)
                remaining = self._due[place] - time.monotonic() if place else None
                if place and remaining is not None and remaining <= 0:
                    del self._due[place]
                    return place
                self._changed.wait(remaining)
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, listener: DeletionListener, *request: Any) -> None:
        self._deletions = listener
        super().__init__(*request)

    def handle_one_request(self) -> None:
        """Close a connection that doesn't start with a POST, such as TLS, without waiting for the first line."""
        with suppress(OSError):
            if self.rfile.peek(1)[:1] == b"P":  # type: ignore[attr-defined]
                return super().handle_one_request()
        self.close_connection = True
        return None

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
