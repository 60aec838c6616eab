"""The addresses at which the ports of a run answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.ports import port_url
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


def address(run: Run, port: int) -> str:
    """Return the address of a port of a run."""
    return port_url(run.session.base_url, run.execution_id, port)


def open_address(run: Run, port: int | None) -> str:
    """Return the address of a port of a run that is active. Raises UsageError."""
    ports = run.ports
    if port is None and len(ports) != 1:
        which = f"Its ports: {', '.join(map(str, ports))}." if ports else "It was started without --port."
        raise UsageError(f"Which port of run {run.short_id}? {which} Name one: %lk_open {run.short_id} PORT")
    if is_final(status := run.status):
        raise UsageError(f"Run {run.short_id} has finished ({status}), and its ports are closed. Active runs: %lk_runs")
    return address(run, port or ports[0])
