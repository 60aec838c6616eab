"""The addresses at which the ports of a run answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.ports import address

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Addresses(RunObserver):
    """Tells where the ports of a run answer, while it goes on."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._found: list[Notice] = []

    def started(self, run: Run) -> None:
        """Take note of the addresses."""
        self._found = [Notice(f"port {port}: {address(run, port)}") for port in self._ports]

    def remarks(self) -> list[Notice]:
        """Return the addresses."""
        return self._found
