"""Guests: the SSH servers of machines, on ports of the loopback interface.

A guest is a folder and real processes of this machine, not an isolated system. Its SSH server accepts the documented
user name and the public key of the request. Without the package asyncssh, machines have no guest.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.runs import processes
from lk_jupyter.localcloud.vms.machines import ADDRESS, Machine, Machines

if TYPE_CHECKING:
    import asyncssh

#: The documented user name; others are refused.
USER = "lyceum"

#: Whether machines of this cloud have a guest.
HAS_SSH = find_spec("asyncssh") is not None

#: The file that the command ``poweroff`` of a guest creates.
_OFF = ".poweroff"

#: Programs of a guest that act on the guest, not on this machine.
_PROGRAMS = {**dict.fromkeys(("poweroff", "shutdown"), f': > "$HOME/{_OFF}"'), "sudo": 'exec "$@"'}

_WATCH_SECONDS = 0.2
_PIECE = 65536


class Guests:
    """The guests of active machines; ``add``, ``remove`` and ``address`` may be called from any thread."""

    def __init__(self, data: Path, machines: Machines, options: CloudOptions) -> None:
        self._data = data / "vms"
        self._machines = machines
        self._options = options
        self._guests: dict[str, Guest] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Start the guests of the machines that were active when the cloud ended."""
        self._loop = asyncio.get_running_loop()
        for machine in self._machines.list_active():
            self._start_task(machine)

    def add(self, machine: Machine) -> None:
        """Run a machine: start its guest when the machine is up, and reclaim a spot machine when its time is over."""
        self._loop.call_soon_threadsafe(self._start_task, machine)

    def remove(self, vm_id: str) -> None:
        """Stop the guest of an ended machine, and delete its folder."""
        self._loop.call_soon_threadsafe(self._start_removal, vm_id)

    def find_address(self, machine: Machine) -> str | None:
        """Return the address of a machine, as the API shows it; None while the machine has no address."""
        speed = self._machines.speed
        since = (machine.ended or time.time()) - machine.running_from(speed)
        if since <= self._options.vm_address_seconds / speed:
            return None
        if not HAS_SSH or machine.ended is not None:
            return ADDRESS
        guest = self._guests.get(machine.id)
        return f"{ADDRESS}:{guest.port}" if guest else None

    async def close(self) -> None:
        """Stop all guests; their folders stay."""
        for task in self._tasks.values():
            task.cancel()
        for vm_id in list(self._guests):
            await self._stop_guest(vm_id)

    def _start_task(self, machine: Machine) -> None:
        self._tasks[machine.id] = self._loop.create_task(self._run_machine(machine))

    def _start_removal(self, vm_id: str) -> None:
        if task := self._tasks.pop(vm_id, None):
            task.cancel()
        removal = self._tasks[f"end of {vm_id}"] = self._loop.create_task(self._remove_guest(vm_id))
        removal.add_done_callback(lambda _: self._tasks.pop(f"end of {vm_id}", None))

    async def _remove_guest(self, vm_id: str) -> None:
        await self._stop_guest(vm_id)
        await asyncio.to_thread(shutil.rmtree, self._data / vm_id, ignore_errors=True)

    async def _stop_guest(self, vm_id: str) -> None:
        if guest := self._guests.pop(vm_id, None):
            await guest.stop()

    async def _run_machine(self, machine: Machine) -> None:
        speed, reclaim = self._machines.speed, self._options.vm_reclaim_seconds
        up_at = machine.running_from(speed)
        await asyncio.sleep(max(0.0, up_at - time.time()))
        if HAS_SSH:
            guest = Guest(self._data / machine.id, machine, is_blocked=self._options.vm_ssh_blocked)
            await guest.start()
            self._guests[machine.id] = guest
        if machine.instance_type == "spot" and reclaim is not None:
            await asyncio.sleep(max(0.0, up_at + reclaim / speed - time.time()))
            self._machines.end(machine.org_id, machine.id)


class Guest:
    """A folder, a host key and an SSH server on ``port``; with ``is_blocked``, the port accepts no connection."""

    def __init__(self, folder: Path, machine: Machine, *, is_blocked: bool) -> None:
        self._folder = folder
        self._machine = machine
        self._is_blocked = is_blocked
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: WeakSet[asyncssh.SSHServerConnection] = WeakSet()
        self._watch: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen for SSH, on the port and with the host key of an earlier start."""
        import asyncssh  # noqa: PLC0415 (most clouds have no machine)

        home, programs = self._home, self._folder / "bin"
        for folder in (home, programs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, line in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{line}\n", "utf-8")
            (programs / name).chmod(0o700)
        listener = self._open_listener()
        self.port = listener.getsockname()[1]
        write_private(self._folder / "port", str(self.port))
        if self._is_blocked or (home / _OFF).exists():
            listener.close()
            return
        self._server = await asyncssh.listen(
            sock=listener,
            server_host_keys=[self._load_host_key()],
            server_factory=self._create_login,
            acceptor=self._connections.add,
            process_factory=self._run_session_command,
            sftp_factory=self._create_file_server,
            allow_scp=True,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
        )
        self._watch = asyncio.create_task(self._watch_power())

    async def stop(self) -> None:
        """End the server, all its connections, and all processes that were started over them."""
        if self._watch:
            self._watch.cancel()
        await self._shut_down()

    @property
    def _home(self) -> Path:
        return self._folder / "home"

    def _open_listener(self) -> socket.socket:
        with suppress(OSError, ValueError):
            return socket.create_server((ADDRESS, int((self._folder / "port").read_text())))
        return socket.create_server((ADDRESS, 0))

    def _load_host_key(self) -> asyncssh.SSHKey:
        import asyncssh  # noqa: PLC0415

        path = self._folder / "host_key"
        if not path.exists():
            write_private(path, asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
        return asyncssh.read_private_key(path)

    def _create_login(self) -> asyncssh.SSHServer:
        login: asyncssh.SSHServer = _build_login_class()(self._machine.key)
        return login

    def _create_file_server(self, channel: Any) -> Any:
        return _build_files_class()(channel, self._home)

    async def _watch_power(self) -> None:
        """Shut down after ``poweroff``: the machine stays, and is billed, until it is deleted."""
        while not (self._home / _OFF).exists():  # noqa: ASYNC110 (another process makes the file)
            await asyncio.sleep(_WATCH_SECONDS)
        await self._shut_down()

    async def _shut_down(self) -> None:
        server, self._server = self._server, None
        await asyncio.to_thread(processes.kill_run, self._machine.id)
        if server:
            server.close()
            for connection in list(self._connections):
                connection.abort()
        await asyncio.to_thread(processes.kill_run, self._machine.id)

    async def _run_session_command(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run the command of a session, or a shell, as a real process in the home folder of the guest."""
        shell = find_program("bash") or find_program("sh") or "/bin/sh"
        command = [shell, "-c", process.command] if process.command else [shell, "-l"]
        terminal = process.get_terminal_type()
        if terminal and sys.platform != "win32":
            await self._run_in_terminal(process, command, terminal)
            return
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        child = await processes.spawn(command, **self._build_process_options(process.env), **pipes)
        feeding = asyncio.create_task(_feed_input(process.stdin, child.stdin))
        await asyncio.gather(_copy_bytes(child.stdout, process.stdout), _copy_bytes(child.stderr, process.stderr))
        code = await child.wait()
        feeding.cancel()
        _send_exit_code(process, code)

    async def _run_in_terminal(
        self, process: asyncssh.SSHServerProcess[bytes], command: list[str], terminal: str
    ) -> None:
        outer, inner = os.openpty()  # type: ignore[attr-defined,unused-ignore]
        ends = dict.fromkeys(("stdin", "stdout", "stderr"), inner)
        child = await processes.spawn(command, **self._build_process_options({**process.env, "TERM": terminal}), **ends)
        os.close(inner)
        # Clients close the channel after the end of the output, and an exit code can't be sent over a closed channel.
        await process.redirect(stdin=os.dup(outer), stdout=outer, send_eof=False)
        code = await child.wait()
        await _drain_output(process)
        _send_exit_code(process, code)

    def _build_process_options(self, variables: Mapping[str, str]) -> dict[str, Any]:
        """Return the folder and the environment of a process of the guest."""
        path = os.pathsep.join(
            [str(self._folder / "bin"), str(Path(sys.executable).parent), child_environment().get("PATH", "")]
        )
        home = {"HOME": str(self._home), "USER": USER, "LOGNAME": USER, "PATH": path}
        env = processes.build_environment(self._machine.id, {**variables, **home})
        return {"cwd": self._home, "env": env, "start_new_session": True}


async def _feed_input(source: Any, target: Any) -> None:
    """Copy the input of a session to a process, and close the input of the process at the end."""
    await _copy_bytes(source, target)
    with suppress(OSError):
        target.write_eof()


async def _copy_bytes(source: Any, target: Any) -> None:
    """Copy bytes to the end of the source; after the target is closed, drop them, so that the source doesn't wait.

    The target stays open: the end of the standard output of a session would also end its error output.
    """
    is_open = True
    with suppress(OSError):
        while data := await source.read(_PIECE):
            try:
                if is_open:
                    target.write(data)
                    await target.drain()
            except (OSError, ValueError):
                is_open = False


async def _drain_output(process: asyncssh.SSHServerProcess[bytes]) -> None:
    with suppress(OSError, asyncio.CancelledError):
        await process.stdout.drain()
        await process.stderr.drain()


def _send_exit_code(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
    with suppress(OSError):  # the client has closed the connection
        if code < 0:
            import signal  # noqa: PLC0415

            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)


def _build_login_class() -> type[Any]:
    import asyncssh  # noqa: PLC0415

    class GuestLogin(asyncssh.SSHServer):
        """Accepts the documented user with the key of the request, and nothing else."""

        def __init__(self, key: str) -> None:
            self._key = key

        def begin_auth(self, username: str) -> bool:
            return bool(username)

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            with suppress(asyncssh.KeyImportError):
                return username == USER and bool(asyncssh.import_public_key(self._key) == key)
            return False

        def connection_requested(self, dest_host: str, *_: object) -> bool:
            return dest_host in {"localhost", ADDRESS}

        def unix_connection_requested(self, dest_path: str) -> bool:
            return bool(dest_path)

    return GuestLogin


def _build_files_class() -> type[Any]:
    import asyncssh  # noqa: PLC0415

    class GuestFiles(asyncssh.SFTPServer):
        """Files over SFTP and scp, with the home folder of the guest as the working folder."""

        def __init__(self, channel: Any, home: Path) -> None:
            super().__init__(channel)
            self._home = os.fsencode(home)

        def map_path(self, path: bytes) -> bytes:
            return os.path.join(self._home, path)  # noqa: PTH118 (bytes)

        def exit(self) -> None:
            self.channel.exit(0)  # without this status, scp fails

    return GuestFiles
