"""Connect to a server: address, key, organization, and the client that uses them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lk_jupyter._encoding import accept_every_sign
from lk_jupyter._extras import build_extra_command
from lk_jupyter._fork import renew_in_child
from lk_jupyter.api._client import Client
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config import settings
from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.config.credentials import Credential, check_key, store_key
from lk_jupyter.config.files import LOCAL, LOOPBACK
from lk_jupyter.errors import ApiError, LkError, LocalCloudError, NotSignedIn, OperationNotAvailable
from lk_jupyter.localcloud import launch
from lk_jupyter.machines.catalogue import Catalogue

if TYPE_CHECKING:
    from typing_extensions import Self

    from lk_jupyter.api._endpoint import Call
    from lk_jupyter.api.storage import StorageCredentials
    from lk_jupyter.api.vms import VMAvailability
    from lk_jupyter.connection.gate import End, Reservation, SpendingGate
    from lk_jupyter.storage.storage import Storage

ARGUMENT = "argument"
LOCAL_CLOUD = "local cloud"
CATALOGUE_SECONDS = 60.0
OFFER = (
    "%lk_login --local starts the free local cloud on this machine; %lk_login stores a key "
    '(in Python: lk_jupyter.connect("local"), lk_jupyter.login(), or the variable LK_API_KEY).'
)


@dataclass(frozen=True)
class Target:
    """Server, key and organization of a session, and the sources of these values; equal targets may share a client."""

    key: Credential
    org: str | None = None
    server_source: str = field(default="", compare=False)
    org_source: str = field(default="", compare=False)


def describe_target(target: Target) -> dict[str, str | None]:
    """Return a target for another process of this user. The result has the key: write it to a pipe only."""
    return {**asdict(target.key), "org": target.org}


def restore_target(facts: Mapping[str, str | None]) -> Target:
    """Return the target that ``describe_target`` described. Raises KeyError, TypeError."""
    key = Credential(**{each.name: facts[each.name] for each in fields(Credential)})  # type: ignore[arg-type]
    return Target(key, facts["org"], ARGUMENT, ARGUMENT if facts["org"] else "")


class Connection:
    """A key on a server: client, bucket and machines. A context manager; ``close`` closes the network connections."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._client: Client | None = None
        self._storage: Storage | None = None
        self._catalogue: Catalogue | None = None
        self._read = 0.0
        self._vm_availability: VMAvailability | None = None
        self._vm_read = -1.0
        self._opening = threading.Lock()
        self.refused_machines: set[str] = set()  # machine types that the server refused to this account
        renew_in_child(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent process may have locked."""
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

    def speaks_to(self, base_url: str) -> bool:
        """Whether this is the address of the server; a local cloud may have another port each time."""
        return base_url == self.base_url or (self.is_local and (urlsplit(base_url).hostname or "") in LOOPBACK)

    @cached_property
    def assumptions(self) -> Assumptions:
        """The assumptions about the server; the local cloud has a different address after each start."""
        return Assumptions(LOCAL if self.target.key.source == LOCAL_CLOUD else self.base_url)

    @property
    def client(self) -> Client:
        """The typed client, with a method for each operation of the API."""
        if self._client:  # an interrupt in here may have left the lock taken
            return self._client
        with self._opening:
            self._client = self._client or self._create_client()
            return self._client

    def _create_client(self) -> Client:
        key = self.target.key
        return Client(
            key.base_url,
            key.token,
            refresh_token=key.refresh_token,
            org=self.target.org,
            on_refresh=self._store_renewed_tokens,
            latest=self._read_stored_tokens,
            iris_url=None if self.is_local else settings.setting("iris_url"),
            assumptions=self.assumptions,
            is_reachable=partial(launch.holds_address, settings.setting("local_data"), key.base_url)
            if key.source == LOCAL_CLOUD
            else None,
            gate=self._reserve_spending,
        )

    @cached_property
    def gate(self) -> SpendingGate:
        """The gate that reserves the cost of each request that spends."""
        from lk_jupyter.connection.gate import SpendingGate  # noqa: PLC0415 (when a request is sent)

        return SpendingGate(self)

    def _reserve_spending(self, call: Call) -> Reservation | End | None:
        return self.gate(call) if call.endpoint.method != "GET" else None

    def _read_stored_tokens(self) -> tuple[str, str | None] | None:
        """Return the tokens that are stored for the server now; another kernel may have renewed the tokens."""
        with suppress(LkError):
            stored = settings.credential(self.base_url)
            return (stored.token, stored.refresh_token) if stored else None
        return None

    def _store_renewed_tokens(self, token: str, refresh_token: str) -> None:
        renewed = replace(self.target.key, token=token, refresh_token=refresh_token)
        self.target = replace(self.target, key=renewed)
        store_key(renewed)

    @property
    def storage(self) -> Storage:
        """The bucket of the organization that the session acts for, on temporary credentials."""
        from lk_jupyter.storage.storage import Storage  # noqa: PLC0415 (most sessions never need it)

        self._storage = self._storage or Storage(self._request_credentials, self._read_server_time)
        return self._storage

    def _read_server_time(self) -> float:
        return self.client.now()

    def _request_credentials(self) -> StorageCredentials:
        return self.client.storage.credentials()

    def machines(self) -> Catalogue:
        """Return the machine types with price per hour in credits, and which of the types this account may launch.

        Cached for a minute, so that frequent calls are cheap.
        """
        if self._catalogue is None or time.monotonic() - self._read > CATALOGUE_SECONDS:
            available = self._list_available_machines()
            self._catalogue = Catalogue.of(self._list_machine_types(available), available)
            self._read = time.monotonic()
        return self._catalogue

    def vm_availability(self) -> VMAvailability | None:
        """Return which GPUs are available now; None if the server doesn't report it. Cached as the machine types."""
        self.machines()
        if self._vm_read < self._read:
            with suppress(ApiError):
                self._vm_availability = self.client.vms.availability()
            self._vm_read = time.monotonic()
        return self._vm_availability

    def _list_machine_types(self, available: list[str]) -> list[MachineType]:
        """Return the machine types; if the server lists none, the launchable types at the prices of VMs."""
        with suppress(OperationNotAvailable):
            return list(self.client.machine_types.list())
        prices: dict[str, Decimal] = {}
        with suppress(ApiError):
            prices = self.client.pricing.get().by_card()
        named = [MachineType(hardware_profile=name) for name in available]
        return [each.model_copy(update={"price_per_hour": prices.get(each.card or "")}) for each in named]

    def _list_available_machines(self) -> list[str]:
        """Machine types that the account may launch; empty if unrestricted or not reported."""
        with suppress(ApiError):
            return self.client.user.available_hardware().available_hardware_profiles
        return []

    def close(self) -> None:
        """Close the connections, if any were opened."""
        opened, self._client = self._client, None
        if opened:
            opened.close()


def find_target(
    base_url: str | None = None, api_key: str | None = None, org: str | None = None, *, start: bool = True
) -> Target:
    """Return the target of the arguments, with settings as defaults. Raises NotSignedIn, UsageError."""
    server, server_source = _resolve_setting("base_url", base_url)
    organization, org_source = _resolve_setting("org", org)
    key = _find_key(server, start=start) if api_key is None else _build_argument_key(server, api_key)
    return Target(key, organization, server_source, org_source if organization else "")


def _resolve_setting(name: str, argument: str | None) -> settings.Resolved:
    return (
        settings.resolve(name)
        if argument is None
        else settings.Resolved(settings.parse_setting(name, argument), ARGUMENT)
    )


def _build_argument_key(server: str, text: str) -> Credential:
    address = local_cloud().base_url if server == LOCAL else server
    return Credential(address, check_key(text, "the argument api_key"), source=ARGUMENT)


def _find_key(server: str, *, start: bool) -> Credential:
    if server == LOCAL:
        cloud = local_cloud(start=start)
        return Credential(cloud.base_url, cloud.api_key, source=LOCAL_CLOUD)
    key = settings.credential(server)
    if key is None:
        raise NotSignedIn(f"Not signed in to {server}. Nothing was sent. {OFFER}")
    return key


def local_cloud(*, start: bool = True) -> launch.Address:
    """Return the local cloud of this user, and start the cloud if necessary. Raises LocalCloudError."""
    data = settings.setting("local_data")
    address = launch.find(data)
    if address is None and not start:
        raise LocalCloudError("The local cloud isn't running. Start it: %lk_login --local")
    if address is None:
        if not find_spec("uvicorn"):
            raise LocalCloudError(
                f"The local cloud isn't installed. Install its packages: {build_extra_command('local')}"
            )
        address = launch.start(data, "--simulate-gpu")  # GPU figures for plots, labeled as simulated
        accept_every_sign()
        print(f"Started the local cloud at {address.base_url} (data in {address.data}).")  # noqa: T201
    return address
