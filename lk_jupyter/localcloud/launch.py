"""Finds, starts and stops a local cloud from another process. Loads nothing but the standard library."""

from __future__ import annotations

import hmac
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lk_jupyter._python import child_environment, module_command
from lk_jupyter.errors import LocalCloudError

ADDRESS_FILE = "server.json"
LOG_FILE = "server.log"

#: The path where a cloud proves to have the key of the data folder, and the maximum length of the nonce.
IDENTITY_PATH = "/_identity"
MOST_NONCE = 100

_READY_SECONDS = 120.0
_STOP_SECONDS = 20.0

#: Lines of the log that an error quotes.
_LOG_LINES = 5
_POLL_SECONDS = 0.02
_MOST_ANSWER = 1000
_ANSWER_SECONDS = 2.0
_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows
_started: dict[int, subprocess.Popen[bytes]] = {}
_proven: dict[str, tuple[int, str]] = {}  # address → process with a proven identity, start time


@dataclass(frozen=True)
class Address:
    """The address of a local cloud, and its key."""

    base_url: str
    api_key: str = field(repr=False)
    data: Path
    pid: int


def find(data: Path) -> Address | None:
    """Return the address of the cloud that proves to run on a data folder, or None.

    After a crash, the file in the folder may contain a port where another program listens by now: no key is sent before
    the proof.
    """
    try:
        written = json.loads((data / ADDRESS_FILE).read_text()) if is_private(data) else {}
        address = Address(written["base_url"], written["api_key"], Path(written["data"]), written["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return address if proves_itself(address) else None


def holds_address(data: Path, base_url: str) -> bool:
    """Return whether the cloud of a data folder still has its proven address; called before each use."""
    pid, since = _proven.get(base_url, (0, ""))
    if pid and since and _read_process_start_time(pid) == since:
        return True
    address = find(data)
    return address is not None and address.base_url == base_url


def compute_proof(api_key: str, base_url: str, nonce: str) -> str:
    """Return the answer to a nonce, valid for this address, which only a holder of the key can compute."""
    return hmac.new(api_key.encode(), f"local cloud at {base_url}: {nonce}".encode(), "sha256").hexdigest()


def make_private(data: Path) -> None:
    """Create a private data folder, or make the folder private. Raises LocalCloudError for a folder of another user."""
    try:
        for folder in (data.parent, data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalCloudError(
            f"Can't create the folder '{data}' ({error.strerror}). Nothing was started. "
            "Set LK_LOCAL_DATA to a folder that you can write to."
        ) from None
    if not is_private(data):
        raise LocalCloudError(
            f"The folder {str(data)!r} belongs to another user. Nothing was started. Use a folder that belongs to you."
        )
    if sys.platform != "win32":
        data.chmod(0o700)


def start(data: Path, *options: str) -> Address:
    """Start a cloud that outlives this process, or find the active cloud, and return when the cloud answers.

    Raises LocalCloudError with the exit code and the end of the log if the cloud doesn't answer.
    """
    if running := find(data):
        return running
    make_private(data)
    log = data / LOG_FILE
    process = _start_process(data, log, options)
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if running := find(data):
            return running
        if process.poll() is not None and not _has_lost_race(log):
            break
        time.sleep(_POLL_SECONDS)
    raise LocalCloudError(_describe_failure(process, log))


def stop(data: Path) -> bool:
    """End the cloud that runs on a data folder and wait for its end; return False if no cloud runs.

    Raises LocalCloudError if the cloud doesn't end.
    """
    address = find(data)
    if address is None:
        return False
    os.kill(address.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        if not is_alive(address) or _is_zombie(address.pid):
            (data / ADDRESS_FILE).unlink(missing_ok=True)  # Windows ends a process without a last word
            return True
        time.sleep(_POLL_SECONDS)
    raise LocalCloudError(f"The local cloud (process {address.pid}) does not end. End it by hand.")


def _start_process(data: Path, log: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [*module_command("lk_jupyter.localcloud"), "--data", str(data.absolute()), *options]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=data,  # programs of the cloud look for settings and modules in the working folder
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            creationflags=_DETACHED,
        )
    _started[process.pid] = process
    return process


def proves_itself(address: Address) -> bool:
    """Whether the cloud that has this key is at this address."""
    nonce, since = secrets.token_urlsafe(32), _read_process_start_time(address.pid)
    connection = http.client.HTTPConnection(urlsplit(address.base_url).netloc, timeout=_ANSWER_SECONDS)
    limit = threading.Timer(_ANSWER_SECONDS, lambda: _hang_up(connection))
    try:
        connection.connect()
        limit.start()
        connection.request("GET", f"{IDENTITY_PATH}?nonce={nonce}")
        answer = connection.getresponse().read(_MOST_ANSWER)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        limit.cancel()
        connection.close()
    if not hmac.compare_digest(answer, compute_proof(address.api_key, address.base_url, nonce).encode()):
        return False
    _proven[address.base_url] = address.pid, since
    return True


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End a connection on which a peer sends byte by byte."""
    with suppress(OSError):
        if connection.sock:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _read_process_start_time(pid: int) -> str:
    """Return the start time of a process, in the system's form; empty if unknown, and without a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_private(folder: Path) -> bool:
    """Return whether only this user can have written the files of a folder; root trusts every owner."""
    return sys.platform == "win32" or folder.stat().st_uid == os.geteuid() or os.geteuid() == 0


def is_alive(address: Address) -> bool:
    """Return whether the process of a local cloud is alive."""
    if address.pid in _started:
        return _started[address.pid].poll() is None
    if sys.platform == "win32":
        return proves_itself(address)
    try:
        os.kill(address.pid, 0)
    except OSError:
        return False
    return True


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended, but its parent, such as a kernel, hasn't waited for its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] == "Z"
    return False


def _has_lost_race(log: Path) -> bool:
    """Whether our server gave way to a server that another process started at the same moment."""
    return "already runs" in _read_log_end(log)


def _read_log_end(log: Path) -> str:
    with suppress(OSError):
        return " / ".join(log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:])
    return ""


def _describe_failure(process: subprocess.Popen[bytes], log: Path) -> str:
    code, words = process.poll(), _read_log_end(log)
    if code is None:
        state = (
            f"The local cloud (process {process.pid}) doesn't answer after {_READY_SECONDS:g} s. It may still start: "
        )
        state += "run the line again."
    elif code < 0:
        state = f"Signal {-code} ended the local cloud before it answered. Run the line again."
    else:
        state = f"The local cloud ended with exit code {code} before it answered."
    return f"{state} The end of its log '{log}': {words}" if words else f"{state} Its log '{log}' is empty."
