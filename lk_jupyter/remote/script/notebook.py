"""Executes a notebook in a kernel of the run, and reports each cell to the user's notebook.

Travels with a run. Needs nbclient and ipykernel. The text that a cell prints goes to the log as it comes; its
outputs go as one frame of the kind ``cell`` when it has ended.
"""

from __future__ import annotations

import json
import sys

from . import offload
from . import run as driver

#: Seconds after which a socket is asked again whether it has a message.
_LOOK = 1.0

_settings = {}

#: Cell → its outputs as they were sent last.
_sent = {}


def before(settings, namespace):
    """Keep the notebook until the code asks for it."""
    _settings.update(settings)


def run():
    """Execute the notebook; end with 1 when a cell fails."""
    import nbformat
    from nbclient.exceptions import CellExecutionError

    book = nbformat.from_dict(_settings["book"])
    client = _client(book)
    try:
        client.execute()
    except CellExecutionError:
        errors = [output for cell in book.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
        driver.frame("error", {"traceback": errors[-1].traceback}, driver.errors())
        sys.exit(1)
    finally:
        _tell_changed(book)
        client.set_widgets_metadata()
        _send({"index": None, "state": "metadata", "metadata": book.metadata})


def _client(book):
    from nbclient import NotebookClient
    from traitlets.config import Config

    class Told(NotebookClient):
        """Reports each cell."""

        async def async_start_new_kernel_client(self):
            kernel = await super().async_start_new_kernel_client()
            for channel in (kernel.shell_channel, kernel.iopub_channel):
                channel.get_msg = _awake(channel.get_msg)
            return kernel

        def output(self, outs, msg, display_id, cell_index):
            if msg["msg_type"] == "stream":
                stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
                stream.write(msg["content"]["text"])
                stream.flush()
            return super().output(outs, msg, display_id, cell_index)

    def started(cell, cell_index):
        if cell.cell_type == "code":
            _tell(cell_index, cell, "running")

    def executed(cell, cell_index, execute_reply):
        content = execute_reply["content"]
        cell.execution_count = content.get("execution_count")
        _tell(cell_index, cell, content["status"])
        _tell_changed(book)

    return Told(
        book,
        timeout=None,
        kernel_name="python3",
        on_cell_execute=started,
        on_cell_executed=executed,
        extra_arguments=["--log-level=ERROR"],
        config=Config(KernelManager={"transport_encryption": "auto"}),  # other users may share the machine
    )


def _awake(get):
    """Return a wait that asks each second: with widgets, one of twenty waits without a limit missed its message."""
    from queue import Empty

    async def get_msg(timeout=None):
        while timeout is None:
            try:
                return await get(timeout=_LOOK)
            except Empty:
                pass
        return await get(timeout=timeout)

    return get_msg


def _tell(index, cell, state):
    payload = {"index": index, "state": state}
    if state != "running":
        payload.update(count=cell.execution_count, outputs=cell.outputs)
        _sent[index] = json.dumps(cell.outputs)
    _send(payload)


def _tell_changed(book):
    """Send the outputs of earlier cells that a later one has updated."""
    for index, cell in enumerate(book.cells):
        if index in _sent and json.dumps(cell.outputs) != _sent[index]:
            _tell(index, cell, "updated")


def _send(payload):
    size = len(json.dumps(payload))
    if size <= _settings["inline"] or not offload.sent("cell", dict(payload, data={})):
        driver.frame("cell", payload)
