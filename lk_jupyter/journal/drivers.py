"""Detached drivers: processes that drive runs on VMs and relays to their end, after any process started them.

The process that drives a run locks the file ``TOKEN.lock`` next to the facts of the run. The file exists until the run
has ended: a lock file that no process has locked means a run without a driver. ``lk_jupyter.cli.driver`` is the driver.
Nothing here loads more than the settings: ``%load_ext`` and each command of ``lk`` look for runs without a driver.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lk_jupyter._python import child_environment, module_command
from lk_jupyter.config.files import is_locked
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol import relay, vm_run

#: The folders of runs with a driver, and the start of their ids.
_KINDS = ((vm_run.FOLDER, vm_run.PREFIX), (relay.FOLDER, relay.PREFIX))

#: The line that a driver prints when it works.
READY = "ready"

#: Seconds until a driver must be ready, on a busy machine too.
_START_SECONDS = 60.0

#: Seconds between two looks at a lock, and until a driver leaves a run that another process drives: looking at a lock
#: takes it for a moment.
_LOCK_PAUSE, _LOCK_SECONDS = 0.3, 2.0

_DETACHED = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows

#: The started drivers by the id of their run: Python warns about an active process that nothing refers to.
_drivers: defaultdict[str, list[subprocess.Popen[bytes]]] = defaultdict(list)


def start_driver(run_id: str, request: Mapping[str, Any]) -> None:
    """Start a process that drives a run when no other process does, and return when the process is ready.

    ``request`` has the account and, if no file may have the code, the code. Raises UsageError.
    """
    try:
        process = _open_driver(run_id, subprocess.PIPE, subprocess.PIPE)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(_format_refusal(str(error))) from None
    assert process.stdin  # noqa: S101 (a pipe)
    assert process.stdout  # noqa: S101 (a pipe)
    limit = threading.Timer(_START_SECONDS, process.kill)
    limit.start()
    try:
        with process.stdout as output, suppress(OSError):
            with process.stdin as stdin:
                stdin.write(json.dumps(request).encode() + b"\n")
            if output.readline().decode().strip() == READY:
                return
    finally:
        limit.cancel()
    process.kill()
    raise UsageError(_format_refusal(f"exit code {process.wait()}"))


def _format_refusal(reason: str) -> str:
    return (
        f"The process that drives the run to its end can't be started ({reason}). Nothing was rented. "
        "Check that Python can start processes, then run the cell or the command again."
    )


def wait_for_lock(run_id: str, *, is_patient: bool) -> bool:
    """Wait until no process drives a run; return False when the run has ended.

    If not ``is_patient``, return False also if another process still drives the run after some seconds.
    """
    path, end = _find_lock(run_id), time.monotonic() + _LOCK_SECONDS
    while path.exists():
        with suppress(OSError):
            if not is_locked(path):
                return True
        if not is_patient and time.monotonic() > end:
            return False
        time.sleep(_LOCK_PAUSE)
    return False


def _find_lock(run_id: str) -> Path:
    for folder, prefix in _KINDS:
        if run_id.startswith(prefix):
            return Path(setting("journal")).parent / folder / f"{run_id.removeprefix(prefix)}.lock"
    raise UsageError(f"'{run_id}' has no driver: it is neither a run on a VM nor a relay.")


def start_missing_drivers() -> None:
    """Start a driver for each run of this machine that no process drives; its account is the settings' account."""
    for run_id in _iterate_driverless_runs():
        if all(process.poll() is not None for process in _drivers[run_id]):
            with suppress(OSError, ValueError, TypeError):
                _open_driver(run_id, subprocess.DEVNULL, subprocess.DEVNULL)


def _open_driver(run_id: str, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    """Start a driver, which outlives this process and imports nothing from the working folder."""
    folder = setting("journal").parent
    process = subprocess.Popen(
        [*module_command("lk_jupyter.cli.driver"), run_id],
        cwd=folder,
        env=child_environment({**os.environ, **_make_paths_absolute()}),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=_DETACHED,
    )
    _drivers[run_id].append(process)
    return process


def _make_paths_absolute() -> dict[str, str]:
    """Return the journal's path for the environment of a driver, whose working folder is another."""
    return {"LK_JOURNAL": str(Path(setting("journal")).absolute())}


def _iterate_driverless_runs() -> Iterator[str]:
    """Yield the ids of runs that have not ended and that no process drives."""
    parent = setting("journal").parent
    for folder, prefix in _KINDS:
        with suppress(OSError):
            names = [entry.name for entry in os.scandir(parent / folder) if entry.name.endswith(".lock")]
            for name in names:
                with suppress(OSError):
                    if not is_locked(parent / folder / name):
                        yield prefix + name.removesuffix(".lock")
