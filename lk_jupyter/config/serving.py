"""Server processes on this machine, for the local cloud and the broker: lock a data folder, and listen on a port."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

#: Seconds for which a server waits for open requests at its end, and seconds for which it keeps an idle connection.
GOODBYE_SECONDS, KEEP_ALIVE_SECONDS = 3, 75

_BACKLOG = 1024


def lock_folder(data: Path) -> sqlite3.Connection | None:
    """Lock a data folder, or return None if another process has the lock.

    The system releases the lock at any end of the process.
    """
    lock = sqlite3.connect(data / "lock.sqlite", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return None
    return lock


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 is a free port. Raises OSError."""
    listener = socket.create_server((host, port), backlog=_BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only for sockets that name TCP
    return listener
