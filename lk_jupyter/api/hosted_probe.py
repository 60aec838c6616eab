"""Probe a kernel of a hosted Jupyter server over a new connection, to distinguish a quiet cell from a lost machine."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.errors import ConnectionFailed, InvalidResponse
from lk_jupyter.protocol.json_limits import MOST_MESSAGE_BYTES, load_encodable_json

#: Seconds of silence before the first probe, seconds for the answers, and seconds before the next probe: of a kernel
#: that answered, and of a kernel that didn't.
PROBE_SILENCE, PROBE_SECONDS, ALIVE_PAUSE, SILENT_PAUSE = 20.0, 10.0, 60.0, 5.0

#: Probes without an answer until a kernel counts as lost: usually, and if the cell has started and the server calls the
#: kernel busy. Code that keeps Python's lock, such as a long sort, answers no probe.
SILENT_PROBES, BUSY_PROBES = 2, 6

#: Seconds for messages that were sent before the answer to a probe.
GRACE_SECONDS = 2.0

#: Seconds without a message after the reply of a cell, until the cell counts as ended without its last state.
IDLE_SILENCE = 30.0

UNFINISHED = "The kernel sent no end of the cell's output. Output may be missing."


@dataclass(frozen=True)
class KernelProbe:
    """The answers of a kernel: ``shell`` answers while no cell runs, ``control`` also while a cell runs.

    ``is_busy`` is whether the server calls the kernel busy.
    """

    shell: bool
    control: bool
    is_busy: bool


@dataclass
class ProbeCount:
    """The probes of a kernel since its last message."""

    silent: int = 0
    finished: int = 0

    def add(self, probe: KernelProbe, *, has_started: bool) -> str:
        """Count a probe and return the conclusion: running, silent, lost, half dead or finished.

        ``has_started`` is whether a message of the cell arrived. A kernel that has finished the cell can't have sent
        its end over a half dead connection, and the next connection brings no end either if the cell is finished.
        """
        if probe.shell:
            self.silent, self.finished = 0, self.finished + 1
            return "finished" if self.finished > 1 else "half dead"
        if probe.control:
            self.silent = self.finished = 0
            return "running"
        self.silent += 1
        is_lost = self.silent >= (BUSY_PROBES if probe.is_busy and has_started else SILENT_PROBES)
        return "lost" if is_lost else "silent"

    @staticmethod
    def find_pause(conclusion: str, probe: KernelProbe, *, has_started: bool) -> float:
        """Return the seconds until the next probe."""
        is_alive = conclusion == "running" or (conclusion == "silent" and probe.is_busy and has_started)
        return ALIVE_PAUSE if is_alive else SILENT_PAUSE


def build_message(kind: str, content: dict[str, Any], session: str, channel: str = "shell") -> dict[str, Any]:
    """Return a message to a kernel."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": session,
        "username": "",
        "version": "5.3",
        "date": datetime.now(timezone.utc).isoformat(),
    }
    rest = {"channel": channel, "parent_header": {}, "metadata": {}, "buffers": []}
    return {"header": header, "content": content, **rest}


def probe_kernel(server: HostedServer, kernel: str) -> KernelProbe:
    """Query a kernel over a new connection with a new session id.

    Raises ConnectionFailed, InvalidResponse or RuntimeError if the Jupyter server doesn't answer or has no such kernel.
    """
    from websockets.exceptions import WebSocketException  # noqa: PLC0415 (an extra brings it)

    entry = next((entry for entry in server.kernels() if entry["id"] == kernel), None)
    if entry is None:
        raise InvalidResponse(f"The Jupyter server at {server.url} has no kernel '{kernel}'.")
    answers: set[str] = set()

    with suppress(WebSocketException, OSError, ConnectionFailed, InvalidResponse):
        _collect_answers(server, kernel, answers)
    return KernelProbe("shell" in answers, "control" in answers, entry.get("execution_state") == "busy")


def _collect_answers(server: HostedServer, kernel: str, answers: set[str]) -> None:
    """Add the channels on which the kernel answers in time."""
    from websockets.sync.client import connect  # noqa: PLC0415 (an extra brings it)

    end, session = time.monotonic() + PROBE_SECONDS, uuid.uuid4().hex
    url = server.channels_url(kernel, session)
    settings: dict[str, Any] = {"proxy": None} if url.startswith("ws://") else {}
    with connect(
        url,
        additional_headers=server.headers,
        max_size=MOST_MESSAGE_BYTES,
        ping_interval=None,  # pings draw random numbers, which belong to the notebook
        open_timeout=PROBE_SECONDS,
        close_timeout=1,
        **settings,
    ) as socket:
        questions = {}
        for channel in ("control", "shell"):
            message = build_message("kernel_info_request", {}, session, channel)
            questions[message["header"]["msg_id"]] = channel
            socket.send(json.dumps(message))
        while "shell" not in answers and (rest := end - time.monotonic()) > 0:
            answered = _read_answer(socket.recv(timeout=rest), questions)
            answers.update([answered] if answered else [])


def _read_answer(data: str | bytes, questions: dict[str, str]) -> str | None:
    """Return the channel of the question that a message answers; None for another message."""
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        message = load_encodable_json(data)
        if message["header"]["msg_type"] == "kernel_info_reply":
            return questions.get(message["parent_header"]["msg_id"])
    return None
