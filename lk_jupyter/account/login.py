"""Sign in from a notebook or a terminal, with a hidden prompt for the key."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from lk_jupyter.account.browser_login import PATIENCE, ask_browser
from lk_jupyter.account.prompt import prompt_confirmation, prompt_secret
from lk_jupyter.api._client import Client
from lk_jupyter.api._tokens import subject
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.api.mfa import MfaLoginCode
from lk_jupyter.api.user import UserStatus
from lk_jupyter.config import credentials, settings
from lk_jupyter.config.credentials import Credential
from lk_jupyter.connection.signin import SignIn, signin_server, store_key, use_local
from lk_jupyter.errors import LkError, NotFound, NotSignedIn, UsageError
from lk_jupyter.localcloud import launch, ticket


def login(
    *, local: bool = False, browser: bool = False, email: str | None = None, base_url: str | None = None
) -> SignIn:
    """Sign in, and stay signed in on this machine. Without arguments, ask for an API key without showing it.

    Args:
        local: Use the free local cloud of this machine.
        browser: Sign in on the website.
        email: Ask for the password of this account instead of a key.
        base_url: Address of another server than the configured one.

    Returns:
        A SignIn: the account, and where the key is stored.

    Raises:
        NotSignedIn: The server doesn't accept the key. Nothing was stored.
        UsageError: The arguments can't be combined. Nothing was changed.

    Source: ``GET /user/status``; with ``email`` also ``POST /auth/login``, ``POST /mfa/verify``

    Example:
        >>> lk_jupyter.login(local=True, browser=True)
        Traceback (most recent call last):
        lk_jupyter.errors.UsageError: ...
    """
    if local and (browser or email or base_url):
        raise UsageError("--local can't be combined with --browser, --email or --base-url. Nothing was changed.")
    if browser and email:
        raise UsageError("Give --browser or --email, not both. Nothing was changed.")
    if local:
        return use_local()
    server = signin_server(base_url)
    if email:
        return store_key(_key_by_password(server, email))
    return store_key(_key_from_browser(server) if browser else _prompt_key(server))


def _prompt_key(server: str) -> Credential:
    """Prompt for the key in the user's front end, without echo."""
    text = prompt_secret(f"API key for {server} (it is not shown): ")
    if text is None:
        raise NotSignedIn(
            "This front end can't hide a typed key, so nothing was read. Set LK_API_KEY before you start the kernel."
        )
    if not text:
        raise UsageError("No key was entered. Nothing was changed.")
    return Credential(server, credentials.check_key(text, "the prompt"))


def _key_by_password(server: str, email: str) -> Credential:
    """Open a session by password, and by a code where the account has a second factor."""
    with Client(server) as stranger:
        answer = stranger.auth.login(LoginRequest(email=email, password=_prompt_or_fail(f"Password of {email}")))
    with Client(server, answer.access_token) as client, suppress(NotFound):
        if client.mfa.status().enabled:
            client.mfa.verify(MfaLoginCode(code=_prompt_or_fail("Code of your authenticator app, or a backup code")))
    return Credential(server, answer.access_token, answer.refresh_token)


def _prompt_or_fail(what: str) -> str:
    answer = prompt_secret(f"{what} (it is not shown): ")
    if not answer:
        raise NotSignedIn(f"{what}: nothing was entered. Nothing was changed.")
    return answer


def _key_from_browser(server: str) -> Credential:
    dashboard, data = settings.setting("dashboard_url"), settings.setting("local_data")
    is_local = launch.holds_address(data, dashboard)
    try:
        answer = ask_browser(dashboard, print, proof=partial(_login_pass, data) if is_local else None)
    finally:
        if is_local:
            ticket.renew(data)  # a pass that was not used is in the command line of a browser
    if answer.error:
        raise NotSignedIn(f"The website didn't sign you in: {answer.error}. Nothing was changed.")
    key = Credential(server, credentials.check_key(answer.token, "the website"), answer.refresh_token)
    _check_account(key)
    return key


def _login_pass(data: Path, callback: str) -> dict[str, str]:
    return {"pass": ticket.make_pass(data, callback, PATIENCE)}


def _check_account(key: Credential) -> None:
    """Ask before the account changes: a web site may have signed the browser in to another person's account."""
    before = None
    with suppress(LkError):
        before = settings.credential(key.base_url)
    newer = _read_account(key) if before else None
    if before is None or newer is None or (subject(before.token) or "nobody") == subject(key.token):
        return
    older = _read_account(before)
    if older and older.user_id == newer.user_id:
        return
    name = newer.email or newer.user_id or "an account without a name"
    until_now = (older and (older.email or older.user_id)) or "an account whose key has expired"
    if not prompt_confirmation(
        f"You are now signed in as {name}. Before, you were signed in as {until_now}. Keep the new account? [y/N] "
    ):
        raise NotSignedIn(
            f"You signed in as '{name}' on the website, but lk_jupyter is signed in as '{until_now}'. Nothing was "
            "changed. To change the account: %lk_logout, then %lk_login --browser"
        )


def _read_account(key: Credential) -> UserStatus | None:
    """Return the account of a key; None if the server doesn't report it."""
    with suppress(LkError), Client(key.base_url, key.token) as client:
        return client.user.status()
    return None
