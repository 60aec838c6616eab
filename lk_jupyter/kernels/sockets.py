"""The five sockets of a kernel, as Jupyter's messaging protocol has them."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from typing import Any, NamedTuple, cast

import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session

from lk_jupyter.protocol.json_limits import load_json

CHANNELS = ("shell", "control", "stdin")

#: Milliseconds in which the last messages may leave.
_LINGER = 1000


class KernelMessage(NamedTuple):
    """Who sent a message, and its parts: header, parent header, metadata, content, buffers."""

    identities: list[bytes]
    parts: list[bytes]

    @property
    def header(self) -> dict[str, Any]:
        """The header, read."""
        return _parse_json(self.parts[0])

    @property
    def parent(self) -> dict[str, Any]:
        """Return the header of the message that this message answers; empty for a message that answers none."""
        return _parse_json(self.parts[1])


class Sockets:
    """The sockets that a connection file names, bound."""

    def __init__(self, connection: dict[str, Any]) -> None:
        self.session = Session(
            key=connection["key"].encode(), signature_scheme=connection.get("signature_scheme", "hmac-sha256")
        )
        self._context = zmq.asyncio.Context()
        self._routers = {name: self._bind_socket(connection, name, zmq.ROUTER) for name in CHANNELS}
        self._iopub = self._bind_socket(connection, "iopub", zmq.XPUB)
        self._iopub.xpub_verbose = True  # welcome every subscriber, not only the first
        self._heart = self._bind_socket(connection, "hb", zmq.REP)

    def _bind_socket(self, connection: dict[str, Any], name: str, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        socket.linger = _LINGER
        port, transport = connection[f"{name}_port"], connection["transport"]
        socket.bind(f"{transport}://{connection['ip']}{'-' if transport == 'ipc' else ':'}{port}")
        return socket

    async def beat(self) -> None:
        """Answer heartbeat requests of clients."""
        while True:
            await self._heart.send(await self._heart.recv())

    async def welcome(self) -> None:
        """Welcome new subscribers: they receive everything that is published from then on."""
        while True:
            event: Any = await self._iopub.recv()
            if event[:1] == b"\x01":
                topic = event[1:]
                content = {"subscription": topic.decode(errors="replace")}
                await self.publish(self.build_message("iopub_welcome", content, {}, [topic] if topic else []))

    async def receive(self, channel: str) -> KernelMessage:
        """Return the next message of a channel that has a valid signature."""
        while True:
            raw: Any = await self._routers[channel].recv_multipart()
            with suppress(ValueError):  # no message at all
                identities, signed = self.session.feed_identities(raw)
                signature, *parts = cast("list[bytes]", signed)
                if len(parts) >= 4 and hmac.compare_digest(signature, self.session.sign(parts[:4])):
                    return KernelMessage(identities, parts)

    async def send(self, channel: str, message: KernelMessage) -> None:
        """Send a message to a client."""
        await self._routers[channel].send_multipart(self._sign_message(message))

    async def publish(self, message: KernelMessage) -> None:
        """Send a message to all who listen."""
        await self._iopub.send_multipart(self._sign_message(message))

    def _sign_message(self, message: KernelMessage) -> list[bytes]:
        return [*message.identities, DELIM, self.session.sign(message.parts[:4]), *message.parts]

    def build_message(
        self, kind: str, content: dict[str, Any], parent: dict[str, Any], identities: list[bytes]
    ) -> KernelMessage:
        """Return a message of this kernel's own."""
        packed = self.session.serialize(self.session.msg(kind, content, parent=parent))
        return KernelMessage(identities, packed[2:])

    async def close(self) -> None:
        """Close all, after the last messages have left."""
        await asyncio.to_thread(self._context.destroy, _LINGER)


def _parse_json(part: bytes) -> dict[str, Any]:
    read: dict[str, Any] = load_json(part)
    return read
