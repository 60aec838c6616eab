"""The web socket to a kernel of a hosted Jupyter server: requests are sent, messages are received in a thread.

The messages are Jupyter's own, in the format that all versions of the server know (JSON).
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from lk_jupyter._extras import library
from lk_jupyter.api import hosted_probe
from lk_jupyter.api._proxy import uses_proxies
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.hosted_probe import ProbeCount, build_message, probe_kernel
from lk_jupyter.errors import ConnectionFailed, InvalidResponse
from lk_jupyter.protocol.json_limits import MOST_MESSAGE_BYTES, format_megabytes, load_encodable_json

Message = dict[str, Any]

#: Seconds before a new connection, and seconds within which an interrupt of a waiting caller is noticed on all systems.
_PAUSE, _TICK = 0.5, 0.2

#: Seconds without a message of a request until its kernel gets a question, which a busy kernel answers later.
_SILENCE = 10.0

#: States after which a kernel has lost its requests.
_DEAD = {"restarting", "autorestarting", "dead"}

#: Errors while reading a message that isn't Jupyter's: all other messages count.
ODD = (ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error)

DIED = "The session's Python died and was restarted on the same machine; its variables are lost."
#: A message that closed the connection; for ``format`` with the limit.
TOO_LARGE = "The kernel sent a message above the limit of {}. The message wasn't read. The cell may have run."
_TOO_BIG = 1009  # of RFC 6455

LOSS = "The machine doesn't answer any more, and may be active and billed. The cell may have run. List it: %lk_runs"
LOST = "The cell didn't reach the session. Run the cell again."
CUT = (
    "The connection broke before the result of the cell arrived. The cell ran: check its variables before you rerun "
    "the cell."
)

#: Maximum count of lost messages, and maximum digits of a message number.
_MOST_LOST, _LONGEST_NUMBER = 10_000, 16


class MessageNumbers:
    """The numbers at the end of message ids, which show how many messages were lost with a connection.

    A kernel counts its messages. Messages of two channels may arrive in another order, so a number can arrive late.
    """

    def __init__(self) -> None:
        self.missing: set[tuple[str, int]] = set()
        self._last: dict[str, int] = {}
        self._unchecked: set[str] = set()

    def reconnect(self) -> None:
        """Check the next number of each kernel: only a new connection can lose messages."""
        self._unchecked = set(self._last)

    def add(self, message_id: str) -> None:
        """Count a message that arrived."""
        sender, _, digits = message_id.rpartition("_")
        if not (digits.isdecimal() and len(digits) < _LONGEST_NUMBER):
            return
        number, last = int(digits), self._last.get(sender, -1)
        self.missing.discard((sender, number))
        if sender in self._unchecked:
            self._unchecked.discard(sender)
            self.missing |= {(sender, lost) for lost in range(last + 1, min(number, last + 1 + _MOST_LOST))}
        self._last[sender] = max(number, last)


def lost_label(count: int) -> str:
    """Return the warning about messages lost with a connection; empty without lost messages."""
    messages = "1 message of the kernel was lost" if count == 1 else f"{count:,} messages of the kernel were lost"
    return f"The connection broke while the cell ran: {messages}. Output may be missing." if count else ""


class Channel:
    """A connection to a kernel, renewed after a break; the server stores messages meanwhile.

    ``over`` returns the reason why no answer will arrive, or an empty string, and is called while there is no
    connection. ``describe_loss`` returns the error for a machine that answers no probe. ``died`` counts restarts of
    the kernel.
    """

    def __init__(
        self,
        server: HostedServer,
        kernel: str,
        over: Callable[[], str],
        describe_loss: Callable[[], str] = lambda: LOSS,
    ) -> None:
        self.gone = ""
        self.died = 0
        self.is_lost = False
        self._server = server
        self._kernel = kernel
        self._over = over
        self._describe_loss = describe_loss
        self._probes = ProbeCount()
        self._arrivals = 0
        self._probe_due = 0.0  # on the monotonic clock
        self._is_probing = threading.Lock()
        self._use_new_session()
        self._waiting: dict[str, SimpleQueue[Message | str]] = {}
        self._checks: dict[str, tuple[list[str], set[str]]] = {}  # question → requests before it, its missing ends
        self._started: set[str] = set()  # requests of which a message arrived
        self.numbers = MessageNumbers()
        self._socket: Any = None
        self._ready = threading.Event()
        self._closed = threading.Event()
        library("websockets.sync.client", "lab", "A session")
        uses_proxies(self._url, package="python_socks", install="python-socks")
        threading.Thread(target=self._listen, name="lk-session", daemon=True).start()

    @property
    def is_connected(self) -> bool:
        """Return whether the connection is open, and the kernel can answer."""
        return self._ready.is_set() and not (self.gone or self.is_lost or self._closed.is_set())

    def close(self) -> None:
        """Close the connection; the kernel stays."""
        self._closed.set()
        if self._socket:
            self._socket.close()

    def ask(self, kind: str, content: Message) -> Asked:
        """Send a request. Raises ConnectionFailed with the reason if no kernel can answer."""
        message = build_message(kind, content, self._id)
        name = message["header"]["msg_id"]
        started = time.monotonic()
        while not self._ready.wait(_TICK):
            self.check_silence(time.monotonic() - started)
            if self.is_lost:
                raise ConnectionFailed(self._describe_loss())
        if self.gone:
            raise ConnectionFailed(self.gone)
        if not self._waiting:
            self.numbers.missing.clear()
        self._waiting[name], self._probes = SimpleQueue(), ProbeCount()
        self._send_message(message)
        return Asked(self, name, self._waiting[name])

    def forget(self, name: str) -> None:
        """Ignore further messages for a request."""
        self._waiting.pop(name, None)
        self._started.discard(name)

    def _use_new_session(self) -> None:
        """Let the next connection have a new session id: a half dead connection can block the old session."""
        self._id = uuid.uuid4().hex
        self._url = self._server.channels_url(self._kernel, self._id)

    def _send_message(self, message: Message) -> None:
        """Send once. After a break, the next connection checks whether the message has arrived."""
        from websockets.exceptions import WebSocketException  # noqa: PLC0415 (an extra brings it)

        try:
            self._socket.send(json.dumps(message))
        except (WebSocketException, OSError):
            return

    def _listen(self) -> None:
        from websockets.exceptions import ConnectionClosed, WebSocketException  # noqa: PLC0415 (an extra brings it)
        from websockets.sync.client import ClientConnection, connect  # noqa: PLC0415 (the same)

        class QuietConnection(ClientConnection):
            """Pings without the module ``random``: a seed of the notebook decides about its numbers."""

            def ping(self, data: Any = None, **options: Any) -> threading.Event:
                return super().ping(os.urandom(4) if data is None else data, **options)

        settings: dict[str, Any] = {"proxy": None} if self._url.startswith("ws://") else {}
        while not self._closed.is_set():
            try:
                with connect(
                    self._url,
                    additional_headers=self._server.headers,
                    max_size=MOST_MESSAGE_BYTES,
                    create_connection=QuietConnection,
                    **settings,
                ) as self._socket:
                    if self._closed.is_set():  # closed during the connect
                        break
                    self.numbers.reconnect()
                    self.send_check_question()
                    self._ready.set()
                    for data in self._socket:
                        with suppress(*ODD):
                            self._handle_message(_parse_message(data))
            except ConnectionClosed as end:
                if is_too_large(end):
                    self._fail_requests(list(self._waiting), TOO_LARGE.format(format_megabytes(MOST_MESSAGE_BYTES)))
            except (WebSocketException, OSError, ConnectionFailed, InvalidResponse):
                pass
            self._ready.clear()
            if not self._closed.is_set() and (reason := self._find_end_reason()):
                self._end_channel(reason)
            self._closed.wait(_PAUSE)

    def _find_end_reason(self) -> str:
        """Return the reason why no answer will arrive; None after a close."""
        try:
            return self._over()
        except RuntimeError:  # httpx refuses requests after a close
            if not self._closed.is_set():
                raise
            return ""

    def send_check_question(self) -> None:
        """Send a question behind unanswered requests: its answer proves that earlier requests never get an answer."""
        if self._waiting:
            question = build_message("kernel_info_request", {}, self._id)
            self._checks[question["header"]["msg_id"]] = list(self._waiting), {"kernel_info_reply", "idle"}
            self._send_message(question)

    def _handle_message(self, message: Message) -> None:
        parent, kind = message.get("parent_header", {}).get("msg_id", ""), message["header"]["msg_type"]
        self.numbers.add(str(message["header"].get("msg_id", "")))
        self._arrivals, self.is_lost = self._arrivals + 1, False
        if parent in self._waiting:
            self._started.add(parent)
            self._probes = ProbeCount()
        if kind == "status" and message["content"]["execution_state"] in _DEAD:
            self.died += 1
            self._fail_requests(list(self._waiting), DIED)
        elif parent in self._checks:
            self._fail_lost_requests(parent, str(message["content"].get("execution_state", kind)))
        elif waiting := self._waiting.get(parent):
            waiting.put(message)

    def _fail_lost_requests(self, question: str, end: str) -> None:
        """Fail the requests before a question once both channels have delivered its end."""
        names, missing = self._checks[question]
        missing.discard(end)
        if not missing:
            del self._checks[question]
            self._fail_requests([name for name in names if name not in self._started], LOST)
            self._fail_requests([name for name in names if name in self._started], CUT)

    def _fail_requests(self, names: list[str], reason: str) -> None:
        for name in names:
            if waiting := self._waiting.get(name):
                waiting.put(reason)

    def check_silence(self, seconds: float) -> None:
        """Probe the kernel in a thread if a request has been silent for so long that its machine may be lost."""
        is_due = seconds >= hosted_probe.PROBE_SILENCE and time.monotonic() >= self._probe_due
        if is_due and self._is_probing.acquire(blocking=False):
            threading.Thread(target=self._probe, name="lk-probe", daemon=True).start()

    def _probe(self) -> None:
        """Probe the kernel once: fail requests that get no answer, and renew a connection that is half dead."""
        pause = hosted_probe.SILENT_PAUSE
        try:
            names, arrivals = list(self._waiting), self._arrivals
            has_started = any(name in self._started for name in names)
            probe = probe_kernel(self._server, self._kernel)
            if probe.shell:
                self._closed.wait(hosted_probe.GRACE_SECONDS)
            names = [name for name in names if name in self._waiting]
            if self._closed.is_set() or (self._ready.is_set() and not names):
                return
            conclusion = self._probes.add(probe, has_started=has_started)
            pause = self._probes.find_pause(conclusion, probe, has_started=has_started)
            if conclusion == "lost":
                self.is_lost = True
                self._fail_requests(names, self._describe_loss())
            elif conclusion == "finished":
                self._fail_requests([name for name in names if name not in self._started], LOST)
                self._fail_requests([name for name in names if name in self._started], CUT)
            elif conclusion == "half dead" and arrivals == self._arrivals:
                self._renew_connection()
        except (ConnectionFailed, InvalidResponse, RuntimeError):  # RuntimeError after a close
            self._renew_connection()  # without a connection, ``over`` decides
        finally:
            self._probe_due = time.monotonic() + pause
            self._is_probing.release()

    def _renew_connection(self) -> None:
        """Replace the connection: the next connection checks whether the requests are still processed."""
        if self._socket and not self._closed.is_set():
            self._use_new_session()
            self._socket.close()

    def _end_channel(self, reason: str) -> None:
        self.gone = reason
        self._closed.set()
        self._ready.set()
        self._fail_requests(list(self._waiting), reason)


class Asked:
    """A pending request and the received messages."""

    def __init__(self, channel: Channel, name: str, messages: SimpleQueue[Message | str]) -> None:
        self._channel = channel
        self._name = name
        self._messages = messages
        self.reply: Message = {}
        self.is_over = False
        self.lost_messages = 0
        self.is_unfinished = False  # whether the last state, and perhaps output, didn't arrive
        self._is_idle = False
        self._last_message = time.monotonic()
        self._is_checked = False

    def messages(self, tick: float = _TICK) -> Iterator[Message | None]:
        """Yield messages until the answer, and None after ``tick`` seconds without a message.

        May be called again after an interrupt. Raises ConnectionFailed if no answer will arrive.
        """
        while not self.is_over:
            try:
                message = self._messages.get(timeout=tick)
            except Empty:
                self._check_after_silence()
                yield None
                continue
            self._last_message, self._is_checked = time.monotonic(), False
            if isinstance(message, str):
                self.forget()
                if self.reply and message == CUT:  # only the state after the reply was lost
                    return
                raise ConnectionFailed(message)
            kind = message["header"]["msg_type"]
            if message["channel"] == "shell":
                self.reply = message["content"]
            elif kind == "status":
                self._is_idle = message["content"]["execution_state"] == "idle"
            else:
                yield message
            if self.reply and self._is_idle:
                self.forget()

    def _check_after_silence(self) -> None:
        """Check after a silence whether the kernel has the request, and later whether the machine answers at all."""
        seconds = time.monotonic() - self._last_message
        if self.reply and seconds >= hosted_probe.IDLE_SILENCE:
            self.is_unfinished = True
            self.forget()
            return
        if seconds >= _SILENCE and not self._is_checked:
            self._is_checked = True
            self._channel.send_check_question()
        self._channel.check_silence(seconds)

    def forget(self) -> None:
        """Ignore further messages."""
        self.is_over = True
        self.lost_messages = len(self._channel.numbers.missing)
        self._channel.forget(self._name)

    def answer(self, seconds: float | None = None) -> Message:
        """Wait for the reply and return its content. Raises ConnectionFailed, TimeoutError."""
        end = None if seconds is None else time.monotonic() + seconds
        for _ in self.messages():
            if end is not None and time.monotonic() > end:
                self.forget()
                raise TimeoutError
        return self.reply


def is_too_large(end: Any) -> bool:
    """Return whether a connection was closed because a message was larger than the limit."""
    return end.sent is not None and end.sent.code == _TOO_BIG


def _parse_message(data: str | bytes) -> Message:
    """Parse a message, without its binary parts."""
    text = data
    if isinstance(data, bytes):
        (count,) = struct.unpack_from("!i", data)
        starts = [*struct.unpack_from(f"!{count}i", data, 4), len(data)]
        text = data[starts[0] : starts[1]]
    message: Message = load_encodable_json(text)
    return message
