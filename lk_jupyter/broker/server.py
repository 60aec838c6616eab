"""The server process of a broker: a data folder, a listener, and a line of output when it is ready."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import signal
import socket
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from lk_jupyter.broker.app import Broker, create_app
from lk_jupyter.broker.hub import HubBudgets, HubService, HubUsers, read_access_scopes
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.broker.operator import ADDRESS_FILE
from lk_jupyter.broker.upstream import OrganizationClient
from lk_jupyter.config.files import write_private
from lk_jupyter.config.serving import GOODBYE_SECONDS, KEEP_ALIVE_SECONDS, listen, lock_folder
from lk_jupyter.errors import UsageError


@dataclass(frozen=True)
class ListenOptions:
    """Where a broker listens, and what it reserves: ``margin`` are seconds besides the time limit of a run.

    ``hub_url`` is the address of the API of a JupyterHub, whose users have the ``budgets``; ``hub_service`` is the
    broker as a service with pages in this hub. ``prices`` are the operator's prices of machine types without a
    published price, in billionths per hour.
    """

    port: int
    margin: int
    host: str = "127.0.0.1"
    certificate: Path | None = None
    private_key: Path | None = None
    hub_url: str = ""
    budgets: HubBudgets | None = None
    hub_service: HubService | None = None
    prices: Mapping[str, int] = field(default_factory=dict)


def serve(data: Path, upstream_url: str, upstream_key: str, options: ListenOptions) -> None:
    """Run a broker until a signal ends it. Raises UsageError if the data folder or the port is in use."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    lock = _lock_data(data)
    listener = _open_listener(options)
    ledger = GrantLedger(data / "ledger.sqlite")
    operator_key = _read_operator_key(data)
    ledger.add_root(operator_key)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # uvicorn handles these signals
    scheme = "https" if options.certificate else "http"
    base_url = f"{scheme}://{options.host}:{listener.getsockname()[1]}"
    stream_secret = hashlib.sha256(f"addresses of outputs {operator_key}".encode()).digest()
    try:
        upstream = OrganizationClient(upstream_url, upstream_key, options.prices)
        budgets, service = options.budgets, options.hub_service
        scopes = read_access_scopes(os.environ)
        hub_users = HubUsers(ledger, options.hub_url, budgets, scopes, service) if budgets else None
        broker = Broker(ledger, upstream, options.margin, stream_secret, hub_users)
        write_private(
            data / ADDRESS_FILE, json.dumps({"base_url": base_url, "api_key": operator_key, "pid": os.getpid()})
        )
        ready_line = json.dumps({"base_url": base_url, "data": str(data)})
        asyncio.run(_serve_broker(broker, upstream, options, listener, ready_line))
    finally:
        ledger.close()
        lock.close()


async def _serve_broker(
    broker: Broker, upstream: OrganizationClient, options: ListenOptions, listener: socket.socket, ready_line: str
) -> None:
    config = uvicorn.Config(
        create_app(broker),
        log_level="warning",
        lifespan="off",
        access_log=False,  # addresses of outputs are secrets
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.private_key,
    )
    watching = asyncio.create_task(broker.keeper.watch())
    print(ready_line, flush=True)  # noqa: T201 (starters wait for it)
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await broker.close()
        await upstream.close()


def _read_operator_key(data: Path) -> str:
    """Return the operator's key of a data folder; create it at the first start."""
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((data / ADDRESS_FILE).read_text())["api_key"])
    key = f"lk_{secrets.token_urlsafe(32)}"
    write_private(data / ADDRESS_FILE, json.dumps({"api_key": key}))
    return key


def _lock_data(data: Path) -> sqlite3.Connection:
    """Lock the data folder for this process. Raises UsageError."""
    lock = lock_folder(data)
    if lock is None:
        raise UsageError(f"A broker already runs on '{data}'. Nothing was started. Use another --data folder.")
    return lock


def _open_listener(options: ListenOptions) -> socket.socket:
    try:
        return listen(options.host, options.port)
    except OSError as error:
        raise UsageError(f"Port {options.port} can't be used: {error.strerror}. --port 0 finds a free port.") from None
