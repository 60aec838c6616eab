"""A kernel on its hosted Jupyter server: started, restarted, interrupted, and stopped with its machine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.runs.notebooks.servers import ended_on_failure, server_of, start_server, stop_server, wait_for_server
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


class HostedKernel:
    """The kernel ``kernel_id`` of the server that ``run`` is."""

    def __init__(self, run: Run, server: HostedServer, kernel_id: str) -> None:
        self.run = run
        self.server = server
        self.kernel_id = kernel_id

    @classmethod
    def start(cls, session: Connection, options: ServerOptions, unwanted: threading.Event) -> HostedKernel:
        """Start a machine and a kernel on it; when that fails, or is ``unwanted`` meanwhile, the machine is stopped.

        Raises UsageError for what does not fit, RunError when the server ends before it answers.
        """
        run = start_server(session, options)

        def look(_: str) -> None:
            if unwanted.is_set():
                raise UsageError("The kernel is no longer waited for.")

        with ended_on_failure(run):
            server = wait_for_server(run, look)
            kernel = cls(run, server, server.start_kernel())
            look("")
        return kernel

    @classmethod
    def attach(cls, session: Connection, execution_id: str, kernel_id: str) -> HostedKernel:
        """Return a kernel that was started before."""
        run = Run(session, execution_id)
        return cls(run, server_of(run), kernel_id)

    def is_there(self) -> bool:
        """Whether its machine is active and its server knows it."""
        try:
            return not is_final(self.run.status) and self.is_known()
        except LkError:
            return False

    def is_known(self) -> bool:
        """Whether its server knows it. Raises ConnectionFailed where the server does not answer."""
        return self.server.has_kernel(self.kernel_id)

    def restart(self) -> None:
        """Restart it on the same machine; its variables are gone."""
        self.server.restart(self.kernel_id)

    def interrupt(self) -> None:
        """Interrupt what it does."""
        self.server.interrupt(self.kernel_id)

    def stop(self) -> None:
        """Stop its machine, and with that its bill."""
        stop_server(self.run)
        self.server.close()
