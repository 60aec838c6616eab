"""All that passes between a browser and its server from some moment on."""

import re

from playwright.sync_api import Error, Page

#: Keys, tokens of a session, addresses of output, credentials of a bucket.
SECRETS = re.compile(
    r"lk_[A-Za-z0-9]{12,}|eyJ[\w-]{8,}\.[\w-]+\.|streaming_url|/api/v1/stream/|X-Amz-|secret_?(access_)?key\b|session_token|AKIA\w{8,}",
    re.IGNORECASE,
)
#: Files of Lab itself, which are the same for everybody.
STATIC = ("/static/", "/lab/extensions/")


class Traffic:
    """Requests and answers with headers and bodies, streams too, and the messages of web sockets both ways."""

    def __init__(self, page: Page):
        self._heard, self._answers = [], []
        page.on("request", lambda asked: self._heard.append(f"{asked.url} {asked.headers} {asked.post_data or ''}"))
        page.on("response", lambda answer: self._answers.append(answer))  # noqa: PLW0108 (Playwright marks its handlers)
        page.on("websocket", self._listen)

    def is_without_secrets(self, key, *kinds):
        """Fail when anything has held a secret, or this key; or when there was nothing of some kind to look at."""
        everything = [*self._heard, *map(self._whole, self._answers)]
        for kind in ("/lk/api/", "/lk/journal", "socket", *kinds):
            assert any(kind in words for words in everything), kind
        found = [words for words in everything if key in words or SECRETS.search(words)]
        assert not found, [_around(words) for words in found]

    def _listen(self, socket):
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: self._heard.append(f"socket {frame}"))

    def _whole(self, answer):
        if any(part in answer.url for part in STATIC):
            return answer.url
        try:
            return f"{answer.url} {answer.headers} {answer.text()}"
        except (Error, UnicodeDecodeError):  # a redirect has no body, and an image no text
            return f"{answer.url} {answer.headers}"


def _around(words):
    """Return where a secret was found, and the text beside it, without the secret."""
    return SECRETS.sub("[secret]", words)[:1200]
