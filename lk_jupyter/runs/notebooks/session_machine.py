"""Prepare the machine of a session: its options, its time limit and the time that the key of a broker leaves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lk_jupyter.config.settings import resolve
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import MachineOptions, RunOptions, ServerOptions
from lk_jupyter.protocol.metadata import POOL_KEY, SESSION_KEY
from lk_jupyter.runs.containers.containers import resolve_machine
from lk_jupyter.runs.notebooks.servers import lease_end_label, prepare_server
from lk_jupyter.runs.notebooks.session_code import server_flags
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import resolve_limits
from lk_jupyter.runs.submit.start import key_seconds, limit_before_lease_end, longest_notebook

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Minutes without work after which a machine is released.
IDLE_MINUTES = 20.0

#: Seconds before the time limit at which a session saves its variables and ends, as in ``script.session``.
LIMIT_MARGIN = 60

_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,39}", re.ASCII)


def prepare_warm_python(session: Connection, options: RunOptions, pool: str = "") -> Bundle:
    """Return the bundle of a session's machine. Raises UsageError for invalid options.

    ``pool`` describes the machines of the executor that the session belongs to.
    """
    name = str(options.session)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--session takes letters, digits, - and _, at most 40, got '{name}'. Nothing was sent. Example: train"
        )
    machine_options = options.model_dump(include={*MachineOptions.model_fields, "image"}, exclude_none=True)
    server = ServerOptions(name=f"session {name}", **machine_options)
    if options.keep and options.timeout is None and resolve("timeout").is_default:
        affordable = resolve_limits(session, server, resolve_machine(session, server)).timeout
        longest = min(affordable, longest_notebook(session.assumptions))
        server.timeout = limit_before_lease_end(session.client, longest)
    marks = {SESSION_KEY: name, **({POOL_KEY: pool} if pool else {})}
    bundle = prepare_server(session, server, marks=marks, flags=server_flags(idle_minutes(options)))
    if (rest := key_seconds(session.client)) < LIMIT_MARGIN:
        raise UsageError(
            f"The key {'ended' if rest < 0 else 'ends'} at {lease_end_label(session.client)}, so a session has no time "
            f"for a cell and its variables. Nothing was sent. Restore saved variables: %lk_sessions restore {name}"
        )
    return bundle


def idle_minutes(options: RunOptions) -> float:
    """Return the minutes without work after which a session ends."""
    return IDLE_MINUTES if options.idle is None else options.idle
