"""Keeping a key and forgetting it: what ``%lk_login`` and the panel in JupyterLab do alike."""

from __future__ import annotations

from dataclasses import dataclass

from lk_jupyter import config, credentials
from lk_jupyter._userfiles import DEFAULT_SERVER
from lk_jupyter.config import LOCAL
from lk_jupyter.connection import Connection, Target, local_cloud
from lk_jupyter.credentials import Credential
from lk_jupyter.errors import NotSignedIn, Unauthorized, UsageError


@dataclass(frozen=True)
class SignIn:
    """The server that is now used, where its key is kept, and what in the environment overrules that."""

    base_url: str
    kept_in: str
    overruled_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"Signed in to {self.base_url}; the key is kept in {self.kept_in}."
        return "\n".join(
            [said, *(f"But {name} in the environment is used in its place." for name in self.overruled_by)]
        )


def server_of(base_url: str | None = None) -> str:
    """Return the server that a sign-in is for: this one, else the one in use; after the local cloud the default one.

    Raises UsageError for the local cloud itself, which needs no key.
    """
    server: str = config.setting("base_url") if base_url is None else config.parsed("base_url", base_url)
    if base_url is None and server == LOCAL:
        return DEFAULT_SERVER
    if server == LOCAL:
        raise UsageError("The local cloud needs no key: %lk_login --local.")
    return server


def sign_in(key: str, base_url: str | None = None, *, typed_in: str) -> SignIn:
    """Sign in with a key that was typed somewhere, and keep it; errors as in :func:`keep`."""
    return keep(Credential(server_of(base_url), credentials.checked(key.strip(), typed_in)))


def keep(key: Credential) -> SignIn:
    """Try a key, keep it, and make its server the one in use.

    Raises NotSignedIn when the server does not accept the key; then nothing is kept.
    """
    tried = _tried(key)
    kept_in = credentials.store(tried)
    _use(tried.base_url)
    return SignIn(tried.base_url, kept_in, _overruling(tried.base_url))


def use_local() -> SignIn:
    """Make the local cloud of this machine the server in use, started when it does not run."""
    cloud = local_cloud()
    config.save("base_url", LOCAL)
    return SignIn(cloud.base_url, f"its data folder {cloud.data}", _overruling(LOCAL))


def logout() -> list[str]:
    """Forget the key that was stored for the server in use; return what was done and what still signs in."""
    server = config.setting("base_url")
    if server == LOCAL:
        config.save("base_url", None)
        done = "The local cloud is no longer the server; it runs on and keeps its data."
    elif credentials.forget(server):
        done = f"Forgot the key for {server}."
    else:
        done = f"No key was stored for {server}."
    return [done, *_still_signing_in()]


def _still_signing_in() -> list[str]:
    server, source = config.resolve("base_url")
    if server == LOCAL:
        return [f"{source} still names the local cloud, which needs no key."]
    left = config.credential(server)
    return [f"You are still signed in to {server} by {left.source}."] if left else []


def _tried(key: Credential) -> Credential:
    """Return the key after one call with it, which may have renewed it.

    Raises NotSignedIn when the server does not accept it.
    """
    try:
        with Connection(Target(key)) as connection:
            connection.client.machine_types.list()
            return connection.target.key
    except Unauthorized as refusal:
        raise NotSignedIn(f"{key.base_url} does not accept this key ({refusal.detail}). Nothing was kept.") from None


def _use(server: str) -> None:
    """Make a server the one in use, if it is not."""
    for value in (None, server):
        if config.setting("base_url") != server:
            config.save("base_url", value)


def _overruling(server: str) -> tuple[str, ...]:
    """Variables that are used in place of what was just kept."""
    used, source = config.resolve("base_url")
    if used != server:
        return (source,)
    key = None if server == LOCAL else config.credential(server)
    return (key.source,) if key and key.source in credentials.ENVIRONMENT else ()
