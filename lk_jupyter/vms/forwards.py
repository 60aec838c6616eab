"""Ports of VMs that only the Jupyter server of a kernel can reach, for its signed-in user.

The kernel forwards the port over SSH to a Unix socket in a folder of the user, and stores its path in a file. The
Jupyter server reads the file and passes requests on. Without Unix sockets, as on Windows, it is a port of this machine
at which each connection shows a secret name.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.files import write_private
from lk_jupyter.protocol.vm_run import make_vm_key
from lk_jupyter.vms.facts import forward_path

if TYPE_CHECKING:
    from lk_jupyter.vms.hosted import VmRun
    from lk_jupyter.vms.shell import PortForward


class SharedPort:
    """A forwarded port of a VM, and the file with the port for the Jupyter server. Raises ConnectionFailed, OSError.

    ``target`` is the port, or a Unix socket, of the VM. ``forward`` is the place on this machine; requests name the
    port ``port``.
    """

    def __init__(self, vm_run: VmRun, target: int | str, name: str) -> None:
        vm_id = make_vm_key(vm_run.facts.active_id)
        self.path = f"lk/ports/{vm_id}/{name}/"
        self.forward: PortForward = vm_run.forward(target, "socket")
        self.port = self.forward.port or (target if isinstance(target, int) else 80)
        self._file = forward_path(vm_id, name)
        facts = {"socket": self.forward.socket, "host": self.forward.host, "port": self.port}
        try:
            write_private(self._file, json.dumps(facts))
        except OSError:
            self.forward.close()
            raise

    def close(self) -> None:
        """Close the port and all connections."""
        self.forward.close()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


def find_server() -> dict[str, Any] | None:
    """Return the facts of the Jupyter server that started this kernel, such as ``url`` and ``base_url``, if any."""
    server_id = os.environ.get("JPY_PARENT_PID") or os.getppid()
    with suppress(OSError, ValueError, ImportError):
        from jupyter_core.paths import jupyter_runtime_dir  # noqa: PLC0415 (only kernels have a server)

        facts = json.loads(Path(jupyter_runtime_dir(), f"jpserver-{server_id}.json").read_text("utf-8"))
        if isinstance(facts, dict) and {"url", "base_url"} <= facts.keys():
            return facts
    return None
