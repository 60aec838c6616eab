"""The addresses at which the ports of a run answer.

A port of a VM is forwarded over SSH to a port of this machine's loopback interface, while this process lives.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.ports import port_url
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.vm_run import vm_id_in

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run
    from lk_jupyter.vms.shell import PortForward

#: Forwarded ports of this process: id of the VM and port of the VM → port of this machine.
_forwards: dict[tuple[str, int], PortForward] = {}


def address(run: Run, port: int) -> str:
    """Return the address of a port of a run."""
    return port_url(run.session.base_url, run.execution_id, port)


def open_address(run: Run, port: int | None) -> str:
    """Return the address of a port of a run that is active. Raises UsageError, and ConnectionFailed for a VM."""
    ports = run.ports
    if port is None and len(ports) != 1:
        which = f"Its ports: {', '.join(map(str, ports))}." if ports else "It was started without --port."
        raise UsageError(f"Which port of run {run.short_id}? {which} Name one: %lk_open {run.short_id} PORT")
    if is_final(status := run.status):
        raise UsageError(f"Run {run.short_id} has finished ({status}), and its ports are closed. Active runs: %lk_runs")
    if vm_id_in(run.execution_id):
        return _forward(run, port or ports[0])
    return address(run, port or ports[0])


def _forward(run: Run, port: int) -> str:
    """Return the address on this machine that leads to a port of the VM of a run, the same for each call."""
    from lk_jupyter.vms.hosted import open_run  # noqa: PLC0415 (few runs are on VMs)

    vm_run = open_run(run.session, run.execution_id)
    place = vm_run.facts.active_id, port
    if place not in _forwards:
        _forwards[place] = vm_run.forward(port)
        atexit.register(_forwards[place].close)
    return f"http://127.0.0.1:{_forwards[place].port}"
