"""The typed client: an attribute for each group of operations."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._connection import is_web_address
from lk_jupyter.api._endpoint import EXTERNAL, Call, endpoint_of
from lk_jupyter.api._events import StreamEvent
from lk_jupyter.api._http import EventStream, Http
from lk_jupyter.api._models import Paged
from lk_jupyter.api._tokens import Pair, Tokens, secret
from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.config.files import DEFAULT_SERVER

if TYPE_CHECKING:
    from typing_extensions import Self

    from lk_jupyter.api.auth import Auth
    from lk_jupyter.api.batches import Batches
    from lk_jupyter.api.billing import Billing
    from lk_jupyter.api.block import Block
    from lk_jupyter.api.environment_variables import EnvironmentVariables
    from lk_jupyter.api.execution import Execution, Stream
    from lk_jupyter.api.files import Files
    from lk_jupyter.api.health import Health
    from lk_jupyter.api.inference import Inference
    from lk_jupyter.api.invites import Invites
    from lk_jupyter.api.iris import Iris
    from lk_jupyter.api.logs import Logs
    from lk_jupyter.api.machine_types import MachineTypes
    from lk_jupyter.api.mfa import Mfa
    from lk_jupyter.api.openai import OpenAI
    from lk_jupyter.api.orgs import Orgs
    from lk_jupyter.api.pricing import Pricing
    from lk_jupyter.api.serverless import Serverless
    from lk_jupyter.api.storage import StorageGroup
    from lk_jupyter.api.user import User
    from lk_jupyter.api.vms import Vms
    from lk_jupyter.api.voucher import Voucher
    from lk_jupyter.api.workloads import Workloads

#: Server → its Iris host, if the host isn't below the server's own address.
IRIS_HOSTS = {DEFAULT_SERVER: "https://iris.lyceum.technology"}


def _create_lazy_group(kind: str) -> Any:
    """Return a property that imports a group of operations on first use, because imports take time."""
    module, _, name = kind.rpartition(".")
    return cached_property(lambda client: getattr(import_module(f"lk_jupyter.api.{module}"), name)(client._send))


class Client:
    """The operations of a server, called as one account.

    ``base_url`` is the host part, such as ``https://api.lyceum.technology``; ``iris_url`` is the host part of
    dedicated deployments, if different from the default. ``token`` is an API key (``lk_…``) or a session's access
    token. ``refresh_token`` renews an expired access token; ``on_refresh(access_token, refresh_token)`` then stores
    the pair, and ``latest()`` returns the stored pair, which another program may have renewed. ``org`` is the slug
    of the organization. ``is_there()`` is called before each signed request. ``timeout`` is in seconds. ``backoff``
    multiplies the pauses between attempts. ``assumptions`` are the assumptions about the server. ``gate(call)`` is
    called before each operation: the gate raises for a forbidden request, and returns an observer of the outcome
    (``confirm``, ``fail``, and ``follow`` for a stream), or None.

    A client may be used from several threads. Operations raise the errors of ``lk_jupyter.errors``.
    """

    auth: Auth = _create_lazy_group("auth.Auth")
    batches: Batches = _create_lazy_group("batches.Batches")
    billing: Billing = _create_lazy_group("billing.Billing")
    block: Block = _create_lazy_group("block.Block")
    environment_variables: EnvironmentVariables = _create_lazy_group("environment_variables.EnvironmentVariables")
    execution: Execution = _create_lazy_group("execution.Execution")
    invites: Invites = _create_lazy_group("invites.Invites")
    files: Files = _create_lazy_group("files.Files")
    health: Health = _create_lazy_group("health.Health")
    inference: Inference = _create_lazy_group("inference.Inference")
    iris: Iris = _create_lazy_group("iris.Iris")
    logs: Logs = _create_lazy_group("logs.Logs")
    machine_types: MachineTypes = _create_lazy_group("machine_types.MachineTypes")
    mfa: Mfa = _create_lazy_group("mfa.Mfa")
    openai: OpenAI = _create_lazy_group("openai.OpenAI")
    orgs: Orgs = _create_lazy_group("orgs.Orgs")
    pricing: Pricing = _create_lazy_group("pricing.Pricing")
    serverless: Serverless = _create_lazy_group("serverless.Serverless")
    storage: StorageGroup = _create_lazy_group("storage.StorageGroup")
    stream: Stream = _create_lazy_group("execution.Stream")
    user: User = _create_lazy_group("user.User")
    vms: Vms = _create_lazy_group("vms.Vms")
    voucher: Voucher = _create_lazy_group("voucher.Voucher")
    workloads: Workloads = _create_lazy_group("workloads.Workloads")

    def __init__(  # noqa: PLR0913 (what it takes to reach an account)
        self,
        base_url: str,
        token: str | None = None,
        *,
        refresh_token: str | None = None,
        org: str | None = None,
        on_refresh: Callable[[str, str], None] | None = None,
        latest: Callable[[], Pair | None] | None = None,
        iris_url: str | None = None,
        assumptions: Assumptions | None = None,
        is_reachable: Callable[[], bool] | None = None,
        gate: Callable[[Call], Any] | None = None,
        timeout: float = 30.0,
        backoff: float = 1.0,
    ) -> None:
        tokens = Tokens(
            secret(token),
            secret(refresh_token),
            trade=self._refresh_tokens,
            on_refresh=on_refresh,
            latest=latest,
            is_reachable=is_reachable,
        )
        iris = iris_url or IRIS_HOSTS.get(base_url.rstrip("/").removesuffix(EXTERNAL))
        self.assumptions = assumptions or Assumptions(base_url.rstrip("/").removesuffix(EXTERNAL))
        self._gate = gate
        self._http = Http(
            base_url, tokens, iris_url=iris, org=org, assumptions=self.assumptions, timeout=timeout, backoff=backoff
        )

    @property
    def base_url(self) -> str:
        """The host part of the server's address."""
        return self._http.base_url

    def address(self, path: str) -> str:
        """Return the full address of a path that starts with the prefix of a server."""
        return self._http.address(path)

    def sign(self, headers: MutableMapping[str, str], *, keys_apart: bool = False) -> None:
        """Sign the request of another client with the session's token, renewed shortly before expiry.

        ``keys_apart`` sends an API key as X-Api-Key, as Anthropic-style clients do.
        """
        self._http.sign(headers, keys_apart=keys_apart)

    def now(self) -> float:
        """Return the current time in Unix seconds by the server's clock, according to the last answer."""
        return time.time() + self._http.ahead

    @property
    def is_closed(self) -> bool:
        """Whether the client is closed, so that each request fails."""
        return self._http.is_closed

    def wait_until_closed(self, seconds: float) -> bool:
        """Wait at most this long until another thread closes the client; return whether the client is closed."""
        return self._http.wait_until_closed(seconds)

    @property
    def cloud_url(self) -> str:
        """The address of the cloud: the base URL, or the address that a broker reports. Ports of runs are there."""
        return self._http.cloud_url

    @property
    def has_broker(self) -> bool:
        """Whether the last answers came from a broker: it deletes the VMs of its keys, and its keys issue no keys."""
        return self._http.has_broker

    @property
    def lease_end(self) -> int | None:
        """The moment in Unix seconds at which the key ends, as a broker reports it; None for other keys."""
        return self._http.lease_end

    @property
    def utc_now(self) -> datetime:
        """Return the current time by the server's clock."""
        return datetime.fromtimestamp(self.now(), timezone.utc)

    @property
    def org_headers(self) -> dict[str, str]:
        """The headers that select the organization; empty for the default organization."""
        return dict(self._http.org_headers)

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def follow(self, execution_id: str, streaming_url: str | None = None) -> EventStream[StreamEvent]:
        """Return the output of a run as events, from the start of the server's stream.

        ``streaming_url`` is the address from the start of the run. Without a valid HTTP address, the stream is
        requested by the run's id. The stream ends when the server closes the connection, with or without a
        Finished event. ``close()`` ends the stream from any thread. Raises NotFound if the run has no stream
        (any more), ConnectionFailed if the connection breaks.
        """
        from lk_jupyter.api.execution import Stream  # noqa: PLC0415 (as each group, on first use)

        call = endpoint_of(Stream.output).call(execution_id)
        address = SecretStr(streaming_url) if streaming_url and is_web_address(streaming_url) else None
        return self._http.stream(call, address)

    def probe(self, method: str, path: str, body: Any = None, *, is_signed: bool = True) -> RawAnswer:
        """Send a request to a path that starts with the prefix of a server, and return the unparsed answer.

        Raises ConnectionFailed without an answer, OutcomeUnknown after a lost answer.
        """
        return self._http.probe(method, path, body, is_signed=is_signed)

    def _send(self, call: Call) -> Any:
        reservation = self._gate(call) if self._gate else None
        if call.endpoint.streams:
            stream = self._http.stream(call)
            return stream.passed(reservation.follow) if reservation else stream
        try:
            answer = self._http.send(call)
        except BaseException as error:
            if reservation:
                reservation.fail(error)
            raise
        if reservation:
            reservation.confirm(answer)
        if isinstance(answer, Paged):
            answer._query = call.query
            answer._fetch = lambda changes: self._send(replace(call, query={**call.query, **changes}))
        return answer

    def _refresh_tokens(self, refresh_token: SecretStr) -> tuple[str, str | None]:
        from lk_jupyter.api.auth import RefreshRequest  # noqa: PLC0415 (as each group, on first use)

        pair = self.auth.refresh(RefreshRequest(refresh_token=refresh_token.get_secret_value()))
        return pair.access_token, pair.refresh_token
