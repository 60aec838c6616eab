"""List, find, start and stop the sessions that this machine started."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.options.calls import CALLS
from lk_jupyter.options.runs import RunOptions, check
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.runs.notebooks.saved_variables import forget_saved
from lk_jupyter.runs.notebooks.servers import connect_server, list_marked, stop_on_failure, wait_for_server
from lk_jupyter.runs.notebooks.session_code import SAVING_SECONDS
from lk_jupyter.runs.notebooks.session_machine import IDLE_MINUTES, idle_minutes, prepare_warm_python
from lk_jupyter.runs.notebooks.warm_python import WarmPython, connected_warm_pythons
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


def start_warm_python(name: str, run: Run, server: HostedServer, idle: float) -> WarmPython:
    """Start the Python of a session on an answering server, and return the session."""
    return WarmPython(name, HostedKernel(run, server, server.start_kernel()), idle)


def list_warm_pythons(session: Connection, name: str | None = None) -> Iterator[tuple[str, Run]]:
    """Yield name and run of sessions that this machine started and that may be active, newest first.

    A session that answers is active, whatever the cloud reports about its run.
    """
    ids = set()
    for mark, run in list_marked(session, SESSION_KEY, name):
        ids.add(run.execution_id)
        yield mark, run
    for warm in list(connected_warm_pythons.values()):
        is_listed = warm.run.execution_id in ids or warm.run.session is not session or name not in {None, warm.name}
        if not is_listed and warm.channel.is_connected:
            yield warm.name, warm.run


def find_warm_python(session: Connection, name: str, *, restarts: bool = False) -> WarmPython | None:
    """Return the active session of this name that this machine started; None without such a session.

    With ``restarts``, a Python that another kernel has used is restarted, and has only variables of this kernel.
    Raises ConnectionFailed if the session is active and doesn't answer.
    """
    connected = [warm for warm in connected_warm_pythons.values() if warm.name == name and warm.run.session is session]
    if len(connected) == 1 and connected[0].channel.is_connected:
        return connected[0]
    for _, run in list_warm_pythons(session, name):
        warm = connected_warm_pythons.get(run.execution_id)
        if warm and not warm.channel.gone:
            return warm
        server = connect_server(run)
        try:
            kernels = server.kernels()
        except LkError:
            server.close()
            raise
        if kernels:
            kernel = HostedKernel(run, server, str(kernels[0]["id"]))
            if restarts:
                kernel.restart()
            return WarmPython(name, kernel, _read_idle_minutes(run))
        server.close()
    return None


def open_warm_python(session: Connection, name: str, options: dict[str, Any]) -> WarmPython:
    """Return the session of this name; start the session if necessary, and wait. Raises UsageError, RunError."""
    allowed = CALLS["session.warm_python"].only
    if unknown := sorted(options.keys() - allowed):
        raise UsageError(
            f"session.warm_python doesn't support '{unknown[0]}'. Nothing was sent. "
            f"Options: {', '.join(sorted(allowed))}."
        )
    chosen: RunOptions = check(RunOptions, {**options, "session": name})
    bundle = prepare_warm_python(session, chosen)
    warm = find_warm_python(session, name)
    if warm:
        return warm
    run = Run.submit(session, bundle)
    with stop_on_failure(run):
        warm = start_warm_python(name, run, wait_for_server(run), idle_minutes(chosen))
        warm.restore()
    return warm


def _read_idle_minutes(run: Run) -> float:
    """Return the idle limit in minutes from the command of a session's run."""
    words = " ".join(run.record.docker_run_cmd or ())
    match = re.search(r"cull_idle_timeout=(\d+)", words)
    return (int(match[1]) - SAVING_SECONDS) / 60 if match else IDLE_MINUTES


def open_run(session: Connection, name: str) -> Run:
    """Return the run of an active session. Raises UsageError without such a session."""
    sessions = dict(reversed(list(list_warm_pythons(session))))
    if name not in sessions:
        active = f"Active sessions: {', '.join(sessions)}." if sessions else "No session is active."
        raise UsageError(f"Unknown session '{name}'. Nothing was stopped. {active}")
    return sessions[name]


def stop_warm_python(session: Connection, name: str, stop: Callable[[Run], object]) -> Run:
    """Stop a session and its bill; return the run. Raises UsageError without such a session."""
    run = open_run(session, name)
    if warm := connected_warm_pythons.get(run.execution_id):
        warm.close()
    stop(run)
    forget_saved(name)
    return run
