"""Sign-in on the web site: a browser there, and one answer to a listener on this machine's loopback."""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Callable
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from lk_jupyter.errors import NotSignedIn

PATIENCE = 120.0  # seconds
TICK = 0.2  # seconds: an interrupt waits no longer than this, on Windows too


class Answer(NamedTuple):
    """What the web site sent back; ``error`` is its reason when there is no token."""

    token: str
    refresh_token: str | None
    error: str

    def __repr__(self) -> str:
        return f"Answer(error={self.error!r})"


class _Listener(HTTPServer):
    answer: Answer | None = None

    @property
    def callback(self) -> str:
        """The address that the web site sends the browser to."""
        return f"http://localhost:{self.server_port}/callback"


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self) -> None:
        """Take the first callback; anything else is not found."""
        asked = urlsplit(self.path)
        if asked.path != "/callback" or self.server.answer:
            self.send_error(404)
            return
        said = {name: values[0] for name, values in parse_qs(asked.query).items()}
        error = said.get("error", "" if said.get("token") else "it sent no token")
        self.server.answer = Answer(said.get("token", ""), said.get("refresh_token"), error)
        self._show("Sign-in failed: " + error if error else "The sign-in has reached your notebook.")

    def _show(self, text: str) -> None:
        page = (
            f"<!doctype html><title>lk_jupyter</title><p>{escape(text)} You may close this tab.</p>"
            "<script>history.replaceState(null, '', '/callback')</script>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Keep quiet: the address that was asked for holds the token."""


def ask_browser(dashboard_url: str, say: Callable[[str], None], *, patience: float = PATIENCE) -> Answer:
    """Open the web site's sign-in page and return its answer. Raises NotSignedIn when none comes in time."""
    with _Listener(("127.0.0.1", 0), _Handler) as listener:
        page = f"{dashboard_url}/cli-login?callback={quote(listener.callback, safe='')}"
        say(f"Sign in within {patience:.0f} s at {page}")
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
        _wait(listener, time.monotonic() + patience)
        if listener.answer is None:
            raise NotSignedIn(
                f"No answer from the web site within {patience:.0f} s. If your browser runs on another machine, it "
                "cannot reach this one: make a key in the dashboard and give it to %lk_login."
            )
        return listener.answer


def _wait(listener: _Listener, deadline: float) -> None:
    while listener.answer is None and (left := deadline - time.monotonic()) > 0:
        listener.timeout = min(left, TICK)
        listener.handle_request()
