"""The server process: a data folder, a port of the loopback interface, and a line of output when ready."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from lk_jupyter.config.files import write_private
from lk_jupyter.config.serving import GOODBYE_SECONDS, KEEP_ALIVE_SECONDS, listen, lock_folder
from lk_jupyter.errors import LocalCloudError
from lk_jupyter.localcloud.app import create_app
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.launch import ADDRESS_FILE, make_private
from lk_jupyter.localcloud.options import VALUES, CloudOptions
from lk_jupyter.localcloud.recorded import read_recording
from lk_jupyter.localcloud.strange import UPSTREAM, RunLimit, Strange, list_recorded_values
from lk_jupyter.text.terminal import one_line


def serve(data: Path, port: int, options: CloudOptions) -> None:
    """Run a cloud until a signal ends it.

    Raises LocalCloudError if the data folder or the port is in use, or the recording can't be replayed.
    """
    recording = read_recording(options.replay) if options.replay else None
    if recording and recording.unusable_names:
        print(one_line(f"Not replayed: {', '.join(recording.unusable_names)}"), file=sys.stderr)  # noqa: T201
    make_private(data)
    lock = _lock_data_folder(data)
    listener = _listen_on_port(port) if port else _listen_at_last_address(data)
    values = {name: VALUES.get(name, "") for name in (*options.strange, *[UPSTREAM] * bool(options.inference_upstream))}
    strange = Strange(
        {**(list_recorded_values(recording) if recording else {}), **values},
        RunLimit(options.longest_run, shortens=options.shorten_runs),
    )
    cloud = strange.create_cloud(data, options, f"http://127.0.0.1:{listener.getsockname()[1]}")
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            name, lambda *_: None
        )  # uvicorn handles these signals, and raises the signals again after serving
    config = uvicorn.Config(
        create_app(cloud, strange, recording),
        log_level="warning",
        lifespan="off",
        proxy_headers=False,  # all clients are on this machine, even if a header names another address
        ws="websockets-sansio",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )
    try:
        asyncio.run(_Server(config, cloud).serve(sockets=[listener]))
    finally:
        (data / ADDRESS_FILE).unlink(missing_ok=True)
        cloud.store.close()
        lock.close()


class _Server(uvicorn.Server):
    """Starts and ends the cloud with the web server."""

    def __init__(self, config: uvicorn.Config, cloud: Cloud) -> None:
        super().__init__(config)
        self._cloud = cloud

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._cloud.start()
        await super().startup(sockets)
        gc.freeze()  # the garbage collector was disabled for the start
        gc.enable()
        self._announce_address()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._cloud.close()
        await super().shutdown(sockets)

    def _announce_address(self) -> None:
        address: dict[str, Any] = {
            "base_url": self._cloud.base_url,
            "api_key": self._cloud.accounts.api_key,
            "data": str(self._cloud.data),
        }
        write_private(self._cloud.data / ADDRESS_FILE, json.dumps({**address, "pid": os.getpid()}))
        print(json.dumps(address), flush=True)  # noqa: T201 (the line that starters wait for)


def _lock_data_folder(data: Path) -> sqlite3.Connection:
    """Lock the data folder for this process. Raises LocalCloudError."""
    lock = lock_folder(data)
    if lock is None:
        raise LocalCloudError(f"A local cloud already runs on {data}. Use it, or give another --data folder.")
    return lock


def _listen_at_last_address(data: Path) -> socket.socket:
    """Listen at the address of a crashed cloud, so that followers of a run can reconnect; otherwise on a free port."""
    with suppress(OSError, ValueError, KeyError, LocalCloudError):
        address = json.loads((data / ADDRESS_FILE).read_text())
        return _listen_on_port(urlsplit(address["base_url"]).port or 0)
    return _listen_on_port(0)


def _listen_on_port(port: int) -> socket.socket:
    try:
        return listen("127.0.0.1", port)
    except OSError as error:
        raise LocalCloudError(f"Port {port} cannot be used: {error.strerror}. --port 0 finds a free port.") from None
