"""Reach VMs where the network blocks SSH: through an SSH server, or through a Jupyter server with the extension.

A jump is a command whose input and output are a connection to a VM, as the ``ProxyCommand`` of OpenSSH.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lk_jupyter._python import clean_command, find_program, module_command
from lk_jupyter.config.settings import setting
from lk_jupyter.vms.facts import host_keys_path
from lk_jupyter.vms.ssh import SshEndpoint

#: How to set a jump, for an error.
ADVICE = "If your network blocks SSH: %lk_config ssh_jump USER@HOST"


def jump_command(vm_id: str, endpoint: SshEndpoint) -> list[str]:
    """Return the command that connects to a VM; empty without a jump.

    The host key of an SSH server is pinned at the first connection, unless the user's own file has the key. A Jupyter
    server reads the address of the VM from the record of the VM, so the command doesn't contain the address.
    """
    jump = setting("ssh_jump")
    if not jump:
        return []
    if "://" in jump:
        return [*module_command("lk_jupyter.vms.tunnel"), vm_id]  # ssh and VS Code start it in any folder
    user, _, address = jump.rpartition("@")
    server = SshEndpoint.of(address)
    files = f'UserKnownHostsFile="{host_keys_path()}" "~/.ssh/known_hosts"'
    options = ["-o", files, "-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]
    login = ["-l", user] if user else []
    return ["ssh", "-W", str(endpoint), "-p", str(server.port), *login, *options, server.host]


def proxy_line(vm_id: str, endpoint: SshEndpoint) -> str:
    """Return the value of the option ``ProxyCommand`` for a VM; empty without a jump."""
    command = jump_command(vm_id, endpoint)
    line = subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
    return line.replace("%", "%%")


@contextmanager
def open_jump(command: Sequence[str]) -> Iterator[list[str] | None]:
    """Yield a jump that shows no question and writes messages to a file; None without a jump.

    Raises ConnectionError with the last message if the block fails and the jump wrote a message.
    """
    if not command:
        yield None
        return
    program, *words = command
    if program == "ssh":
        words += ["-o", "BatchMode=yes"]
        program = find_program("ssh") or ""
        if not program:
            raise ConnectionError("the jump failed: 'ssh' isn't installed here")
    descriptor, name = tempfile.mkstemp(prefix="lk-jump-")
    os.close(descriptor)
    try:
        yield clean_command([program, *words, "-E", name])
    except Exception:
        if message := Path(name).read_text("utf-8", "replace").strip():
            raise ConnectionError(f"the jump failed: {message.splitlines()[-1][:300]}") from None
        raise
    finally:
        with suppress(OSError):  # Windows refuses that while the command is active
            Path(name).unlink()
