"""Who am I talking to: a server, a key, an organization, and the client that carries them."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lk_jupyter import config
from lk_jupyter.api._client import Client
from lk_jupyter.config import LOCAL, LOOPBACK
from lk_jupyter.credentials import Credential, checked, store
from lk_jupyter.errors import LkError, LocalCloudError, NotSignedIn
from lk_jupyter.localcloud import launch

if TYPE_CHECKING:
    from typing_extensions import Self

ARGUMENT = "argument"
OFFER = (
    "%lk_login --local starts the free local cloud on this machine, %lk_login stores a key "
    '(in Python: lk_jupyter.connect("local"), lk_jupyter.login(), or the variable LK_API_KEY).'
)


@dataclass(frozen=True)
class Target:
    """What a session talks to, and where that was set; equal ones may share a client."""

    key: Credential
    org: str | None = None
    server_source: str = field(default="", compare=False)
    org_source: str = field(default="", compare=False)


class Connection:
    """A key on a server, and the client that uses it. A context manager; ``close`` ends its connections."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._client: Client | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r}, org={self.target.org!r}, key from {self.target.key.source!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Address of the server, such as https://api.lyceum.technology."""
        return self.target.key.base_url

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine."""
        return (urlsplit(self.base_url).hostname or "") in LOOPBACK

    @property
    def client(self) -> Client:
        """The typed client, one method for each operation of the API."""
        with self._opening:
            self._client = self._client or self._open()
            return self._client

    def _open(self) -> Client:
        key = self.target.key
        return Client(
            key.base_url,
            key.token,
            refresh_token=key.refresh_token,
            org=self.target.org,
            on_refresh=self._keep_renewed,
            latest=self._stored_pair,
            iris_url=None if self.is_local else config.setting("iris_url"),
        )

    def _stored_pair(self) -> tuple[str, str | None] | None:
        """Return the tokens that are stored for the server by now; another kernel may have renewed them."""
        with suppress(LkError):
            found = config.credential(self.base_url)
            return (found.token, found.refresh_token) if found else None
        return None

    def _keep_renewed(self, token: str, refresh_token: str) -> None:
        renewed = replace(self.target.key, token=token, refresh_token=refresh_token)
        self.target = replace(self.target, key=renewed)
        store(renewed)

    def close(self) -> None:
        """Close the connections, if any were opened."""
        opened, self._client = self._client, None
        if opened:
            opened.close()


def find_target(
    base_url: str | None = None, api_key: str | None = None, org: str | None = None, *, start: bool = True
) -> Target:
    """Return what the arguments and, for what is not given, the settings name. Raises NotSignedIn, UsageError."""
    server, server_source = _chosen("base_url", base_url)
    organization, org_source = _chosen("org", org)
    key = _own_key(server, start=start) if api_key is None else _given_key(server, api_key)
    return Target(key, organization, server_source, org_source if organization else "")


def _chosen(name: str, given: str | None) -> config.Resolved:
    return config.resolve(name) if given is None else config.Resolved(config.parsed(name, given), ARGUMENT)


def _given_key(server: str, text: str) -> Credential:
    address = local_cloud().base_url if server == LOCAL else server
    return Credential(address, checked(text, "the argument api_key"), source=ARGUMENT)


def _own_key(server: str, *, start: bool) -> Credential:
    if server == LOCAL:
        cloud = local_cloud(start=start)
        return Credential(cloud.base_url, cloud.api_key, source="local cloud")
    key = config.credential(server)
    if key is None:
        raise NotSignedIn(f"No key for {server}. {OFFER}")
    return key


def _check_extra() -> None:
    if not find_spec("uvicorn"):
        raise LocalCloudError(
            'The local cloud is an extra of this package. Install it: pip install "lk-jupyter[local]"'
        )


def local_cloud(*, start: bool = True) -> launch.Address:
    """Return the local cloud of this user, started when it does not run. Raises LocalCloudError."""
    data = config.setting("local_data")
    address = launch.find(data)
    if address is None and not start:
        raise LocalCloudError("The local cloud does not run. %lk_login --local starts it.")
    if address is None:
        _check_extra()
        address = launch.start(data)
        print(f"Started the local cloud at {address.base_url} (data in {address.data}).")  # noqa: T201
    return address
