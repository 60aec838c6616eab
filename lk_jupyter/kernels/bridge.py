"""The process that a local Jupyter uses as the kernel: ``python -m lk_jupyter.kernels.bridge -f FILE --run ID …``.

The bridge forwards messages unchanged between the sockets of a kernel and the web socket of the hosted server, whose
kernel does the work. When the machine has ended (idle for too long, out of time or credits, stopped elsewhere), the
bridge stays, reports the end to each cell, and starts nothing: only a restart by the user starts a new machine. When
the Jupyter that started the bridge ends, the bridge stops the machine.

The hosted server restarts a hosted kernel that dies (``os._exit``, out of memory, a crash). Pending requests get an
error, as no answer arrives any more, and front ends get the states of a local kernel: restarting, or dead if the kernel
can't be restarted. The machine then counts as idle.

If pending requests get no message for a while, the bridge probes the kernel over another connection, by the rules of
``lk_jupyter.api.hosted_probe``: a half dead connection is replaced, and a silent machine is reported with its cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
import uuid
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from lk_jupyter.api import hosted_probe
from lk_jupyter.api._polling import check_patience
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted_channel import CUT, LOST, ODD, TOO_LARGE, MessageNumbers, is_too_large, lost_label
from lk_jupyter.api.hosted_probe import UNFINISHED, KernelProbe, ProbeCount, probe_kernel
from lk_jupyter.errors import LkError
from lk_jupyter.kernels.sockets import CHANNELS, KernelMessage, Sockets
from lk_jupyter.protocol.json_limits import MOST_KERNEL_MESSAGE_BYTES, format_megabytes, load_json
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.session import current
from lk_jupyter.text.units import limit_label

PROTOCOL = "v1.kernel.websocket.jupyter.org"

#: Seconds between two looks at the lease and the parent, at the run, and before a new connection.
TICK, LOOK, PAUSE = 0.5, 5.0, 0.5

#: Types of messages that count as work.
_WORK = {"execute_request", "comm_msg", "comm_open"}

_ANEW = "To get a new machine, restart the kernel. The variables are lost."


class Lease:
    """End after this number of seconds without work; never end while a request is active."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = time.monotonic()
        self._at_work = False

    def work(self) -> None:
        """Record that something runs."""
        self._at_work = True

    def rest(self) -> None:
        """Record that nothing runs any more."""
        self._at_work = False
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the machine must be given back."""
        return not self._at_work and time.monotonic() - self._since >= self._seconds

    @property
    def label(self) -> str:
        """Return the length of the lease, in words."""
        return limit_label(self._seconds)


@dataclass
class _PendingRequest:
    """A request to the hosted kernel, the missing messages that end it (reply, idle), and when its last one arrived."""

    channel: str
    message: KernelMessage
    missing: set[str] = field(default_factory=lambda: {"reply", "idle"})
    active_at: float = field(default_factory=time.monotonic)


class Bridge:
    """Forward messages between a local Jupyter and a hosted kernel."""

    def __init__(self, sockets: Sockets, kernel: HostedKernel, lease: Lease, limit: str) -> None:
        self._sockets = sockets
        self._kernel = kernel
        self._lease = lease
        self._limit = limit
        self._pending: dict[str, _PendingRequest] = {}
        self._numbers = MessageNumbers()
        self._checks: dict[str, tuple[list[str], set[str]]] = {}  # question → earlier requests, missing ends
        self._probes = ProbeCount()
        self._probe_due = 0.0  # on the monotonic clock
        self._last_message_at = 0.0  # the last message of a pending request, or the start of the first pending request
        self._answered_at = 0.0  # the last answer of the hosted server to a probe
        self._session_id = uuid.uuid4().hex
        self._submitted: set[str] = set()  # requests that were sent
        self._started: set[str] = set()  # requests of which a message arrived
        self._socket: ClientConnection | None = None
        self._ready = asyncio.Event()  # set with a connection, or when no connection will ever exist
        self._done = asyncio.Event()
        self._end_reason = ""
        self._info: dict[str, Any] = {"status": "ok", "protocol_version": "5.3", "implementation": "lk_jupyter"}
        self._parent = int(os.environ.get("JPY_PARENT_PID") or os.getppid())

    async def run(self) -> None:
        """Pass messages until the kernel is shut down."""
        works: list[Coroutine[Any, Any, None]] = [
            self._sockets.beat(),
            self._sockets.welcome(),
            self._keep_kernel_connection(),
        ]
        works += [self._watch_lease(), self._watch_machine(), self._watch_silence()]
        works += [self._listen_to_channel(channel) for channel in CHANNELS]
        tasks = [asyncio.create_task(work) for work in [*works, self._done.wait()]]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._sockets.close()

    async def _listen_to_channel(self, channel: str) -> None:
        """Receive the messages of the local Jupyter on a channel."""
        while True:
            message = await self._sockets.receive(channel)
            kind = message.header["msg_type"]
            if kind == "shutdown_request":
                await self._shut_down(channel, message)
            elif kind == "interrupt_request":
                await self._interrupt_kernel(channel, message)
            else:
                await self._forward_to_kernel(channel, message)

    async def _shut_down(self, channel: str, message: KernelMessage) -> None:
        restart = bool(json.loads(message.parts[3]).get("restart"))
        await self._send_reply(channel, message, {"status": "ok", "restart": restart})
        self._done.set()

    async def _interrupt_kernel(self, channel: str, message: KernelMessage) -> None:
        content: dict[str, Any] = {"status": "ok"}
        try:
            if not self._end_reason:
                await asyncio.to_thread(self._kernel.interrupt)
        except LkError as error:
            content = _build_failure(type(error).__name__, str(error))
        await self._send_reply(channel, message, content)

    async def _forward_to_kernel(self, channel: str, message: KernelMessage) -> None:
        """Send a message to the hosted kernel, or report that the machine has ended."""
        header = message.header
        is_request = header["msg_type"].endswith("_request")
        if is_request:
            if not self._pending:
                self._numbers.missing.clear()
                self._last_message_at, self._probes = time.monotonic(), ProbeCount()
            self._pending[header["msg_id"]] = _PendingRequest(channel, message)
        if header["msg_type"] in _WORK:
            self._lease.work()
        while not self._end_reason:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ready.wait(), TICK)
            if is_request and header["msg_id"] not in self._pending:  # failed in the meantime
                return
            if self._socket and self._ready.is_set():
                with suppress(WebSocketException, OSError):
                    await self._socket.send(serialize_msg_to_ws_v1(message.parts, channel))
                    self._submitted.add(header["msg_id"])
                    return
                self._ready.clear()
        await self._answer_all("MachineGone", self._end_reason)

    async def _keep_kernel_connection(self) -> None:
        """Keep a connection to the hosted kernel; the server buffers messages for the same session in between."""
        while True:
            url = self._kernel.server.channels_url(self._kernel.kernel_id, self._session_id)
            settings: dict[str, Any] = {"proxy": None} if url.startswith("ws://") else {}
            with suppress(WebSocketException, OSError, asyncio.TimeoutError, LkError):
                headers = await asyncio.to_thread(lambda: self._kernel.server.headers)
                async with connect(
                    url,
                    additional_headers=headers,
                    subprotocols=[PROTOCOL],  # type: ignore[list-item] # a str of its own kind
                    max_size=MOST_KERNEL_MESSAGE_BYTES,
                    close_timeout=1,
                    **settings,
                ) as self._socket:
                    if self._socket.subprotocol != PROTOCOL:
                        await self._refuse_old_server()
                    self._numbers.reconnect()
                    await self._send_check_question()
                    self._ready.set()
                    await self._take_all(self._socket)
            self._socket = None
            if not self._end_reason:
                self._ready.clear()
            await asyncio.sleep(PAUSE)

    async def _take_all(self, socket: ClientConnection) -> None:
        """Forward the messages of the kernel until the connection ends; a message may be too large."""
        try:
            async for data in socket:
                with suppress(*ODD):
                    await self._forward_to_jupyter(data)
        except ConnectionClosed as end:
            if not is_too_large(end):
                raise
            await self._answer_all("MessageTooLarge", TOO_LARGE.format(format_megabytes(MOST_KERNEL_MESSAGE_BYTES)))

    async def _send_check_question(self) -> None:
        """Send a question after the unanswered requests: an answer means that the requests never get answers."""
        names = [
            name for name, request in self._pending.items() if request.channel == "shell" and name in self._submitted
        ]
        if names and self._socket:
            question = self._sockets.build_message("kernel_info_request", {}, {}, [])
            self._checks[question.header["msg_id"]] = names, {"reply", "idle"}
            await self._socket.send(serialize_msg_to_ws_v1(question.parts, "shell"))

    async def _refuse_old_server(self) -> None:
        """Stop the machine, whose server can't forward messages unchanged, and stay to report the reason."""
        self._socket = None
        await self._give_back(
            "The Jupyter server of this image is older than 2.0. Name another image: %lk_kernel add --image IMAGE"
        )
        await self._done.wait()

    async def _forward_to_jupyter(self, data: Any) -> None:
        """Forward a message of the hosted kernel."""
        channel, parts = deserialize_msg_from_ws_v1(data)
        message = KernelMessage([], parts)
        self._numbers.add(str(message.header.get("msg_id", "")))
        if channel == "iopub":
            if message.header["msg_type"] == "iopub_welcome":  # meant for the hosted server
                return
            await self._record_kernel_state(message)
            await self._sockets.publish(message._replace(identities=[message.header["msg_type"].encode()]))
            return
        if message.header["msg_type"] == "kernel_info_reply":
            self._info = load_json(parts[3])
        pending = self._pending.get(message.parent.get("msg_id", ""))
        if pending:
            self._record_activity(message.parent["msg_id"])
            await self._sockets.send(channel, message._replace(identities=pending.message.identities))
        if message.header["msg_type"].endswith("_reply"):
            self._record_end("reply", message)
            await self._fail_lost_requests("reply", message)

    async def _record_kernel_state(self, message: KernelMessage) -> None:
        """Record whether the hosted kernel works and is alive."""
        if message.parent.get("msg_id", "") in self._pending:
            self._record_activity(message.parent["msg_id"])
        if message.header["msg_type"] != "status":
            return
        state = load_json(message.parts[3]).get("execution_state")
        if state == "idle":
            await self._report_lost_messages(message.parent)
            self._record_end("idle", message)
            await self._fail_lost_requests("idle", message)
        if state in {"restarting", "autorestarting"}:
            await self._answer_pending()
        elif state == "dead":
            await self._give_back("The kernel died and couldn't be restarted.")
        elif message.parent.get("msg_type") in _WORK:
            (self._lease.rest if state == "idle" else self._lease.work)()

    def _record_activity(self, request_id: str) -> None:
        """Record that a message of a pending request arrived."""
        self._started.add(request_id)
        self._last_message_at = self._pending[request_id].active_at = time.monotonic()
        self._probes = ProbeCount()

    def _record_end(self, end: str, message: KernelMessage) -> None:
        """Record that a request received a message that ends requests: reply or idle."""
        request_id = message.parent.get("msg_id", "")
        if request_id in self._pending:
            self._pending[request_id].missing.discard(end)
            if not self._pending[request_id].missing:
                self._forget_request(request_id)

    async def _report_lost_messages(self, request: dict[str, Any]) -> None:
        """Show in the cell that ends how many messages were lost while the connection was broken."""
        if request.get("msg_type") == "execute_request" and (label := lost_label(len(self._numbers.missing))):
            self._numbers.missing.clear()
            await self._sockets.publish(self._build_error_text(label, request))

    def _build_error_text(self, text: str, request: dict[str, Any]) -> KernelMessage:
        """Return a message that shows a line in the error output of a request."""
        return self._sockets.build_message("stream", {"name": "stderr", "text": f"{text}\n"}, request, [b"lk"])

    async def _fail_lost_requests(self, end: str, message: KernelMessage) -> None:
        """End requests whose reply or last state was lost, once both channels have brought the end of the question."""
        question = message.parent.get("msg_id", "")
        names, missing = self._checks.get(question, ([], {""}))
        missing.discard(end)
        if missing:
            return
        del self._checks[question]
        await self._fail_requests(names)

    async def _fail_requests(self, names: Iterable[str]) -> None:
        """End requests that the kernel doesn't know any more."""
        for name in filter(self._pending.__contains__, names):
            failure = _build_failure("ConnectionLost", CUT if name in self._started else LOST)
            await self._end_request(self._forget_request(name), failure)

    async def _end_request(self, pending: _PendingRequest, failure: dict[str, Any]) -> None:
        """Send the ends of a request that the hosted kernel doesn't send any more."""
        await self._report_lost_messages(pending.message.header)
        if "reply" in pending.missing:
            await self._answer_as_ended_kernel(pending.channel, pending.message, failure)
        else:
            if pending.message.header["msg_type"] == "execute_request":
                await self._sockets.publish(self._build_error_text(UNFINISHED, pending.message.header))
            await self._publish_idle(pending.message)

    def _forget_request(self, name: str) -> _PendingRequest:
        self._submitted.discard(name)
        self._started.discard(name)
        return self._pending.pop(name)

    async def _answer_pending(self) -> None:
        """Answer the pending requests that the kernel can't answer any more."""
        self._lease.rest()
        await self._answer_all(
            "KernelDied", "The kernel died. It was restarted on the same machine; its variables are lost."
        )

    async def _give_back(self, reason: str) -> None:
        """Report that the machine has ended, and stop the machine."""
        await self._report_machine_end(reason)
        await asyncio.to_thread(self._kernel.stop)

    async def _watch_lease(self) -> None:
        """Stop the machine when the lease is over, or when the local Jupyter has ended."""
        while True:
            await asyncio.sleep(TICK)
            if os.name != "nt" and os.getppid() != self._parent:  # on Windows the time limit of the run is left
                await asyncio.to_thread(self._kernel.stop)
                self._done.set()
            elif self._lease.is_over and not self._end_reason:
                await self._give_back(f"The machine was released after {self._lease.label} without work.")

    async def _watch_machine(self) -> None:
        """Detect that the machine was stopped elsewhere, has reached a limit, or has no such kernel any more."""
        while True:
            await asyncio.sleep(LOOK if self._ready.is_set() else PAUSE)
            if self._end_reason:
                continue
            with suppress(LkError):
                state = await asyncio.to_thread(lambda: self._kernel.run.status)
                if is_final(state):
                    await self._report_machine_end(
                        f"The machine has ended: {self._limit if state == 'timeout' else state}."
                    )
                elif not self._ready.is_set() and not await asyncio.to_thread(self._kernel.exists):
                    await self._give_back("The kernel no longer exists on its machine.")

    async def _watch_silence(self) -> None:
        """End requests whose last state doesn't arrive, and probe the kernel if all pending requests are silent."""
        while True:
            await asyncio.sleep(TICK)
            moment = time.monotonic()
            for name, request in list(self._pending.items()):
                if request.missing == {"idle"} and moment - request.active_at >= hosted_probe.IDLE_SILENCE:
                    await self._end_request(self._forget_request(name), {})
            is_silent = moment - self._last_message_at >= hosted_probe.PROBE_SILENCE and moment >= self._probe_due
            if self._pending and is_silent and not self._end_reason:
                await self._probe()

    async def _probe(self) -> None:
        """Probe the kernel once: fail requests that get no answer, and replace a connection that is half dead."""
        last_message_at, has_started = self._last_message_at, any(name in self._started for name in self._pending)
        names, pause = set(self._pending), hosted_probe.SILENT_PAUSE
        try:
            probe = await asyncio.to_thread(probe_kernel, self._kernel.server, self._kernel.kernel_id)
        except LkError as error:
            await self._end_after_patience(error)
        else:
            self._answered_at = time.monotonic()
            if probe.shell:
                await asyncio.sleep(hosted_probe.GRACE_SECONDS)
            names &= self._pending.keys()
            if names and self._last_message_at == last_message_at:  # silent until now
                pause = await self._conclude(probe, names, has_started=has_started)
        self._probe_due = time.monotonic() + pause

    async def _conclude(self, probe: KernelProbe, names: set[str], *, has_started: bool) -> float:
        """Deal with the requests by the answers of the kernel to a probe; return the seconds until the next probe."""
        conclusion = self._probes.add(probe, has_started=has_started)
        if conclusion == "lost":
            await self._report_lost_machine()
        elif conclusion == "finished":
            await self._fail_requests(names)
        elif conclusion == "half dead" and self._socket:  # a half dead connection can block the old session
            self._session_id = uuid.uuid4().hex
            await self._socket.close()
        return self._probes.find_pause(conclusion, probe, has_started=has_started)

    async def _end_after_patience(self, error: LkError) -> None:
        """Report the machine as lost if its server hasn't answered for a long time."""
        try:
            check_patience(error, max(self._answered_at, self._last_message_at), "")
        except LkError:
            await self._report_lost_machine()

    async def _report_lost_machine(self) -> None:
        """Report to the pending requests that the machine doesn't answer; without new work, its lease ends it."""
        advice = f"restart or shut down the kernel. Without new work, it is stopped after {self._lease.label}."
        loss = await asyncio.to_thread(self._kernel.describe_loss, "this kernel", advice)
        self._lease.rest()
        await self._answer_all("MachineLost", loss)

    async def _report_machine_end(self, reason: str) -> None:
        """Report the end of the machine to pending requests and to all later requests."""
        self._end_reason = f"{reason} {_ANEW}"
        self._ready.set()
        await self._answer_all("MachineGone", self._end_reason)

    async def _answer_all(self, name: str, reason: str) -> None:
        while self._pending:
            await self._end_request(self._forget_request(next(reversed(self._pending))), _build_failure(name, reason))

    async def _answer_as_ended_kernel(self, channel: str, message: KernelMessage, failure: dict[str, Any]) -> None:
        """Answer in place of the kernel that has ended."""
        header, identities = message.header, [b"lk"]
        await self._sockets.publish(
            self._sockets.build_message("status", {"execution_state": "busy"}, header, identities)
        )
        if header["msg_type"] == "kernel_info_request":
            await self._send_reply(channel, message, self._info)
        else:
            if header["msg_type"] == "execute_request":
                await self._sockets.publish(self._sockets.build_message("error", failure, header, identities))
            await self._send_reply(channel, message, {**failure, "execution_count": 0})
        await self._publish_idle(message)

    async def _publish_idle(self, message: KernelMessage) -> None:
        """Report that a request has ended: front ends wait for idle after the reply, too."""
        await self._sockets.publish(
            self._sockets.build_message("status", {"execution_state": "idle"}, message.header, [b"lk"])
        )

    async def _send_reply(self, channel: str, message: KernelMessage, content: dict[str, Any]) -> None:
        kind = message.header["msg_type"].replace("_request", "_reply")
        await self._sockets.send(
            channel, self._sockets.build_message(kind, content, message.header, message.identities)
        )


def _build_failure(name: str, text: str) -> dict[str, Any]:
    return {"status": "error", "ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-f", dest="file", required=True, help="connection file")
    parser.add_argument("--run", required=True, help="id of the run with the Jupyter server")
    parser.add_argument("--kernel", required=True, help="id of the kernel on the Jupyter server")
    parser.add_argument(
        "--idle", type=float, required=True, help="release the machine after this number of minutes without work"
    )
    parser.add_argument("--limit", required=True, help="reason to show if the machine reaches its time limit")
    return parser.parse_args()


async def _run_bridge(connection: dict[str, Any], arguments: argparse.Namespace) -> None:
    kernel = HostedKernel.attach(current(), arguments.run, arguments.kernel)
    await Bridge(Sockets(connection), kernel, Lease(60 * arguments.idle), arguments.limit).run()


if __name__ == "__main__":
    arguments = _parse_arguments()
    asyncio.run(_run_bridge(json.loads(Path(arguments.file).read_text(encoding="utf-8")), arguments))
