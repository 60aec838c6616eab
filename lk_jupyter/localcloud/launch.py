"""Finds, starts and stops a local cloud from another process. Loads nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lk_jupyter.errors import LocalCloudError

ADDRESS_FILE = "server.json"
LOG_FILE = "server.log"

_READY_SECONDS = 30.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Address:
    """Where a local cloud answers, and the key for it."""

    base_url: str
    api_key: str = field(repr=False)
    data: Path
    pid: int


def find(data: Path) -> Address | None:
    """Return the address of the cloud that runs on a data folder and answers, or None."""
    try:
        written = json.loads((data / ADDRESS_FILE).read_text())
        address = Address(written["base_url"], written["api_key"], Path(written["data"]), written["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return address if _answers(address) else None


def start(data: Path, *options: str) -> Address:
    """Start a cloud that outlives this process, or find the one that runs, and return when it answers.

    Raises LocalCloudError with the server's last words when it does not come up.
    """
    if found := find(data):
        return found
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = data / LOG_FILE
    process = _spawn(data, log, options)
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if found := find(data):
            return found
        if process.poll() is not None and not _is_taken(log):
            break
        time.sleep(_POLL_SECONDS)
    raise LocalCloudError(f"The local cloud did not start. It said: {_last_words(log)}")


def stop(data: Path) -> bool:
    """End the cloud that runs on a data folder and wait until it is gone; False when none runs.

    Raises LocalCloudError when it does not end.
    """
    address = find(data)
    if address is None:
        return False
    os.kill(address.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        if not _is_alive(address):
            (data / ADDRESS_FILE).unlink(missing_ok=True)  # Windows ends a process without a last word
            return True
        time.sleep(_POLL_SECONDS)
    raise LocalCloudError(f"The local cloud (process {address.pid}) does not end. End it by hand.")


def _spawn(data: Path, log: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lk_jupyter.localcloud", "--data", str(data), *options]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            creationflags=_DETACHED,
        )
    _started[process.pid] = process
    return process


def _answers(address: Address) -> bool:
    """Whether a cloud with this key is at this address."""
    connection = http.client.HTTPConnection(urlsplit(address.base_url).netloc, timeout=2)
    try:
        connection.request("GET", "/api/v2/external/user/org", headers={"Authorization": f"Bearer {address.api_key}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_alive(address: Address) -> bool:
    if address.pid in _started:
        return _started[address.pid].poll() is None
    if sys.platform == "win32":
        return _answers(address)
    try:
        os.kill(address.pid, 0)
    except OSError:
        return False
    return True


def _is_taken(log: Path) -> bool:
    """Whether our server gave way to one that another process started at the same moment."""
    return "already runs" in _last_words(log)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "nothing"
