"""Store and delete keys: shared by ``%lk_login`` and the panel in JupyterLab."""

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
    """A sign-in, returned by ``login``.

    ``base_url`` is the server, ``kept_in`` the place of the stored key, ``overruled_by`` the environment variables that
    override the key.

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
        return "\n".join(
            [sentence, *(f"But the environment variable {name} overrides this key." for name in self.overruled_by)]
        )


def signin_server(base_url: str | None = None) -> str:
    """Return the server of a sign-in: the argument, else the server in use, else (for the local cloud) the default.

    Raises UsageError for the local cloud itself, which needs no key.
    """
    server: str = settings.setting("base_url") if base_url is None else settings.parse_setting("base_url", base_url)
    if base_url is None and server == LOCAL:
        return DEFAULT_SERVER
    if server == LOCAL:
        raise UsageError("The local cloud needs no key: %lk_login --local.")
    return server


def sign_in(key: str, base_url: str | None = None, *, typed_in: str) -> SignIn:
    """Sign in with a typed key, and store the key; errors as in :func:`store_key`."""
    return store_key(Credential(signin_server(base_url), credentials.check_key(key.strip(), typed_in)))


def store_key(key: Credential) -> SignIn:
    """Check a key, store it, and make its server the server in use.

    Raises NotSignedIn if the server doesn't accept the key; in this case nothing is stored.
    """
    fresh_key = _check_key(key)
    store = credentials.store_key(fresh_key)
    _set_server(fresh_key.base_url)
    return SignIn(fresh_key.base_url, store, _list_overriding_variables(fresh_key.base_url))


def use_local() -> SignIn:
    """Make the local cloud of this machine the server in use, and start the cloud if necessary."""
    cloud = local_cloud()
    settings.save("base_url", LOCAL)
    return SignIn(cloud.base_url, f"its data folder {cloud.data}", _list_overriding_variables(LOCAL))


def logout() -> list[str]:
    """Delete the stored key of the server in use; return messages about the result and about remaining keys."""
    server = settings.setting("base_url")
    if server == LOCAL:
        settings.save("base_url", None)
        done = "Signed out of the local cloud. It keeps running and keeps its data."
    elif credentials.delete_key(server):
        done = f"Deleted the key for {server}."
    else:
        done = f"No key was stored for {server}."
    return [done, *_describe_other_sign_ins()]


def _describe_other_sign_ins() -> list[str]:
    server, source = settings.resolve("base_url")
    if server == LOCAL:
        return [f"{source} is still set to the local cloud, which needs no key."]
    stored = settings.credential(server)
    return [f"You are still signed in to {server} through {stored.source}."] if stored else []


def _check_key(key: Credential) -> Credential:
    """Return the key after a request with this key, which may have renewed the key.

    Raises NotSignedIn if the server doesn't accept the key.
    """
    try:
        with Connection(Target(key)) as connection:
            _send_test_request(connection)
            return connection.target.key
    except Unauthorized as refusal:
        raise NotSignedIn(f"{key.base_url} doesn't accept this key ({refusal.detail}). Nothing was changed.") from None


def _send_test_request(connection: Connection) -> None:
    """Send a request that needs the key: the assumed request, else another request that the server supports."""
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
            assumed.store_finding("signin_lookup", name)
            return
    raise OperationNotAvailable(first, connection.base_url)


def _set_server(server: str) -> None:
    """Make a server the server in use."""
    for value in (None, server):
        if settings.setting("base_url") != server:
            settings.save("base_url", value)


def _list_overriding_variables(server: str) -> tuple[str, ...]:
    """Return the environment variables that override the stored settings."""
    used, source = settings.resolve("base_url")
    if used != server:
        return (source,)
    key = None if server == LOCAL else settings.credential(server)
    return (key.source,) if key and key.source in KEY_VARIABLES else ()
