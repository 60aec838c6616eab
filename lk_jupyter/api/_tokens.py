"""The user's credential: an API key, or a session (JWT) that is renewed before expiry."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from lk_jupyter._fork import renew_in_child
from lk_jupyter.errors import (
    ApiError,
    ConnectionFailed,
    NotSignedIn,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    UsageError,
)
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.text.secrets import register_secrets

#: A session is renewed when this number of seconds or fewer remain.
MARGIN = 300

#: Exchanges a refresh token for an access token and, from some servers, a new refresh token.
Trade = Callable[[SecretStr], tuple[str, str | None]]


#: An access token and its refresh token.
Pair = tuple[str, "str | None"]


def secret(text: str | None) -> SecretStr | None:
    """Wrap a token so that no message or traceback shows the token; None for an empty text.

    Raises UsageError for characters that no token contains.
    """
    stripped = SecretStr((text or "").strip())
    del text
    if not all("!" <= letter <= "~" for letter in stripped.get_secret_value()):
        raise UsageError(
            "The API key contains spaces or other invalid characters. Nothing was sent. Copy it again: %lk_login"
        )
    register_secrets(stripped.get_secret_value())
    return stripped or None


def expiry(token: SecretStr) -> float | None:
    """Return the expiry of a JWT in Unix seconds, from the unverified token; None without an expiry."""
    try:
        return float(_parse_claims(token)["exp"])
    except (ValueError, KeyError, TypeError):
        return None


def subject(token: str) -> str | None:
    """Return the user in an unverified JWT; None without a user."""
    named = _parse_claims(SecretStr(token)).get("sub")
    return str(named) if named else None


def _parse_claims(token: SecretStr) -> dict[str, Any]:
    """Return the claims of a JWT; empty for another token."""
    try:
        payload = token.get_secret_value().split(".")[1]
        claims = load_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


class ServerEnded(ConnectionFailed):
    """The server has ended, so another program may use its address by now; nothing was sent."""


class Tokens:
    """The credential of requests; safe to use from several threads.

    ``on_refresh(access_token, refresh_token)`` is called after each renewal, to store the pair. ``latest()``
    returns the stored pair: if another program has renewed the session, only the stored pair is valid, since a
    refresh token works once. ``is_there()`` is called before a token is returned, if the server is on this machine
    and another program might use its address.
    """

    def __init__(  # noqa: PLR0913 (the facts of one session)
        self,
        access: SecretStr | None,
        refresh: SecretStr | None,
        *,
        trade: Trade,
        on_refresh: Callable[[str, str], None] | None,
        latest: Callable[[], Pair | None] | None = None,
        is_reachable: Callable[[], bool] | None = None,
    ) -> None:
        is_key = access is not None and access.get_secret_value().startswith("lk_")
        self._access = access
        self._refresh = None if is_key else refresh
        self._ends = expiry(access) if access and not is_key else None
        self._trade = trade
        self._on_refresh = on_refresh
        self._latest = latest
        self._is_reachable = is_reachable
        self._renewing = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock, which a thread of the parent may have locked."""
        self._renewing = threading.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there is a refresh token."""
        return self._refresh is not None

    def usable_token(self) -> SecretStr:
        """Return the token to send, renewed shortly before expiry.

        Raises NotSignedIn without a token, ServerEnded after the end of the server.
        """
        token = self._access
        if token is None:
            raise NotSignedIn("You aren't signed in. Nothing was sent. Run %lk_login, or set LK_API_KEY.")
        if self._is_reachable and not self._is_reachable():
            raise ServerEnded("The local cloud has stopped. Nothing was sent. Start it: %lk_login --local")
        due = self._ends is not None and self._ends - time.time() <= MARGIN
        return self.newer_token(token) if due and self.renewable else token

    def newer_token(self, used: SecretStr) -> SecretStr:
        """Return a newer token than ``used``; if several threads call, one thread renews for all.

        Raises NotSignedIn if the server doesn't renew the session.
        """
        with self._renewing:
            if (self._access is None or self._access == used) and not self._adopt_newer():
                self._access = self._renew()
            return self._access or used

    def hide(self, text: str) -> str:
        """Remove the tokens from a server's text."""
        for token in filter(None, (self._access, self._refresh)):
            text = text.replace(token.get_secret_value(), "…")
        return text

    def _adopt_newer(self) -> bool:
        """Use the stored pair if the pair is newer and of the same user; return whether its token is still valid."""
        access, refresh = map(secret, (self._latest and self._latest()) or (None, None))
        if access is None or refresh is None or access == self._access:
            return False
        if self._access is not None and _parse_claims(access).get("sub") != _parse_claims(self._access).get("sub"):
            return False
        self._access, self._refresh, self._ends = access, refresh, _compute_renewal_time(access)
        ends = expiry(access)
        return ends is None or ends > time.time()

    def _renew(self) -> SecretStr:
        assert self._refresh is not None  # noqa: S101 (callers ask renewable first)
        try:
            access, refresh = map(secret, self._trade(self._refresh))
        except ApiError as error:
            if self._adopt_newer() and self._access:  # another program was faster
                return self._access
            if isinstance(error, ServerError | RateLimited):
                raise ConnectionFailed(
                    f"Your session couldn't be renewed: the server answered HTTP {error.status}. Try again in a "
                    "minute, or sign in again: %lk_login"
                ) from None
            raise NotSignedIn(f"Your session has expired (HTTP {error.status}). Sign in again: %lk_login") from None
        except OutcomeUnknown:
            raise ConnectionFailed("Your session couldn't be renewed: the answer was lost. Try again.") from None
        if access is None:
            raise NotSignedIn("Your session wasn't renewed: the server sent no token. Sign in again: %lk_login")
        self._refresh = refresh or self._refresh
        self._ends = _compute_renewal_time(access)
        if self._on_refresh:
            self._on_refresh(access.get_secret_value(), self._refresh.get_secret_value())
        return access


def _compute_renewal_time(fresh: SecretStr) -> float | None:
    """Return the time at which a new token must be renewed; None if the token looks expired already.

    Then this machine's clock is wrong or tokens are short-lived, and the server's 401 is a better sign.
    """
    ends = expiry(fresh)
    return ends if ends is not None and ends - time.time() > MARGIN else None
