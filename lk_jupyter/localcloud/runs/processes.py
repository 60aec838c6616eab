"""Processes of runs: each run starts in a new session, is killed as a complete tree, and is reaped to the last."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from lk_jupyter._python import child_environment

#: Variable that marks every process of a run, also processes that left the session.
RUN_ID_VARIABLE = "LK_EXECUTION_ID"

_PRIVATE = ("LK_", "LYCEUM_", "JPY_", "JUPYTER_", "MPLBACKEND", "PYTHONSTARTUP", "PYTEST_")
_KILL_SECONDS = 5.0
_KILL_PAUSE_SECONDS = 0.005
_NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # only Windows has this flag
_PR_SET_CHILD_SUBREAPER = 36

#: Children of this process, with the tasks that wait until asyncio has reaped them; and starts without a known process
#: id.
_started: dict[int, asyncio.Task[int]] = {}
_starting: set[object] = set()


def adopt_orphans() -> None:
    """Adopt orphans of runs, where the system allows this, so that this process reaps them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def start(  # noqa: PLR0913 (what a process takes)
    command: Sequence[str],
    *,
    run_id: str,
    folder: Path,
    stdout: int,
    stderr: int,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> asyncio.subprocess.Process:
    """Start a process of a run as the leader of a new session, without input.

    ``variables`` are added to the environment.
    """
    return await spawn(
        command,
        cwd=folder,
        env=build_environment(run_id, variables),
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        creationflags=_NEW_GROUP,
    )


async def spawn(command: Sequence[str], **how: Any) -> asyncio.subprocess.Process:
    """Start a child, by default without input. A child that starts in another way may be reaped as an orphan."""
    this = object()
    _starting.add(this)
    try:
        process = await asyncio.create_subprocess_exec(*command, **{"stdin": subprocess.DEVNULL, **how})
        _started[process.pid] = asyncio.create_task(_reap_process(process))
    finally:
        _starting.discard(this)
    return process


async def _reap_process(process: asyncio.subprocess.Process) -> int:
    code = await process.wait()
    del _started[process.pid]
    return code


def ask_to_end(pid: int) -> None:
    """Send a signal to a run's processes that requests their end."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(pid, signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(pid, signal.SIGTERM)


def kill_run(run_id: str, pid: int | None = None) -> None:
    """Kill every process of a run and wait for their ends; ``pid`` leads the run's session.

    A process may start another during the search, so the search is repeated until no process is left. A process that
    releases its memory has lost the mark; this function waits for such processes too. Parents end before their
    children: a shell whose command is killed would report that, and start the next command.
    """

    def age(process: psutil.Process) -> tuple[bool, int]:
        return process.pid < (pid or 0), process.pid  # ids start again after the highest

    deadline = time.monotonic() + _KILL_SECONDS
    killed: set[psutil.Process] = set()
    while (
        living := {*_iterate_run_processes(run_id, pid), *filter(_is_alive, killed)}
    ) and time.monotonic() < deadline:
        for process in sorted(living, key=age):
            with suppress(psutil.Error):
                process.kill()
        killed |= living
        time.sleep(_KILL_PAUSE_SECONDS)
    _reap_orphans()


def find_listen_address(run_id: str, leader: int | None, port: int) -> str | None:
    """Return the address at which a process of a run listens on a port, or None."""
    for process in _iterate_run_processes(run_id, leader):
        with suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return _choose_reachable_address(connection.laddr.ip)
    return None


def _choose_reachable_address(listened: str) -> str:
    """Return the address that reaches a listener of this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listened, listened)  # noqa: S104 (read, not bound)


def iterate_session_processes(leader: int) -> Iterator[psutil.Process]:
    """Return the living processes of a run's session."""
    return _iterate_living_processes(pid for pid in psutil.pids() if is_in_session(pid, leader))


def build_environment(run_id: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run, or of a machine with this id.

    The environment is this server's, without variables of kernels and clients, plus ``variables``.
    """
    inherited = {name: value for name, value in child_environment().items() if not name.startswith(_PRIVATE)}
    return {**inherited, **variables, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", RUN_ID_VARIABLE: run_id}


def _iterate_run_processes(run_id: str, leader: int | None) -> Iterator[psutil.Process]:
    return _iterate_living_processes(
        pid for pid in psutil.pids() if (leader and is_in_session(pid, leader)) or is_marked(pid, run_id)
    )


def _iterate_living_processes(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if _is_alive(process):
                yield process


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def is_in_session(pid: int, leader: int) -> bool:
    """Whether a process is in the session of another."""
    if sys.platform == "win32":
        return pid == leader or leader in _list_ancestors(pid)
    with suppress(OSError):
        return os.getsid(pid) == leader
    return False


def _list_ancestors(pid: int) -> list[int]:
    try:
        return [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.Error:
        return []


def is_marked(pid: int, run_id: str) -> bool:
    """Return whether a process has the mark of a run in its environment."""
    with suppress(OSError, psutil.Error):
        if sys.platform == "linux":  # a hundred times faster than psutil, and called for every process
            return f"{RUN_ID_VARIABLE}={run_id}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        return bool(psutil.Process(pid).environ().get(RUN_ID_VARIABLE) == run_id)
    return False


def _reap_orphans() -> None:
    """Read the exit codes of adopted processes, so that none stays as a zombie.

    During a start, adopted children can't be distinguished; the end of that run looks again.
    """
    children = psutil.Process().children()
    if sys.platform == "win32" or _starting:
        return
    for child in children:
        with suppress(psutil.Error, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and child.pid not in _started:
                os.waitpid(child.pid, os.WNOHANG)
