"""Keeping a key and forgetting it: what ``%lk_login`` and the panel in JupyterLab do alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lk_jupyter.config import credentials, settings
from lk_jupyter.config.credentials import Credential
from lk_jupyter.config.files import DEFAULT_SERVER, KEY_VARIABLES, LOCAL
from lk_jupyter.connection.connection import Connection, Target, local_cloud
from lk_jupyter.errors import NotSignedIn, OperationNotAvailable, Unauthorized, UsageError


@dataclass(frozen=True)
class SignIn:
    """A sign-in, as ``login`` returns it.

    ``base_url`` is the server, ``kept_in`` where its key is stored, ``overruled_by`` the environment variables that
    override it.

    Example:
        >>> from lk_jupyter.connection.signin import SignIn
        >>> print(SignIn("https://api.lyceum.technology", "the keyring"))
        Signed in to https://api.lyceum.technology; the key is stored in the keyring.
    """

    base_url: str
    kept_in: str
    overruled_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        sentence = f"Signed in to {self.base_url}; the key is stored in {self.kept_in}."
        return "\n".join([sentence, *(f"But {name} in the environment overrides it." for name in self.overruled_by)])


def signin_server(base_url: str | None = None) -> str:
    """Return the server that a sign-in is for: this one, else the one in use; after the local cloud the default one.

    Raises UsageError for the local cloud itself, which needs no key.
    """
    server: str = settings.setting("base_url") if base_url is None else settings.parsed("base_url", base_url)
    if base_url is None and server == LOCAL:
        return DEFAULT_SERVER
    if server == LOCAL:
        raise UsageError("The local cloud needs no key: %lk_login --local.")
    return server


def sign_in(key: str, base_url: str | None = None, *, typed_in: str) -> SignIn:
    """Sign in with a key that was typed somewhere, and keep it; errors as in :func:`keep`."""
    return keep(Credential(signin_server(base_url), credentials.checked(key.strip(), typed_in)))


def keep(key: Credential) -> SignIn:
    """Try a key, keep it, and make its server the one in use.

    Raises NotSignedIn when the server does not accept the key; then nothing is kept.
    """
    fresh_key = _renewed(key)
    store = credentials.store(fresh_key)
    _use(fresh_key.base_url)
    return SignIn(fresh_key.base_url, store, _overruling(fresh_key.base_url))


def use_local() -> SignIn:
    """Make the local cloud of this machine the server in use, started when it does not run."""
    cloud = local_cloud()
    settings.save("base_url", LOCAL)
    return SignIn(cloud.base_url, f"its data folder {cloud.data}", _overruling(LOCAL))


def logout() -> list[str]:
    """Forget the key that was stored for the server in use; return what was done and what still signs in."""
    server = settings.setting("base_url")
    if server == LOCAL:
        settings.save("base_url", None)
        done = "The local cloud is no longer the server. It keeps running and keeps its data."
    elif credentials.forget(server):
        done = f"Deleted the key for {server}."
    else:
        done = f"No key was stored for {server}."
    return [done, *_still_signing_in()]


def _still_signing_in() -> list[str]:
    server, source = settings.resolve("base_url")
    if server == LOCAL:
        return [f"{source} still names the local cloud, which needs no key."]
    stored = settings.credential(server)
    return [f"You are still signed in to {server} through {stored.source}."] if stored else []


def _renewed(key: Credential) -> Credential:
    """Return the key after one call with it, which may have renewed it.

    Raises NotSignedIn when the server does not accept it.
    """
    try:
        with Connection(Target(key)) as connection:
            _look_in(connection)
            return connection.target.key
    except Unauthorized as refusal:
        raise NotSignedIn(f"{key.base_url} doesn't accept this key ({refusal.detail}). Nothing was changed.") from None


def _look_in(connection: Connection) -> None:
    """Make one call that needs the key: the assumed one, else another that the server has."""
    client, assumed = connection.client, connection.assumptions
    calls: dict[str, Callable[[], object]] = {
        "GET /machine-types": client.machine_types.list,
        "GET /user/status": client.user.status,
        "GET /user/org": client.user.org,
        "GET /workloads/list": client.workloads.list,
    }
    first = assumed["signin_lookup"]
    for name in dict.fromkeys((first, *calls)):
        with suppress(OperationNotAvailable):
            calls[name]()
            assumed.learn("signin_lookup", name)
            return
    raise OperationNotAvailable(first, connection.base_url)


def _use(server: str) -> None:
    """Make a server the one in use, if it is not."""
    for value in (None, server):
        if settings.setting("base_url") != server:
            settings.save("base_url", value)


def _overruling(server: str) -> tuple[str, ...]:
    """Variables that are used in place of what was just kept."""
    used, source = settings.resolve("base_url")
    if used != server:
        return (source,)
    key = None if server == LOCAL else settings.credential(server)
    return (key.source,) if key and key.source in KEY_VARIABLES else ()
