"""Sign-in on the web site: a browser, and an answer to a listener on this machine's loopback address."""

from __future__ import annotations

import errno
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from lk_jupyter._python import open_page
from lk_jupyter.errors import NotSignedIn

PATIENCE = 120.0  # seconds
TICK = 0.2  # seconds: an interrupt waits no longer than this, on Windows too


class LoginCallback(NamedTuple):
    """The answer of the web site; ``error`` is the reason for a missing token."""

    token: str
    refresh_token: str | None
    error: str

    def __repr__(self) -> str:
        return f"Answer(error={self.error!r})"


class _Listener(ThreadingHTTPServer):
    """Wait for a callback; each connection has a thread, so that an idle connection doesn't block another.

    A browser may resolve ``localhost`` to ``::1`` as well, so no other program may listen on the same port of ``::1``.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, carries_state: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.twin = _bind_ipv6_socket(self.server_port)
        self.state = secrets.token_urlsafe(32)
        self.carries_state = carries_state
        self.answer: LoginCallback | None = None
        self.taking = threading.Lock()

    def server_close(self) -> None:
        """Close both sockets."""
        super().server_close()
        if self.twin:
            self.twin.close()

    @property
    def callback(self) -> str:
        """The address that the web site sends the browser to."""
        return f"http://localhost:{self.server_port}/callback"

    @property
    def hosts(self) -> set[str]:
        """How a browser names this listener; another name was made to lead here."""
        return {f"{name}:{self.server_port}" for name in ("localhost", "127.0.0.1")}


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 10  # seconds

    def do_GET(self) -> None:
        """Take the first callback of this sign-in; anything else is not found."""
        address = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path != "/callback" or not self._is_expected(fields.get("state")):
            self.send_error(404)
            return
        with self.server.taking:
            if self.server.answer:
                self.send_error(404)
                return
            error = fields.get("error", "" if fields.get("token") else "it sent no token")
            self._show_page(
                "Sign-in failed: " + error if error else "Your notebook is signed in. You may close this tab."
            )
            self.server.answer = LoginCallback(fields.get("token", ""), fields.get("refresh_token"), error)

    def _is_expected(self, state: str | None) -> bool:
        """Return whether the web site led the browser to this page: the tab itself, our host name, our state.

        Another site that sends requests to every port of this machine does so in the background, or with another host.
        """
        if state is None and self.server.carries_state:
            return False
        return (
            self.headers.get("Host") in self.server.hosts
            and self.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
            and self.headers.get("Sec-Fetch-Dest", "document") == "document"
            and hmac.compare_digest((state or self.server.state).encode(), self.server.state.encode())
        )

    def _show_page(self, text: str) -> None:
        page = (
            f"<!doctype html><title>lk_jupyter</title><p>{escape(text)} You may close this tab.</p>"
            "<script>history.replaceState(null, '', '/callback')</script>"
        ).encode()
        with suppress(OSError):  # a browser that has disconnected has sent its answer
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Log nothing: the requested address contains the token."""


def _bind_ipv6_socket(port: int) -> socket.socket | None:
    """Bind a port of ``::1`` without a server; None on a machine without that address. Raises NotSignedIn."""
    try:
        twin = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        twin.bind(("::1", port))
    except OSError as error:
        twin.close()
        if error.errno == errno.EADDRINUSE:
            raise NotSignedIn(f"Another program listens on port {port} of ::1. Nothing was sent. Try again.") from None
        return None
    return twin


def ask_browser(
    dashboard_url: str,
    say: Callable[[str], None],
    *,
    patience: float = PATIENCE,
    proof: Callable[[str], dict[str, str]] | None = None,
) -> LoginCallback:
    """Open the web site's sign-in page and return the answer. Raises NotSignedIn without an answer in time.

    ``proof`` returns the parameters that prove to the owner's local cloud, for a callback, that the owner sends the
    request. Such a cloud returns the sign-in's state, which other web sites may drop.
    """
    with _Listener(carries_state=proof is not None) as listener:
        facts = {"callback": listener.callback, "state": listener.state}
        page = f"{dashboard_url}/cli-login?{urlencode({**facts, **(proof(listener.callback) if proof else {})})}"
        say(f"Sign in within {patience:.0f} s at {page}")
        open_page(page)
        _wait_for_callback(listener, time.monotonic() + patience)
        if listener.answer is None:
            raise NotSignedIn(
                f"No answer from the website within {patience:.0f} s. Nothing was stored. If your browser is on "
                "another machine, create a key in the dashboard and paste it into %lk_login."
            )
        return listener.answer


def _wait_for_callback(listener: _Listener, deadline: float) -> None:
    while listener.answer is None and (remaining := deadline - time.monotonic()) > 0:
        listener.timeout = min(remaining, TICK)
        listener.handle_request()
