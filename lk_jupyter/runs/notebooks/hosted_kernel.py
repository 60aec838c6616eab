"""Start, restart, interrupt and stop a kernel on a hosted Jupyter server; describe what is wrong with its messages."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.hosted_channel import Asked, lost_label
from lk_jupyter.api.hosted_probe import UNFINISHED
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.protocol.metadata import KERNEL_KEY
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.notebooks.servers import (
    connect_server,
    start_server,
    stop_on_failure,
    stop_server,
    wait_for_server,
)
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


class HostedKernel:
    """The kernel ``kernel_id`` of a Jupyter server, which is ``run``."""

    def __init__(self, run: Run, server: HostedServer, kernel_id: str) -> None:
        self.run = run
        self.server = server
        self.kernel_id = kernel_id

    @classmethod
    def start(cls, session: Connection, options: ServerOptions, unwanted: threading.Event) -> HostedKernel:
        """Start a machine and a kernel; stop the machine if the start fails, or if ``unwanted`` is set meanwhile.

        Raises UsageError for invalid options, RunError if the server ends before the first answer.
        """
        run = start_server(session, options, {KERNEL_KEY: options.name or "kernel"})

        def check(_: str) -> None:
            if unwanted.is_set():
                raise UsageError("Stopped waiting for the kernel.")

        with stop_on_failure(run):
            server = wait_for_server(run, check)
            kernel = cls(run, server, server.start_kernel())
            check("")
        return kernel

    @classmethod
    def attach(cls, session: Connection, execution_id: str, kernel_id: str) -> HostedKernel:
        """Return a kernel that was started earlier."""
        run = Run(session, execution_id)
        return cls(run, connect_server(run), kernel_id)

    def is_active(self) -> bool:
        """Return whether the machine is active and the server has the kernel."""
        try:
            return not is_final(self.run.status) and self.exists()
        except LkError:
            return False

    def exists(self) -> bool:
        """Return whether the server has the kernel. Raises ConnectionFailed if the server doesn't answer."""
        return self.server.has_kernel(self.kernel_id)

    def restart(self) -> None:
        """Restart the kernel on the same machine; all variables are lost."""
        self.server.restart(self.kernel_id)

    def interrupt(self) -> None:
        """Interrupt the active code."""
        self.server.interrupt(self.kernel_id)

    def describe_loss(self, what: str, command: str) -> str:
        """Return the error for a machine that answers no probe, with its id, its cost and the command that stops it."""
        cost = "cost unknown"
        with suppress(LkError):
            cost = f"{self.run.bill(self.run.record).label} so far"
        return (
            f"The machine of {what} doesn't answer any more. The cell may have run. Run {self.run.execution_id} may "
            f"still be active and billed ({cost}).\nStop the machine: {command}"
        )

    def stop(self) -> None:
        """Stop the machine and its bill. Raises ConnectionFailed if the machine may still be active."""
        try:
            stop_server(self.run)
        finally:
            self.server.close()


def unsigned_notices(count: int) -> list[Notice]:
    """Return the notice about outputs that a session hasn't signed, if any."""
    outputs = "1 output isn't" if count == 1 else f"{count:,} outputs aren't"
    return [Notice(f"{outputs} signed by the session, so only the text was shown.", WARNING)] if count else []


def lost_notices(cell: Asked) -> list[Notice]:
    """Return the notice about messages of a cell that were lost with a connection, if any."""
    unfinished = UNFINISHED if cell.is_unfinished else ""
    return [Notice(text, WARNING) for text in (lost_label(cell.lost_messages), unfinished) if text]
