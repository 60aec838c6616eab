"""Which server is checked, and as whom."""

from __future__ import annotations

from lk_jupyter import session
from lk_jupyter.api._client import Client
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.config import settings
from lk_jupyter.config.files import LOCAL
from lk_jupyter.errors import NotSignedIn


def start(wish: LevelRequest, base_url: str | None = None) -> Check:
    """Return a check of a server, by default of the one in use; without a key, of what it publishes.

    Raises UsageError, and NotSignedIn where --spend lacks a key.
    """
    server = settings.setting("base_url") if base_url is None else settings.parsed("base_url", base_url)
    if wish.public and server != LOCAL:
        return Check(Client(server), None, wish)
    try:
        found = session.current() if base_url is None else session.connect(base_url)
    except NotSignedIn:
        if wish.spend:
            raise
        return Check(Client(server), None, wish)
    return Check(found.client, None if wish.public else found, wish)
