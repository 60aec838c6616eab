"""The addresses at which the ports of a run answer.

A port of a VM is forwarded over SSH while this process lives: to its Jupyter server, which shows the port to its
signed-in user, or without a server to a port of this machine's loopback interface, at which other users of the machine
are refused.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, NamedTuple

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted import answers
from lk_jupyter.api.ports import port_url
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.vm_run import parse_run_key

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run
    from lk_jupyter.vms.forwards import SharedPort
    from lk_jupyter.vms.shell import PortForward

#: Forwarded ports of this process: id of the VM and port of the VM → the place on this machine.
_forwards: dict[tuple[str, int], PortForward | SharedPort] = {}


def address(run: Run, port: int) -> str:
    """Return the address of a port of a run."""
    return port_url(run.session.client.cloud_url, run.execution_id, port)


class OpenPort(NamedTuple):
    """The address of a port for a browser, and whether a program answers at the port.

    ``path`` is the address in the Jupyter server, empty for an address without a server.
    """

    url: str
    is_ready: bool
    path: str = ""


def open_port(run: Run, port: int | None) -> OpenPort:
    """Return the address of a port of a run that is active. Raises UsageError, and ConnectionFailed for a VM."""
    ports = run.ports
    if port is None and len(ports) != 1:
        which = f"Its ports: {', '.join(map(str, ports))}." if ports else "The run was started without --port."
        raise UsageError(f"Which port of run {run.short_id}? {which} Name one: %lk_open {run.short_id} PORT")
    if is_final(status := run.status):
        raise UsageError(f"Run {run.short_id} has finished ({status}), and its ports are closed. Active runs: %lk_runs")
    if parse_run_key(run.execution_id):
        return _forward_port(run, port or ports[0])
    url = address(run, port or ports[0])
    return OpenPort(url, answers(url))


def _forward_port(run: Run, port: int) -> OpenPort:
    """Return the address that leads to a port of the VM of a run, the same for each call."""
    from lk_jupyter.vms.forwards import SharedPort, find_server  # noqa: PLC0415 (few runs are on VMs)
    from lk_jupyter.vms.hosted import open_run  # noqa: PLC0415

    vm_run, server = open_run(run.session, run.execution_id), find_server()
    place = vm_run.facts.active_id, port
    if place not in _forwards:
        _forwards[place] = SharedPort(vm_run, port, str(port)) if server else vm_run.forward(port, "page")
        atexit.register(_forwards[place].close)
    shared = _forwards[place]
    forward = shared.forward if isinstance(shared, SharedPort) else shared
    is_ready = answers(f"http://127.0.0.1:{shared.port}", forward.socket, forward.host)
    if server and isinstance(shared, SharedPort):
        return OpenPort(f"{server['url']}{shared.path}", is_ready, f"{server['base_url']}{shared.path}")
    return OpenPort(forward.url, is_ready)
