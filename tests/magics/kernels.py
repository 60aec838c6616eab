"""A real kernel, read as a front end reads it."""

import queue
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress

from cloud_process import forked_kernels
from jupyter_client.manager import KernelManager
from patience import PATIENCE

from lk_jupyter.journal.journal import Journal

#: The metadata with which a page that applies display updates sends a cell.
CELL = {"cellId": "cell"}

RICH = {"display_data", "update_display_data"}
#: Code that waits until nothing more is shown of runs in the background.
ALL_IS_SHOWN = """import threading
while busy := [thread for thread in threading.enumerate() if thread.name in ("lk-show", "lk-end")]:
    busy[0].join()"""


@contextmanager
def running_kernel(env, folder):
    """Run a kernel; give its manager and its client.

    It has sockets in a folder where the system can: another program may take a port before a kernel listens there.
    Cells have an id, as from JupyterLab; servers that execute cells send none, and append or drop display updates.
    """
    with forked_kernels(), tempfile.TemporaryDirectory() as place:
        own = {} if sys.platform == "win32" else {"transport": "ipc", "connection_file": f"{place}/kernel.json"}
        manager = KernelManager(**own)
        manager.start_kernel(env=env, cwd=str(folder))
        client = manager.blocking_client()
        client.session.metadata = CELL
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield manager, client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def wait_until_restarted(client):
    """Wait until a new kernel is ready, and what it shows arrives here.

    Jupyter's own wait takes any output for one of the new kernel, so also the last of the old one.
    """
    client.wait_for_ready(timeout=PATIENCE)
    asked, end = set(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        asked.add(client.kernel_info())
        with suppress(queue.Empty):
            while client.get_iopub_msg(timeout=1)["parent_header"].get("msg_id") not in asked:
                pass
            return
    raise AssertionError("nothing that the new kernel shows arrives")


class Cell:
    """What one executed cell has shown."""

    def __init__(self):
        self.messages = []

    @property
    def text(self):
        """Ordinary output, as it was sent."""
        return "".join(content["text"] for kind, content in self.messages if kind == "stream")

    @property
    def shown(self):
        """Rich outputs in order, updates in the place of what they update."""
        outputs = {}
        for kind, content in self.messages:
            if kind == "clear_output":  # with wait: what follows comes at once
                outputs.clear()
            if kind in {*RICH, "execute_result"}:
                key = content.get("transient", {}).get("display_id") or len(outputs)
                if kind != "update_display_data" or key in outputs:  # others are those of earlier cells
                    outputs[key] = content["data"]
        return [data.get("text/plain", "") for data in outputs.values()]

    @property
    def metadata(self):
        """What the rich outputs carry for programs, in order."""
        return [content["metadata"] for kind, content in self.messages if kind in RICH and content["metadata"]]

    @property
    def error(self):
        return next((content for kind, content in self.messages if kind == "error"), None)


class Kernel:
    """A kernel with the extension loaded, whose user lives in the folder ``home``.

    ``earlier_updates`` are updates of outputs that arrived between two cells: front ends apply them too.
    """

    def __init__(self, manager, client, home):
        self.earlier_updates = []
        self.manager = manager
        self.client = client
        self.home = home

    def run(self, code, *, on=None, cell_id=None):
        """Execute a cell; ``on(cell)`` is called after every message, until it returns True."""
        sent = self._send(code, cell_id)
        cell = Cell()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=PATIENCE)
            except queue.Empty:
                break
            if message["parent_header"].get("msg_id") != sent:
                if message["msg_type"] == "update_display_data":
                    self.earlier_updates.append(message["content"])
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return cell
            cell.messages.append((message["msg_type"], message["content"]))
            if message["msg_type"] == "error":
                print("\n".join(message["content"]["traceback"]))  # pytest shows it where the test fails
            if on and on(cell):
                on = None
        raise AssertionError(f"the cell did not end: {cell.messages}")

    def _send(self, code, cell_id):
        """Send a cell as a front end does, with its id; return the id of the message.

        After an error, a kernel drops the cells that wait, and ipykernel 6 one that comes at once: people read first.
        """
        if cell_id is None:
            return self.client.execute(code, stop_on_error=False)
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        content["stop_on_error"] = False
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def crash(self):
        """End the kernel as a crash does, and start another one in its place with the extension loaded."""
        self.manager.restart_kernel(now=True)
        wait_until_restarted(self.client)
        return self.run("%load_ext lk_jupyter")

    def restart(self):
        """Restart the kernel as the button of a front end does, and load the extension again."""
        self.manager.restart_kernel(now=False)
        wait_until_restarted(self.client)
        return self.run("%load_ext lk_jupyter")

    def texts_until(self, cell, last):
        """Return the texts of all rich outputs since the cell began, up to the one that is the last."""
        texts = [content["data"]["text/plain"] for kind, content in cell.messages if kind in RICH]
        while not any(map(last, texts)):
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] in RICH:
                texts.append(message["content"]["data"]["text/plain"])
        return texts

    def value(self, expression):
        """Return the text of an expression in the kernel."""
        return self.run(expression).shown[-1]

    def journal(self):
        """Return the journal of its user, for a ``with`` block."""
        return closing(Journal(self.home / "journal.sqlite"))

    def forget(self):
        """Let the journal take all runs for ended."""
        with self.journal() as journal:
            for entry in journal.entries(going_on=True):
                journal.update(entry.token, state="aborted", shown=True)

    def interrupt_when(self, ready):
        """Return what ``run`` takes to interrupt once the cell is ready."""

        def on(cell):
            if ready(cell):
                self.manager.interrupt_kernel()
                return True
            return False

        return on


def fail(cloud, **fault):
    """Order a fault, if one is given; return all orders, each with the ``nth`` that hits which have come count down."""
    return cloud.http.post(f"{cloud.base_url}/_faults", json=[fault] if fault else []).raise_for_status().json()
