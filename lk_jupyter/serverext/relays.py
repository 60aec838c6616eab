"""Continue relays whose kernel has ended: start a process for each relay that no process drives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress

from lk_jupyter.config.files import read_json, take_lock
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.relay import FOLDER, MODULE

#: The processes that this server has started, by the token of their relay.
_processes: dict[str, subprocess.Popen[bytes]] = {}

#: The number of starts by token, and their maximum: a process may fail each time, for example without a key.
_starts: dict[str, int] = {}
_MOST_STARTS = 5


async def continue_relays() -> None:
    """Start a process for each relay that has no process and has not ended."""
    await asyncio.to_thread(_start_missing_processes)


def _start_missing_processes() -> None:
    folder = setting("journal").parent / FOLDER
    for path in folder.glob("*.json"):
        process = _processes.get(path.stem)
        if process and process.poll() is None:
            continue
        with suppress(OSError, UsageError):
            lock = folder / f"{path.stem}.lock"
            if not read_json(path).get("state", {}).get("is_final") and _is_free(str(lock)):
                if (_starts.setdefault(path.stem, 0)) >= _MOST_STARTS:
                    continue
                _starts[path.stem] += 1
                command = [sys.executable, "-m", MODULE, path.stem]
                _processes[path.stem] = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def _is_free(path: str) -> bool:
    """Return whether no process drives a relay. Raises OSError for a relay whose kernel hasn't started it yet."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        return take_lock(descriptor)
    finally:
        os.close(descriptor)
