"""Signing in from a notebook or a terminal: a key is asked for without being shown."""

from __future__ import annotations

import getpass
import warnings

from lk_jupyter import config, credentials
from lk_jupyter.credentials import Credential
from lk_jupyter.errors import NotSignedIn, UsageError
from lk_jupyter.runs._browser import ask_browser
from lk_jupyter.signing import SignIn, keep, server_of, use_local


def login(*, local: bool = False, browser: bool = False, base_url: str | None = None) -> SignIn:
    """Sign in, and stay signed in on this machine: asks for a key without showing it.

    ``local`` uses the free local cloud of this machine, ``browser`` the web site, ``base_url``
    another server than the configured one. Raises NotSignedIn when the server does not accept the
    key; then nothing is kept.
    """
    if local and (browser or base_url):
        raise UsageError("--local needs no --browser and no --base-url.")
    if local:
        return use_local()
    server = server_of(base_url)
    return keep(_key_from_browser(server) if browser else _asked_key(server))


def _asked_key(server: str) -> Credential:
    """Ask for the key where the reader sits, without echo."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            text = getpass.getpass(f"API key for {server} (it is not shown): ").strip()
    except (EOFError, NotImplementedError, getpass.GetPassWarning):
        raise NotSignedIn(
            "A key cannot be asked for here without showing it: set LK_API_KEY before you start."
        ) from None
    if not text:
        raise UsageError("No key was entered; nothing has changed.")
    return Credential(server, credentials.checked(text, "the prompt"))


def _key_from_browser(server: str) -> Credential:
    answer = ask_browser(config.setting("dashboard_url"), print)
    if answer.error:
        raise NotSignedIn(f"The web site did not sign you in: {answer.error}. Nothing was kept.")
    return Credential(server, credentials.checked(answer.token, "the web site"), answer.refresh_token)
