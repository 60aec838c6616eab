"""A real IPython kernel, driven over its own protocol."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty
from typing import Any

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

OUTPUT = {"stream", "display_data", "update_display_data", "execute_result", "clear_output", "error"}


@dataclass(frozen=True)
class Cell:
    """One executed cell: its seconds, and its output messages with the second at which each arrived."""

    seconds: float
    messages: list[tuple[float, dict[str, Any]]]

    def first(self, text: str) -> float:
        """Return the second at which this text was first seen as ordinary output."""
        return next(at for at, message in self.messages if text in message["content"].get("text", ""))

    def most_within(self, window: float) -> int:
        """Return the most messages that arrived within any window of this many seconds."""
        times = [at for at, _ in self.messages]
        return max((sum(begin <= at < begin + window for at in times) for begin in times), default=0)


class Kernel:
    """A running kernel."""

    def __init__(self, client: BlockingKernelClient, pid: int) -> None:
        self._client = client
        self.process = psutil.Process(pid)
        #: Return the answer to a question of a cell; None if no user could answer.
        self.answer: Callable[[str], str] | None = None

    def execute(self, code: str) -> Cell:
        """Run a cell to its end; raises RuntimeError when it fails."""
        began = time.perf_counter()
        request = self.begin(code)
        messages = [(time.perf_counter() - began, message) for message in self._outputs(request)]
        for _, message in messages:
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(message["content"]["traceback"]))
        return Cell(time.perf_counter() - began, messages)

    def messages_of(self, code: str) -> list[tuple[str, dict[str, Any]]]:
        """Run a cell to its end, whether it fails or not; return kind and content of what it shows."""
        return [(message["msg_type"], message["content"]) for message in self._outputs(self.begin(code))]

    def begin(self, code: str) -> str:
        """Have a cell run, and return what its messages are known by."""
        request: str = self._client.execute(code, allow_stdin=self.answer is not None)
        return request

    def message_of(self, request: str) -> dict[str, Any]:
        """Wait for the next message of a cell."""
        while True:
            message = self._next_message()
            if message["parent_header"].get("msg_id") == request:
                return message

    def _next_message(self) -> dict[str, Any]:
        """Wait for a message; asked for each second, as a longer wait has missed a message that had come."""
        until = time.monotonic() + 300
        while time.monotonic() < until:
            self._answer_question()
            with suppress(Empty):
                message: dict[str, Any] = self._client.get_iopub_msg(timeout=1)
                return message
        raise TimeoutError("no message of the kernel came within 300 s")

    def _answer_question(self) -> None:
        """Answer a question that has arrived."""
        if self.answer is None:
            return
        with suppress(Empty):
            question = self._client.get_stdin_msg(timeout=0)
            self._client.input(self.answer(question["content"]["prompt"]))

    def _outputs(self, request: str) -> Iterator[dict[str, Any]]:
        while True:
            message = self.message_of(request)
            if message["msg_type"] in OUTPUT:
                yield message
            elif message["content"].get("execution_state") == "idle":
                return


@contextmanager
def running_kernel(**env: str) -> Iterator[Kernel]:
    """Start a kernel that sees these variables too and has the extension loaded; stop it at the end.

    It has sockets in a folder where the system can: another program may take a port before a kernel listens there.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = {} if sys.platform == "win32" else {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        manager = KernelManager(**own)
        manager.start_kernel(env={**os.environ, **env}, extra_arguments=["--log-level=ERROR"])
        client = manager.blocking_client()
        client.session.metadata = {"cellId": "cell"}  # as from JupyterLab
        client.start_channels()
        try:
            client.wait_for_ready(timeout=300)
            kernel = Kernel(client, manager.provisioner.pid)
            kernel.execute("%load_ext lk_jupyter")
            yield kernel
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
