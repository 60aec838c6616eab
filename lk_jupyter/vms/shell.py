"""Run commands on a VM over SSH, with a host key that is pinned at the first connection.

asyncssh runs in a thread with an event loop, which all VMs of this process share. A failure of the connection is a
ConnectionFailed, so that callers repeat a command as they repeat a request.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lk_jupyter._extras import library
from lk_jupyter.config.files import write_private
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import ConnectionFailed, LkError
from lk_jupyter.vms.jump import ADVICE, open_jump
from lk_jupyter.vms.ssh import USER, SshEndpoint

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

#: Seconds for a connection, for a command, and between two signs of life.
CONNECT_SECONDS, COMMAND_SECONDS, ALIVE_SECONDS = 15.0, 120.0, 15.0

_PIECE = 65536

_LOOPBACK = "127.0.0.1"

_REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"This address lacks the secret name of the port. Open the port again: %lk_open\n"
)


class HostKeyChanged(LkError):
    """The VM answered with another host key than before.

    Nothing was sent.

    Fix: delete the VM with ``%lk_vm delete``: another machine may have answered.
    """


def ssh_library() -> Any:
    """Return asyncssh. Raises UsageError with the extra to install."""
    return library("asyncssh", "vm", "Code on a VM")


def key_pair(path: Path) -> str:
    """Return the public key line of the private key in this file, which is created if missing."""
    keys = ssh_library()
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(
            path, keys.generate_private_key("ssh-ed25519", comment="lk_jupyter").export_private_key().decode()
        )
    return _format_public_key(keys.read_private_key(path))


def _format_public_key(key: asyncssh.SSHKey) -> str:
    """Return the line of the public half of a key."""
    return key.export_public_key().decode().strip()


class VmShell:
    """Commands on a VM. ``pinned`` is the line of the VM's host key, None before the first connection.

    ``on_pin`` is called with the line at the first connection, before anything is sent. ``jump`` is the command that
    connects to the VM; None means that this process connects.
    """

    def __init__(
        self,
        address: str,
        key_file: Path,
        pinned: str | None,
        on_pin: Callable[[str], object],
        jump: Sequence[str] = (),
    ) -> None:
        self._endpoint = SshEndpoint.of(address)
        self._key_file = key_file
        self._pinned = pinned
        self._on_pin = on_pin
        self._jump = jump
        self._connection: asyncssh.SSHClientConnection | None = None
        self._lock: asyncio.Lock | None = None

    def run(self, command: str, data: bytes = b"") -> bytes:
        """Run a command with this input and return its output. Raises ConnectionFailed, also for an exit code."""
        return _run_in_event_loop(self._run_command(command, data), self._endpoint)

    def stream(self, command: str) -> CommandStream:
        """Run a command, and return its output as it arrives."""
        return CommandStream(_run_in_event_loop(self._open_process(command), self._endpoint), self._endpoint)

    def forward(self, target: int | str, kind: ForwardKind) -> PortForward:
        """Forward a place of this machine to a port of the VM's loopback interface, or to a Unix socket of the VM.

        Raises ConnectionFailed.
        """
        forward = PortForward(self, target, kind)
        _run_in_event_loop(forward.listen(), self._endpoint)
        return forward

    def close(self) -> None:
        """Close the connection; a later command connects again."""
        connection, self._connection = self._connection, None
        if connection:
            _get_event_loop().call_soon_threadsafe(connection.abort)

    async def _run_command(self, command: str, data: bytes) -> bytes:
        connection = await self._connect()
        process = await connection.create_process(command, encoding=None)
        try:
            output, errors = await asyncio.wait_for(process.communicate(data), COMMAND_SECONDS)
        finally:
            process.close()
        if process.exit_status:
            text = bytes(errors or b"").decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise ConnectionFailed(f"A command on the VM failed with exit code {process.exit_status}: {text[:300]}")
        if process.exit_status is None:
            raise ConnectionFailed("The connection to the VM ended before the command finished.")
        return bytes(output or b"")

    async def _open_process(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        connection = await self._connect()
        return await connection.create_process(command, encoding=None)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open_connection()
            return self._connection

    async def _open_connection(self) -> asyncssh.SSHClientConnection:
        keys = ssh_library()
        trusted: Any = ([keys.import_public_key(self._pinned)], [], []) if self._pinned else None
        try:
            with open_jump(self._jump) as proxy_command:
                connection = await keys.connect(
                    self._endpoint.host,
                    self._endpoint.port,
                    username=USER,
                    client_keys=[str(self._key_file)],
                    known_hosts=trusted,
                    config=None,
                    agent_path=None,
                    password=None,
                    proxy_command=proxy_command,
                    keepalive_interval=ALIVE_SECONDS,
                    connect_timeout=CONNECT_SECONDS,
                    login_timeout=CONNECT_SECONDS,
                )
        except keys.HostKeyNotVerifiable:
            raise HostKeyChanged(
                "The VM answered with another host key than before. Nothing was sent. Another machine may have "
                "answered. Delete the VM: %lk_vm delete"
            ) from None
        if self._pinned is None:
            self._pinned = _format_public_key(connection.get_server_host_key())
            self._on_pin(self._pinned)
        return connection  # type: ignore[no-any-return]


#: Who may use a forwarded port: programs that may open the user's ``socket``; a browser whose requests have the secret
#: host name, for a ``page``; anybody with the certificate that the program on the VM requires, for ``tls``.
ForwardKind = Literal["socket", "page", "tls"]


class PortForward:
    """A place of this machine that leads to a port of the VM's loopback interface, or to a Unix socket of the VM.

    Other users of this machine can connect to a port of its loopback interface too. So the place is a Unix ``socket``
    in a folder that only the user may enter; or a ``port`` at which a request must have the secret name ``host``,
    which browsers resolve to this machine; or a ``port`` of a program that authenticates by TLS. A machine without
    Unix sockets, as with Windows, has a page instead. Each connection uses the SSH connection of the shell, which is
    made again after a loss: the place stays the same.
    """

    def __init__(self, shell: VmShell, target: int | str, kind: ForwardKind) -> None:
        if kind == "socket" and not hasattr(asyncio, "start_unix_server"):
            kind = "page"
        self.port = 0
        self.socket = str(Path(tempfile.mkdtemp(prefix="lk-"), "port")) if kind == "socket" else ""  # mode 0700
        self.host = f"{secrets.token_hex(16)}.localhost" if kind == "page" else ""
        self._shell = shell
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address of a page for a browser of this machine."""
        return f"http://{self.host or _LOOPBACK}:{self.port}"

    async def listen(self) -> None:
        """Listen on a free port, or on the socket."""
        if self.socket:
            self._server = await asyncio.start_unix_server(self._forward_connection, self.socket)
            return
        self._server = await asyncio.start_server(self._forward_connection, _LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Close the port and all connections."""
        _get_event_loop().call_soon_threadsafe(self._close)
        if self.socket:
            shutil.rmtree(Path(self.socket).parent, ignore_errors=True)

    def _close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _forward_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101 (a server calls this in a task)
        self._tasks.add(task)
        try:
            with suppress(OSError, EOFError, asyncio.TimeoutError, asyncio.CancelledError, LkError, *_list_errors()):
                if (request := await self._read_allowed_request(reader)) is None:
                    writer.write(_REFUSAL)
                    await writer.drain()
                    return
                vm_reader, vm_writer = await self._open_target()
                vm_writer.write(request)
                try:
                    await asyncio.gather(_copy_stream(reader, vm_writer), _copy_stream(vm_reader, writer))
                finally:
                    vm_writer.close()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read_allowed_request(self, reader: asyncio.StreamReader) -> bytes | None:
        """Return what was read of a connection that may use the VM's port, None for a request without the secret.

        The first request of a connection is enough: all others on it are from the same program.
        """
        if not self.host:
            return b""
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), CONNECT_SECONDS)
        headers = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        hosts = [value.strip().lower() for name, _, value in headers if name.lower() == b"host"]
        is_allowed = len(hosts) == 1 and hmac.compare_digest(hosts[0], f"{self.host}:{self.port}".encode())
        return head if is_allowed else None

    async def _open_target(self) -> tuple[Any, Any]:
        connection = await self._shell._connect()
        if isinstance(self._target, str):
            return await connection.open_unix_connection(self._target)
        return await connection.open_connection(_LOOPBACK, self._target)


def _list_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a connection: of asyncssh, and of a request that is too long to be one."""
    return ssh_library().Error, asyncio.LimitOverrunError


async def _copy_stream(reader: Any, writer: Any) -> None:
    """Copy all bytes, and then their end."""
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def read_host_key(endpoint: SshEndpoint, jump: Sequence[str] = ()) -> str | None:
    """Return the line of the host key with which a VM answers, without a login; None if the VM doesn't answer."""
    keys = ssh_library()

    async def read() -> Any:
        with open_jump(jump) as proxy_command:
            work = keys.get_server_host_key(endpoint.host, endpoint.port, config=None, proxy_command=proxy_command)
            return await asyncio.wait_for(work, CONNECT_SECONDS)

    try:
        return _format_public_key(_run_in_event_loop(read(), endpoint))
    except ConnectionFailed:
        return None


class CommandStream:
    """The output of a command as an iterator; ``close`` ends the command from any thread."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], endpoint: SshEndpoint) -> None:
        self._process = process
        self._endpoint = endpoint

    def __iter__(self) -> Iterator[bytes]:
        """Yield the output. Raises ConnectionFailed if the command didn't end with exit code 0."""
        try:
            while data := _run_in_event_loop(self._process.stdout.read(_PIECE), self._endpoint):
                yield data
            _run_in_event_loop(self._process.wait_closed(), self._endpoint)
            if self._process.exit_status != 0:
                raise ConnectionFailed("The connection to the VM ended before the command finished.")
        finally:
            self.close()

    def close(self) -> None:
        """End the command."""
        _get_event_loop().call_soon_threadsafe(self._process.close)


def _get_event_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all SSH connections of this process, which runs in a thread."""
    return _start_event_loop(os.getpid())


@cache
def _start_event_loop(_process_id: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="lk-ssh", daemon=True).start()
    return loop


def _run_in_event_loop(work: Coroutine[Any, Any, T], endpoint: SshEndpoint) -> T:
    """Return the result of a coroutine in the loop; convert failures of the connection."""
    keys = ssh_library()
    failure = advice = ""
    try:
        return asyncio.run_coroutine_threadsafe(work, _get_event_loop()).result()
    except keys.PermissionDenied:
        failure = "the VM refused the key"
    except (keys.Error, OSError, asyncio.TimeoutError, ConnectionError) as error:
        failure = str(error) or type(error).__name__
        advice = "" if setting("ssh_jump") else f" {ADVICE}"
    raise ConnectionFailed(f"Can't reach the VM at {endpoint} over SSH: {failure.rstrip('.')}.{advice}")
