"""Create a check for a server and an account."""

from __future__ import annotations

from lk_jupyter import session
from lk_jupyter.api._client import Client
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.config import settings
from lk_jupyter.config.files import LOCAL
from lk_jupyter.errors import NotSignedIn


def start(wish: LevelRequest, base_url: str | None = None) -> Check:
    """Return a check of a server, by default of the current server; without a key, only of public answers.

    Raises UsageError, and NotSignedIn if --spend or --run-limit lacks a key.
    """
    server = settings.setting("base_url") if base_url is None else settings.parse_setting("base_url", base_url)
    if wish.public and server != LOCAL:
        return Check(Client(server), None, wish)
    try:
        client_session = session.current() if base_url is None else session.connect(base_url)
    except NotSignedIn:
        if wish.spend or wish.run_limit:
            raise
        return Check(Client(server), None, wish)
    return Check(client_session.client, None if wish.public else client_session, wish)
