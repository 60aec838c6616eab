"""Show Jupyter servers on cloud machines: a header for each server in Lab, a line or a table elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lk_jupyter.errors import LkError
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import RUN_MIME, StatusLine
from lk_jupyter.magics._output.run_status import machine_with_price
from lk_jupyter.runs.clock import Bill
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact_values
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import whole_seconds_label
from lk_jupyter.views.run import facts_so_far


def server_header(run: Run, state: str, bill: Bill, *, name: str = "", notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return an active server as data of RUN_MIME; Lab keeps the notes, as the server has no log to follow."""
    limit, machine = run.time_limit, run.machine
    return {
        "execution_id": run.execution_id,
        "kind": "server",
        **facts_so_far(bill, machine, run.bundle),
        **({"time_limit_seconds": limit} if limit else {}),
        "name": name.removesuffix(f", {price_label(machine)}") if machine else name,  # the header has the price
        "state": state,
        "notes": list(notes),
    }


def bill_so_far(run: Run) -> Bill:
    """Return time and cost of an active server; without figures if the cloud doesn't answer."""
    with suppress(LkError):
        return run.bill()
    return Bill()


def listening_line(run: Run, url: str, notes: Sequence[str], *, is_final: bool) -> StatusLine:
    """Return the line of a server that answers: machine, time and cost so far, id and address.

    ``is_final`` is whether the output never changes. The id is complete then.
    """
    bill = bill_so_far(run)
    took = [] if bill.seconds is None or bill.seconds < 1 else [whole_seconds_label(bill.seconds), bill.label]
    at_most = [run.bundle.at_most] if run.bundle else []
    name = f"run {run.execution_id if is_final else run.short_id}"
    lines = [f"Address: {url}", *filter(None, notes)]
    line = StatusLine("listening", [machine_with_price(run.machine), *took, *at_most, name], "\n".join(lines))
    line.run = server_header(run, "running", bill, notes=lines)
    return line


class ServerList:
    """Show active servers: a header for each in Lab, the table elsewhere."""

    def __init__(self, head: str, headers: Sequence[dict[str, Any]], table: Table) -> None:
        self._runs = {"head": head, "runs": headers, "notes": []}
        self._table = table

    def __str__(self) -> str:
        return str(self._table)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        forms = {"text/plain": str(self), "text/html": self._table._repr_html_()}
        return {**forms, RUN_MIME: redact_values(redact_values(self._runs), plain)}
