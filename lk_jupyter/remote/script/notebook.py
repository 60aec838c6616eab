"""Executes a notebook in a kernel of the run, and reports each cell to the user's notebook.

Needs nbclient and ipykernel. Text of a cell is printed immediately; outputs are sent as one frame of the kind ``cell``
when the cell has ended.
"""

from __future__ import annotations

import json
import sys

from . import offload
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Seconds between two checks of a socket for messages.
_LOOK = 1.0

_settings: dict[str, Any] = {}

#: Cell → outputs in the last message.
_last_outputs: dict[int, str] = {}


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Keep the notebook until the code calls ``run``."""
    _settings.update(settings)


def run() -> None:
    """Execute the notebook; end with 1 when a cell fails."""
    import nbformat
    from nbclient.exceptions import CellExecutionError

    book = nbformat.from_dict(_settings["book"])
    client = _make_client(book)
    try:
        client.execute()
    except CellExecutionError:
        errors = [output for cell in book.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
        driver.frame("error", {"traceback": errors[-1].traceback}, driver.real_stderr())
        sys.exit(1)
    finally:
        _report_changed(book)
        client.set_widgets_metadata()
        _send_cell({"index": None, "state": "metadata", "metadata": book.metadata})


def _make_client(book: Any) -> Any:
    from nbclient import NotebookClient
    from traitlets.config import Config

    class ReportingClient(NotebookClient):
        """Reports each cell."""

        async def async_start_new_kernel_client(self) -> Any:
            kernel = await super().async_start_new_kernel_client()
            for channel in (kernel.shell_channel, kernel.iopub_channel):
                channel.get_msg = _wait_in_steps(channel.get_msg)
            return kernel

        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: Any) -> Any:
            if msg["msg_type"] == "stream":
                stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
                stream.write(msg["content"]["text"])
                stream.flush()
            return super().output(outs, msg, display_id, cell_index)

    def started(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            _report_cell(cell_index, cell, "running")

    def executed(cell: Any, cell_index: int, execute_reply: dict[str, Any]) -> None:
        content = execute_reply["content"]
        cell.execution_count = content.get("execution_count")
        _report_cell(cell_index, cell, content["status"])
        _report_changed(book)

    return ReportingClient(
        book,
        timeout=None,
        kernel_name="python3",
        on_cell_execute=started,
        on_cell_executed=executed,
        extra_arguments=["--log-level=ERROR"],
        config=Config(KernelManager={"transport_encryption": "auto"}),  # the machine may have more users
    )


def _wait_in_steps(get: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wait that checks each second: with widgets, one of twenty endless waits missed the message."""
    from queue import Empty

    async def get_msg(timeout: Any = None) -> Any:
        while timeout is None:
            try:
                return await get(timeout=_LOOK)
            except Empty:
                pass
        return await get(timeout=timeout)

    return get_msg


def _report_cell(index: int, cell: Any, state: str) -> None:
    payload = {"index": index, "state": state}
    if state != "running":
        payload.update(count=cell.execution_count, outputs=cell.outputs)
        _last_outputs[index] = json.dumps(cell.outputs)
    _send_cell(payload)


def _report_changed(book: Any) -> None:
    """Send the outputs of earlier cells that a later cell has updated."""
    for index, cell in enumerate(book.cells):
        if index in _last_outputs and json.dumps(cell.outputs) != _last_outputs[index]:
            _report_cell(index, cell, "updated")


def _send_cell(payload: dict[str, Any]) -> None:
    size = len(json.dumps(payload))
    if size <= _settings["inline"] or not offload.store_payload("cell", dict(payload, data={})):
        driver.frame("cell", payload)
