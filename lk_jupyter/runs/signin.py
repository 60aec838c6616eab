"""Signing in from a notebook or a terminal: a key is asked for without being shown."""

from __future__ import annotations

from contextlib import suppress

from lk_jupyter import config, credentials
from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.api.mfa import MfaLoginCode
from lk_jupyter.credentials import Credential
from lk_jupyter.errors import NotFound, NotSignedIn, UsageError
from lk_jupyter.runs._browser import ask_browser
from lk_jupyter.runs.hidden import hidden
from lk_jupyter.signing import SignIn, keep, server_of, use_local


def login(
    *, local: bool = False, browser: bool = False, email: str | None = None, base_url: str | None = None
) -> SignIn:
    """Sign in, and stay signed in on this machine: asks for a key without showing it.

    ``local`` uses the free local cloud of this machine, ``browser`` the web site, ``email`` asks for the password of
    an account in place of a key, ``base_url`` is another server than the configured one.
    Raises NotSignedIn when the server does not accept what was typed; then nothing is kept.
    """
    if local and (browser or email or base_url):
        raise UsageError("--local needs no --browser, no --email and no --base-url.")
    if browser and email:
        raise UsageError("Give --browser or --email, not both.")
    if local:
        return use_local()
    server = server_of(base_url)
    if email:
        return keep(_key_by_password(server, email))
    return keep(_key_from_browser(server) if browser else _asked_key(server))


def _asked_key(server: str) -> Credential:
    """Ask for the key where the reader sits, without echo."""
    text = hidden(f"API key for {server} (it is not shown): ")
    if text is None:
        raise NotSignedIn("A key cannot be asked for here without showing it: set LK_API_KEY before you start.")
    if not text:
        raise UsageError("No key was entered; nothing has changed.")
    return Credential(server, credentials.checked(text, "the prompt"))


def _key_by_password(server: str, email: str) -> Credential:
    """Open a session by password, and by a code where the account has a second factor."""
    with Client(server) as stranger:
        answer = stranger.auth.login(LoginRequest(email=email, password=_asked(f"Password of {email}")))
    with Client(server, answer.access_token) as client, suppress(NotFound):
        if client.mfa.status().enabled:
            client.mfa.verify(MfaLoginCode(code=_asked("Code of your authenticator app, or a backup code")))
    return Credential(server, answer.access_token, answer.refresh_token)


def _asked(what: str) -> str:
    answer = hidden(f"{what} (it is not shown): ")
    if not answer:
        raise NotSignedIn(f"{what}: nothing was typed, or nobody can be asked here. Nothing was kept.")
    return answer


def _key_from_browser(server: str) -> Credential:
    answer = ask_browser(config.setting("dashboard_url"), print)
    if answer.error:
        raise NotSignedIn(f"The web site did not sign you in: {answer.error}. Nothing was kept.")
    return Credential(server, credentials.checked(answer.token, "the web site"), answer.refresh_token)
