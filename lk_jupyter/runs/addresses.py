"""The addresses at which the ports of a run answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted import answers
from lk_jupyter.api.ports import port_url
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.companion import Companion, Remark

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run

#: Key in a run's metadata that tells the ports that it was started with.
PORTS_KEY = "lk_ports"


class Addresses(Companion):
    """Tells where the ports of a run answer, while it goes on."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._found: list[Remark] = []

    def started(self, run: Run) -> None:
        """Take note of the addresses."""
        self._found = [Remark(f"port {port}: {address(run, port)}") for port in self._ports]

    def remarks(self) -> list[Remark]:
        """Return the addresses."""
        return self._found


def address(run: Run, port: int) -> str:
    """Return the address of a port of a run."""
    return port_url(run.session.base_url, run.execution_id, port)


def open_address(run: Run, port: int | None) -> str:
    """Return the address of a port that can be opened: the run goes on. Raises UsageError."""
    known = run.ports
    if port is None and len(known) != 1:
        which = f"It was started with {', '.join(map(str, known))}." if known else "It was started without --port."
        raise UsageError(f"Which port of run {run.short_id}? {which} Name one: %lk_open {run.short_id} PORT")
    if is_final(status := run.status):
        raise UsageError(
            f"Run {run.short_id} has ended ({status}), and its ports with it. %lk_runs shows what goes on."
        )
    return address(run, port or known[0])


def listens(url: str) -> bool:
    """Whether something answers at the address of a port."""
    return answers(url)
