"""Continue relays whose kernel has ended: start a process for each relay that no process drives."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from contextlib import suppress

from lk_jupyter.config.files import is_locked, read_json
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.relay import FOLDER

#: The processes that this server has started, by the token of their relay.
_processes: dict[str, subprocess.Popen[bytes]] = {}

#: The number of starts by token, and their maximum: a process may fail each time, for example without a key.
_starts: Counter[str] = Counter()
_MOST_STARTS = 5


async def continue_relays() -> None:
    """Start a process for each relay that has no process and has not ended."""
    await asyncio.to_thread(_start_missing_processes)


def _start_missing_processes() -> None:
    folder = setting("journal").parent / FOLDER
    for path in folder.glob("*.json"):
        token, process = path.stem, _processes.get(path.stem)
        if (process and process.poll() is None) or _starts[token] >= _MOST_STARTS:
            continue
        with suppress(OSError, UsageError):  # a relay has no lock before its kernel starts it
            has_ended = read_json(path).get("state", {}).get("is_final")
            if not has_ended and not is_locked(path.with_suffix(".lock")):
                _starts[token] += 1
                command = [sys.executable, "-m", "lk_jupyter.cli.relay", token]
                _processes[token] = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
